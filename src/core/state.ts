/**
 * Everything a running broker knows, in one place that every handler is given.
 *
 * No behaviour of its own: the tables, the ports, and what a turn lends (reader, views, the clock). Handlers change it;
 * nothing outside src/core does.
 */
import { ApplicationMessage } from "./application-message.ts";
import { PublishView } from "./codec/publish-view.ts";
import { Reader } from "./codec/reader.ts";
import type { Connection } from "./connection/connection.ts";
import { Deadline, Deadlines } from "./deadlines.ts";
import { Outbound } from "./delivery/outbound.ts";
import { Outboxes } from "./delivery/outbox.ts";
import type { BrokerConfig } from "./limits.ts";
import type { Ports } from "./ports.ts";
import { RetainedStore } from "./router/retained.ts";
import { Router } from "./router/router.ts";
import { TopicTable } from "./router/topic-table.ts";
import { Journal } from "./session/journal.ts";
import type { Session } from "./session/session.ts";
import { Statistics } from "./statistics.ts";

export class BrokerState {
  readonly config: BrokerConfig;
  readonly ports: Ports;
  readonly statistics = new Statistics();
  readonly deadlines = new Deadlines();
  readonly connections = new Set<Connection>();
  /** Connections whose CONNECT has not been accepted. */
  unauthenticated = 0;
  /** The same by address; no entry is zero. */
  readonly strangersByAddress = new Map<string, number>();
  /** By Client Identifier. */
  readonly sessions = new Map<string, Session>();
  /** Sessions without a connection, the one that left first in front. */
  readonly offline = new Set<Session>();
  readonly topics: TopicTable;
  readonly router: Router;
  readonly retained = new RetainedStore();
  /** What is to outlive the process. */
  readonly journal: Journal;
  /** Connections that are not read from until the store has caught up. */
  readonly awaitingStore = new Set<Connection>();
  readonly outboxes: Outboxes;
  readonly outbound: Outbound;
  /** Connections whose verdict is awaited, by request id. */
  readonly awaitingVerdict = new Map<number, Connection>();
  lastRequestId = 0;
  lastExchangeId = 0;
  readonly sysDeadline = new Deadline<undefined>("sys", undefined);
  startedAtMs: number;
  /** Milliseconds since 1970, as the input that is being handled said. */
  nowMs: number;
  /** Lent to whoever decodes a packet; one packet at a time. */
  readonly reader = new Reader();
  readonly publishView = new PublishView();
  /** The message of the PUBLISH being handled: borrowed. */
  readonly incoming = new ApplicationMessage();
  /** Set while the broker stops: nobody is let in. */
  stopping = false;

  /** A connection is a stranger no longer: let in, or gone. */
  countOut(remoteAddress: string): void {
    this.unauthenticated--;
    const strangers = this.strangersByAddress.get(remoteAddress) ?? 0;
    if (strangers > 1) this.strangersByAddress.set(remoteAddress, strangers - 1);
    else this.strangersByAddress.delete(remoteAddress);
  }

  constructor(config: BrokerConfig, ports: Ports, nowMs: number) {
    const { limits } = config;
    this.config = config;
    this.ports = ports;
    this.startedAtMs = nowMs;
    this.nowMs = nowMs;
    this.topics = new TopicTable(limits.topicLevelsMax);
    this.router = new Router(limits.topicLevelsMax, ports.ids.seed(), () => this.topics.forgetRoutes());
    this.journal = new Journal(ports.store, this);
    this.outboxes = new Outboxes(limits, this.statistics, this.journal);
    this.outbound = new Outbound(config, this.outboxes, this.journal, this.statistics, this.topics);
    this.reader.userPropertiesMax = limits.userPropertiesMax;
    this.reader.filtersMax = limits.filtersPerPacketMax;
    this.publishView.reader.userPropertiesMax = limits.userPropertiesMax;
  }
}
