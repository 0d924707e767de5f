/**
 * Lets every client in, with every right. For development, and for listeners that only this machine reaches.
 *
 * Credentials are not looked at; a client that names an Authentication Method is refused, since none is owned here.
 */
import type { AuthPlugin, Verdict } from "../src/core/gate/provider.ts";

const EVERYBODY: Verdict = { do: "accept", principal: { id: "anonymous", permissions: "everything" } };

export default {
  apiVersion: 1,
  name: "allow-all",
  create: () => ({
    connect: () => EVERYBODY,
    recheck: () => EVERYBODY,
  }),
} satisfies AuthPlugin;
