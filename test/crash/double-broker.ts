/**
 * A broker small enough to be read at once, against which the judge itself is tested: sessions, QoS 1 and 2, retained messages,
 * shares. It has neither clock nor chance: the same packets from the same connections lead to the same state.
 *
 * Its state is open, so that double-faults.ts can do to it what a broken store would do. Not for any other use: it checks nothing.
 */
import { filterMatches } from "./plan.ts";
import * as wire from "./wire.ts";
import {
  decodeAcknowledgement,
  decodeConnect,
  decodePublish,
  decodeSubscribe,
  decodeUnsubscribe,
  numberOf,
  type Packet,
  PacketCutter,
} from "./wire-reader.ts";

export interface DoubleSubscription {
  readonly filter: string;
  qos: wire.Qos;
  identifier: number | null;
}

/** A message on its way to one session. */
export interface Queued {
  publish: wire.Publish;
  /** "waiting": never sent; else the last packet was PUBLISH, or PUBREL. */
  state: "waiting" | "sent" | "released";
}

export interface DoubleSession {
  readonly clientId: string;
  readonly subscriptions: Map<string, DoubleSubscription>;
  /** In flight first, then waiting. */
  queue: Queued[];
  /** QoS 2 identifiers of the client between PUBLISH and PUBREL. */
  readonly inbound: Set<number>;
  /** The last of them that ended. */
  readonly ended: number[];
  link: DoubleLink | null;
  receiveMaximum: number;
  outlives: boolean;
}

export class DoubleLink {
  session: DoubleSession | null = null;
  readonly send: (bytes: Uint8Array) => void;
  readonly close: () => void;
  readonly #broker: DoubleBroker;
  readonly #cutter = new PacketCutter();

  constructor(broker: DoubleBroker, send: (bytes: Uint8Array) => void, close: () => void) {
    this.#broker = broker;
    this.send = send;
    this.close = close;
  }

  receive(chunk: Uint8Array): void {
    for (const packet of this.#cutter.push(chunk)) this.#broker.packet(this, packet);
  }

  closed(): void {
    if (this.session !== null) this.#broker.closed(this, this.session);
  }
}

export class DoubleBroker {
  readonly sessions = new Map<string, DoubleSession>();
  readonly retained = new Map<string, wire.Publish>();
  /** What was retained before the present value. */
  readonly retainedBefore = new Map<string, wire.Publish>();
  readonly left: { readonly session: DoubleSession; readonly subscription: DoubleSubscription }[] = [];
  readonly discarded: DoubleSession[] = [];
  #turn = 0;

  packet(link: DoubleLink, packet: Packet): void {
    if (packet.type === wire.CONNECT) return this.#connect(link, decodeConnect(packet.body));
    const { session } = link;
    if (session === null) return link.close();
    if (packet.type === wire.PUBLISH) this.#publish(session, decodePublish(packet));
    else if (packet.type === wire.SUBSCRIBE) this.#subscribe(session, packet);
    else if (packet.type === wire.UNSUBSCRIBE) this.#unsubscribe(session, packet);
    else if (packet.type === wire.PINGREQ) link.send(wire.encodeEmpty(wire.PINGRESP));
    else if (packet.type === wire.DISCONNECT) link.close();
    else this.#acknowledgement(session, packet);
  }

  closed(link: DoubleLink, session: DoubleSession): void {
    if (session.link !== link) return;
    session.link = null;
    if (!session.outlives) this.sessions.delete(session.clientId);
  }

  #connect(link: DoubleLink, { clientId, cleanStart, properties }: wire.Connect): void {
    const before = this.sessions.get(clientId);
    before?.link?.close();
    if (cleanStart && before !== undefined) this.discarded.push(before);
    const session = (cleanStart ? undefined : before) ?? {
      clientId,
      subscriptions: new Map(),
      queue: [],
      inbound: new Set(),
      ended: [],
      link: null,
      receiveMaximum: 0,
      outlives: false,
    };
    this.sessions.set(clientId, session);
    session.link = link;
    session.receiveMaximum = numberOf(properties, wire.RECEIVE_MAXIMUM, 65_535);
    session.outlives = numberOf(properties, wire.SESSION_EXPIRY_INTERVAL, 0) > 0;
    link.session = session;
    link.send(wire.encodeConnack(session === before, wire.SUCCESS));
    for (const { state, publish } of session.queue) {
      if (state === "sent") link.send(wire.encodePublish({ ...publish, dup: true }));
      if (state === "released") link.send(wire.encodeAcknowledgement(wire.PUBREL, publish.packetId, wire.SUCCESS));
    }
    this.#pump(session);
  }

