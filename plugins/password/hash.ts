/**
 * New lines for user files: what `rqtt auth hash` prints after the name and a colon.
 *
 * Refuses an empty password, with which nobody could log in. Sources: RFC 9106, RFC 5802, RFC 7677.
 */
import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { newPasswordHash } from "./argon2-hash.ts";
import { formatScramKeys, SCRAM_DIGESTS, type ScramKeys, type ScramMechanism } from "./scram-keys.ts";
import { prepareString } from "./string-preparation.ts";

/** RFC 7677 section 4: what a machine of 2015 computes in a tenth of a second. Each login costs the client as much. */
export const SCRAM_ITERATIONS = 15_000;
const SCRAM_SALT_BYTES = 16;

/** An argon2id hash as a PHC string, for the provider password-file. A string is taken as UTF-8. */
export async function hashPassword(password: string | Uint8Array): Promise<string> {
  if (password.length === 0) throw new Error("expected a password that is not empty");
  return newPasswordHash(password);
}

/** MECHANISM$ITERATIONS$SALT$STOREDKEY$SERVERKEY, for the provider scram-file. */
export async function scramEntry(
  password: string,
  mechanism: ScramMechanism = "SCRAM-SHA-256",
  iterations: number = SCRAM_ITERATIONS,
): Promise<string> {
  return formatScramKeys(await deriveScramKeys(password, mechanism, iterations, randomBytes(SCRAM_SALT_BYTES)));
}

/** RFC 5802 section 3. Throws on a password that the mechanism cannot carry. */
export async function deriveScramKeys(
  password: string,
  mechanism: ScramMechanism,
  iterations: number,
  salt: Uint8Array,
): Promise<ScramKeys> {
  const prepared = prepareString(password);
  if (prepared === undefined || prepared === "") {
    throw new Error("expected a password that is not empty and has no control characters");
  }
  const { digest, keyBytes } = SCRAM_DIGESTS[mechanism];
  const salted = await promisify(pbkdf2)(prepared, salt, iterations, keyBytes, digest);
  const keyFor = (purpose: string) => createHmac(digest, salted).update(purpose).digest();
  const storedKey = createHash(digest).update(keyFor("Client Key")).digest();
  return { mechanism, iterations, salt, storedKey, serverKey: keyFor("Server Key") };
}
