/**
 * The brokers that the page plays with: an open one, one behind an Origin list, one that asks who is there, and short-lived ones
 * that the page may stop and start.
 *
 * Everything is in this process, with the real listeners and the real plugins. What pages can make is bounded.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBroker, type ListenerOptions, type RunningBroker } from "rqtt";
import type { AuthPlugin, Verdict } from "rqtt/plugin";
import jwt from "../../plugins/jwt.ts";
import { Framer } from "../../src/core/codec/framer.ts";
import { decodePacket, encodePacket, type Packet } from "../../src/core/codec/packet.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { AUDIENCE, ISSUER, newKey, pemOf, type SigningKey, signToken } from "../support/token-kit.ts";

const TICKETS_MAX = 1000;
const SPARES_MAX = 8;
/** There from the start, so that a browser can be told of their ports before it runs. */
const SPARES_AT_FIRST = 2;
const FLOOD_BYTES_MAX = 64 * 1024 * 1024;

export interface StageOptions {
  /** Address that the listeners bind. */
  readonly host: string;
  /** Origins of the page. */
  readonly origins: readonly string[];
  /** PEM; with it the listeners are `wss`. */
  readonly tls: { readonly certificate: string; readonly key: string } | undefined;
}

/** A broker with a store of its own, which outlives its stops. */
interface Spare {
  readonly folder: string;
  /** With the port that it had at first. */
  url: string;
  broker: RunningBroker | undefined;
}

export interface Flood {
  readonly topicName: string;
  readonly count: number;
  readonly payloadBytes: number;
  readonly qos: 0 | 1;
}

export class Stage {
  readonly ports: { readonly open: number; readonly refusing: number; readonly listed: number; readonly login: number };
  readonly packetBytesMax = DEFAULT_LIMITS.packetBytesMax;
  readonly #options: StageOptions;
  readonly #folder: string;
  readonly #open: RunningBroker;
  readonly #login: RunningBroker;
  readonly #door: Door;
  readonly #key: SigningKey;
  /** The oldest first. */
  readonly #spares = new Map<string, Spare>();
  /** Names of those that no page has asked for yet. */
  readonly #unused: string[] = [];
  #serial = 0;

  private constructor(
    options: StageOptions,
    folder: string,
    brokers: { open: RunningBroker; login: RunningBroker },
    door: Door,
    key: SigningKey,
  ) {
    this.#options = options;
    this.#folder = folder;
    this.#open = brokers.open;
    this.#login = brokers.login;
    this.#door = door;
    this.#key = key;
    const [open = 0, refusing = 0, listed = 0] = brokers.open.urls.map(portOf);
    this.ports = { open, refusing, listed, login: portOf(brokers.login.urls[0]!) };
  }

