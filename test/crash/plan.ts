/**
 * Who talks to whom in a run: the streams of messages, who publishes them, and the subscriptions and habits of the subscribers.
 *
 * A stream is the messages of one publisher to one topic at one QoS, numbered from 1: the unit for which MQTT promises an order.
 */
import type { Qos } from "./wire.ts";

export interface Stream {
  readonly index: number;
  readonly publisher: number;
  readonly qos: 1 | 2;
  /**
   * "plain": nothing but messages. "kept": each is retained and replaces the one before. "cleared": odd numbers retain a message on a
   * topic of their own, and the even number after it clears that topic.
   */
  readonly kind: "plain" | "kept" | "cleared";
  /** Messages carry properties that have to arrive as they were sent. */
  readonly decorated: boolean;
  topicName(number: number): string;
}

export interface PlannedFilter {
  readonly filter: string;
  readonly qos: Qos;
  /** Subscription Identifier; null: none. */
  readonly identifier: number | null;
}

/**
 * "stays": always back as soon as it can. "leaves": now and then away for a while. "away": mostly away. "changes": subscribes and
 * unsubscribes. "renews": begins a new session under its name now and then.
 */
export type Habit = "stays" | "leaves" | "away" | "changes" | "renews";

export interface PlannedSubscriber {
  readonly name: string;
  readonly habit: Habit;
  readonly filters: readonly PlannedFilter[];
  /** Members of one share receive together what each alone would; null: for itself. */
  readonly share: string | null;
}

export interface Plan {
  readonly publisherCount: number;
  readonly streams: readonly Stream[];
  readonly subscribers: readonly PlannedSubscriber[];
}

export type QosChoice = "1" | "2" | "both";

export function makePlan(qosChoice: QosChoice, publisherCount: number): Plan {
  const streams: Stream[] = [];
  for (let publisher = 0; publisher < publisherCount; publisher++) {
    for (const qos of [1, 2] as const) {
      if (qosChoice !== "both" && qosChoice !== `${qos}`) continue;
      const add = (kind: Stream["kind"], decorated: boolean, topicName: Stream["topicName"]): void => {
        streams.push({ index: streams.length, publisher, qos, kind, decorated, topicName });
      };
      add("plain", true, () => `crash/p${publisher}/q${qos}`);
      add("plain", false, () => `crash/all/q${qos}`);
      add("kept", publisher % 2 === 0, () => `crash/p${publisher}/kept/q${qos}`);
      add("cleared", false, (number) => `cleared/p${publisher}q${qos}/${number + (number % 2)}`);
    }
  }
  return { publisherCount, streams, subscribers: makeSubscribers(publisherCount) };
}

function makeSubscribers(publisherCount: number): PlannedSubscriber[] {
  const own = (habit: Habit, name: string, filters: readonly PlannedFilter[]): PlannedSubscriber => {
    return { name, habit, filters, share: null };
  };
  const plain = (filter: string, qos: Qos): PlannedFilter => ({ filter, qos, identifier: null });
  const share = "$share/pair/crash/#";
  const changing = Array.from({ length: publisherCount }, (_, at) => [
    plain(`crash/p${at}/+`, 2),
    plain(`crash/p${at}/kept/+`, 1),
  ]).flat();
  return [
    own("stays", "stays-2", [{ filter: "crash/#", qos: 2, identifier: 7 }]),
    own("stays", "stays-1", [plain("crash/#", 1)]),
    own("away", "away", [plain("crash/#", 2)]),
    own("leaves", "overlap", [
      { filter: "crash/#", qos: 1, identifier: 268_435_455 },
      { filter: "crash/+/q2", qos: 2, identifier: 1 },
      { filter: "crash/all/#", qos: 2, identifier: 300 },
    ]),
    { name: "share-a", habit: "stays", filters: [{ filter: share, qos: 2, identifier: 12 }], share: "pair" },
    { name: "share-b", habit: "leaves", filters: [{ filter: share, qos: 2, identifier: 12 }], share: "pair" },
    own("changes", "changes", [...changing, plain("crash/all/+", 2)]),
    own("renews", "renews", [plain("crash/all/#", 2), plain("crash/p0/#", 1)]),
  ];
}

/** Whether a Topic Filter selects a topic (section 4.7); the share before a filter does not matter for that. */
export function filterMatches(filter: string, topicName: string): boolean {
  const filterLevels = filter.startsWith("$share/") ? filter.split("/").slice(2) : filter.split("/");
  const topicLevels = topicName.split("/");
  for (const [at, level] of filterLevels.entries()) {
    if (level === "#") return true;
    if (topicLevels[at] === undefined || (level !== "+" && level !== topicLevels[at])) return false;
  }
  return filterLevels.length === topicLevels.length;
}
