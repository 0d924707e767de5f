/**
 * Keys at hand: a JSON Web Key Set, a PEM file, a secret, made ready for verifying and nothing else.
 *
 * Refuses private keys and short secrets; secrets never stand in a key set, so no public key can ever be one.
 * RFC 7517 section 5, RFC 7518 section 3.2, RFC 8725 section 3.5.
 */
import { createLocalJWKSet, importSPKI, importX509, type JSONWebKeySet, type JWTHeaderParameters } from "jose";
import { isSymmetric } from "./issuer-settings.ts";
import { badCredentials } from "./token-refused.ts";
import { isObject } from "./token-text.ts";

export type FindKey = (header: JWTHeaderParameters) => Promise<CryptoKey | Uint8Array>;

export interface KeySet {
  readonly find: FindKey;
  readonly count: number;
}

const KEYS_MAX = 200;
/** Members that only private and secret keys have (RFC 7518 section 6). */
const PRIVATE_MEMBERS = ["d", "k", "p", "q", "priv"];

/** Reads a key set's text. `isOurs`: a file, where a private key is a mistake to speak of rather than to leave out. */
export function keySetOf(text: string, isOurs: boolean): KeySet {
  const parsed = parse(text);
  if (!isObject(parsed) || !Array.isArray(parsed["keys"]))
    throw new Error('expected a JSON Web Key Set: { "keys": [...] }');
  const all: unknown[] = parsed["keys"];
  if (all.length > KEYS_MAX) throw new Error(`expected at most ${KEYS_MAX} keys, found ${all.length}`);
  const keys = all.filter((key): key is Record<string, unknown> => isObject(key) && isPublic(key));
  if (isOurs && keys.length < all.length) throw new Error("expected public keys, found a private or secret one");
  if (isOurs && keys.length === 0) throw new Error("expected at least one key, found none");
  const set = createLocalJWKSet({ keys: keys.map(withoutOneName) } as unknown as JSONWebKeySet);
  return { find: (header) => set(header), count: keys.length };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the text.
    throw new Error("expected a JSON Web Key Set, found no JSON");
  }
}

function isPublic(key: Record<string, unknown>): boolean {
  return key["kty"] !== "oct" && !PRIVATE_MEMBERS.some((name) => name in key);
}

/** EdDSA on this curve has two names; which ones are accepted is for the settings to say, the key fits either. */
function withoutOneName(key: Record<string, unknown>): Record<string, unknown> {
  if (key["crv"] !== "Ed25519" || (key["alg"] !== "EdDSA" && key["alg"] !== "Ed25519")) return key;
  const { alg: _alg, ...others } = key;
  return others;
}

/** One public key or certificate in PEM: good for each of the algorithms that fit it. */
export async function keyOfPem(pem: string, algorithms: readonly string[]): Promise<KeySet> {
  const label = /-----BEGIN ([A-Z0-9 ]+)-----/u.exec(pem)?.[1];
  if (label !== "PUBLIC KEY" && label !== "CERTIFICATE") {
    const found = label === undefined ? "neither PEM nor JSON" : label.includes("PRIVATE") ? "a private key" : label;
    throw new Error(`expected a PEM file with PUBLIC KEY or CERTIFICATE, or a JSON Web Key Set, found ${found}`);
  }
  const keys = new Map<string, CryptoKey>();
  for (const algorithm of algorithms) {
    try {
      keys.set(algorithm, await (label === "CERTIFICATE" ? importX509(pem, algorithm) : importSPKI(pem, algorithm)));
    } catch {
      // Another kind of key than this algorithm wants.
    }
  }
  if (keys.size === 0) throw new Error(`expected a key for ${algorithms.join(" or ")}, found one of another kind`);
  const find: FindKey = async ({ alg }) => {
    const key = keys.get(String(alg));
    if (key === undefined) throw badCredentials("alg", "the issuer's key is for another algorithm");
    return key;
  };
  return { find, count: 1 };
}

export function keyOfSecret(secret: string, algorithms: readonly string[]): KeySet {
  const bytes = new TextEncoder().encode(secret);
  const needed = Math.max(...algorithms.map((algorithm) => Number(algorithm.slice(2)) / 8));
  if (bytes.length < needed) throw new Error(`expected a secret of at least ${needed} bytes, found ${bytes.length}`);
  return { find: () => Promise.resolve(bytes), count: 1 };
}

/** Public keys verify what their holder signed, secrets what anybody who verifies could sign: never both by one key. */
export function checkAlgorithms(algorithms: readonly string[], isSecret: boolean): void {
  const wrong = algorithms.find((algorithm) => isSymmetric(algorithm) !== isSecret);
  if (wrong === undefined) return;
  throw new Error(isSecret ? `${wrong} does not go with a secret` : `${wrong} needs keys = { secret = ... }`);
}
