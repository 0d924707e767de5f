/** What a receiver must and may receive, and when its judge speaks up: told by events in an order that is written down here. */
import { beforeEach, describe, expect, test } from "bun:test";
import { Journal } from "./journal.ts";
import { filterMatches, type Stream } from "./plan.ts";
import { type Delivery, Receiver, Subscription } from "./receiver.ts";

const stream: Stream = { index: 0, publisher: 0, qos: 2, kind: "plain", decorated: false, topicName: () => "crash/a" };
let journal: Journal;
let subscription: Subscription;
let receiver: Receiver;

beforeEach(() => {
  journal = new Journal(null);
  subscription = new Subscription({ filter: "crash/#", qos: 2, identifier: 5 }, journal);
  receiver = new Receiver("one", false, [stream], [subscription], journal);
});

function subscribe(): void {
  subscription.asked();
  subscription.granted();
}

function unsubscribe(): void {
  subscription.leaving();
  subscription.left();
}

function publish(number: number): void {
  journal.sent(stream, number);
  journal.acked(stream, number);
}

function arrive(number: number, other: Partial<Delivery> = {}): void {
  receiver.arrived("one", { topicName: "crash/a", qos: 2, identifiers: [5], mark: { stream: 0, number }, ...other });
}

const faults = (): string[] => [...journal.faults.keys()];
const missing = (): number => receiver.missing(0).count;

describe("must arrive", () => {
  test("what was sent after SUBACK and acknowledged before UNSUBSCRIBE", () => {
    publish(1);
    subscription.asked();
    publish(2);
    subscription.granted();
    publish(3);
    publish(4);
    journal.sent(stream, 5);
    unsubscribe();
    journal.acked(stream, 5);
    publish(6);
    expect(missing()).toBe(2);
    arrive(3);
    expect(missing()).toBe(1);
    arrive(4);
    expect(missing()).toBe(0);
    expect(faults()).toEqual([]);
  });

  test("nothing that was not acknowledged", () => {
    subscribe();
    journal.sent(stream, 1);
    expect(missing()).toBe(0);
  });

  test("nothing that waited in a session that was discarded", () => {
    subscribe();
    publish(1);
    subscription.discarding();
    subscription.left();
    subscribe();
    publish(2);
    expect(receiver.missing(9).examples).toEqual([expect.stringContaining("number 2")]);
  });
});

describe("may arrive", () => {
  test("what was under way while there was a subscription", () => {
    journal.sent(stream, 1);
    subscribe();
    journal.acked(stream, 1);
    journal.sent(stream, 2);
    unsubscribe();
    journal.acked(stream, 2);
    arrive(1);
    arrive(2);
    expect(faults()).toEqual([]);
  });

  test.each(["before SUBSCRIBE", "after UNSUBACK", "in a session that was discarded"])(
    "not what was all over %s",
    (when) => {
      if (when !== "before SUBSCRIBE") subscribe();
      if (when === "after UNSUBACK") unsubscribe();
      publish(1);
      if (when === "in a session that was discarded") {
        subscription.discarding();
        subscription.left();
      }
      subscribe();
      arrive(1);
      expect(faults()).toEqual(["subscription"]);
    },
  );
});

describe("is noticed:", () => {
  beforeEach(subscribe);

  test.each([
    ["a number that was never sent", "unsent", () => arrive(9)],
    ["a message of another QoS", "damaged", () => arrive(1, { qos: 1 })],
    ["a Subscription Identifier too many", "damaged", () => arrive(1, { identifiers: [5, 6] })],
    ["another topic", "damaged", () => arrive(1, { topicName: "crash/b" })],
    ["a QoS 2 message for the second time", "duplicate", () => [1, 1].map((number) => arrive(number))],
    ["an earlier message behind a later one", "disorder", () => [2, 1].map((number) => arrive(number))],
    ["a stream that nobody here asked for", "subscription", () => arrive(1, { mark: { stream: 7, number: 1 } })],
  ])("%s", (_, fault, happens) => {
    publish(1);
    publish(2);
    happens();
    expect(faults()).toEqual([fault]);
  });

  test("no disorder where there was no subscription from first to last", () => {
    journal.sent(stream, 1);
    unsubscribe();
    subscribe();
    publish(2);
    arrive(2);
    journal.acked(stream, 1);
    arrive(1);
    expect(faults()).toEqual([]);
  });

  test("no disorder in a share", () => {
    receiver = new Receiver("pair", true, [stream], [subscription], journal);
    publish(1);
    publish(2);
    arrive(2);
    arrive(1);
    expect(faults()).toEqual([]);
  });

  test("QoS 1 may come again, and is counted", () => {
    subscription = new Subscription({ filter: "crash/#", qos: 1, identifier: null }, journal);
    receiver = new Receiver("one", false, [stream], [subscription], journal);
    subscribe();
    publish(1);
    for (let i = 0; i < 300; i++) arrive(1, { qos: 1, identifiers: [] });
    expect([faults(), journal.repeatedCount, receiver.arrivedCount]).toEqual([[], 299, 1]);
  });
});

test.each([
  ["crash/#", "crash/a/b", true],
  ["crash/#", "crash", true],
  ["crash/+", "crash/a", true],
  ["crash/+", "crash/a/b", false],
  ["crash/+/b", "crash/a/b", true],
  ["$share/g/crash/#", "crash/a", true],
  ["crash/a", "crash/b", false],
  ["crash/a/b", "crash/a", false],
])("the filter %s and the topic %s: %p", (filter, topicName, matches) => {
  expect(filterMatches(filter, topicName)).toBe(matches);
});
