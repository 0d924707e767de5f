/**
 * A peer's mistake: the reason code it is answered with and the normative statement (or section) it broke.
 *
 * Thrown on cold paths only and caught once, in broker.ts. Anything else that is thrown is a bug of ours.
 */
export class PeerError extends Error {
  readonly reasonCode: number;
  /** Statement id such as "MQTT-3.8.3-2", or a section number where the rule has no id. */
  readonly statement: string;

  constructor(reasonCode: number, statement: string, found: string) {
    super(found);
    this.name = "PeerError";
    this.reasonCode = reasonCode;
    this.statement = statement;
  }
}

/** The packet cannot be parsed (MQTT 5.0 section 4.13.1, Malformed Packet). */
export function malformed(statement: string, found: string): PeerError {
  return new PeerError(0x81, statement, found);
}

/** The packet can be parsed but breaks the protocol (section 4.13.1, Protocol Error). */
export function protocolError(statement: string, found: string): PeerError {
  return new PeerError(0x82, statement, found);
}
