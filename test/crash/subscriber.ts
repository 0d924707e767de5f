/**
 * A subscriber that keeps to section 4 of the specification, and takes its time: acknowledgements leave in the order that MQTT
 * demands, but at moments of their own, so that kills find each step of each handshake unfinished.
 *
 * Owns the QoS 2 identifiers between PUBLISH and PUBREL, and the requests for its subscriptions. What it received is judged by its
 * Receiver, to which members of a share report together.
 */
import { Client, type Run } from "./client.ts";
import { decorationComplaint } from "./decoration.ts";
import type { Point } from "./kill-points.ts";
import { type PayloadMark, readPayload } from "./payload.ts";
import type { PlannedSubscriber, Stream } from "./plan.ts";
import type { Receiver, Subscription } from "./receiver.ts";
import { SubscriptionRequests } from "./subscription-requests.ts";
import {
  encodeAcknowledgement,
  PACKET_IDENTIFIER_NOT_FOUND,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  type Publish,
  SUBACK,
  SUBSCRIPTION_IDENTIFIER,
  SUCCESS,
  UNSUBACK,
} from "./wire.ts";
import { decodeAcknowledgement, decodePublish, type Packet } from "./wire-reader.ts";

interface Answer {
  readonly type: number;
  readonly packetId: number;
  readonly reasonCode: number;
}

/** A QoS 2 message between its PUBLISH and its PUBREL. */
interface OpenMessage extends PayloadMark {
  recSent: boolean;
}

const POINT_OF_ANSWER: ReadonlyMap<number, Point> = new Map([
  [PUBACK, "subscriber PUBACK >"],
  [PUBREC, "subscriber PUBREC >"],
  [PUBCOMP, "subscriber PUBCOMP >"],
]);
/** What an answer that has not been sent waits behind. */
const POINT_BEFORE: ReadonlyMap<number, Point> = new Map([
  [PUBACK, "subscriber < PUBLISH QoS 1"],
  [PUBREC, "subscriber < PUBLISH QoS 2"],
  [PUBCOMP, "subscriber < PUBREL"],
]);
const HABITS = ["prompt", "prompt", "slow", "slow", "holds PUBACK", "holds PUBREC", "holds PUBCOMP"] as const;
const HELD: Readonly<Record<string, number>> = {
  "holds PUBACK": PUBACK,
  "holds PUBREC": PUBREC,
  "holds PUBCOMP": PUBCOMP,
};

export class Subscriber {
  readonly planned: PlannedSubscriber;
  readonly client: Client;
  readonly requests: SubscriptionRequests;
  readonly #run: Run;
  readonly #streams: readonly Stream[];
  readonly #receiver: Receiver;
  readonly #startedMs = performance.now();
  readonly #open = new Map<number, OpenMessage>();
  /** In the order in which they have to leave. */
  #answers: Answer[] = [];
  #habit: (typeof HABITS)[number] = "prompt";
  #isFinishing = false;

  constructor(
    run: Run,
    planned: PlannedSubscriber,
    streams: readonly Stream[],
    subscriptions: readonly Subscription[],
    receiver: Receiver,
  ) {
    this.planned = planned;
    this.#run = run;
    this.#streams = streams;
    this.#receiver = receiver;
    this.client = new Client(run, `crash-${planned.name}`, {
      connected: (sessionPresent) => this.#connected(sessionPresent),
      packet: (packet) => this.#packet(packet),
      readEnd: () => this.#habit !== "slow" && this.#answer(this.#answers.length),
      lost: () => this.#lost(),
    });
    this.requests = new SubscriptionRequests(
      run,
      this.client,
      subscriptions,
      planned.habit === "changes" ? "changing" : "all",
    );
  }

  /** Nothing waits to be acknowledged, and no QoS 2 message is open. */
  get isIdle(): boolean {
    return this.#answers.length + this.#open.size === 0;
  }

  get standing(): Point[] {
    const points: Point[] = [...this.client.standing, ...this.requests.standing];
    for (const { type } of this.#answers) points.push(POINT_BEFORE.get(type)!);
    for (const { recSent } of this.#open.values()) if (recSent) points.push("subscriber PUBREC >");
    return points;
  }

  /** A moment in which something waiting may be sent. */
  tick(): void {
    if (!this.client.isOnline) return;
    if (this.#habit === "slow" && this.#answers.length > 0 && this.#run.random.oneIn(4)) {
      this.#answer(this.#run.random.between(1, this.#answers.length));
    }
    this.requests.tick();
  }

  changeHabit(): void {
    this.#habit = this.#isFinishing ? "prompt" : this.#run.random.pick(HABITS);
    if (this.#habit === "prompt") this.#answer(this.#answers.length);
  }

  /** The session is discarded, with all that is open and waiting in it; a new one begins. */
  renew(): void {
    this.requests.discarding();
    this.client.renew();
  }

  finish(): void {
    this.#isFinishing = true;
    this.changeHabit();
    this.requests.finish();
  }

  #connected(sessionPresent: boolean): void {
    if (!sessionPresent) this.#open.clear();
    this.requests.connected(sessionPresent);
  }

  #lost(): void {
    // Whatever was not sent is not owed any more: the broker begins those steps again.
    this.#answers = [];
    this.requests.lost();
  }

  #packet(packet: Packet): void {
    if (packet.type === PUBLISH) this.#publish(decodePublish(packet));
    else if (packet.type === PUBREL) this.#released(decodeAcknowledgement(packet.body).packetId);
    else if (packet.type === SUBACK || packet.type === UNSUBACK) this.requests.answered(packet);
    else this.#fault("protocol", `a packet of type 0x${packet.type.toString(16)} for a subscriber`);
  }

