/**
 * Verifies a JWT for one issuer: signature, algorithm, issuer, audience, times, type.
 *
 * Invariant: the key comes from the issuer's own settings, whatever `jwk`, `jku`, `x5u` or `x5c` the token carries; a token
 * without `exp`, or for another audience, is refused. RFC 7519 section 7.2, RFC 8725 sections 3.1, 3.3, 3.8, 3.9 and 3.11.
 */
import { errors, type JWTClaimVerificationOptions, type JWTHeaderParameters, jwtVerify, UnsecuredJWT } from "jose";
import type { AbortSignalLike } from "../../src/core/gate/provider.ts";
import type { Claims } from "./claim-path.ts";
import type { IssuerConfig } from "./issuer-settings.ts";
import { badCredentials, show, TokenRefused } from "./token-refused.ts";

/** The keys of one issuer. */
export interface KeySource {
  /** The key for a token's header; throws a TokenRefused or an error of jose. */
  find(header: JWTHeaderParameters, signal: AbortSignalLike): Promise<CryptoKey | Uint8Array>;
  close(): void;
}

/** A token that was verified: what its issuer says, and the key that shows that it is the issuer who says it. */
export interface VerifiedToken {
  readonly claims: Claims;
  readonly header: JWTHeaderParameters;
  readonly key: CryptoKey | Uint8Array;
}

/** Types that a token may say it has unless the settings name others; one that says nothing passes too. */
const ORDINARY_TYPES = ["jwt", "at+jwt"];
const KEY_ID_CHARACTERS_MAX = 1024;

export async function verifyToken(
  token: string,
  config: IssuerConfig,
  keys: KeySource,
  nowMs: number,
  signal: AbortSignalLike,
): Promise<VerifiedToken> {
  const seen: { header: JWTHeaderParameters | undefined } = { header: undefined };
  try {
    const { payload, protectedHeader, key } = await jwtVerify(
      token,
      (header) => {
        seen.header = header;
        checkKeyId(header.kid);
        return keys.find(header, signal);
      },
      { ...claimOptions(config, nowMs), algorithms: [...config.algorithms] },
    );
    checkType(protectedHeader.typ, config.requiredType);
    return { claims: payload, header: protectedHeader, key };
  } catch (error) {
    throw explained(error, config, seen.header, nowMs);
  }
}

/** What the claims of a token have to say, at this moment. */
function claimOptions(config: IssuerConfig, nowMs: number): JWTClaimVerificationOptions {
  return {
    issuer: config.issuer,
    audience: [...config.audience],
    requiredClaims: ["exp"],
    clockTolerance: config.clockSkewSeconds,
    currentDate: new Date(nowMs),
    ...(config.tokenAgeSecondsMax === undefined ? {} : { maxTokenAge: config.tokenAgeSecondsMax }),
  };
}

/**
 * The same checks of claims that were verified before, by other settings; throws an error of jose. The library checks claims
 * only within a token, so they are put into one that is not signed.
 */
export function validateClaims(claims: Claims, config: IssuerConfig, nowMs: number): void {
  UnsecuredJWT.decode(new UnsecuredJWT(claims).encode(), claimOptions(config, nowMs));
}

/** A header's members have the type of what was sent, whatever the declarations say. */
export function checkKeyId(kid: unknown): void {
  if (kid === undefined || (typeof kid === "string" && kid.length <= KEY_ID_CHARACTERS_MAX)) return;
  throw badCredentials("kid", `is no text of at most ${KEY_ID_CHARACTERS_MAX} characters`);
}

export function checkType(typ: unknown, required: readonly string[] | undefined): void {
  if (typ === undefined && required === undefined) return;
  const accepted = acceptedTypes(required);
  if (typeof typ === "string" && accepted.includes(plainType(typ))) return;
  throw badCredentials("typ", "the token is of another kind", { expected: accepted.join(" or "), found: show(typ) });
}

export function acceptedTypes(required: readonly string[] | undefined): readonly string[] {
  return (required ?? ORDINARY_TYPES).map(plainType);
}

function plainType(typ: string): string {
  return typ.toLowerCase().replace(/^application\//u, "");
}

/** Puts what jose says into words with what was expected and found. Its own messages and payloads stay here. */
export function explained(
  error: unknown,
  config: IssuerConfig,
  header: JWTHeaderParameters | undefined,
  nowMs: number,
): unknown {
  if (error instanceof TokenRefused) return error;
  if (error instanceof errors.JWTExpired) return expired(error, nowMs);
  if (error instanceof errors.JWTClaimValidationFailed) return wrongClaim(error, config);
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return badCredentials("alg", "not one of this issuer's algorithms", { expected: config.algorithms.join(", ") });
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return badCredentials("signature", `does not verify with the issuer's key (kid ${show(header?.kid)})`);
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return badCredentials("kid", "the issuer has no such key for this algorithm", {
      found: `kid ${show(header?.kid)}, alg ${show(header?.alg)}`,
    });
  }
  if (error instanceof errors.JWKSMultipleMatchingKeys) {
    return badCredentials("kid", "more than one key of the issuer fits; the token has to name its key");
  }
  if (error instanceof errors.JOSEError) return badCredentials("token", `is malformed or unsupported (${error.code})`);
  if (error instanceof Error && error.name === "TypeError") {
    return new TokenRefused("unavailable", "keys", "the issuer's key for this token cannot be used");
  }
  return error;
}

function expired(error: errors.JWTExpired, nowMs: number): TokenRefused {
  const { claim, payload } = error;
  if (claim !== "exp")
    return badCredentials(claim, "the token is older than tokenAgeSecondsMax", { tell: "token too old" });
  const agoSeconds = Math.round(nowMs / 1000 - Number(payload.exp));
  return badCredentials("exp", `expired ${agoSeconds} s ago`, { tell: "token expired" });
}

function wrongClaim({ claim, reason, payload }: errors.JWTClaimValidationFailed, config: IssuerConfig): TokenRefused {
  const found = show(payload[claim]);
  if (claim === "aud") {
    return badCredentials("aud", "the token is for somebody else", {
      expected: config.audience.map(show).join(" or "),
      found,
    });
  }
  if (claim === "iss") return badCredentials("iss", "another issuer", { expected: show(config.issuer), found });
  if (reason === "missing") return badCredentials(claim, "the claim is missing");
  if (claim === "nbf" || claim === "iat") {
    return badCredentials(claim, "the token is not valid yet, or one of the clocks is wrong", { found });
  }
  return badCredentials(claim, "not a valid value", { found });
}
