/**
 * Tokens: a fresh one for each connection, and renewed within the session before it expires (MQTT 5.0 sections 4.12 and
 * 4.12.1). A server without enhanced authentication gets the token as the password, and a new connection renews it.
 *
 * When it expires is what the server says (User Property `auth-expires`, seconds since 1970), otherwise the token's `exp`.
 */
import type { PacketType } from "../core/codec/packet-type.ts";
import type { Properties } from "../core/codec/property-table.ts";
import type { ClientOptions, StateListener } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { LOST, mqttError, refuse } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";
import { encodePacket, toBytes } from "./packet-encoder.ts";
import { propertyList } from "./property-list.ts";

/** Seconds since 1970; undefined where it is no JWT or does not say. */
function expiryOf(token: string): number | undefined {
  try {
    return JSON.parse(atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"))).exp;
  } catch {
    return undefined;
  }
}

export function createAuthentication(engine: Engine, options: ClientOptions): StateListener {
  const AUTH: typeof PacketType.AUTH = 15;
  const REAUTHENTICATE = 0x19;
  const { token: fetchToken, authMethod = "OAUTH2-JWT", username = "" } = options;
  const method = fetchToken && engine.level === 5 ? authMethod : "";
  let token = "";
  let renewal: Operation<void> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const fetch = async (): Promise<Properties> => {
    token = await fetchToken!();
    return { authenticationMethod: method, authenticationData: toBytes(token) };
  };
  const exchange = async (answered: Operation<void>): Promise<void> => {
    if (!method) refuse(0x8c);
    const fields = [REAUTHENTICATE, ...propertyList(engine.level, await fetch())];
    if (engine.state !== "online") refuse(LOST);
    // A token that came too late is not sent: nobody waits for the answer.
    if (!answered.done) engine.send(encodePacket(AUTH << 4, fields));
  };
  engine.renew = () => {
    // One at a time: the server takes no more.
    if (renewal?.done !== false) {
      const mine: Operation<void> = operation(engine, "auth", {});
      renewal = mine;
      exchange(mine).catch((error) => mine.settle(mqttError(error, LOST, "auth")));
    }
    return renewal.promise;
  };

  const schedule = ({ userProperties }: Properties): void => {
    const said = new Map(userProperties).get("auth-expires");
    const expiresMs = ((said ?? expiryOf(token)) as number) * 1_000;
    // What could not be renewed is tried again in what is left of the time; then the server has its say.
    const plan = (): void => {
      clearTimeout(timer);
      // A timer takes no more than 31 bits.
      const waitMs = Math.min((expiresMs - Date.now()) * 0.75, 2e9);
      if (waitMs > 0 && engine.state === "online") timer = setTimeout(() => engine.renew().catch(plan), waitMs);
    };
    plan();
  };
  engine.handlers[AUTH] = ({ reasonCode, properties }) => {
    // Late, it is an answer all the same.
    if (reasonCode || !renewal) refuse(0x82);
    renewal.settle();
    schedule(properties);
  };
  if (fetchToken) {
    engine.introduce = async () => {
      const properties = await fetch();
      return method ? { properties: { ...options.properties, ...properties } } : { password: token, username };
    };
  }
  return (_, error) => {
    clearTimeout(timer);
    if (error) renewal?.settle(error);
    if (method) schedule(engine.properties);
  };
}
