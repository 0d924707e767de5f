/**
 * The authority of a broker without an auth chain: the one question is whether clients without credentials come in.
 *
 * "loopback" and "everywhere" differ in which listeners may be started (src/config.ts); here both let everybody in.
 */
import { allowAll } from "../core/gate/allow-all.ts";
import type { AuthHost } from "../core/ports.ts";

const refuseAll: AuthHost = {
  ask: () => ({
    do: "refuse",
    because: "not-authorized",
    log: "auth.anonymous is nowhere and there is no other way in",
  }),
  abandon() {},
};

export function anonymousHost(anonymous: "loopback" | "everywhere" | "nowhere"): AuthHost {
  return anonymous === "nowhere" ? refuseAll : allowAll;
}
