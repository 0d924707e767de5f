/**
 * What a broken store would do to a broker at a crash, done to the double on purpose: one function for each way to break the promise.
 *
 * Each answers nothing and changes the state between a kill and the next start. The judge must find every one of them.
 */
import type { DoubleBroker, DoubleSession, Queued } from "./double-broker.ts";
import type { Fault } from "./journal.ts";
import { makePayload, readPayload } from "./payload.ts";
import { USER_PROPERTY } from "./wire.ts";

export interface PlannedFault {
  readonly name: string;
  /** What the judge has to call it, one of these at least. */
  readonly found: readonly Fault[];
  strike(broker: DoubleBroker): void;
}

const sessionsOf = (broker: DoubleBroker): DoubleSession[] => [...broker.sessions.values()];
const subscribersOf = (broker: DoubleBroker): DoubleSession[] => {
  return sessionsOf(broker).filter(({ subscriptions }) => subscriptions.size > 0);
};
const waitingOf = (session: DoubleSession): Queued[] => session.queue.filter(({ state }) => state === "waiting");
const everyWaiting = (broker: DoubleBroker): Queued[] => sessionsOf(broker).flatMap(waitingOf);

function forEachWaiting(broker: DoubleBroker, change: (queued: Queued) => void): void {
  for (const queued of everyWaiting(broker)) change(queued);
}

function forEachOpen(broker: DoubleBroker, change: (queued: Queued, session: DoubleSession) => void): void {
  for (const session of sessionsOf(broker)) {
    for (const queued of session.queue) {
      if (queued.publish.qos === 2 && queued.state !== "waiting") change(queued, session);
    }
  }
}

export const PLANNED_FAULTS: readonly PlannedFault[] = [
  {
    name: "the newest messages of each queue are gone",
    found: ["lost"],
    strike: (broker) => {
      for (const session of sessionsOf(broker)) {
        session.queue.splice(Math.max(session.queue.length - 3, session.queue.length - waitingOf(session).length));
      }
    },
  },
  {
    name: "QoS 2 identifiers of clients are kept after their PUBCOMP",
    found: ["lost"],
    strike: (broker) => {
      for (const { inbound, ended } of sessionsOf(broker)) for (const packetId of ended) inbound.add(packetId);
    },
  },
  {
    name: "QoS 2 identifiers of clients between PUBLISH and PUBREL are forgotten",
    found: ["duplicate", "identifier"],
    strike: (broker) => {
      for (const { inbound } of sessionsOf(broker)) inbound.clear();
    },
  },
  {
    name: "QoS 2 deliveries under way get new identifiers",
    found: ["duplicate"],
    strike: (broker) =>
      forEachOpen(broker, (queued) => {
        queued.publish = { ...queued.publish, packetId: queued.publish.packetId + 1000 };
      }),
  },
  {
    name: "a PUBREC that was received is forgotten",
    found: ["duplicate"],
    strike: (broker) =>
      forEachOpen(broker, (queued) => {
        queued.state = "sent";
      }),
  },
  {
    name: "QoS 2 deliveries under way exchange their identifiers",
    found: ["identifier"],
    strike: (broker) =>
      forEachOpen(broker, (queued, { queue }) => {
        const other = queue.find(
          ({ publish, state }) => state === "sent" && publish.qos === 2 && publish !== queued.publish,
        );
        if (other === undefined || queued.state !== "sent") return;
        const { packetId } = other.publish;
        other.publish = { ...other.publish, packetId: queued.publish.packetId };
        queued.publish = { ...queued.publish, packetId };
      }),
  },
  {
    name: "queues are turned round",
    found: ["disorder"],
    strike: (broker) => {
      for (const session of sessionsOf(broker)) {
        const waiting = waitingOf(session);
        session.queue.splice(session.queue.length - waiting.length, waiting.length, ...waiting.reverse());
      }
    },
  },
  {
    name: "a session is gone",
    found: ["session"],
    strike: (broker) => void broker.sessions.delete(subscribersOf(broker)[0]!.clientId),
  },
  {
    name: "what waited for a session that was discarded is back",
    found: ["subscription"],
    strike: ({ discarded, sessions }) => {
      const session = discarded.findLast(({ queue }) => queue.length > 0);
      if (session === undefined) return;
      const back = session.queue.map(({ publish }) => ({ publish, state: "waiting" }) as const);
      sessions.get(session.clientId)?.queue.push(...back);
    },
  },
  {
    name: "subscriptions are gone",
    found: ["lost"],
    strike: (broker) => {
      for (const { subscriptions } of subscribersOf(broker)) subscriptions.clear();
    },
  },
  {
    name: "the last subscription of a session is gone",
    found: ["subscription"],
    strike: (broker) => {
      for (const { subscriptions } of subscribersOf(broker)) {
        const last = [...subscriptions.keys()].at(-1);
        if (last !== undefined) subscriptions.delete(last);
      }
    },
  },
  {
    name: "a subscription that was ended is back",
    found: ["subscription"],
    strike: ({ left }) => {
      for (const { session, subscription } of left) session.subscriptions.set(subscription.filter, subscription);
    },
  },
  {
    name: "a subscription has another QoS",
    found: ["damaged"],
    strike: (broker) => {
      for (const { subscriptions } of subscribersOf(broker))
        for (const subscription of subscriptions.values()) subscription.qos = 1;
    },
  },
  {
    name: "a Subscription Identifier is gone",
    found: ["damaged"],
    strike: (broker) => {
      for (const { subscriptions } of subscribersOf(broker))
        for (const subscription of subscriptions.values()) subscription.identifier = null;
    },
  },
  {
    name: "retained messages are those of before",
    found: ["retained"],
    strike: ({ retained, retainedBefore }) => {
      for (const [topicName, publish] of retainedBefore) if (retained.has(topicName)) retained.set(topicName, publish);
    },
  },
  {
    name: "retained messages are gone",
    found: ["retained"],
    strike: ({ retained }) => retained.clear(),
  },
  {
    name: "retained messages that were cleared are back",
    found: ["retained"],
    strike: ({ retained, retainedBefore }) => {
      for (const [topicName, publish] of retainedBefore) if (!retained.has(topicName)) retained.set(topicName, publish);
    },
  },
  {
    name: "a bit of a payload has changed",
    found: ["damaged"],
    strike: (broker) =>
      forEachWaiting(broker, ({ publish }) => {
        publish.payload[20]! ^= 4;
      }),
  },
  {
    name: "a User Property is gone",
    found: ["damaged"],
    strike: (broker) =>
      forEachWaiting(broker, (queued) => {
        const { properties } = queued.publish;
        queued.publish = {
          ...queued.publish,
          properties: properties.filter(([identifier]) => identifier !== USER_PROPERTY),
        };
      }),
  },
  {
    name: "a message is there that nobody sent",
    found: ["unsent"],
    strike: (broker) =>
      forEachWaiting(broker, (queued) => {
        const mark = readPayload(queued.publish.payload);
        if (mark === null) return;
        const payload = makePayload({ stream: mark.stream, number: mark.number + 1_000_000 }, 10);
        queued.publish = { ...queued.publish, payload };
      }),
  },
];