  #publish(publish: Publish): void {
    const { qos, packetId, dup, retain, topicName } = publish;
    const mark = readPayload(publish.payload);
    const stream = mark === null ? undefined : this.#streams[mark.stream];
    const named = mark === null ? `topic ${topicName}` : `stream ${mark.stream} number ${mark.number}`;
    this.#run.journal.write(`${this.client.clientId} got PUBLISH ${packetId} QoS ${qos}${dup ? " DUP" : ""} ${named}`);
    if (qos > 0) this.#answers.push({ type: qos === 1 ? PUBACK : PUBREC, packetId, reasonCode: SUCCESS });
    if (mark === null || stream === undefined)
      return this.#fault("damaged", `a payload that is not what was sent, on ${topicName}`);
    if (retain) this.#fault("damaged", `${named} with RETAIN, which was not asked for`);
    if (qos < 2 || !this.#isKnown(publish, mark)) this.#arrived(publish, mark, stream);
    this.#run.points.passed(qos === 1 ? "subscriber < PUBLISH QoS 1" : "subscriber < PUBLISH QoS 2");
  }

  /** Whether this is the message that is open under its identifier; if not, it is from now on. */
  #isKnown({ packetId, dup }: Publish, { stream, number }: PayloadMark): boolean {
    const open = this.#open.get(packetId);
    if (open?.stream === stream && open.number === number) {
      this.#run.journal.resentCount++;
      if (!dup) this.#run.journal.resentWithoutDupCount++;
      return true;
    }
    if (open !== undefined) {
      const before = `stream ${open.stream} number ${open.number}`;
      this.#fault("identifier", `PUBLISH ${packetId} for stream ${stream} number ${number}, still open for ${before}`);
    }
    this.#open.set(packetId, { stream, number, recSent: false });
    return false;
  }

  #arrived({ topicName, qos, properties }: Publish, mark: PayloadMark, stream: Stream): void {
    const identifiers = properties.flatMap(([identifier, value]) =>
      identifier === SUBSCRIPTION_IDENTIFIER ? [value as number] : [],
    );
    this.#receiver.arrived(this.client.clientId, {
      topicName,
      qos,
      mark,
      identifiers: identifiers.sort((a, b) => a - b),
    });
    const others = properties.filter(([identifier]) => identifier !== SUBSCRIPTION_IDENTIFIER);
    const ageSecondsMax = (performance.now() - this.#startedMs) / 1000 + 5;
    const complaint = decorationComplaint({ stream, number: mark.number }, others, ageSecondsMax);
    if (complaint !== null) this.#fault("damaged", `stream ${mark.stream} number ${mark.number} with ${complaint}`);
  }

  #released(packetId: number): void {
    const wasOpen = this.#open.delete(packetId);
    this.#run.journal.write(`${this.client.clientId} got PUBREL ${packetId}${wasOpen ? "" : ", not open"}`);
    // An exchange that has ended here may not have ended there; either Reason Code ends it (section 3.7.2.1).
    const reasonCode = wasOpen || this.#run.random.oneIn(2) ? SUCCESS : PACKET_IDENTIFIER_NOT_FOUND;
    this.#answers.push({ type: PUBCOMP, packetId, reasonCode });
    this.#run.points.passed("subscriber < PUBREL");
  }

  /** Sends the first `count` answers that are not held back, each kind in its order. */
  #answer(count: number): void {
    const held = HELD[this.#habit];
    const waiting: Answer[] = [];
    const sending: Answer[] = [];
    for (const answer of this.#answers) {
      if (sending.length < count && answer.type !== held) sending.push(answer);
      else waiting.push(answer);
    }
    this.#answers = waiting;
    for (const { type, packetId, reasonCode } of sending) {
      const open = type === PUBREC ? this.#open.get(packetId) : undefined;
      if (open !== undefined) open.recSent = true;
      this.#run.journal.write(`${this.client.clientId} answers ${POINT_OF_ANSWER.get(type)} ${packetId}`);
      this.client.send(encodeAcknowledgement(type, packetId, reasonCode));
      this.#run.points.passed(POINT_OF_ANSWER.get(type)!);
    }
  }

  #fault(fault: Parameters<Run["journal"]["fault"]>[0], text: string): void {
    this.#run.journal.fault(fault, `${this.client.clientId}: ${text}`);
  }
}
