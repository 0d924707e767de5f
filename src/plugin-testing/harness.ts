/**
 * The plugin kit, `rqtt/plugin-testing`: one plugin in front of a real broker, without sockets and with a clock that is moved by
 * hand.
 *
 *   const door = await harness(plugin, settings, { files: { "badges.txt": "anna 1234" } });
 *   const anna = await door.connect({ username: "anna", password: "1234" });
 *   expect([anna.accepted, anna.reasonCode, anna.returnCode]).toEqual([true, 0, 0]);
 *   expect(anna.can("pub", "doors/anna/open", { qos: 1 })).toBe(true);
 *   await door.close();
 *
 *   const issuer = await startTestIssuer();   // for plugins that take tokens
 *
 *   test("keeps the contract", () => conformance(plugin, settings, { good: [...], bad: [...] }, surroundings));
 *
 * Who is let in, which code is sent and what is allowed is decided by the broker's own code, from what the plugin says.
 */
import { judgementOf } from "../bun/recheck.ts";
import { Broker } from "../core/broker.ts";
import type { Packet, QoS } from "../core/codec/packet.ts";
import { returnCodeOf } from "../core/codec/return-code.ts";
import type {
  AuthPlugin,
  ConnectRequest,
  PluginHostServices,
  Principal,
  Provider,
  Verdict,
} from "../core/gate/provider.ts";
import type { Rejudged } from "../core/handle/rejudge.ts";
import { DEFAULT_BROKER_CONFIG } from "../core/limits.ts";
import { keepContract, type Samples } from "./contract-checks.ts";
import { type ClientInit, connectPacketOf, connectRequestOf, DryClient, peerOf } from "./dry-client.ts";
import { bytesOf, LentServices, type LoggedLine, type Surroundings } from "./lent-services.ts";
import { type Asking, askDirectly, ProviderUnderTest, type Said } from "./provider-under-test.ts";

export {
  RESOURCE_SERVER,
  startTestIssuer,
  type TestIssuer,
  type TestIssuerOptions,
} from "./test-issuer.ts";

/** Authentication Data, or how to make it from what the provider asked. */
export type AuthData =
  | string
  | Uint8Array
  | undefined
  | ((challenge: Uint8Array | undefined) => string | Uint8Array | undefined | Promise<string | Uint8Array | undefined>);

/** How a login ended. */
export interface LoginResult {
  readonly accepted: boolean;
  /** What the host took from the provider; undefined where the provider was not asked. */
  readonly verdict: Verdict | undefined;
  /** Of the CONNACK that an MQTT 5.0 client gets; of the DISCONNECT where a re-authentication failed. 0x18: asked on. */
  readonly reasonCode: number;
  /** Of the CONNACK that an MQTT 3.1.1 client gets; undefined: the connection is closed without one. */
  readonly returnCode: number | undefined;
  readonly reasonString: string | undefined;
  readonly principal: Principal | undefined;
  /** Authentication Data of each AUTH 0x18 that the provider asked with. */
  readonly challenges: readonly (Uint8Array | undefined)[];
  /** Authentication Data of the CONNACK or AUTH that ended it. */
  readonly data: Uint8Array | undefined;
  /** What the provider threw or rejected with. */
  readonly error: unknown;
  /** The reason code the broker has closed the connection with; undefined while the client is online. */
  readonly endedWith: number | undefined;
  /** Whether this client may publish to a Topic Name, or subscribe to a Topic Filter, at this QoS (0). */
  can(what: "pub" | "sub", topic: string, options?: { readonly qos?: QoS; readonly retain?: boolean }): boolean;
  /** The same as `can("sub", ...)`. */
  canSubscribe(topicFilter: string, qos?: QoS): boolean;
  /** Subscribes; the reason code of the SUBACK: the QoS granted, or 0x80 and above. */
  subscribe(topicFilter: string, qos?: QoS): number;
  /** AUTH 0x19 and what follows, on a client that came in with an Authentication Method. */
  reauthenticate(data: readonly AuthData[]): Promise<LoginResult>;
  disconnect(): void;
}

