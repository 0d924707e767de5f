/**
 * What the judge knows for certain: every message sent, every acknowledgement, in the order of one clock, and what was wrong.
 *
 * The clock counts events; the judge is one process, so of two events it always knows which was first. The same events go, as
 * compressed text, to a file for whoever has to find out what happened. Memory: two numbers for each message.
 */
import { appendFileSync, writeFileSync } from "node:fs";
import type { Stream } from "./plan.ts";

/** Every way in which a broker can break the promise, and the line in the report. */
export const FAULTS = {
  lost: "acknowledged messages that did not arrive",
  duplicate: "QoS 2 messages that arrived twice",
  disorder: "messages that arrived behind later ones of their publisher and topic",
  unsent: "messages that nobody had sent",
  damaged: "payloads or properties that were not those sent",
  session: "sessions that should have been present, or absent, and were not",
  subscription: "deliveries without a subscription, or subscriptions that were gone",
  retained: "retained messages older than the last acknowledged, or back after they were cleared",
  identifier: "Packet Identifiers that were forgotten or mixed up",
  refused: "requests that were refused",
  broker: "times that the broker ended by itself, or went on no more",
  protocol: "packets that have no place there",
} as const;

export type Fault = keyof typeof FAULTS;

const EXAMPLES_MAX = 10;
const CHUNK_CHARACTERS = 1 << 20;
const NEVER = Number.POSITIVE_INFINITY;

interface StreamEvents {
  /** By message number, from 1; the clock when it was first sent, and acknowledged. */
  readonly sentAt: number[];
  readonly ackedAt: number[];
}

export class Journal {
  readonly faults = new Map<Fault, { count: number; readonly examples: string[] }>();
  sentCount = 0;
  /** Without those to topics that no subscriber has asked for. */
  deliverableCount = 0;
  ackedCount = 0;
  arrivedCount = 0;
  /** QoS 1 messages that came again, as they may. */
  repeatedCount = 0;
  /** QoS 2 messages that came again under the identifier that was still open, and were told apart by it. */
  resentCount = 0;
  resentWithoutDupCount = 0;
  #clock = 0;
  #streams: StreamEvents[] = [];
  readonly #path: string | null;
  #text = "";

  constructor(path: string | null) {
    this.#path = path;
    if (path !== null) writeFileSync(path, "");
  }

  /** A new moment, later than all before. */
  now(): number {
    return ++this.#clock;
  }

  sent(stream: Stream, number: number): void {
    this.#of(stream).sentAt[number] = this.now();
    this.sentCount++;
    if (stream.kind !== "cleared") this.deliverableCount++;
  }

  acked(stream: Stream, number: number): void {
    this.#of(stream).ackedAt[number] = this.now();
    this.ackedCount++;
  }

  /** Infinity while it was not. */
  sentAt(stream: Stream, number: number): number {
    return this.#of(stream).sentAt[number] ?? NEVER;
  }

  ackedAt(stream: Stream, number: number): number {
    return this.#of(stream).ackedAt[number] ?? NEVER;
  }

  /** The highest number sent. */
  lastSent(stream: Stream): number {
    return Math.max(this.#of(stream).sentAt.length - 1, 0);
  }

  lastAcked(stream: Stream): number {
    return Math.max(this.#of(stream).ackedAt.length - 1, 0);
  }

  fault(fault: Fault, text: string): void {
    this.faultsOf(fault, 1, [text]);
  }

  /** Several of one kind, of which some are told. */
  faultsOf(fault: Fault, count: number, examples: readonly string[]): void {
    if (count === 0) return;
    const known = this.faults.get(fault);
    const entry = known ?? { count: 0, examples: [] };
    if (known === undefined) this.faults.set(fault, entry);
    entry.count += count;
    entry.examples.push(...examples.slice(0, EXAMPLES_MAX - entry.examples.length));
    for (const text of examples) this.write(`FAULT ${fault}: ${text}`);
  }

  get faultCount(): number {
    let count = 0;
    for (const entry of this.faults.values()) count += entry.count;
    return count;
  }

  /** One line in the file, with the clock. */
  write(text: string): void {
    if (this.#path === null) return;
    this.#text += `${this.#clock} ${text}\n`;
    if (this.#text.length >= CHUNK_CHARACTERS) this.flush();
  }

  /** Each chunk is a gzip member of its own, so the file can be read as it is, whenever the judge ends. */
  flush(): void {
    if (this.#path === null || this.#text.length === 0) return;
    appendFileSync(this.#path, Bun.gzipSync(Buffer.from(this.#text), { level: 1 }));
    this.#text = "";
  }

  #of(stream: Stream): StreamEvents {
    return (this.#streams[stream.index] ??= { sentAt: [], ackedAt: [] });
  }
}
