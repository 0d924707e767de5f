/** What the client knows of a packet of the server. */
import type { QoS } from "../core/codec/packet.ts";
import type { Properties } from "../core/codec/property-table.ts";

/** A field that its kind of packet does not have is empty. */
export interface Incoming {
  /** Packet type. */
  readonly type: number;
  readonly qos: QoS;
  /** In a PUBLISH with nothing but a Topic Alias, until it is looked up. */
  topic: string;
  readonly packetId: number;
  readonly sessionPresent: boolean;
  /** In SUBACK and UNSUBACK the only one: the client asks for one Topic Filter at a time. In PUBLISH what its readers say. */
  reasonCode: number;
  readonly properties: Properties;
  /** The Payload; in another packet what else was left. */
  readonly bytes: Uint8Array;
  readonly retain: boolean;
  readonly dup: boolean;
  /** Of a PUBLISH: how many have not acknowledged it yet; below 0 where nobody has taken it. */
  readers?: number;
}
