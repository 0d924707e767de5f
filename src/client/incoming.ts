/** What the client knows of a packet of the server. */
import type { Properties } from "../core/codec/property-table.ts";

/** A field that its kind of packet does not have is empty. */
export interface Incoming {
  readonly type: number;
  /** The low four bits of the first byte. */
  readonly flags: number;
  readonly qos: number;
  readonly topic: string;
  readonly packetId: number;
  readonly sessionPresent: boolean;
  /** In SUBACK and UNSUBACK the only one: the client asks for one Topic Filter at a time. */
  readonly reasonCode: number;
  readonly properties: Properties;
  readonly payload: Uint8Array;
}