  static async open(options: StageOptions): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), "rqtt-browsers-"));
    const key = await newKey("ES256", "page");
    await writeFile(join(folder, "issuer.pem"), await pemOf(key));
    const door = new Door();
    const plain = listenerOf(options);
    const open = await createBroker({ listeners: [plain, plain, { ...plain, origins: options.origins }] });
    const issuer = {
      issuer: ISSUER,
      audience: AUDIENCE,
      algorithms: ["ES256"],
      keys: { file: join(folder, "issuer.pem") },
      clockSkewSeconds: 0,
      rules: [{ allow: [{ on: "both", filter: "token/${claim.sub}/#" }] }],
    };
    const plugins = [{ plugin: door.plugin }, { plugin: jwt, config: { issuers: { page: issuer } } }];
    const login = await createBroker({ listeners: [plain], plugins });
    const stage = new Stage(options, folder, { open, login }, door, key);
    for (let index = 0; index < SPARES_AT_FIRST; index++) stage.#unused.push(await stage.#makeSpare());
    return stage;
  }

  /** Every port that is listened at. */
  get allPorts(): number[] {
    return [...Object.values(this.ports), ...[...this.#spares.values()].map(({ url }) => portOf(url))];
  }

  /** The value of a cookie that lets its bearer in, whose user name is "cookie". */
  newCookie(): string {
    return this.#door.issue("cookie");
  }

  /** A ticket that is good for one connection. */
  newTicket(): string {
    return this.#door.issue("ticket");
  }

  newToken(subject: string, seconds: number): Promise<string> {
    const nowSeconds = Math.floor(Date.now() / 1000);
    return signToken(this.#key, { claims: { sub: subject, iat: nowSeconds, exp: nowSeconds + seconds } });
  }

  /** Publishes numbered messages to the open broker as fast as it takes them; resolves when it has them all. */
  async flood({ topicName, count, payloadBytes, qos }: Flood): Promise<void> {
    const bytes = count * payloadBytes;
    if (!(bytes >= 0 && bytes <= FLOOD_BYTES_MAX) || payloadBytes < 4)
      throw new RangeError("a flood of too many bytes");
    const talk = new InProcessTalk(this.#open);
    try {
      await talk.connect(`flood-${++this.#serial}`);
      const payload = new Uint8Array(payloadBytes);
      for (let index = 0; index < count; index++) {
        new DataView(payload.buffer).setUint32(0, index);
        const packet: Packet = {
          type: "publish",
          topicName,
          qos,
          payload,
          dup: false,
          retain: false,
          properties: {},
          ...(qos === 0 ? {} : { packetId: index + 1 }),
        };
        talk.send(packet);
        if (qos === 1) await talk.next("puback");
      }
    } finally {
      talk.close();
    }
  }

  /** Resolves with the payload of the next message on a topic of the open broker; call `forget` when it is not needed. */
  async watch(topicName: string): Promise<{ readonly message: Promise<string>; forget(): void }> {
    const talk = new InProcessTalk(this.#open);
    await talk.connect(`watch-${++this.#serial}`);
    const options = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 2 } as const;
    talk.send({
      type: "subscribe",
      packetId: 1,
      filters: [{ topicFilter: topicName, ...options }],
      properties: {},
    });
    await talk.next("suback");
    const message = talk.next("publish").then((packet) => new TextDecoder().decode(packet.payload));
    message.catch(() => {});
    return { message, forget: () => talk.close() };
  }

  /** A broker with a store that is the page's to stop and start: its name and port. The oldest ends where there are too many. */
  async openSpare(): Promise<{ readonly name: string; readonly port: number }> {
    const name = this.#unused.shift() ?? (await this.#makeSpare());
    return { name, port: portOf(this.#spare(name).url) };
  }

  async startSpare(name: string): Promise<void> {
    const spare = this.#spare(name);
    if (spare.broker !== undefined) return;
    const listener = { ...listenerOf(this.#options), url: spare.url };
    spare.broker = await createBroker({ listeners: [listener], store: spare.folder });
    spare.url = spare.broker.urls[0]!;
  }

  async stopSpare(name: string): Promise<void> {
    const spare = this.#spare(name);
    const { broker } = spare;
    spare.broker = undefined;
    await broker?.close(1_000);
  }

  async endSpare(name: string): Promise<void> {
    await this.stopSpare(name);
    this.#spares.delete(name);
  }

  async close(): Promise<void> {
    const spares = [...this.#spares.keys()].map((name) => this.endSpare(name));
    await Promise.all([...spares, this.#open.close(500), this.#login.close(500)]);
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #makeSpare(): Promise<string> {
    const [oldest] = this.#spares.keys();
    if (oldest !== undefined && this.#spares.size >= SPARES_MAX) await this.endSpare(oldest);
    const name = `spare-${++this.#serial}`;
    this.#spares.set(name, { folder: join(this.#folder, name), url: listenerOf(this.#options).url, broker: undefined });
    await this.startSpare(name);
    return name;
  }

  #spare(name: string): Spare {
    const spare = this.#spares.get(name);
    if (spare === undefined) throw new RangeError("no such broker");
    return spare;
  }
}

function listenerOf({ host, tls }: StageOptions): ListenerOptions {
  const name = host.includes(":") ? `[${host}]` : host;
  return { url: `${tls === undefined ? "ws" : "wss"}://${name}:0/mqtt`, ...tls };
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

/** Lets in who has a cookie or a ticket of ours; leaves everybody else to the next provider. */
class Door {
  readonly #cookies = new Set<string>();
  readonly #tickets = new Set<string>();
  readonly plugin: AuthPlugin = {
    apiVersion: 1,
    name: "door",
    create: () => ({
      connect: ({ peer, username }) => {
        const { ticket } = peer.upgrade?.query ?? {};
        // A ticket is gone when it is shown, whatever comes of it.
        if (ticket !== undefined) return verdict(this.#tickets.delete(ticket), "ticket");
        if (username !== "cookie") return { do: "skip" };
        return verdict(this.#cookies.has(peer.upgrade?.cookies["rqtt_session"] ?? ""), "cookie");
      },
    }),
  };

  issue(kind: "cookie" | "ticket"): string {
    const issued = kind === "cookie" ? this.#cookies : this.#tickets;
    if (issued.size >= TICKETS_MAX) throw new RangeError(`more than ${TICKETS_MAX} ${kind}s`);
    const secret = crypto.randomUUID();
    issued.add(secret);
    return secret;
  }
}

function verdict(isGood: boolean, id: string): Verdict {
  if (!isGood) return { do: "refuse", because: "bad-credentials", log: `unknown ${id}`, tell: `unknown ${id}` };
  return { do: "accept", principal: { id, permissions: "everything" } };
}

/** A client inside this process that says what it is told and waits for one answer at a time. */
class InProcessTalk {
  readonly #connection: ReturnType<RunningBroker["connect"]>;
  readonly #framer = new Framer(Number.MAX_SAFE_INTEGER);
  readonly #received: Packet[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(broker: RunningBroker) {
    this.#connection = broker.connect();
    this.#connection.onreceive = (bytes) => {
      this.#framer.feed(bytes);
      while (this.#framer.next()) {
        const { bytes: packet, packetStart, bodyStart, bodyEnd } = this.#framer;
        const reader = new Reader(packet.slice(bodyStart, bodyEnd));
        this.#received.push(decodePacket(packet[packetStart]!, reader, 5));
      }
      this.#wake?.();
    };
    this.#connection.onclose = () => this.close();
  }

  async connect(clientId: string): Promise<void> {
    const options = { protocolLevel: 5, cleanStart: true, keepAlive: 0, properties: {} } as const;
    this.send({ type: "connect", clientId, ...options });
    const { reasonCode } = await this.next("connack");
    if (reasonCode !== 0) throw new Error(`CONNACK 0x${reasonCode.toString(16)}`);
  }

  send(packet: Packet): void {
    const writer = new Writer();
    encodePacket(writer, packet, 5);
    this.#connection.send(writer.view());
  }

  /** The next packet of this type; others before it are passed over. */
  async next<T extends Packet["type"]>(type: T): Promise<Extract<Packet, { type: T }>> {
    for (;;) {
      const packet = this.#received.shift();
      if (packet?.type === type) return packet as Extract<Packet, { type: T }>;
      if (packet !== undefined) continue;
      if (this.#closed) throw new Error(`closed before a ${type}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.#closed = true;
    this.#connection.close();
    this.#wake?.();
  }
}
