/**
 * What is kept of a verified token, so that other settings can judge it without the token: claims, header, which key.
 *
 * Invariant: neither the token nor a part of it that anybody could present is kept, and of the key only what tells it from
 * another. Times are judged as of the moment at which the token was presented, so that settings that stay the same say the same;
 * that it has expired since is for the broker to act on, which knows whether its client is there.
 */
import { type AbortSignalLike, EVIDENCE_BYTES_MAX } from "../../src/core/gate/provider.ts";
import { processDigest } from "../password/private-digest.ts";
import type { Claims } from "./claim-path.ts";
import type { IssuerConfig } from "./issuer-settings.ts";
import { badCredentials, show } from "./token-refused.ts";
import { isObject } from "./token-text.ts";
import { checkType, explained, type KeySource, type VerifiedToken, validateClaims } from "./verify-token.ts";

export interface KeptToken {
  readonly claims: Claims;
  readonly alg: string;
  readonly kid: string | undefined;
  readonly typ: string | undefined;
  readonly key: string;
  readonly presentedAtMs: number;
}

/** As evidence of a principal; nothing where the claims are too large for that. */
export async function evidenceOf(
  { claims, header, key }: VerifiedToken,
  presentedAtMs: number,
): Promise<{ readonly evidence?: string }> {
  const { alg, kid, typ } = header;
  const kept: KeptToken = { claims, alg, kid, typ, key: await digestOf(key), presentedAtMs };
  const evidence = JSON.stringify(kept);
  return Buffer.byteLength(evidence) > EVIDENCE_BYTES_MAX ? {} : { evidence };
}

/** `undefined` where nothing was kept, or not by this plugin. */
export function keptIn(evidence: string | undefined): KeptToken | undefined {
  try {
    const kept: unknown = JSON.parse(evidence ?? "");
    return isObject(kept) && isKept(kept) ? kept : undefined;
  } catch {
    return undefined;
  }
}

function isKept(kept: object): kept is KeptToken {
  const { claims, alg, kid, typ, key, presentedAtMs } = kept as Partial<KeptToken>;
  const hasTexts = typeof alg === "string" && typeof key === "string";
  const mayBeTexts = [kid, typ].every((value) => value === undefined || typeof value === "string");
  return isObject(claims) && hasTexts && mayBeTexts && Number.isFinite(presentedAtMs);
}

/** Throws what verifying the token again would throw by the settings, and with the keys, that are in force now. */
export async function judgeKept(
  kept: KeptToken,
  config: IssuerConfig,
  keys: KeySource,
  nowMs: number,
  signal: AbortSignalLike,
): Promise<void> {
  const { claims, alg, kid, typ, key, presentedAtMs } = kept;
  const header = kid === undefined ? { alg } : { alg, kid };
  try {
    checkType(typ, config.requiredType);
    if (!config.algorithms.includes(alg)) {
      throw badCredentials("alg", "not one of this issuer's algorithms", { found: show(alg) });
    }
    validateClaims(claims, config, presentedAtMs);
    // An issuer gives up keys whose tokens have expired: that says nothing against whoever came in with one.
    if (Number(claims["exp"]) * 1000 <= nowMs) return;
    if ((await digestOf(await keys.find(header, signal))) !== key) {
      throw badCredentials("kid", "the issuer has another key in this place", { found: show(kid) });
    }
  } catch (error) {
    throw explained(error, config, header, presentedAtMs);
  }
}

/** The same key has the same object for as long as its set is in force. */
const digests = new WeakMap<CryptoKey, string>();

async function digestOf(key: CryptoKey | Uint8Array): Promise<string> {
  if (key instanceof Uint8Array) return processDigest.text("secret", key);
  const known = digests.get(key);
  if (known !== undefined) return known;
  const digest = processDigest.text("key", new Uint8Array(await crypto.subtle.exportKey("spki", key)));
  digests.set(key, digest);
  return digest;
}
