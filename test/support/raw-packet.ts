/**
 * MQTT packets put together by hand, for what the codec refuses to write: wrong flags, missing fields, ill-formed strings.
 *
 * The Remaining Length is counted here; everything else is what the test says.
 */
import { fromHex, toBytes } from "./world.ts";

/** A piece of a packet: bytes, or hex in any grouping. */
export type RawPart = Uint8Array | string;

export function joinBytes(...parts: readonly RawPart[]): Uint8Array {
  const pieces = parts.map((part) => (typeof part === "string" ? fromHex(part) : part));
  const joined = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

/** A Variable Byte Integer in as few bytes as possible. */
export function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
}

/** UTF-8 Encoded String or Binary Data: two bytes of length, then the content, which is not checked. */
export function prefixed(content: string | Uint8Array): Uint8Array {
  const bytes = toBytes(content);
  return joinBytes(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes);
}

/** A property list with its length in front. */
export function propertyList(...parts: readonly RawPart[]): Uint8Array {
  const body = joinBytes(...parts);
  return joinBytes(varint(body.length), body);
}

export function rawPacket(firstByte: number, ...parts: readonly RawPart[]): Uint8Array {
  const body = joinBytes(...parts);
  return joinBytes(Uint8Array.of(firstByte), varint(body.length), body);
}

export interface RawConnect {
  firstByte?: number;
  protocolName?: string | Uint8Array;
  protocolLevel?: number;
  connectFlags?: number;
  keepAlive?: number;
  /** The CONNECT properties without their length; `null` leaves the list out, as before MQTT 5.0. */
  properties?: RawPart | null;
  payload?: readonly RawPart[];
}

/** A CONNECT; by default level 5, Clean Start, client id "raw" and nothing else. */
export function rawConnect(init: RawConnect = {}): Uint8Array {
  const keepAlive = init.keepAlive ?? 0;
  return rawPacket(
    init.firstByte ?? 0x10,
    prefixed(init.protocolName ?? "MQTT"),
    Uint8Array.of(init.protocolLevel ?? 5, init.connectFlags ?? 0x02, keepAlive >> 8, keepAlive & 0xff),
    init.properties === null ? "" : propertyList(init.properties ?? ""),
    ...(init.payload ?? [prefixed("raw")]),
  );
}

/** Cuts what was received into packets, without decoding them. */
export function splitPackets(bytes: readonly number[]): number[][] {
  const packets: number[][] = [];
  for (let start = 0; start < bytes.length; ) {
    let length = 0;
    let at = start + 1;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]!;
      length += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    packets.push(bytes.slice(start, at + length));
    start = at + length;
  }
  return packets;
}
