/**
 * MQTT.js, as the interop tests use it: clients that never reconnect by themselves, and inboxes that keep what arrives from the
 * first byte on (a resumed session delivers before the caller of `connect` gets the word).
 *
 * Invariant: every client opened here is closed by `closeClients`.
 */
import { connect, type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from "mqtt";
import type { BrokerProcess } from "../support/broker-process.ts";
import { uniqueName } from "./suite.ts";

export type ProtocolVersion = 3 | 4 | 5;

export interface Target {
  readonly name: string;
  readonly protocolVersion: ProtocolVersion;
  readonly transport: "tcp" | "ws";
}

export const TARGETS_V5: readonly Target[] = [
  { name: "MQTT 5.0 over TCP", protocolVersion: 5, transport: "tcp" },
  { name: "MQTT 5.0 over WebSocket", protocolVersion: 5, transport: "ws" },
];

export interface Received {
  /** Of the client that got it. */
  readonly clientId: string;
  readonly topicName: string;
  readonly payload: Buffer;
  readonly text: string;
  readonly packet: IPublishPacket;
}

export interface Inbox {
  readonly all: readonly Received[];
  add(message: Received): void;
  /** The next `count` messages in order of arrival. */
  take(count: number): Promise<readonly Received[]>;
  next(): Promise<Received>;
}

export interface Connected {
  readonly client: MqttClient;
  readonly inbox: Inbox;
  readonly connack: IConnackPacket;
}

const openClients = new Set<MqttClient>();
export function newInbox(): Inbox {
  const all: Received[] = [];
  let read = 0;
  let wanted = 0;
  let found: ((messages: readonly Received[]) => void) | undefined;
  const search = (): void => {
    if (found === undefined || all.length - read < wanted) return;
    const messages = all.slice(read, read + wanted);
    read += wanted;
    const answer = found;
    found = undefined;
    answer(messages);
  };
  const take = (count: number): Promise<readonly Received[]> =>
    new Promise((resolve) => {
      if (found !== undefined) throw new Error("one wait for messages at a time");
      wanted = count;
      found = resolve;
      search();
    });
  return {
    all,
    add: (message) => {
      all.push(message);
      search();
    },
    take,
    next: async () => (await take(1))[0]!,
  };
}

export async function connectClient(
  broker: BrokerProcess,
  target: Target,
  options: IClientOptions = {},
  inbox: Inbox = newInbox(),
): Promise<Connected> {
  const clientId = options.clientId ?? uniqueName("mqttjs");
  const client = connect(target.transport === "tcp" ? broker.tcpUrl : broker.wsUrl, {
    protocolVersion: target.protocolVersion,
    protocolId: target.protocolVersion === 3 ? "MQIsdp" : "MQTT",
    connectTimeout: 60_000,
    ...options,
    clientId,
    reconnectPeriod: 0,
    // Else MQTT.js remembers subscriptions and sends no SUBSCRIBE for a filter that it knows.
    resubscribe: false,
  });
  openClients.add(client);
  client.on("message", (topicName, payload, packet) => {
    inbox.add({ clientId, topicName, payload, text: payload.toString("utf8"), packet });
  });
  const connack = await new Promise<IConnackPacket>((resolve, reject) => {
    client.once("connect", resolve);
    client.once("error", reject);
    client.once("close", () => reject(new Error("closed before CONNACK")));
  });
  // Later errors show as messages or packets that do not come; without a listener they would end the test runner.
  client.on("error", () => {});
  return { client, inbox, connack };
}

/** Cut the Network Connection without a DISCONNECT. */
export async function cut(client: MqttClient): Promise<void> {
  const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
  client.stream.destroy();
  await closed;
}

export async function closeClients(): Promise<void> {
  const clients = [...openClients];
  openClients.clear();
  await Promise.all(clients.map((client) => client.endAsync(true)));
}

/** Publish all, at most `window` of them unacknowledged at a time. */
export async function publishAll(
  client: MqttClient,
  messages: readonly { readonly topicName: string; readonly payload: string; readonly qos: 0 | 1 | 2 }[],
  window = 100,
): Promise<void> {
  for (let start = 0; start < messages.length; start += window) {
    const batch = messages.slice(start, start + window);
    await Promise.all(batch.map(({ topicName, payload, qos }) => client.publishAsync(topicName, payload, { qos })));
  }
}
