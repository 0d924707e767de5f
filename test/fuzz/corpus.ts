/**
 * The packets that fuzzing begins with: the byte table, and the streams of the folder corpus/, cut into packets.
 *
 * A corpus file is written like the rows of the table; its first line says the protocol level. A stream that stops being
 * packets, as some do on purpose, is kept from there on as one piece.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ProtocolLevel } from "../../src/core/codec/packet.ts";
import { hex } from "../codec/packet-row.ts";
import { PACKET_ROWS, REFUSED_ROWS } from "../codec/packet-table.ts";

export interface CorpusPacket {
  readonly name: string;
  readonly level: ProtocolLevel;
  /** A whole packet, or bytes that are none. */
  readonly bytes: Uint8Array;
}

export interface CorpusStream {
  readonly name: string;
  readonly level: ProtocolLevel;
  readonly packets: readonly Uint8Array[];
}

/** Larger rows would make every mutation of them slow and teach nothing. */
const SEED_BYTES_MAX = 1024;
const FOLDER = join(import.meta.dir, "corpus");

function readLevel(name: string, notation: string): ProtocolLevel {
  const [, digit] = /^# level ([345])\n/.exec(notation) ?? [];
  if (digit === undefined) throw new Error(`${name}: the first line is to be "# level 3", 4 or 5`);
  return Number(digit) as ProtocolLevel;
}

function cutIntoPackets(bytes: Uint8Array): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; ) {
    let at = start + 1;
    let length = 0;
    for (let scale = 1; at < bytes.length && at - start <= 4; scale *= 128) {
      const byte = bytes[at++]!;
      length += (byte % 128) * scale;
      if (byte < 128) break;
    }
    const end = Math.min(at + length, bytes.length);
    packets.push(bytes.slice(start, end));
    start = end;
  }
  return packets;
}

export const CORPUS_STREAMS: readonly CorpusStream[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".hex"))
  .sort()
  .map((name) => {
    const notation = readFileSync(join(FOLDER, name), "utf8");
    return { name, level: readLevel(name, notation), packets: cutIntoPackets(hex(notation)) };
  });

/** Packets as they should be, and the streams' packets as they are. */
export const CORPUS_PACKETS: readonly CorpusPacket[] = [
  ...PACKET_ROWS.filter(({ bytes }) => bytes.length <= SEED_BYTES_MAX),
  ...CORPUS_STREAMS.flatMap(({ name, level, packets }) => packets.map((bytes) => ({ name, level, bytes }))),
];

/** Packets that are refused as they are. */
export const BROKEN_PACKETS: readonly CorpusPacket[] = REFUSED_ROWS.filter(
  ({ bytes }) => bytes.length <= SEED_BYTES_MAX,
);
