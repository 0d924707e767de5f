/** The $SYS topics: what the broker says of itself, as retained messages that no client can write. */
import { ApplicationMessage } from "../application-message.ts";
import { encodeUtf8 } from "../codec/utf8.ts";
import type { BrokerState } from "../state.ts";
import { routeMessage } from "./route-message.ts";

/** Topic Names under $SYS/broker/ and what they say. */
const TOPICS: readonly (readonly [name: string, value: (state: BrokerState) => string | number])[] = [
  ["version", (state) => state.config.version],
  ["uptime", (state) => Math.floor((state.nowMs - state.startedAtMs) / 1000)],
  ["clients/connected", (state) => state.sessions.size - state.offline.size],
  ["clients/disconnected", (state) => state.offline.size],
  ["clients/total", (state) => state.sessions.size],
  ["connections/opened", (state) => state.statistics.connectionsOpened],
  ["connections/refused", (state) => state.statistics.connectsRefused],
  ["messages/received", (state) => state.statistics.packetsReceived],
  ["publish/messages/received", (state) => state.statistics.publishReceived],
  ["publish/messages/sent", (state) => state.statistics.publishSent],
  ["publish/messages/dropped", (state) => state.statistics.droppedTotal],
  ["bytes/received", (state) => state.statistics.bytesReceived],
  ["bytes/sent", (state) => state.statistics.bytesSent],
  ["subscriptions/count", (state) => state.router.subscriptionCount],
  ["retained messages/count", (state) => state.retained.count],
];

/** Publishes all of them and sets the time of the next round. */
export function publishStatistics(state: BrokerState): void {
  for (const [name, value] of TOPICS) {
    const payload = encodeUtf8(String(value(state)));
    const message = new ApplicationMessage();
    const topic = state.topics.ofText(`$SYS/broker/${name}`);
    message.topicName = topic;
    message.retain = true;
    message.payload = payload;
    message.payloadEnd = payload.length;
    message.owned = true;
    routeMessage(state, topic, message, null);
  }
  state.deadlines.set(state.sysDeadline, state.nowMs + state.config.sysIntervalMs);
}