export interface Harness {
  /** A client without Authentication Method. */
  connect(init?: ClientInit): Promise<LoginResult>;
  /** A client with one: the first data goes with CONNECT, each further one with an AUTH 0x18. */
  exchange(method: string, data?: readonly AuthData[], init?: ClientInit): Promise<LoginResult>;
  /** What the provider itself says, before host and broker judge it. */
  ask(init?: ClientInit, more?: AskOptions): Promise<Said>;
  /**
   * What a reload does: the plugin is created anew with these settings (default: the same), and judges everybody who is in.
   * Answers how many sessions kept their rights, got others, lost all, lost their connection, or could not be judged.
   */
  recheck(settings?: unknown): Promise<Readonly<Record<Rejudged, number>>>;
  /** As `LoginResult.can`, of the client let in last. */
  can(what: "pub" | "sub", topic: string, options?: { readonly qos?: QoS; readonly retain?: boolean }): boolean;
  canSubscribe(topicFilter: string, qos?: QoS): boolean;
  /** Moves the clock that the broker and `nowMs` of the plugin go by. Timers of the plugin's own are not touched. */
  advance(ms: number): void;
  writeFile(path: string, content: string | Uint8Array): void;
  readonly nowMs: number;
  readonly provider: Provider;
  /** Everything that was logged, by the plugin, the host and the broker. */
  readonly logged: readonly LoggedLine[];
  /** Calls of `fetch` so far, and what is under way of them and of limiters. */
  readonly work: { readonly fetchCount: number; readonly underWay: number };
  close(): Promise<void>;
}

export interface AskOptions {
  readonly method?: string | undefined;
  readonly data?: string | Uint8Array | undefined;
  readonly current?: Principal;
  readonly signal?: AbortSignal;
}

const CONFIG = {
  ...DEFAULT_BROKER_CONFIG,
  sysIntervalMs: 0,
  limits: { ...DEFAULT_BROKER_CONFIG.limits, connectBytesMax: 1024 * 1024 },
};

/** Creates the plugin with these settings, checked as the host checks them, and puts it in front of a broker. */
export async function harness<Settings>(
  plugin: AuthPlugin<Settings>,
  settings: unknown = {},
  surroundings: Surroundings = {},
): Promise<Harness> {
  const services = new LentServices(surroundings);
  const lent = services.lend(plugin.name, (where, why) => {
    const count = broker.drop(where, why, true, services.nowMs);
    // In the middle of a call of the broker the turn is ended by whoever made the call.
    if (authority.asking === undefined) broker.settle(services.nowMs);
    return count;
  });
  let provider = await createProvider(plugin, settings, lent);
  const authority = new ProviderUnderTest(plugin.name, provider, services, (requestId, verdict) => {
    broker.verdict(requestId, verdict, services.nowMs);
    broker.settle(services.nowMs);
  });
  let clientIds = 0;
  const ids = { clientId: () => `assigned${++clientIds}`, seed: () => 1 };
  const broker = new Broker(CONFIG, { auth: authority, log: services.log, ids }, services.nowMs);
  const bench = new Bench(broker, services, authority);
  return {
    connect: (init = {}) => bench.login(init, undefined, [undefined]),
    exchange: (method, data = [], init = {}) => bench.login(init, method, data),
    ask(init = {}, { method, data, current, signal } = {}) {
      const request: ConnectRequest = connectRequestOf(init, method, current);
      const bytes = data === undefined ? undefined : bytesOf(data);
      return askDirectly(provider, request, bytes, signal ?? new AbortController().signal);
    },
    async recheck(changed = settings) {
      const old = provider;
      provider = await createProvider(plugin, changed, lent);
      authority.replace(provider);
      const counts = await bench.recheck();
      await old.close?.();
      return counts;
    },
    can: (what, topic, options) => bench.last.can(what, topic, options),
    canSubscribe: (topicFilter, qos) => bench.last.canSubscribe(topicFilter, qos),
    advance: (ms) => bench.advance(ms),
    writeFile: (path, content) => services.writeFile(path, content),
    get nowMs() {
      return services.nowMs;
    },
    get provider() {
      return provider;
    },
    logged: services.logged,
    work: services,
    async close() {
      bench.hangUpAll();
      services.close();
      await provider.close?.();
    },
  };
}

/** Checks that a plugin keeps the contract; rejects with every way in which it does not. */
export function conformance<Settings>(
  plugin: AuthPlugin<Settings>,
  settings: unknown,
  samples: Samples,
  surroundings: Surroundings = {},
): Promise<void> {
  return keepContract(plugin, settings, samples, surroundings, (around) => harness(plugin, settings, around));
}

