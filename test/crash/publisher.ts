/**
 * A publisher that keeps to section 4 of the specification: what has no answer yet is sent again after each loss of the connection,
 * with its own Packet Identifier, in the order in which it was first sent, and nothing is ever given up.
 *
 * Owns the exchanges it has begun. It takes the lowest free Packet Identifier, so that identifiers are used again at once, and at
 * times holds PUBREL back, so that kills find QoS 2 exchanges between PUBREC and PUBREL.
 */
import { Client, type Run } from "./client.ts";
import { type DecoratedMark, decorationOf } from "./decoration.ts";
import type { Point } from "./kill-points.ts";
import { makePayload } from "./payload.ts";
import type { Stream } from "./plan.ts";
import {
  encodeAcknowledgement,
  encodePublish,
  PACKET_IDENTIFIER_NOT_FOUND,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  SUCCESS,
} from "./wire.ts";
import { decodeAcknowledgement, type Packet } from "./wire-reader.ts";

const DUP = 0x08;

interface Exchange {
  readonly stream: Stream;
  readonly number: number;
  readonly packetId: number;
  readonly publish: Uint8Array;
  /** PUBREL has left once, and again on a later connection. */
  releaseSent: boolean;
  releaseRepeated: boolean;
}

export class Publisher {
  readonly client: Client;
  /** Exchanges that may be open at once. */
  readonly #windowMax: number;
  readonly #run: Run;
  readonly #streams: readonly Stream[];
  readonly #lastNumber = new Map<Stream, number>();
  /** PUBLISH sent, no PUBACK or PUBREC yet; in the order of sending. */
  readonly #published = new Map<number, Exchange>();
  /** PUBREC received, no PUBCOMP yet; in the order of the PUBRECs, in which PUBREL is sent too. */
  readonly #received = new Map<number, Exchange>();
  #holdsRelease = false;
  #window = 1;
  #receiveMaximum = 1;
  #isFinishing = false;
  #restsKept = false;

  constructor(run: Run, clientId: string, streams: readonly Stream[], windowMax: number) {
    this.#run = run;
    this.#streams = streams;
    this.#windowMax = windowMax;
    this.client = new Client(run, clientId, {
      connected: (sessionPresent, receiveMaximum) => this.#connected(sessionPresent, receiveMaximum),
      packet: (packet) => this.#packet(packet),
      readEnd: () => this.#release(),
      lost: () => {},
    });
  }

  /** Everything that was sent has its last answer. */
  get isIdle(): boolean {
    return this.#published.size + this.#received.size === 0;
  }

  get standing(): Point[] {
    const points: Point[] = [...this.client.standing];
    for (const { stream } of this.#published.values()) {
      points.push(stream.qos === 1 ? "publisher PUBLISH QoS 1 >" : "publisher PUBLISH QoS 2 >");
    }
    for (const { releaseSent } of this.#received.values()) {
      points.push(releaseSent ? "publisher PUBREL >" : "publisher < PUBREC");
    }
    return points;
  }

