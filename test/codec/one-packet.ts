/**
 * One packet between its bytes and its object, with the parts of the codec put together as a peer would use them:
 * framer and decoder one way, encoder the other.
 */
import { Framer } from "../../src/core/codec/framer.ts";
import { decodePacket, encodePacket, type Packet, type ProtocolLevel } from "../../src/core/codec/packet.ts";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { Writer } from "../../src/core/codec/writer.ts";

/** More than any packet can be: the largest Remaining Length and its header. */
export const ANY_PACKET_BYTES = 268_435_455 + 5;

/** The one packet that `bytes` are. Throws a PeerError for bad bytes, another error for anything but one packet. */
export function decodeBytes(bytes: Uint8Array, level: ProtocolLevel): Packet {
  const framer = new Framer(ANY_PACKET_BYTES);
  framer.feed(bytes);
  if (!framer.next()) throw new Error(`${bytes.length} bytes are less than a packet`);
  const reader = new Reader(framer.bytes, framer.bodyStart, framer.bodyEnd);
  const packet = decodePacket(framer.bytes[framer.packetStart]!, reader, level);
  if (framer.next() || framer.heldBytes > 0) throw new Error(`${bytes.length} bytes are more than a packet`);
  return packet;
}

/** What decoding answers: the packet, or the error of a peer that sent such bytes. */
export function decodeOutcome(bytes: Uint8Array, level: ProtocolLevel): Packet | PeerError {
  try {
    return decodeBytes(bytes, level);
  } catch (error) {
    if (error instanceof PeerError) return error;
    throw error;
  }
}

export function encodeBytes(packet: Packet, level: ProtocolLevel): Uint8Array {
  const writer = new Writer();
  encodePacket(writer, packet, level);
  return writer.view().slice();
}