async function createProvider<Settings>(
  plugin: AuthPlugin<Settings>,
  settings: unknown,
  lent: PluginHostServices,
): Promise<Provider> {
  const provider = await plugin.create(await checkSettings(plugin, settings), lent);
  if ((provider.methods?.length ?? 0) > 0 && provider.exchange === undefined) {
    throw new Error(`plugin ${plugin.name} lists Authentication Methods but has no exchange`);
  }
  return provider;
}

async function checkSettings<Settings>(plugin: AuthPlugin<Settings>, settings: unknown): Promise<Settings> {
  if (plugin.config === undefined) return settings as Settings;
  const result = await plugin.config["~standard"].validate(settings);
  if (result.issues === undefined) return result.value;
  const [issue] = result.issues;
  const keys = (issue?.path ?? []).map((key) => String(typeof key === "object" ? key.key : key));
  throw new Error(`${keys.join(".")}: ${issue?.message ?? "not a valid setting"} (plugin ${plugin.name})`);
}

/** The broker with its clients. */
class Bench {
  readonly #broker: Broker;
  readonly #services: LentServices;
  readonly #authority: ProviderUnderTest;
  readonly #clients = new Set<DryClient>();
  #observer: DryClient | undefined;
  #last: LoginResult | undefined;
  #clientIds = 0;

  constructor(broker: Broker, services: LentServices, authority: ProviderUnderTest) {
    this.#broker = broker;
    this.#services = services;
    this.#authority = authority;
  }