  /** Sends up to `count` messages, as far as the window allows; answers how many. */
  publish(count: number): number {
    let sent = 0;
    while (sent < count && this.client.isOnline && this.#published.size + this.#received.size < this.#window) {
      const stream = this.#run.random.pick(this.#streams);
      if (!this.#restsKept || stream.kind !== "kept") this.#send(stream);
      sent++;
    }
    return sent;
  }

  /** Sends one message of each stream, whatever the window; the client has to be online. */
  publishEach(): void {
    for (const stream of this.#streams) this.#send(stream);
  }

  /** While it rests, no new message is retained for a topic that has one. */
  restKept(isResting: boolean): void {
    this.#restsKept = isResting;
  }

  /** Now and then another habit: how many exchanges are open at once, and whether PUBREL is held back. */
  changeHabit(): void {
    this.#window = Math.min(this.#run.random.between(1, this.#windowMax), this.#receiveMaximum);
    this.#holdsRelease = !this.#isFinishing && this.#run.random.oneIn(3);
    this.#release();
  }

  /** From now on nothing is held back. */
  finish(): void {
    this.#isFinishing = true;
    this.#holdsRelease = false;
    this.#release();
  }

  #send(stream: Stream): void {
    const { random, journal, points } = this.#run;
    const number = (this.#lastNumber.get(stream) ?? 0) + 1;
    this.#lastNumber.set(stream, number);
    const packetId = this.#freePacketId();
    const mark: DecoratedMark = { stream, number };
    const clears = stream.kind === "cleared" && number % 2 === 0;
    const publish = encodePublish({
      topicName: stream.topicName(number),
      qos: stream.qos,
      dup: false,
      retain: stream.kind !== "plain",
      packetId,
      properties: decorationOf(mark),
      payload: clears
        ? new Uint8Array()
        : makePayload({ stream: stream.index, number }, fillingBytes(random.below(1000))),
    });
    this.#published.set(packetId, { stream, number, packetId, publish, releaseSent: false, releaseRepeated: false });
    journal.sent(stream, number);
    journal.write(`${this.client.clientId} PUBLISH ${packetId} stream ${stream.index} number ${number}`);
    this.client.send(publish);
    points.passed(stream.qos === 1 ? "publisher PUBLISH QoS 1 >" : "publisher PUBLISH QoS 2 >");
  }

  #freePacketId(): number {
    let packetId = 1;
    while (this.#published.has(packetId) || this.#received.has(packetId)) packetId++;
    return packetId;
  }

  #connected(sessionPresent: boolean, receiveMaximum: number): void {
    this.#receiveMaximum = receiveMaximum;
    this.#window = Math.min(this.#windowMax, receiveMaximum);
    if (!sessionPresent) {
      // The broker knows nothing of these exchanges. Whether the messages arrived is judged by what was acknowledged.
      this.#published.clear();
      this.#received.clear();
      return;
    }
    for (const exchange of this.#received.values()) {
      // PUBRELs that have left before are the first ones; the rest may still be held back.
      if (!exchange.releaseSent) break;
      exchange.releaseRepeated = true;
      this.#sendRelease(exchange);
    }
    this.#release();
    for (const { packetId, publish } of this.#published.values()) {
      publish[0]! |= DUP;
      this.#run.journal.write(`${this.client.clientId} PUBLISH ${packetId} again`);
      this.client.send(publish);
    }
  }

  #release(): void {
    if (this.#holdsRelease || !this.client.isOnline) return;
    for (const exchange of this.#received.values()) if (!exchange.releaseSent) this.#sendRelease(exchange);
  }

  #sendRelease(exchange: Exchange): void {
    exchange.releaseSent = true;
    this.#run.journal.write(`${this.client.clientId} PUBREL ${exchange.packetId}`);
    this.client.send(encodeAcknowledgement(PUBREL, exchange.packetId, SUCCESS));
    this.#run.points.passed("publisher PUBREL >");
  }

  #packet(packet: Packet): void {
    const { packetId, reasonCode } = decodeAcknowledgement(packet.body);
    if (packet.type === PUBACK) this.#acknowledged(packetId, reasonCode, 1);
    else if (packet.type === PUBREC) this.#acknowledged(packetId, reasonCode, 2);
    else if (packet.type === PUBCOMP) this.#completed(packetId, reasonCode);
    else this.#fault("protocol", `a packet of type 0x${packet.type.toString(16)} for a publisher`);
  }

  #acknowledged(packetId: number, reasonCode: number, qos: 1 | 2): void {
    const { journal, points } = this.#run;
    const exchange = this.#published.get(packetId);
    const name = qos === 1 ? "PUBACK" : "PUBREC";
    journal.write(`${this.client.clientId} ${name} ${packetId} ${reasonCode}`);
    if (exchange === undefined || exchange.stream.qos !== qos) {
      return this.#fault("identifier", `${name} for ${packetId}, which waits for no such packet`);
    }
    this.#published.delete(packetId);
    if (reasonCode >= 0x80) return this.#fault("refused", `${name} with Reason Code ${reasonCode}`);
    journal.acked(exchange.stream, exchange.number);
    if (qos === 2) this.#received.set(packetId, exchange);
    points.passed(qos === 1 ? "publisher < PUBACK" : "publisher < PUBREC");
  }

  #completed(packetId: number, reasonCode: number): void {
    this.#run.journal.write(`${this.client.clientId} PUBCOMP ${packetId} ${reasonCode}`);
    const exchange = this.#received.get(packetId);
    if (exchange === undefined || !exchange.releaseSent) {
      return this.#fault("identifier", `PUBCOMP for ${packetId}, which waits for no such packet`);
    }
    this.#received.delete(packetId);
    // A PUBREL that is sent again may come after the exchange has ended on the other side (section 3.7.2.1).
    const isWell = reasonCode === SUCCESS || (exchange.releaseRepeated && reasonCode === PACKET_IDENTIFIER_NOT_FOUND);
    if (!isWell) this.#fault("identifier", `PUBCOMP for ${packetId} with Reason Code ${reasonCode} after PUBREC`);
    this.#run.points.passed("publisher < PUBCOMP");
  }

  #fault(fault: Parameters<Run["journal"]["fault"]>[0], text: string): void {
    this.#run.journal.fault(fault, `${this.client.clientId}: ${text}`);
  }
}

/** Most messages are small; a few need more than a page, or more than one write. */
function fillingBytes(chance: number): number {
  if (chance < 10) return 10_000 + chance * 9_000;
  return chance < 100 ? chance * 40 : chance % 200;
}
