/**
 * The broker's core in a worker of a browser: a MessagePort is the Wire, the worker's clock and timers are the host.
 *
 * The page sends `{ connect: name, port }` with a port of a MessageChannel; MQTT bytes go both ways over it as Uint8Array. An end
 * is told with a number: the reason code from the broker, anything from the client, who hangs up with it. Everything that
 * `src/bun` does for sockets is in this file.
 */
import { Broker } from "../../../../src/core/broker.ts";
import type { Connection } from "../../../../src/core/connection/connection.ts";
import { allowAll } from "../../../../src/core/gate/allow-all.ts";
import { DEFAULT_BROKER_CONFIG } from "../../../../src/core/limits.ts";
import type { Wire } from "../../../../src/core/ports.ts";

/** What the worker tells the page now and then. */
export interface BrokerNews {
  readonly connections: number;
  readonly sessions: number;
  readonly messagesReceived: number;
  readonly messagesSent: number;
}

export interface ConnectRequest {
  readonly connect: string;
  readonly port: MessagePort;
}

const TIMER_MS_MAX = 24 * 60 * 60 * 1000;

const nowMs = (): number => performance.timeOrigin + performance.now();

function randomText(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join("");
}

const ports = {
  auth: allowAll,
  log: { write: () => {} },
  ids: { clientId: () => randomText().slice(0, 23), seed: () => crypto.getRandomValues(new Uint32Array(1))[0]! },
};
const broker = new Broker({ ...DEFAULT_BROKER_CONFIG, sysIntervalMs: 0 }, ports, nowMs());

let isTurnOpen = false;
let timer: ReturnType<typeof setTimeout> | undefined;
let lastNews = "";

/** An input was given: the turn ends when the task is over. */
function schedule(): void {
  if (isTurnOpen) return;
  isTurnOpen = true;
  queueMicrotask(settle);
}

function settle(): void {
  isTurnOpen = false;
  const dueAtMs = broker.settle(nowMs());
  clearTimeout(timer);
  tellNews();
  if (dueAtMs === Number.POSITIVE_INFINITY) return;
  const tick = (): void => {
    broker.tick(nowMs());
    settle();
  };
  timer = setTimeout(tick, Math.min(Math.max(dueAtMs - nowMs(), 0), TIMER_MS_MAX));
}

function tellNews(): void {
  const { statistics } = broker;
  const news: BrokerNews = {
    connections: broker.connectionCount,
    sessions: broker.sessionCount,
    messagesReceived: statistics.publishReceived,
    messagesSent: statistics.publishSent,
  };
  const text = JSON.stringify(news);
  if (text === lastNews) return;
  lastNews = text;
  self.postMessage(news);
}

function open({ connect, port }: ConnectRequest): void {
  let isOpen = true;
  const end = (connection: Connection): void => {
    if (!isOpen) return;
    isOpen = false;
    broker.closed(connection, nowMs());
    schedule();
  };
  const wire: Wire = {
    remoteAddress: connect,
    listener: "message-port:",
    send: (bytes) => {
      port.postMessage(bytes.slice());
      return 0;
    },
    // A port cannot be asked to wait; what clients in the same tab can send is theirs to bear.
    pause: () => {},
    resume: () => {},
    close: (reasonCode) => {
      port.postMessage(reasonCode);
      // A port never calls back into the broker.
      queueMicrotask(() => end(connection));
    },
  };
  const connection = broker.open(wire, nowMs());
  port.onmessage = ({ data }: MessageEvent<Uint8Array | number>) => {
    if (!isOpen) return;
    if (typeof data === "number") return end(connection);
    broker.receive(connection, data, nowMs());
    schedule();
  };
  schedule();
}

self.onmessage = ({ data }: MessageEvent<ConnectRequest>) => open(data);
schedule();
