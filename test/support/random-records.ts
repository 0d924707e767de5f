/**
 * Random sequences of records, as a broker could write them and a little beyond: records for sessions and places that never
 * were, sessions whose number comes back, messages without a place.
 *
 * Invariant: sequences ascend and are never used twice, and messages are numbered upwards, as a store may rely on.
 */
import fc from "fast-check";
import { RecordWriter } from "../../src/core/store/record-writer.ts";
import type { DeliveryProgress } from "../../src/core/store/store-record.ts";
import { aMessage, aPlace, aSession, aSubscription, aWill } from "./store-snapshot.ts";

/** One record to be; its numbers choose among what there is. */
interface Step {
  readonly kind: (typeof KINDS)[number];
  readonly session: number;
  readonly a: number;
  readonly b: number;
}

const KINDS = [
  "sessionPut",
  "sessionPut",
  "sessionAway",
  "sessionDelete",
  "subscriptionPut",
  "subscriptionDelete",
  "queuePut",
  "queuePut",
  "queuePut",
  "fanOut",
  "fanOut",
  "queueProgress",
  "queueProgress",
  "queueDelete",
  "queueDelete",
  "queueDropOldest",
  "queueDropOldest",
  "inboundPut",
  "inboundDelete",
  "retainedPut",
  "retainedDelete",
  "willPut",
  "willDue",
  "willDelete",
] as const;

const SIZES = [0, 3, 40, 700, 1000, 2500];
const SESSIONS = 4;

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...KINDS),
  session: fc.integer({ min: 1, max: SESSIONS }),
  a: fc.nat(255),
  b: fc.nat(255),
});

/** Calls of `apply`, of batches, of records. */
export const randomCalls: fc.Arbitrary<readonly (readonly (readonly Step[])[])[]> = fc.array(
  fc.array(fc.array(step, { maxLength: 12 }), { minLength: 1, maxLength: 3 }),
  { minLength: 1, maxLength: 12 },
);

/** Turns steps into batches, from one call to the next. */
export class RecordScript {
  #sequence = 0;
  #messageNumber = 0;
  #nowMs = 1_000;
  /** Every place that ever was. */
  readonly #places: { readonly sessionNumber: number; readonly sequence: number }[] = [];

  batch(steps: readonly Step[]): Uint8Array<ArrayBuffer> {
    const writer = new RecordWriter();
    writer.time((this.#nowMs += 7));
    for (const step of steps) this.#write(writer, step);
    return writer.take();
  }

  #place(sessionNumber: number, a: number, b: number) {
    const sequence = (this.#sequence += 1 + (a % 3));
    this.#places.push({ sessionNumber, sequence });
    const isUnderWay = a % 4 === 0;
    return aPlace(sessionNumber, sequence, {
      qos: (1 + (b % 2)) as 1 | 2,
      retain: b % 3 === 0,
      progress: isUnderWay ? ((1 + (b % 3)) as DeliveryProgress) : 0,
      packetId: isUnderWay ? 1 + b : 0,
      subscriptionIdentifiers: b % 5 === 0 ? [1 + a, 268_435_455] : null,
      sharedFilter: b % 7 === 0 ? `$share/gr\u00fcn/${a}` : "",
    });
  }

  #message(a: number, b: number) {
    const payload = new Uint8Array(SIZES[a % SIZES.length]!).fill(b);
    return aMessage(`t/${b % 5}`, payload, { qos: (b % 3) as 0 | 1 | 2, retain: a % 2 === 0, expiresAtMs: 5_000 + b });
  }

  #write(writer: RecordWriter, { kind, session, a, b }: Step): void {
    const known = this.#places[(a * 256 + b) % Math.max(1, this.#places.length)];
    const recent = this.#places[this.#places.length - 1 - (b % 4)] ?? known;
    const place = a % 2 === 0 ? known : recent;
    switch (kind) {
      case "sessionPut":
        return writer.sessionPut(aSession(session, { expiryInterval: a, isConnected: b % 2 === 0, clientId: `c${b}` }));
      case "sessionAway":
        return writer.sessionAway(session, a, 10_000 + b);
      case "sessionDelete":
        // Less often than it comes up, so that sessions live long enough to have something.
        return a % 4 === 0 ? writer.sessionDelete(session) : undefined;
      case "subscriptionPut":
        return writer.subscriptionPut(
          aSubscription(session, `f/${a % 3}`, {
            qos: (b % 3) as 0 | 1 | 2,
            noLocal: b % 2 === 0,
            isSearching: b % 8 === 1,
            subscriptionIdentifiers: b % 4 === 0 ? [b + 1] : null,
          }),
        );
      case "subscriptionDelete":
        return writer.subscriptionDelete(session, `f/${a % 3}`);
      case "queuePut":
        return writer.queuePut(this.#place(session, a, b), this.#message(b, a));
      case "fanOut":
        return this.#fanOut(writer, a, b);
      case "queueProgress":
        return writer.queueProgress(
          place?.sessionNumber ?? session,
          place?.sequence ?? 1,
          (b % 4) as DeliveryProgress,
          b % 4 === 0 ? 0 : 1 + a,
        );
      case "queueDelete":
        return writer.queueDelete(place?.sessionNumber ?? session, place?.sequence ?? 1);
      case "queueDropOldest":
        return writer.queueDropOldest(session, a % 2 === 0 ? 0 : (place?.sequence ?? 1));
      case "inboundPut":
        return writer.inboundPut(session, 1 + (a % 4));
      case "inboundDelete":
        return writer.inboundDelete(session, 1 + (a % 4));
      case "retainedPut":
        return writer.retainedPut(this.#message(a, b));
      case "retainedDelete":
        return writer.retainedDelete(Buffer.from(`t/${b % 5}`));
      case "willPut":
        return writer.willPut(aWill(session, { delayInterval: a }), this.#message(a, b));
      case "willDue":
        return writer.willDue(session, 20_000 + a);
      case "willDelete":
        return writer.willDelete(session);
    }
  }

  /** A message, and its places in some of the sessions; sometimes in none. */
  #fanOut(writer: RecordWriter, a: number, b: number): void {
    const messageNumber = ++this.#messageNumber;
    writer.messagePut(messageNumber, this.#message(a, b));
    for (let session = 1; session <= SESSIONS; session++) {
      if (((b >> session) & 1) === 1) writer.queueRef(this.#place(session, a, b), messageNumber);
    }
    // To a message that is still to come, and to one that may be of this batch or of an earlier one.
    if (a % 16 === 0) writer.queueRef(this.#place(1, a, b), messageNumber + 1000);
    if (a % 16 === 1) writer.queueRef(this.#place(1, a, b), messageNumber - 1);
  }
}