  get last(): LoginResult {
    if (this.#last === undefined) throw new Error("no client was let in");
    return this.#last;
  }

  async login(unnamed: ClientInit, method: string | undefined, data: readonly AuthData[]): Promise<LoginResult> {
    const init = { ...unnamed, clientId: unnamed.clientId ?? `client${++this.#clientIds}` };
    const { level = 5 } = init;
    if (method !== undefined && level !== 5) throw new RangeError("Authentication Methods exist from MQTT 5.0 on");
    const client = new DryClient(this.#broker, this.#services, level, peerOf(init));
    this.#clients.add(client);
    const asking: Asking = { peer: client.peer, said: undefined, verdict: undefined };
    const [first, ...rest] = data;
    // Sent before anything is waited for, so that a test may move the clock right after the call.
    const begin = typeof first === "function" ? await first(undefined) : first;
    this.#write(client, asking, connectPacketOf(init, method, begin === undefined ? undefined : bytesOf(begin)));
    return this.#finish(client, asking, method, rest);
  }

  /** Everybody who is in, one after the other, but for the harness's own observer. */
  async recheck(): Promise<Readonly<Record<Rejudged, number>>> {
    const counts: Record<Rejudged, number> = { kept: 0, changed: 0, out: 0, anew: 0, unjudged: 0, gone: 0 };
    for (const { clientId, principal } of [...this.#broker.principals()]) {
      if (principal.provider === undefined) continue;
      const verdict = await this.#authority.recheck({ clientId, principal: { ...principal } });
      const { nowMs } = this.#services;
      counts[this.#broker.rejudge(clientId, principal, judgementOf(verdict, principal), nowMs)]++;
      this.#broker.settle(nowMs);
    }
    return counts;
  }

  advance(ms: number): void {
    const { nowMs } = this.#services;
    const untilMs = nowMs + ms;
    for (;;) {
      const nextMs = Math.min(this.#broker.settle(this.#services.nowMs), this.#authority.nextDeadlineMs);
      if (nextMs > untilMs) break;
      this.#pass(Math.max(this.#services.nowMs, nextMs));
    }
    this.#pass(untilMs);
  }

  hangUpAll(): void {
    for (const client of this.#clients) client.hangUp();
    this.#clients.clear();
  }

  #pass(nowMs: number): void {
    this.#services.nowMs = nowMs;
    this.#authority.expire();
    this.#broker.tick(nowMs);
    this.#broker.settle(nowMs);
  }

  #write(client: DryClient, asking: Asking | undefined, packet: Packet): void {
    this.#authority.asking = asking;
    client.write(packet);
    this.#authority.asking = undefined;
  }

  /** Plays the client's part until the login is decided, or it has nothing more to say. */
  async #finish(
    client: DryClient,
    asking: Asking,
    method: string | undefined,
    data: readonly AuthData[],
  ): Promise<LoginResult> {
    const challenges: (Uint8Array | undefined)[] = [];
    for (let at = 0; ; at++) {
      const packet = await client.next();
      const isChallenge = packet?.type === "auth" && packet.reasonCode === 0x18;
      if (isChallenge) challenges.push(packet.properties.authenticationData);
      if (!isChallenge || at >= data.length) {
        if (isChallenge) client.hangUp();
        return this.#result(client, asking, method, challenges, packet);
      }
      const item = data[at];
      const answer = typeof item === "function" ? await item(challenges.at(-1)) : item;
      this.#write(client, asking, authPacket(0x18, method, answer));
    }
  }

  #result(
    client: DryClient,
    asking: Asking,
    method: string | undefined,
    challenges: readonly (Uint8Array | undefined)[],
    packet: Packet | undefined,
  ): LoginResult {
    const { said, verdict } = asking;
    const accepted = (packet?.type === "connack" || packet?.type === "auth") && packet.reasonCode === 0;
    const spoken = packet !== undefined && "properties" in packet ? packet : undefined;
    // An MQTT 3.1.1 client is told less than the transport, which hears the reason code itself.
    const reasonCode = accepted ? 0 : packet?.type === "auth" ? 0x18 : (client.closedWith ?? 0x80);
    const result: LoginResult = {
      accepted,
      verdict,
      reasonCode,
      returnCode: accepted ? 0 : returnCodeOf(reasonCode),
      reasonString: spoken?.properties.reasonString,
      principal: accepted && verdict?.do === "accept" ? verdict.principal : undefined,
      challenges,
      data: spoken?.properties.authenticationData,
      error: said?.error,
      get endedWith() {
        return client.closedWith;
      },
      can: (what, topic, { qos = 0, retain = false } = {}) =>
        what === "pub" ? this.#canPublish(client, topic, qos, retain) : this.#subscribe(client, topic, qos) < 0x80,
      canSubscribe: (topicFilter, qos = 0) => this.#subscribe(client, topicFilter, qos) < 0x80,
      subscribe: (topicFilter, qos = 2) => this.#subscribe(client, topicFilter, qos),
      reauthenticate: async ([first, ...rest]) => {
        const again: Asking = { peer: client.peer, said: undefined, verdict: undefined };
        const begin = typeof first === "function" ? await first(undefined) : first;
        this.#write(client, again, authPacket(0x19, method, begin));
        return this.#finish(client, again, method, rest);
      },
      disconnect: () => client.hangUp(),
    };
    if (accepted) this.#last = result;
    return result;
  }

  /** Publishes, and looks whether somebody who may receive everything receives it. */
  #canPublish(client: DryClient, topicName: string, qos: QoS, retain: boolean): boolean {
    checkOnline(client);
    if (topicName === "" || /[+#\0]/u.test(topicName)) throw new RangeError(`${topicName}: not a Topic Name`);
    const observer = (this.#observer ??= this.#observe());
    observer.subscribe(topicName, 0);
    client.publish(topicName, qos, retain);
    this.#broker.settle(this.#services.nowMs);
    const isReceived = observer.hasReceived(topicName);
    observer.unsubscribe(topicName);
    return isReceived;
  }

  #subscribe(client: DryClient, topicFilter: string, qos: QoS): number {
    checkOnline(client);
    const reasonCode = client.subscribe(topicFilter, qos);
    if (reasonCode < 0x80) client.unsubscribe(topicFilter);
    return reasonCode;
  }

  #observe(): DryClient {
    const observer = new DryClient(this.#broker, this.#services, 5, peerOf({}));
    this.#clients.add(observer);
    this.#write(observer, undefined, connectPacketOf({ clientId: "observer of the harness" }));
    return observer;
  }
}

function checkOnline(client: DryClient): void {
  if (client.closedWith !== undefined) throw new Error("this client is not online");
}

function authPacket(reasonCode: number, method: string | undefined, data: string | Uint8Array | undefined): Packet {
  const properties = method === undefined ? {} : { authenticationMethod: method };
  if (data === undefined) return { type: "auth", reasonCode, properties };
  return { type: "auth", reasonCode, properties: { ...properties, authenticationData: bytesOf(data) } };
}
