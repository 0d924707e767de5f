/**
 * A structure-aware source of broken packets: takes packets of the corpus and changes them where a peer could go wrong.
 *
 * Knows where a packet has its lengths, its flags and its property list, so that most of what it makes gets past the
 * first check. Everything comes from one seed: the same seed makes the same packet.
 */
import type { ProtocolLevel } from "../../src/core/codec/packet.ts";
import { PacketType } from "../../src/core/codec/packet-type.ts";
import { concatenate, framed, variableByteInteger } from "../codec/packet-row.ts";
import { BROKEN_PACKETS, CORPUS_PACKETS, type CorpusPacket } from "./corpus.ts";
import type { Random } from "./random.ts";

export interface FuzzedPacket {
  readonly level: ProtocolLevel;
  readonly bytes: Uint8Array;
}

/** Bytes that mean something somewhere: borders of lengths, of UTF-8, wildcards, separators, property identifiers. */
const TELLING_BYTES = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x0b, 0x1f, 0x23, 0x24, 0x26, 0x2b, 0x2f, 0x7f, 0x80, 0x81, 0xc0, 0xed, 0xef, 0xf4,
  0xff,
];
const PIECE_BYTES_MAX = 8;

interface Parts {
  readonly firstByte: number;
  readonly body: Uint8Array;
}

function partsOf(bytes: Uint8Array): Parts {
  let at = 1;
  while (at < bytes.length && at < 4 && bytes[at]! >= 0x80) at++;
  return { firstByte: bytes[0] ?? 0, body: bytes.subarray(Math.min(at + 1, bytes.length)) };
}

/** Where the property list of a packet begins, its length included; -1 where it has none. */
function propertiesOffset({ firstByte, body }: Parts, level: ProtocolLevel): number {
  if (level !== 5) return -1;
  switch (firstByte >> 4) {
    case PacketType.CONNECT:
      return 10;
    case PacketType.CONNACK:
    case PacketType.SUBSCRIBE:
    case PacketType.SUBACK:
    case PacketType.UNSUBSCRIBE:
    case PacketType.UNSUBACK:
      return 2;
    case PacketType.PUBLISH:
      return 2 + ((body[0] ?? 0) << 8) + (body[1] ?? 0) + ((firstByte & 0x06) !== 0 ? 2 : 0);
    case PacketType.PINGREQ:
    case PacketType.PINGRESP:
      return -1;
    case PacketType.DISCONNECT:
    case PacketType.AUTH:
      return 1;
    default:
      return 3;
  }
}

/** Sizes of values by identifier, as far as they are fixed; strings and data have a length of their own. */
function valueLength(list: Uint8Array, at: number): number {
  const id = list[at - 1]!;
  const prefixed = (from: number): number => 2 + ((list[from] ?? 0) << 8) + (list[from + 1] ?? 0);
  if ([0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a].includes(id)) return 1;
  if ([0x13, 0x21, 0x22, 0x23].includes(id)) return 2;
  if ([0x02, 0x11, 0x18, 0x27].includes(id)) return 4;
  if (id === 0x26) return prefixed(at) + prefixed(at + prefixed(at));
  if (id !== 0x0b) return prefixed(at);
  let length = 1;
  while (length < 4 && (list[at + length - 1] ?? 0) >= 0x80) length++;
  return length;
}

interface PropertyList {
  readonly start: number;
  readonly end: number;
  readonly items: Uint8Array[];
}

/** The property list of a packet, taken apart as well as it goes. */
function propertiesOf(parts: Parts, level: ProtocolLevel): PropertyList | undefined {
  const { body } = parts;
  const start = propertiesOffset(parts, level);
  if (start < 0 || start >= body.length) return undefined;
  let at = start;
  let length = 0;
  for (let scale = 1; at < body.length && at - start < 4; scale *= 128) {
    const byte = body[at++]!;
    length += (byte % 128) * scale;
    if (byte < 128) break;
  }
  const end = Math.min(at + length, body.length);
  const list = body.subarray(at, end);
  const items: Uint8Array[] = [];
  for (let from = 0; from < list.length; ) {
    const to = Math.min(from + 1 + valueLength(list, from + 1), list.length);
    items.push(list.subarray(from, to));
    from = to;
  }
  return { start, end, items };
}

/** Every property of the corpus, for transplants. */
const ALL_PROPERTIES: readonly Uint8Array[] = CORPUS_PACKETS.flatMap(
  ({ bytes, level }) => propertiesOf(partsOf(bytes), level)?.items ?? [],
);

type Mutation = (random: Random, parts: Parts, level: ProtocolLevel) => Parts;

const randomBytes = (random: Random, count: number): Uint8Array =>
  Uint8Array.from({ length: count }, () => (random.oneIn(2) ? random.pick(TELLING_BYTES) : random.below(256)));

const flipBit: Mutation = (random, { firstByte, body }) => {
  const changed = body.slice();
  if (body.length > 0) changed[random.below(body.length)]! ^= 1 << random.below(8);
  return { firstByte, body: changed };
};

const setByte: Mutation = (random, { firstByte, body }) => {
  const changed = body.slice();
  if (body.length > 0) changed[random.below(body.length)] = random.pick(TELLING_BYTES);
  return { firstByte, body: changed };
};

