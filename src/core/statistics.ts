/** What the broker counts: shown under $SYS and to whoever embeds it. Plain numbers, raised where things happen. */
export class Statistics {
  bytesReceived = 0;
  bytesSent = 0;
  packetsReceived = 0;
  publishReceived = 0;
  publishSent = 0;
  /** Connections accepted since the start. */
  connectionsOpened = 0;
  /** CONNECT packets refused. */
  connectsRefused = 0;
  /** Connections ended for a peer's mistake. */
  peerErrors = 0;
  /** Messages not delivered, by cause. */
  readonly dropped = {
    /** QoS 0 to a client that reads too slowly. */
    congested: 0,
    /** No room in a session's queue. */
    queueFull: 0,
    expired: 0,
    /** Larger than the receiver's Maximum Packet Size. */
    tooLarge: 0,
    /** Refused to the publisher or withheld from a receiver. */
    notAuthorized: 0,
    /** No room for another retained message. */
    retainedFull: 0,
    /** It would have to be stored, and the disk is nearly full. */
    diskFull: 0,
    /** Waiting for a session that ended. */
    sessionEnded: 0,
  };

  get droppedTotal(): number {
    return Object.values(this.dropped).reduce((sum, count) => sum + count, 0);
  }
}
