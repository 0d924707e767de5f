/**
 * Lets in who shows a badge: a user name and its PIN. The smallest provider worth copying; the numbers tell its story.
 *
 *   [[auth.chain]]
 *   use = "./template.ts"
 *   badges = { file = "badges.txt" }     # lines of a user name, a space and a PIN
 *   area = "doors"                       # where a badge may publish and subscribe
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { AuthPlugin, SchemaResult, SecretReference } from "../src/core/gate/provider.ts";

interface Settings {
  readonly badges: SecretReference;
  readonly area: string;
}

/** 1. What stands beside `use` is checked at start, unknown keys included. Any Standard Schema does it; this is one by hand. */
function validate(value: unknown): SchemaResult<Settings> {
  const { badges, area, ...unknown } = value as Partial<Settings>;
  const wrong = (key: string, message: string) => ({ issues: [{ path: [key], message }] });
  for (const key of Object.keys(unknown)) return wrong(key, "unknown setting; expected badges or area");
  if (typeof badges !== "object") return wrong("badges", 'expected { env = "NAME" } or { file = "PATH" }');
  if (typeof area !== "string") return wrong("area", "expected a text");
  return { value: { badges, area } };
}

const digest = (pin: string | Uint8Array): Uint8Array => createHash("sha256").update(pin).digest();

export default {
  apiVersion: 1,
  name: "template",
  config: { "~standard": { version: 1, vendor: "template", validate } },
  async create({ badges, area }, host) {
    // 2. Runs once. What it throws stops the start, so that a broken list never means an empty one.
    const pins = new Map<string, Uint8Array>();
    for (const [at, line] of (await host.secret(badges)).split("\n").entries()) {
      const [name = "", pin = "", ...rest] = line.trim().split(" ");
      if (pin === "" || rest.length > 0)
        throw new Error(`badges, line ${at + 1}: expected a user name, a space and a PIN`);
      pins.set(name, digest(pin));
    }
    return {
      connect({ username, password }) {
        // 3. Not this provider's kind of credential: the next one in the chain is asked.
        if (username === undefined || password === undefined) return { do: "skip" };
        // 4. Of its kind but wrong: refuse, never skip. An unknown name takes as long as a wrong PIN.
        const known = pins.get(username);
        const isRight = timingSafeEqual(digest(password), known ?? digest(""));
        if (known === undefined || !isRight) return { do: "refuse", because: "bad-credentials" };
        // 5. Permissions are data, checked by the broker from now on; `${id}` is filled in, and void where it is unsafe.
        const filter = `${area}/\${id}/#`;
        return {
          do: "accept",
          principal: { id: username, permissions: { allow: [{ on: "both", filter, maxQos: 1 }] } },
        };
      },
    };
  },
} satisfies AuthPlugin<Settings>;
