/**
 * Tokens: a fresh one for each connection, and renewed within the session before it expires (MQTT 5.0 sections 4.12 and
 * 4.12.1). A server without enhanced authentication gets the token as the password, and a new connection renews it.
 *
 * When it expires is what the server says (User Property `auth-expires`, seconds since 1970), otherwise the token's `exp`.
 */
import { AUTH } from "../core/codec/packet-type.ts";
import type { Properties } from "../core/codec/property-table.ts";
import { type Engine, send } from "./engine.ts";
import { LOST, MqttError, mqttError, refuse } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";
import { encodePacket, propertyList, toBytes } from "./packet-encoder.ts";

/** Seconds since 1970; undefined where it is no JWT or does not say. */
function expiryOf(token: string): number | undefined {
  try {
    return JSON.parse(atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"))).exp;
  } catch {
    return undefined;
  }
}

/** Answers what sends a fresh token now and resolves when the server has taken it. */
export function authentication(engine: Engine): () => Promise<void> {
  const method = engine.level === 5 ? (engine.options().authMethod ?? "OAUTH2-JWT") : "";
  let token = "";
  let renewal: Operation<void> | undefined;
  /** How long the last credential whose expiry was known lasted, for those that do not tell. */
  let lifetimeMs = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const fetchToken = async (): Promise<Properties> => {
    try {
      token = await engine.options().token!();
    } catch (error) {
      throw mqttError(error, LOST, "auth");
    }
    return { authenticationMethod: method, authenticationData: toBytes(token) };
  };

  const exchange = async (answered: Operation<void>): Promise<void> => {
    if (!method || !engine.options().token) throw new MqttError(0x8c, "auth");
    const fields = [0x19, ...propertyList(engine, await fetchToken())];
    if (engine.state !== "online") throw new MqttError(LOST, "auth");
    // A token that came too late is not sent: nobody waits for the answer.
    if (!answered.done) send(engine, encodePacket(AUTH << 4, fields));
  };
  /** One at a time: the server takes no more. */
  const renew = (): Promise<void> => {
    if (renewal?.done !== false) {
      renewal = operation(engine, "auth");
      exchange(renewal).catch(renewal.reject);
    }
    return renewal.promise;
  };

  const schedule = ({ userProperties }: Properties): void => {
    clearTimeout(timer);
    const said = userProperties?.find(([name]) => name === "auth-expires")?.[1];
    const expires = Number(said ?? expiryOf(token));
    if (expires) lifetimeMs = expires * 1_000 - Date.now();
    let leftMs = lifetimeMs;
    // What could not be renewed is tried again in what is left of the time; then the server has its say.
    const plan = (): void => {
      if (leftMs <= 0 || engine.state !== "online") return;
      // A timer takes no more than 31 bits.
      const wait = Math.min(Math.max(1_000, leftMs * 0.75), 2 ** 31 - 1);
      leftMs -= wait;
      timer = setTimeout(() => renew().catch(plan), wait);
    };
    plan();
  };

  engine.handlers[AUTH] = ({ reasonCode, properties }) => {
    if (reasonCode || renewal?.done !== false) refuse(0x82);
    renewal.resolve();
    schedule(properties);
  };
  if (engine.options().token) {
    engine.introduce = async () => {
      const properties = await fetchToken();
      return method ? { properties } : { password: token, username: engine.options().username ?? "" };
    };
  }
  engine.parts.push((state, error) => {
    clearTimeout(timer);
    if (error) renewal?.reject(error);
    if (state === "online" && method && engine.options().token) schedule(engine.properties);
  });
  return renew;
}