const insertBytes: Mutation = (random, { firstByte, body }) => {
  const at = random.below(body.length + 1);
  const piece = randomBytes(random, random.between(1, PIECE_BYTES_MAX));
  return { firstByte, body: concatenate(body.subarray(0, at), piece, body.subarray(at)) };
};

const removeBytes: Mutation = (random, { firstByte, body }) => {
  const at = random.below(body.length + 1);
  const count = random.between(1, PIECE_BYTES_MAX);
  return { firstByte, body: concatenate(body.subarray(0, at), body.subarray(at + count)) };
};

const repeatBytes: Mutation = (random, { firstByte, body }) => {
  const at = random.below(body.length + 1);
  const to = Math.min(at + random.between(1, 2 * PIECE_BYTES_MAX), body.length);
  return { firstByte, body: concatenate(body.subarray(0, to), body.subarray(at, to), body.subarray(to)) };
};

const truncate: Mutation = (random, { firstByte, body }) => ({
  firstByte,
  body: body.subarray(0, random.below(body.length + 1)),
});

/** Moves a length of two bytes by a little, or to an end of its range. */
const editLength: Mutation = (random, { firstByte, body }) => {
  if (body.length < 2) return { firstByte, body };
  const changed = body.slice();
  const at = random.below(body.length - 1);
  const value = (body[at]! << 8) | body[at + 1]!;
  const edited = random.pick([value + 1, value - 1, value + random.between(2, 20), 0, 0xffff, body.length - at - 2]);
  changed[at] = edited >> 8;
  changed[at + 1] = edited;
  return { firstByte, body: changed };
};

const changeFlags: Mutation = (random, { firstByte, body }) => ({
  firstByte: random.oneIn(4) ? random.below(256) : firstByte ^ (1 << random.below(4)),
  body,
});

/** Shuffles, repeats, drops and transplants properties; the Property Length follows, most of the time. */
const changeProperties: Mutation = (random, parts, level) => {
  const list = propertiesOf(parts, level);
  if (list === undefined) return parts;
  const items = list.items.slice();
  for (let changes = random.between(1, 3); changes > 0; changes--) {
    const at = random.below(items.length + 1);
    const other = random.below(items.length + 1);
    const kind = random.below(4);
    if (kind === 0 && items.length > 1)
      [items[at % items.length], items[other % items.length]] = [
        items[other % items.length]!,
        items[at % items.length]!,
      ];
    else if (kind === 1 && items.length > 0) items.splice(at, 0, items[other % items.length]!);
    else if (kind === 2) items.splice(at, 1);
    else items.splice(at, 0, random.pick(ALL_PROPERTIES));
  }
  const bytes = concatenate(...items);
  const length = Math.max(0, bytes.length + (random.oneIn(8) ? random.between(-3, 3) : 0));
  const { firstByte, body } = parts;
  return {
    firstByte,
    body: concatenate(body.subarray(0, list.start), variableByteInteger(length), bytes, body.subarray(list.end)),
  };
};

/** The beginning of this packet and the end of another. */
const splice: Mutation = (random, { firstByte, body }) => {
  const other = partsOf(random.pick(CORPUS_PACKETS).bytes).body;
  const head = body.subarray(0, random.below(body.length + 1));
  return { firstByte, body: concatenate(head, other.subarray(random.below(other.length + 1))) };
};

const MUTATIONS: readonly Mutation[] = [
  flipBit,
  setByte,
  insertBytes,
  removeBytes,
  repeatBytes,
  truncate,
  editLength,
  changeFlags,
  changeProperties,
  changeProperties,
  splice,
];

/** Puts the header on: mostly the right one, now and then with a length that lies or is over-long. */
function packetOf(random: Random, { firstByte, body }: Parts): Uint8Array {
  const packet = framed(firstByte, body);
  if (!random.oneIn(12)) return packet;
  const header = packet.length - body.length;
  const length = Math.max(0, body.length + random.between(-4, 4));
  return random.pick([
    concatenate(packet.subarray(0, 1), variableByteInteger(length), body),
    concatenate(packet.subarray(0, header - 1), Uint8Array.of(packet[header - 1]! | 0x80, 0x00), body),
    concatenate(packet.subarray(0, 1), randomBytes(random, random.between(1, 5)), body),
  ]);
}

/** A packet of the corpus, or of `seeds`, with one to four changes; now and then without any. */
export function fuzzPacket(random: Random, seeds?: readonly CorpusPacket[]): FuzzedPacket {
  const { bytes, level } = random.pick(seeds ?? (random.oneIn(4) ? BROKEN_PACKETS : CORPUS_PACKETS));
  if (random.oneIn(20)) return { level, bytes };
  let parts = partsOf(bytes);
  for (let changes = random.oneIn(2) ? 1 : random.between(2, 4); changes > 0; changes--) {
    parts = random.pick(MUTATIONS)(random, parts, level);
  }
  // A packet of one level is news to another.
  return { level: random.oneIn(6) ? random.pick([3, 4, 5] as const) : level, bytes: packetOf(random, parts) };
}
