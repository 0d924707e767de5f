/**
 * The SUBSCRIBE and UNSUBSCRIBE requests of one subscriber, one at a time, each sent again until it has an answer.
 *
 * Judges the answers: a subscription is granted at the QoS that was asked for, and one that was granted is there when it is left.
 */
import type { Client, Run } from "./client.ts";
import type { Point } from "./kill-points.ts";
import type { Subscription } from "./receiver.ts";
import {
  encodeSubscribe,
  encodeUnsubscribe,
  NO_SUBSCRIPTION_EXISTED,
  type Property,
  SUBACK,
  SUBSCRIPTION_IDENTIFIER,
  SUCCESS,
} from "./wire.ts";
import { decodeAnswers, type Packet } from "./wire-reader.ts";

/** Retained messages are looked at by clients of their own. */
const RETAINED_NOT_WANTED = 2;
const PACKET_ID_MAX = 0xffff;

interface Request {
  readonly subscription: Subscription;
  readonly packetId: number;
  readonly leaves: boolean;
  /** Sent before, and its answer lost: the broker may have done it already. */
  readonly isRepeated: boolean;
}

export class SubscriptionRequests {
  readonly #run: Run;
  readonly #client: Client;
  readonly #subscriptions: readonly Subscription[];
  /** "all": every filter is to be subscribed to; "changing": the same at first, then now this one is left or asked for and now that. */
  readonly #mode: "all" | "changing";
  #request: Request | null = null;
  #packetId = 0;
  #isChanging = false;
  #isFinishing = false;

  constructor(run: Run, client: Client, subscriptions: readonly Subscription[], mode: "all" | "changing") {
    this.#run = run;
    this.#client = client;
    this.#subscriptions = subscriptions;
    this.#mode = mode;
  }

  /** Nothing has been asked for that was not answered, and everything that is wanted was asked for. */
  get isSettled(): boolean {
    const open = this.#subscriptions.some(({ state }) => state === "asked" || state === "leaving");
    return !open && (this.#isChanging || this.#subscriptions.every(({ state }) => state === "in"));
  }

  get standing(): Point[] {
    if (this.#request === null) return [];
    return [this.#request.leaves ? "UNSUBSCRIBE >" : "SUBSCRIBE >"];
  }

  connected(sessionPresent: boolean): void {
    if (!sessionPresent) {
      // Of a session that was lost and should not have been, all that was acknowledged is still owed.
      for (const subscription of this.#subscriptions) {
        subscription.leaving();
        subscription.left();
      }
    }
    this.#next();
  }

  lost(): void {
    this.#request = null;
  }

  tick(): void {
    if (this.#request !== null || !this.#isChanging || this.#isFinishing || !this.#run.random.oneIn(6)) return;
    const subscription = this.#run.random.pick(this.#subscriptions);
    this.#ask(subscription, subscription.state === "in", false);
  }

  discarding(): void {
    for (const subscription of this.#subscriptions) subscription.discarding();
  }

  finish(): void {
    this.#isFinishing = true;
  }

  answered(packet: Packet): void {
    const request = this.#request;
    const { packetId, reasonCodes } = decodeAnswers(packet.body);
    const isLeaving = packet.type !== SUBACK;
    if (request === null || request.packetId !== packetId || request.leaves !== isLeaving || reasonCodes.length !== 1) {
      return this.#fault("protocol", `a ${isLeaving ? "UNSUBACK" : "SUBACK"} for ${packetId} that nobody waits for`);
    }
    this.#request = null;
    if (isLeaving) this.#left(request, reasonCodes[0]!);
    else this.#granted(request, reasonCodes[0]!);
    this.#next();
    this.#run.points.passed(isLeaving ? "< UNSUBACK" : "< SUBACK");
  }

  #granted({ subscription }: Request, reasonCode: number): void {
    const { filter, qos } = subscription.planned;
    if (reasonCode !== qos)
      this.#fault("refused", `SUBSCRIBE to ${filter} at QoS ${qos} was answered with ${reasonCode}`);
    subscription.granted();
    this.#run.journal.write(`${this.#client.clientId} SUBACK ${filter}`);
  }

  #left({ subscription, isRepeated }: Request, reasonCode: number): void {
    const { filter } = subscription.planned;
    if (reasonCode === NO_SUBSCRIPTION_EXISTED && !isRepeated) {
      this.#fault("subscription", `UNSUBACK says that there was no subscription to ${filter}, which was granted`);
    } else if (reasonCode !== NO_SUBSCRIPTION_EXISTED && reasonCode !== SUCCESS) {
      this.#fault("refused", `UNSUBSCRIBE from ${filter} was answered with ${reasonCode}`);
    }
    subscription.left();
    this.#run.journal.write(`${this.#client.clientId} UNSUBACK ${filter}`);
  }

  /** What was asked for and not answered, and what has to be asked for. */
  #next(): void {
    if (this.#request !== null) return;
    for (const subscription of this.#subscriptions) {
      const { state } = subscription;
      if (state === "asked" || state === "leaving") return this.#ask(subscription, state === "leaving", true);
      if (state === "out" && !this.#isChanging) return this.#ask(subscription, false, false);
    }
    this.#isChanging = this.#mode === "changing";
  }

  #ask(subscription: Subscription, leaves: boolean, isRepeated: boolean): void {
    if (!this.#client.isOnline) return;
    const { filter, qos, identifier } = subscription.planned;
    this.#packetId = (this.#packetId % PACKET_ID_MAX) + 1;
    this.#request = { subscription, packetId: this.#packetId, leaves, isRepeated };
    this.#run.journal.write(`${this.#client.clientId} ${leaves ? "UNSUBSCRIBE" : "SUBSCRIBE"} ${filter}`);
    if (leaves) {
      subscription.leaving();
      this.#client.send(encodeUnsubscribe(this.#packetId, [filter]));
    } else {
      subscription.asked();
      const properties: Property[] = identifier === null ? [] : [[SUBSCRIPTION_IDENTIFIER, identifier]];
      const options = { filter, qos, retainHandling: RETAINED_NOT_WANTED } as const;
      this.#client.send(encodeSubscribe(this.#packetId, [options], properties));
    }
    this.#run.points.passed(leaves ? "UNSUBSCRIBE >" : "SUBSCRIBE >");
  }

  #fault(fault: Parameters<Run["journal"]["fault"]>[0], text: string): void {
    this.#run.journal.fault(fault, `${this.#client.clientId}: ${text}`);
  }
}
