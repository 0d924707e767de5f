/**
 * Tokens: a fresh one for each connection, and renewed within the session before it expires (MQTT 5.0 sections 4.12 and
 * 4.12.1). A server without enhanced authentication gets the token as the password, and a new connection renews it.
 *
 * When it expires is what the server says (User Property `auth-expires`, seconds since 1970), otherwise the token's `exp`.
 */
import { AUTH } from "../core/codec/packet-type.ts";
import type { Properties } from "../core/codec/property-table.ts";
import type { Engine } from "./engine.ts";
import { refuse } from "./incoming.ts";
import { LOST, MqttError } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";
import { encodePacket, propertyList, toBytes } from "./packet-encoder.ts";

const TIMER_MS_MAX = 2 ** 31 - 1;

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
  const { face, options, level, deadlineMs, handlers, parts, send } = engine;
  const method = level === 5 ? (options.authMethod ?? "OAUTH2-JWT") : "";
  let token = "";
  let renewal: Operation<void> | undefined;
  let renewing: Promise<void> | undefined;
  /** How long the last credential whose expiry was known lasted, for those that do not tell. */
  let lifetimeMs = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const fetchToken = async (): Promise<Properties> => {
    const fetching = operation<string>("auth", deadlineMs);
    options.token!().then(fetching.resolve, (error) =>
      fetching.reject(new MqttError(LOST, "auth", `no token: ${error}`, error)),
    );
    token = await fetching.promise;
    return { authenticationMethod: method, authenticationData: toBytes(token) };
  };

  const exchange = async (): Promise<void> => {
    if (!method || !options.token) throw new MqttError(0x8c, "auth", "no token to renew");
    const properties = await fetchToken();
    if (face.state !== "online") throw new MqttError(LOST, "auth", "not connected");
    renewal = operation("auth", deadlineMs);
    send(encodePacket(AUTH << 4, [0x19, ...propertyList(level, properties)]));
    await renewal.promise;
  };
  /** One at a time: the server takes no more. */
  const renew = (): Promise<void> =>
    (renewing ??= exchange().finally(() => {
      renewing = undefined;
    }));

  const renewIn = (leftMs: number): void => {
    const wait = Math.min(Math.max(1_000, leftMs * 0.75), TIMER_MS_MAX);
    timer = setTimeout(() => {
      // What could not be renewed is tried again in what is left of the time; then the server has its say.
      renew().catch(() => {
        if (face.state === "online" && leftMs > wait) renewIn(leftMs - wait);
      });
    }, wait);
  };
  const schedule = ({ userProperties }: Properties): void => {
    clearTimeout(timer);
    const said = userProperties?.find(([name]) => name === "auth-expires")?.[1];
    const expires = said ? Number(said) : expiryOf(token);
    if (expires) lifetimeMs = expires * 1_000 - Date.now();
    if (lifetimeMs > 0) renewIn(lifetimeMs);
  };

  handlers[AUTH] = ({ type, reasonCode, properties }) => {
    if (reasonCode || renewal?.done !== false) refuse(type, 0x82, "more than a token");
    renewal.resolve();
    schedule(properties);
  };
  if (options.token) {
    engine.introduce = async () => {
      const properties = await fetchToken();
      return method ? { properties } : { password: token, username: options.username ?? "" };
    };
  }
  parts.push((state, error) => {
    clearTimeout(timer);
    if (error) renewal?.reject(error);
    else if (state === "online" && method && options.token) schedule(face.properties);
  });
  return renew;
}
