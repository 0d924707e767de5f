/**
 * Tokens: a fresh one for each connection, and renewed within the session before it expires (MQTT 5.0 sections 4.12 and
 * 4.12.1). A server without enhanced authentication gets the token as the password, and a new connection renews it.
 *
 * When it expires is what the server says (User Property `auth-expires`, seconds since 1970), otherwise the token's `exp`.
 */
import { decodeAuth, encodeAuth } from "../core/codec/auth.ts";
import type { Connect } from "../core/codec/connect.ts";
import { PacketType } from "../core/codec/packet-type.ts";
import { PeerError } from "../core/codec/peer-error.ts";
import type { Properties } from "../core/codec/property.ts";
import { encodeUtf8 } from "../core/codec/utf8.ts";
import type { Engine, Part } from "./engine.ts";
import { LOST, MqttError } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";

const TIMER_MS_MAX = 2 ** 31 - 1;

/** Seconds since 1970; undefined where it is no JWT or does not say. */
function expiryOf(token: string): number | undefined {
  try {
    const claims = JSON.parse(atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/")));
    return claims.exp;
  } catch {
    return undefined;
  }
}

export class Authentication implements Part {
  readonly #engine: Engine;
  readonly #method: string;
  #token = "";
  #renewal: Operation<void> | undefined;
  #renewing: Promise<void> | undefined;
  /** How long the last credential whose expiry was known lasted, for those that do not tell. */
  #lifetimeMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#method = engine.level === 5 ? (engine.options.authMethod ?? "OAUTH2-JWT") : "";
    engine.handlers[PacketType.AUTH] = (reader, flags) => {
      const { reasonCode, properties } = decodeAuth(reader, flags);
      if (reasonCode || this.#renewal?.done !== false)
        throw new PeerError(0x82, "4.12", "AUTH asks for more than a token");
      this.#renewal.resolve();
      this.#schedule(properties);
    };
  }

  async introduce(connect: Connect): Promise<void> {
    if (!this.#engine.options.token) return;
    const data = await this.#fetch();
    if (this.#method) Object.assign(connect.properties, this.#properties(data));
    else {
      connect.password = data;
      connect.username ??= "";
    }
  }

  online(): void {
    if (this.#method && this.#engine.options.token) this.#schedule(this.#engine.properties);
  }

  offline(error: MqttError): void {
    clearTimeout(this.#timer);
    this.#renewal?.reject(error);
  }

  closed(error: MqttError): void {
    this.offline(error);
  }

  /** Sends a fresh token now; resolves when the server has taken it. One at a time: the server takes no more. */
  renew(): Promise<void> {
    return (this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined;
    }));
  }

  async #renew(): Promise<void> {
    if (!this.#method || !this.#engine.options.token) throw new MqttError(0x8c, "auth", "no token to renew");
    const data = await this.#fetch();
    if (this.#engine.state !== "online") throw new MqttError(LOST, "auth", "not connected");
    this.#renewal = operation("auth", this.#engine.deadlineMs, undefined);
    const packet = { type: "auth" as const, reasonCode: 0x19, properties: this.#properties(data) };
    this.#engine.send((writer) => encodeAuth(writer, packet));
    await this.#renewal.promise;
  }

  #properties(authenticationData: Uint8Array): Properties {
    return { authenticationMethod: this.#method, authenticationData };
  }

  async #fetch(): Promise<Uint8Array> {
    const fetching = operation<string>("auth", this.#engine.deadlineMs, undefined);
    this.#engine.options.token!().then(fetching.resolve, (error) =>
      fetching.reject(new MqttError(LOST, "auth", `no token: ${error}`, error)),
    );
    this.#token = await fetching.promise;
    return encodeUtf8(this.#token);
  }

  #schedule({ userProperties }: Properties): void {
    clearTimeout(this.#timer);
    const said = userProperties?.find(([name]) => name === "auth-expires")?.[1];
    const expires = said ? Number(said) : expiryOf(this.#token);
    if (expires) this.#lifetimeMs = expires * 1_000 - Date.now();
    if (this.#lifetimeMs > 0) this.#renewIn(this.#lifetimeMs);
  }

  #renewIn(leftMs: number): void {
    const wait = Math.min(Math.max(1_000, leftMs * 0.75), TIMER_MS_MAX);
    this.#timer = setTimeout(() => {
      // What could not be renewed is tried again in what is left of the time; then the server has its say.
      this.renew().catch(() => {
        if (this.#engine.state === "online" && leftMs > wait) this.#renewIn(leftMs - wait);
      });
    }, wait);
  }
}
