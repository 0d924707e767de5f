/**
 * What a server keeps of a SCRAM password: MECHANISM$ITERATIONS$SALT$STOREDKEY$SERVERKEY, the last three in base64.
 *
 * Refuses fewer iterations than RFC 7677 asks for, and keys that are not as long as their hash. Source: RFC 5802 section 3.
 */
import type { SecretKind } from "./account-file.ts";
import { prepareString } from "./string-preparation.ts";

export type ScramMechanism = "SCRAM-SHA-256" | "SCRAM-SHA-512";

export interface ScramKeys {
  readonly mechanism: ScramMechanism;
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

export const SCRAM_DIGESTS = {
  "SCRAM-SHA-256": { digest: "sha256", keyBytes: 32 },
  "SCRAM-SHA-512": { digest: "sha512", keyBytes: 64 },
} as const satisfies Readonly<Record<ScramMechanism, { digest: string; keyBytes: number }>>;

/** The iterations are work of the client, but every client's at every login. */
const ITERATIONS_MIN = 4_096;
const ITERATIONS_MAX = 10_000_000;
const SALT_BYTES_MIN = 8;
const SALT_BYTES_MAX = 256;

export const scramKind: SecretKind<ScramKeys> = {
  form: "USER:SCRAM-SHA-256$ITERATIONS$SALT$STOREDKEY$SERVERKEY[:GROUP,GROUP]",
  sortOf: ({ mechanism }) => mechanism,
  read(text, name) {
    if (prepareString(name) !== name) throw new Error("expected a user name in its normal form (SASLprep, RFC 4013)");
    return readScramKeys(text);
  },
};

export function isScramMechanism(text: string | undefined): text is ScramMechanism {
  return text !== undefined && Object.hasOwn(SCRAM_DIGESTS, text);
}

/** Throws an Error that says what was expected, and never holds the text. */
export function readScramKeys(text: string): ScramKeys {
  const [mechanism, count = "", saltText = "", storedText = "", serverText = "", ...rest] = text.split("$");
  if (!isScramMechanism(mechanism) || serverText === "" || rest.length > 0) {
    throw new Error('expected SCRAM-SHA-256$ITERATIONS$SALT$STOREDKEY$SERVERKEY as "rqtt auth hash" makes it, or -512');
  }
  const iterations = /^\d{1,9}$/u.test(count) ? Number(count) : 0;
  if (iterations < ITERATIONS_MIN || iterations > ITERATIONS_MAX) {
    throw new Error(`expected from ${ITERATIONS_MIN} to ${ITERATIONS_MAX} iterations`);
  }
  const { keyBytes } = SCRAM_DIGESTS[mechanism];
  const salt = fromBase64(saltText);
  if (salt === undefined || salt.length < SALT_BYTES_MIN || salt.length > SALT_BYTES_MAX) {
    throw new Error(`expected a salt of ${SALT_BYTES_MIN} to ${SALT_BYTES_MAX} bytes in base64`);
  }
  const storedKey = fromBase64(storedText);
  const serverKey = fromBase64(serverText);
  if (storedKey?.length !== keyBytes || serverKey?.length !== keyBytes) {
    throw new Error(`expected two keys of ${keyBytes} bytes in base64`);
  }
  return { mechanism, iterations, salt, storedKey, serverKey };
}

export function formatScramKeys({ mechanism, iterations, salt, storedKey, serverKey }: ScramKeys): string {
  return [mechanism, String(iterations), ...[salt, storedKey, serverKey].map(toBase64)].join("$");
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** Canonical base64 with padding only: one text for each value. */
export function fromBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}
