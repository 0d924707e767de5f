/**
 * Topic Names by their bytes: a bounded cache that turns the bytes of a PUBLISH into a `Topic`, checked once, with its
 * route. A hit needs no decoding, no UTF-8 check and no walk through the tree.
 *
 * Direct-mapped: a newcomer that comes again takes the slot of whoever was there, so the table can never grow and a stream of
 * names that are used once displaces nobody. Long names are not kept.
 */
import type { TopicName } from "../application-message.ts";
import { checkTopicNameBytes } from "../codec/topic.ts";
import { checkUtf8, decodeUtf8, encodeUtf8 } from "../codec/utf8.ts";
import type { Route } from "./router.ts";

const SLOTS = 16_384;
/** Names longer than this are looked up in the tree every time. */
const CACHED_BYTES_MAX = 256;

export class Topic implements TopicName {
  readonly bytes: Uint8Array;
  readonly hash: number;
  /** Kept by the router; valid while `routeVersion` is the router's version. */
  route: Route | null = null;
  routeVersion = -1;
  /** Whether the table has it; a route is kept only there, where it can be found and dropped. */
  isKept = false;
  #text: string | undefined;

  constructor(bytes: Uint8Array, hash: number) {
    this.bytes = bytes;
    this.hash = hash;
  }

  get text(): string {
    return (this.#text ??= decodeUtf8(this.bytes, 0, this.bytes.length));
  }

  /** Whether the name begins with "$" (section 4.7.2). */
  get isReserved(): boolean {
    return this.bytes[0] === 0x24;
  }
}

export class TopicTable {
  readonly #slots: (Topic | undefined)[] = new Array(SLOTS).fill(undefined);
  /** Hash of the name that asked for a taken slot last: who comes twice displaces who is there, who comes once does not. */
  readonly #seen = new Int32Array(SLOTS);
  readonly #levelsMax: number;

  constructor(levelsMax: number) {
    this.#levelsMax = levelsMax;
  }

  /** The topic whose name is bytes[start, end). Throws a PeerError where that is no Topic Name. */
  intern(bytes: Uint8Array, start: number, end: number): Topic {
    const hash = hashBytes(bytes, start, end);
    const slot = hash & (SLOTS - 1);
    const known = this.#slots[slot];
    if (known !== undefined && known.hash === hash && equalBytes(known.bytes, bytes, start, end)) return known;
    if (!isPlainName(bytes, start, end, this.#levelsMax)) {
      checkTopicNameBytes(bytes, start, end, this.#levelsMax);
      checkUtf8(bytes, start, end);
    }
    const topic = new Topic(copyOf(bytes, start, end), hash);
    if (end - start > CACHED_BYTES_MAX) return topic;
    if (known !== undefined && this.#seen[slot] !== hash) {
      this.#seen[slot] = hash;
      return topic;
    }
    if (known !== undefined) {
      known.isKept = false;
      known.route = null;
    }
    topic.isKept = true;
    this.#slots[slot] = topic;
    return topic;
  }

  forgetRoutes(): void {
    for (const topic of this.#slots) if (topic !== undefined) topic.route = null;
  }

  /** The topic of a name that the broker made or has checked: no bound on levels applies. */
  ofText(text: string): Topic {
    const bytes = encodeUtf8(text);
    return new Topic(bytes, 0);
  }

  /** The topic of a name that was checked when it came, and is not looked for in the table. */
  ofBytes(bytes: Uint8Array): Topic {
    return new Topic(bytes.slice(), 0);
  }
}

/** By words of four bytes, mixed so that names that differ in one digit spread over the slots. */
function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    hash = Math.imul(hash ^ word, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  for (; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

/** Whether the name is ASCII and nothing about it has to be looked at closer: the common case in one pass. */
function isPlainName(bytes: Uint8Array, start: number, end: number, levelsMax: number): boolean {
  let levels = 1;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte > 0x2f) {
      if (byte > 0x7f) return false;
    } else if (byte === 0x2f) {
      levels++;
    } else if (byte === 0 || byte === 0x2b || byte === 0x23) {
      return false;
    }
  }
  return start < end && levels <= levelsMax;
}

function copyOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const copy = new Uint8Array(end - start);
  for (let at = start; at < end; at++) copy[at - start] = bytes[at]!;
  return copy;
}

function equalBytes(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (known.length !== length) return false;
  // From the end: names of one application differ there first.
  for (let at = length - 1; at >= 0; at--) if (known[at] !== bytes[start + at]) return false;
  return true;
}
