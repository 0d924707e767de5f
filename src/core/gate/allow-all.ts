/**
 * The authority of a broker without authentication: everybody is let in and may do everything.
 *
 * For development, tests and loopback. Refuses enhanced authentication, since it knows no method [MQTT-4.12.0-1].
 */
import type { AuthHost, AuthRequest } from "../ports.ts";
import type { Permissions, Verdict } from "./provider.ts";

/** All rights, `$` topics for reading included. */
export const EVERYTHING: Permissions = "everything";

export const allowAll: AuthHost = {
  ask(request: AuthRequest): Verdict {
    if (request.authenticationMethod !== undefined) return { do: "refuse", because: "bad-method" };
    return { do: "accept", principal: { id: "anonymous", provider: "allow-all", permissions: EVERYTHING } };
  },
  abandon(): void {},
};
