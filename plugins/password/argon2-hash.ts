/**
 * Password hashes of argon2id as PHC strings: read from the file within bounds, and made up for users who are not there.
 *
 * Invariant: a hash that was read can be compared with any password without a throw, and costs no more memory and time than the bounds say.
 * Source: RFC 9106.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { hash, hashRaw, parseOptions } from "@node-rs/argon2";
import type { SecretKind } from "./account-file.ts";

/** What a hash costs, by the letters of RFC 9106: m, t, p. */
interface Cost {
  readonly memoryKiB: number;
  readonly passes: number;
  readonly lanes: number;
}

export interface PasswordHash extends Cost {
  readonly salt: Uint8Array;
  readonly sum: Uint8Array;
}

/** OWASP's recommendation, about 20 ms. */
export const DEFAULT_COST = { memoryKiB: 19_456, passes: 2, lanes: 1 } as const satisfies Cost;
const SALT_BYTES = 16;
const SUM_BYTES = 32;

/** [least, most]: a hostile or mistaken line must be no bomb of memory or time. */
const BOUNDS = {
  memoryKiB: [8, 131_072],
  passes: [1, 16],
  lanes: [1, 16],
  saltBytes: [8, 64],
  sumBytes: [16, 64],
} as const satisfies Readonly<Record<string, readonly [number, number]>>;
/** Memory times passes: about 20 times the default. */
const WORK_KIB_MAX = 20 * DEFAULT_COST.memoryKiB * DEFAULT_COST.passes;
const FORM = /^\$argon2id\$v=19\$m=\d{1,7},t=\d{1,3},p=\d{1,3}\$[A-Za-z0-9+/]{1,128}\$[A-Za-z0-9+/]{1,128}$/u;

export const ARGON2ID = "argon2id";

export const argon2Kind: SecretKind<PasswordHash> = {
  form: "USER:$argon2id$...[:GROUP,GROUP]",
  sortOf: () => ARGON2ID,
  read: readPasswordHash,
};

/** Throws an Error that says what was expected, and never holds the text. */
export function readPasswordHash(phc: string): PasswordHash {
  if (!FORM.test(phc)) {
    const scheme = /^\$([A-Za-z0-9-]{1,12})\$/u.exec(phc)?.[1];
    const found = scheme === undefined ? "none" : scheme === ARGON2ID ? "a garbled one" : `one of the kind ${scheme}`;
    throw new Error(
      `expected a hash $argon2id$v=19$m=..,t=..,p=..$SALT$HASH as "rqtt auth hash" makes it, found ${found}`,
    );
  }
  const { cost, sizes } = parametersOf(phc);
  for (const [name, value] of Object.entries({ ...cost, ...sizes })) {
    const [min, max] = BOUNDS[name as keyof typeof BOUNDS];
    if (value < min || value > max) throw new Error(`expected an argon2id hash with ${name} from ${min} to ${max}`);
  }
  if (cost.memoryKiB < cost.lanes * 8) throw new Error("expected an argon2id hash with m of at least 8 * p");
  if (cost.memoryKiB * cost.passes > WORK_KIB_MAX) {
    throw new Error(`expected an argon2id hash with memory times passes (m * t) up to ${WORK_KIB_MAX}`);
  }
  const [salt = "", sum = ""] = phc.split("$").slice(4);
  return { ...cost, salt: Buffer.from(salt, "base64"), sum: Buffer.from(sum, "base64") };
}

function parametersOf(phc: string): { cost: Cost; sizes: { saltBytes: number; sumBytes: number } } {
  try {
    const { memoryCost, timeCost, parallelism, saltLen, outputLen } = parseOptions(phc);
    const cost = { memoryKiB: memoryCost, passes: timeCost, lanes: parallelism };
    return { cost, sizes: { saltBytes: saltLen, sumBytes: outputLen } };
  } catch {
    throw new Error("expected an argon2id hash whose parameters, salt and hash can be read");
  }
}

/** Costs the same whether it fits or not. */
export async function fitsPassword(hash: PasswordHash, password: Uint8Array): Promise<boolean> {
  // The library's own verify throws on a password that is not UTF-8; MQTT's is binary data.
  const sum = await hashRaw(password, { ...libraryOptions(hash), salt: hash.salt, outputLen: hash.sum.length });
  return sum.length === hash.sum.length && timingSafeEqual(sum, hash.sum);
}

/** A hash of the same cost that no password fits. */
export function unmatchedHash({ memoryKiB, passes, lanes }: Cost): PasswordHash {
  return { memoryKiB, passes, lanes, salt: randomBytes(SALT_BYTES), sum: randomBytes(SUM_BYTES) };
}

/** A new hash as a PHC string. */
export function newPasswordHash(password: string | Uint8Array): Promise<string> {
  return hash(password, { ...libraryOptions(DEFAULT_COST), outputLen: SUM_BYTES });
}

/** Argon2id of version 19 is the library's default, whose names for them exist for the compiler only. */
function libraryOptions({ memoryKiB, passes, lanes }: Cost) {
  return { memoryCost: memoryKiB, timeCost: passes, parallelism: lanes };
}