  #publish(session: DoubleSession, publish: wire.Publish): void {
    const { qos, packetId } = publish;
    const isKnown = qos === 2 && session.inbound.has(packetId);
    if (qos === 2) session.inbound.add(packetId);
    if (!isKnown) this.#route(publish);
    this.#answer(session, qos === 1 ? wire.PUBACK : wire.PUBREC, packetId, wire.SUCCESS);
  }

  #route(publish: wire.Publish): void {
    const { topicName, retain, payload } = publish;
    if (retain) this.#retain({ ...publish, payload: payload.slice() });
    const shares = new Map<string, DoubleSession[]>();
    for (const session of this.sessions.values()) {
      const matching = [...session.subscriptions.values()].filter(({ filter }) => filterMatches(filter, topicName));
      const own = matching.filter(({ filter }) => !filter.startsWith("$share/"));
      if (own.length > 0) this.#queue(session, own, publish);
      for (const { filter } of matching) {
        if (filter.startsWith("$share/")) shares.set(filter, [...(shares.get(filter) ?? []), session]);
      }
    }
    for (const [filter, members] of shares) {
      const online = members.filter(({ link }) => link !== null);
      const candidates = online.length > 0 ? online : members;
      const chosen = candidates[this.#turn++ % candidates.length]!;
      this.#queue(chosen, [chosen.subscriptions.get(filter)!], publish);
    }
  }

  #retain(publish: wire.Publish): void {
    const { topicName, payload } = publish;
    const before = this.retained.get(topicName);
    if (before !== undefined) this.retainedBefore.set(topicName, before);
    if (payload.length === 0) this.retained.delete(topicName);
    else this.retained.set(topicName, publish);
  }

  #queue(session: DoubleSession, subscriptions: readonly DoubleSubscription[], publish: wire.Publish): void {
    const qos = Math.min(publish.qos, Math.max(...subscriptions.map((subscription) => subscription.qos))) as wire.Qos;
    const identifiers = subscriptions.flatMap(({ identifier }) =>
      identifier === null ? [] : [[wire.SUBSCRIPTION_IDENTIFIER, identifier] as const],
    );
    const properties = [...publish.properties, ...identifiers];
    const copy = {
      ...publish,
      qos,
      dup: false,
      retain: false,
      packetId: 0,
      properties,
      payload: publish.payload.slice(),
    };
    if (qos === 0) {
      session.link?.send(wire.encodePublish(copy));
      return;
    }
    session.queue.push({ publish: copy, state: "waiting" });
    this.#pump(session);
  }

  /** Sends what waits, as far as the client's Receive Maximum allows. */
  #pump(session: DoubleSession): void {
    const { link, queue, receiveMaximum } = session;
    if (link === null) return;
    const inFlight = queue.filter(({ state }) => state !== "waiting");
    const used = new Set(inFlight.map(({ publish }) => publish.packetId));
    for (let at = inFlight.length; at < Math.min(queue.length, receiveMaximum); at++) {
      let packetId = 1;
      while (used.has(packetId)) packetId++;
      used.add(packetId);
      const queued = queue[at]!;
      queued.publish = { ...queued.publish, packetId };
      queued.state = "sent";
      link.send(wire.encodePublish(queued.publish));
    }
  }

  #acknowledgement(session: DoubleSession, packet: Packet): void {
    const { packetId } = decodeAcknowledgement(packet.body);
    if (packet.type === wire.PUBREL) {
      const wasOpen = session.inbound.delete(packetId);
      if (wasOpen) session.ended.push(packetId);
      return this.#answer(session, wire.PUBCOMP, packetId, wasOpen ? wire.SUCCESS : wire.PACKET_IDENTIFIER_NOT_FOUND);
    }
    const at = session.queue.findIndex(({ state, publish }) => state !== "waiting" && publish.packetId === packetId);
    if (packet.type === wire.PUBREC) {
      if (at >= 0) session.queue[at]!.state = "released";
      return this.#answer(session, wire.PUBREL, packetId, at >= 0 ? wire.SUCCESS : wire.PACKET_IDENTIFIER_NOT_FOUND);
    }
    if (at >= 0) session.queue.splice(at, 1);
    this.#pump(session);
  }

  #subscribe(session: DoubleSession, packet: Packet): void {
    const { packetId, properties, filters } = decodeSubscribe(packet.body);
    const identifier = numberOf(properties, wire.SUBSCRIPTION_IDENTIFIER, 0);
    for (const { filter, qos } of filters) {
      session.subscriptions.set(filter, { filter, qos, identifier: identifier === 0 ? null : identifier });
    }
    const answers = { packetId, reasonCodes: filters.map(({ qos }) => qos) };
    session.link?.send(wire.encodeAnswers(wire.SUBACK, answers));
    for (const { filter, retainHandling } of filters) {
      if (retainHandling !== 0) continue;
      for (const publish of this.retained.values()) {
        if (!filterMatches(filter, publish.topicName)) continue;
        session.link?.send(wire.encodePublish({ ...publish, qos: 0, dup: false }));
      }
    }
  }

  #unsubscribe(session: DoubleSession, packet: Packet): void {
    const { packetId, filters } = decodeUnsubscribe(packet.body);
    const reasonCodes = filters.map((filter) => {
      const subscription = session.subscriptions.get(filter);
      if (subscription === undefined) return wire.NO_SUBSCRIPTION_EXISTED;
      session.subscriptions.delete(filter);
      this.left.push({ session, subscription });
      return wire.SUCCESS;
    });
    session.link?.send(wire.encodeAnswers(wire.UNSUBACK, { packetId, reasonCodes }));
  }

  #answer(session: DoubleSession, type: number, packetId: number, reasonCode: number): void {
    session.link?.send(wire.encodeAcknowledgement(type, packetId, reasonCode));
  }
}
