/**
 * A newcomer's look at the retained messages: of each topic a value at least as new as the last that was acknowledged, and nothing
 * on topics that were cleared.
 *
 * A value that is replaced while the newcomer is being served may come as the live message that replaced it.
 */
import type { Run } from "./client.ts";
import { Connection } from "./connection.ts";
import { decorationComplaint } from "./decoration.ts";
import { readPayload } from "./payload.ts";
import type { Stream } from "./plan.ts";
import { CONNACK, encodeConnect, encodeEmpty, encodeSubscribe, PINGREQ, PINGRESP, PUBLISH, SUBACK } from "./wire.ts";
import { decodePublish, type Packet } from "./wire-reader.ts";

const FILTERS = ["crash/+/kept/+", "cleared/#"].map((filter) => ({ filter, qos: 0, retainHandling: 0 }) as const);
/** How often the newcomer asks whether there is anything to come. */
const ASKS = 3;
const AGE_SECONDS_MAX = 90_000;

export interface LookOptions {
  readonly run: Run;
  readonly name: string;
  readonly streams: readonly Stream[];
  /** How long values may take before the newcomer asks. */
  readonly patienceMs: number;
}

/** Resolves with whether the look was finished before the connection was lost. */
export async function lookAtRetained(options: LookOptions): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const { journal, port } = options.run;
  const look = new Look(options, resolve);
  try {
    const connection = await Connection.open(port(), {
      packet: (packet) => look.packet(packet, connection),
      readEnd: () => {},
      unreadable: (error) => journal.fault("protocol", `${options.name}: ${error.message}`),
      closed: () => resolve(false),
    });
    connection.send(encodeConnect({ clientId: options.name, cleanStart: true, properties: [] }));
    const isFinished = await promise;
    connection.cut();
    return isFinished;
  } catch {
    // Nobody listens: the broker is down.
    return false;
  }
}

class Look {
  readonly #options: LookOptions;
  readonly #done: (isFinished: boolean) => void;
  /** By stream: the number that was acknowledged when the newcomer asked, and has not been reached by what came. */
  readonly #owed = new Map<Stream, number>();
  readonly #newest = new Map<Stream, number>();
  #askedAt = Number.POSITIVE_INFINITY;
  #asks = 0;
  #isOver = false;

  constructor(options: LookOptions, done: (isFinished: boolean) => void) {
    this.#options = options;
    this.#done = done;
  }

  packet(packet: Packet, connection: Connection): void {
    if (this.#isOver) return;
    if (packet.type === CONNACK) this.#subscribe(connection);
    else if (packet.type === PUBLISH) this.#take(packet);
    else if (packet.type === SUBACK)
      setTimeout(() => this.#asks === 0 && this.#ask(connection), this.#options.patienceMs);
    else if (packet.type === PINGRESP && this.#asks === ASKS) this.#end();
    else if (packet.type === PINGRESP) this.#ask(connection);
    // What must not come is waited for as well.
    if (packet.type !== CONNACK && this.#owed.size === 0 && this.#asks === 0) this.#ask(connection);
  }

  /** A broker that answers this has had its time to send what is missing. */
  #ask(connection: Connection): void {
    this.#asks++;
    connection.send(encodeEmpty(PINGREQ));
  }

  #subscribe(connection: Connection): void {
    const { run, streams } = this.#options;
    for (const stream of streams) {
      const number = run.journal.lastAcked(stream);
      if (stream.kind === "kept" && number > 0) this.#owed.set(stream, number);
    }
    this.#askedAt = run.journal.now();
    connection.send(encodeSubscribe(1, FILTERS, []));
  }

  #take(packet: Packet): void {
    const { run, streams } = this.#options;
    const { topicName, retain, payload, properties } = decodePublish(packet);
    // The end of a retained message, as it happens.
    if (payload.length === 0 && !retain) return;
    const mark = readPayload(payload);
    const stream = mark === null ? undefined : streams[mark.stream];
    const text = `a newcomer received ${retain ? "retained " : ""}${topicName}`;
    if (mark === null || stream === undefined || stream.topicName(mark.number) !== topicName) {
      return run.journal.fault("damaged", `${text} with a payload that is not what was sent there`);
    }
    const { number } = mark;
    if (number > run.journal.lastSent(stream)) return run.journal.fault("unsent", `${text} number ${number}`);
    const complaint = decorationComplaint({ stream, number }, properties, AGE_SECONDS_MAX);
    if (complaint !== null) run.journal.fault("damaged", `${text} number ${number} with ${complaint}`);
    if (stream.kind === "cleared") this.#checkCleared(stream, number, retain, text);
    else this.#checkKept(stream, number, retain, text);
  }

  #checkCleared(stream: Stream, number: number, retain: boolean, text: string): void {
    const { journal } = this.#options.run;
    if (retain && journal.ackedAt(stream, number + 1) < this.#askedAt) {
      journal.fault("retained", `${text} number ${number}, though clearing it had been acknowledged`);
    }
  }

  #checkKept(stream: Stream, number: number, retain: boolean, text: string): void {
    const owed = this.#owed.get(stream);
    if (retain && owed !== undefined && number < owed) {
      this.#options.run.journal.fault("retained", `${text} number ${number}, though ${owed} had been acknowledged`);
    }
    this.#newest.set(stream, Math.max(number, this.#newest.get(stream) ?? 0));
    // What is older has been reported; what is due has come.
    if (retain || number >= (owed ?? 0)) this.#owed.delete(stream);
  }

  #end(): void {
    this.#isOver = true;
    for (const [stream, number] of this.#owed) {
      const newest = this.#newest.get(stream) ?? "nothing";
      const text = `a newcomer received ${newest} of ${stream.topicName(number)}, though ${number} had been acknowledged`;
      this.#options.run.journal.fault("retained", text);
    }
    this.#done(true);
  }
}
