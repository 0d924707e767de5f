/** What the client knows of a packet of the server, and how it refuses one. */
import { PACKET_TYPE_NAMES } from "../core/codec/packet-type.ts";
import type { Properties } from "../core/codec/property-table.ts";
import { MqttError } from "./mqtt-error.ts";

/** A field that its kind of packet does not have is empty. */
export interface Incoming {
  readonly type: number;
  /** The low four bits of the first byte. */
  readonly flags: number;
  readonly topic: string;
  readonly packetId: number;
  readonly sessionPresent: boolean;
  /** In SUBACK and UNSUBACK the only one: the client asks for one Topic Filter at a time. */
  readonly reasonCode: number;
  readonly properties: Properties;
  readonly payload: Uint8Array;
}

/** Throws what the server is told in DISCONNECT, and whoever waits by the name of the packet. */
export function refuse(type: number, code: number, found: string): never {
  throw new MqttError(code, PACKET_TYPE_NAMES[type]!.toLowerCase(), found);
}
