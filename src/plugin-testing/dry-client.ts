/**
 * A client without a socket: MQTT packets in and out of a broker in memory.
 *
 * Also what a test may say of a client that wants in, and the same as the contract's ConnectRequest.
 */
import type { Broker } from "../core/broker.ts";
import { Framer } from "../core/codec/framer.ts";
import { decodePacket, encodePacket, type Packet, type ProtocolLevel, type QoS } from "../core/codec/packet.ts";
import type { Properties } from "../core/codec/property.ts";
import { Reader } from "../core/codec/reader.ts";
import { Writer } from "../core/codec/writer.ts";
import type { Connection } from "../core/connection/connection.ts";
import type { ConnectRequest, Peer, PeerCertificate, Principal, UpgradeRequest } from "../core/gate/provider.ts";
import type { Wire } from "../core/ports.ts";
import { bytesOf, type LentServices } from "./lent-services.ts";

/** A client that wants in. What is left off is absent, but for the level (5), a client id, Clean Start and the address. */
export interface ClientInit {
  readonly level?: ProtocolLevel;
  readonly clientId?: string;
  readonly cleanStart?: boolean;
  readonly username?: string | undefined;
  readonly password?: string | Uint8Array | undefined;
  readonly will?: { readonly topicName: string; readonly qos?: QoS; readonly retain?: boolean };
  readonly userProperties?: readonly (readonly [string, string])[];
  readonly address?: string;
  readonly listener?: string;
  readonly certificate?: PeerCertificate;
  readonly upgrade?: Partial<UpgradeRequest>;
}

const DEFAULT_CLIENT_ID = "client";

export function peerOf(init: ClientInit): Peer {
  const { certificate, upgrade, address = "192.0.2.1", listener = "mqtt://test.invalid:1883" } = init;
  return {
    address,
    listener,
    ...(certificate === undefined ? {} : { certificate }),
    ...(upgrade === undefined
      ? {}
      : { upgrade: { origin: undefined, authorization: undefined, cookies: {}, query: {}, ...upgrade } }),
  };
}

export function connectRequestOf(init: ClientInit, method?: string, current?: Principal): ConnectRequest {
  const { password, will } = init;
  return {
    protocolLevel: init.level ?? 5,
    clientId: init.clientId ?? DEFAULT_CLIENT_ID,
    cleanStart: init.cleanStart ?? true,
    username: init.username,
    password: password === undefined ? undefined : bytesOf(password).slice(),
    authenticationMethod: method,
    userProperties: init.userProperties ?? [],
    will:
      will === undefined ? undefined : { topicName: will.topicName, qos: will.qos ?? 0, retain: will.retain ?? false },
    peer: peerOf(init),
    current,
  };
}

export function connectPacketOf(init: ClientInit, method?: string, data?: Uint8Array): Packet {
  const properties: Properties = {};
  if (method !== undefined) properties.authenticationMethod = method;
  if (data !== undefined) properties.authenticationData = data;
  if (init.userProperties !== undefined) properties.userProperties = init.userProperties.map(([k, v]) => [k, v]);
  const packet: Packet = {
    type: "connect",
    protocolLevel: init.level ?? 5,
    cleanStart: init.cleanStart ?? true,
    keepAlive: 0,
    clientId: init.clientId ?? DEFAULT_CLIENT_ID,
    properties,
  };
  const { will } = init;
  if (will !== undefined) {
    const { topicName, qos = 0, retain = false } = will;
    packet.will = { topicName, payload: new Uint8Array(0), qos, retain, properties: {} };
  }
  if (init.username !== undefined) packet.username = init.username;
  if (init.password !== undefined) packet.password = bytesOf(init.password);
  return packet;
}

export class DryClient implements Wire {
  readonly remoteAddress: string;
  readonly listener: string;
  readonly peer: Peer;
  readonly connection: Connection;
  /** Set once the broker has closed the connection: the reason it gave. */
  closedWith: number | undefined;
  readonly #broker: Broker;
  readonly #services: LentServices;
  readonly #level: ProtocolLevel;
  readonly #framer = new Framer(Number.MAX_SAFE_INTEGER);
  readonly #packets: Packet[] = [];
  #wake: () => void = () => {};
  #packetId = 0;

  constructor(broker: Broker, services: LentServices, level: ProtocolLevel, peer: Peer) {
    this.#broker = broker;
    this.#services = services;
    this.#level = level;
    this.peer = peer;
    this.remoteAddress = peer.address;
    this.listener = peer.listener;
    this.connection = broker.open(this, services.nowMs);
    broker.settle(services.nowMs);
  }

  // --- Wire

  send(bytes: Uint8Array): number {
    this.#framer.feed(bytes.slice());
    while (this.#framer.next()) {
      const { bytes: packet, packetStart, bodyStart, bodyEnd } = this.#framer;
      const body = packet.slice(bodyStart, bodyEnd);
      this.#packets.push(decodePacket(packet[packetStart]!, new Reader(body), this.#level));
    }
    this.#wake();
    return 0;
  }

  pause(): void {}

  resume(): void {}

  close(reasonCode: number): void {
    this.closedWith ??= reasonCode;
    this.#wake();
  }

  // --- what the client does

  write(packet: Packet): void {
    const writer = new Writer();
    encodePacket(writer, packet, this.#level);
    this.#broker.receive(this.connection, writer.view().slice(), this.#services.nowMs);
    this.#broker.settle(this.#services.nowMs);
  }

  /** The network fails, if it has not yet. */
  hangUp(): void {
    this.closedWith ??= 0;
    this.#broker.closed(this.connection, this.#services.nowMs);
    this.#broker.settle(this.#services.nowMs);
    this.#wake();
  }

  /** The next packet; undefined once the connection is closed and everything was taken. */
  async next(): Promise<Packet | undefined> {
    while (this.#packets.length === 0 && this.closedWith === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#packets.shift();
  }

  /** Whether a message on this topic has come; whatever has come is taken. */
  hasReceived(topicName: string): boolean {
    return this.#packets.splice(0).some((packet) => packet.type === "publish" && packet.topicName === topicName);
  }

  /** Publishes an empty message with the whole handshake of its QoS. */
  publish(topicName: string, qos: QoS, retain: boolean): void {
    const packet = {
      type: "publish",
      dup: false,
      qos,
      retain,
      topicName,
      payload: new Uint8Array(0),
      properties: {},
    } as const;
    const packetId = this.#nextPacketId();
    this.write(qos === 0 ? packet : { ...packet, packetId });
    const isOpen = this.#packets.splice(0).some((answer) => answer.type === "pubrec" && answer.reasonCode < 0x80);
    if (isOpen) this.write({ type: "pubrel", packetId, reasonCode: 0, properties: {} });
    this.#packets.length = 0;
  }

  /** Subscribes; the reason code of SUBACK. */
  subscribe(topicFilter: string, qos: QoS): number {
    const filter = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 2 } as const;
    this.write({ type: "subscribe", packetId: this.#nextPacketId(), filters: [filter], properties: {} });
    const suback = this.#packets.splice(0).find((answer) => answer.type === "suback");
    const reasonCode = suback?.reasonCodes[0];
    if (reasonCode === undefined) throw new RangeError(`${topicFilter}: the connection ended instead of a SUBACK`);
    return reasonCode;
  }

  unsubscribe(topicFilter: string): void {
    this.write({ type: "unsubscribe", packetId: this.#nextPacketId(), topicFilters: [topicFilter], properties: {} });
    this.#packets.length = 0;
  }

  #nextPacketId(): number {
    return (this.#packetId = (this.#packetId % 65_535) + 1);
  }
}
