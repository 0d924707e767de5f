/**
 * What is looked at in the claims of a token, one check after the other, each with what was expected and found.
 *
 * Where a check can be done by the code that decides, it is. Nothing here lets anybody in, and no more of a token is shown than
 * the claims that the settings name, cut short. RFC 7519 section 4.1, RFC 7662 section 2.2, RFC 7800.
 */
import type { Check, ConnectRequest } from "../../src/core/gate/provider.ts";
import { rightsCheck } from "../rules/rights-check.ts";
import { type Claims, claimAt, holds, textAt } from "./claim-path.ts";
import { ruleOfScope, rulesOf, scopesOf } from "./claims-to-rules.ts";
import type { IssuerConfig } from "./issuer-settings.ts";
import { checkBinding, checkIdentity, clientIdOf, expiryOf, subjectOf } from "./token-principal.ts";
import { badCredentials, show, TokenRefused } from "./token-refused.ts";

/** A token that is looked at on behalf of one issuer. */
export interface Looked {
  readonly config: IssuerConfig;
  readonly claims: Claims;
  /** Whether the claims are the issuer's own words. */
  readonly isVerified: boolean;
  readonly request: ConnectRequest;
  readonly nowMs: number;
  readonly hint: HintOf;
}

export type HintOf = (refused: TokenRefused) => string | undefined;

/** What usually helps, whoever the issuer is. */
const HINTS: Readonly<Record<string, string>> = {
  aud: "ask the issuer for a token for this audience",
  exp: "get a new token, and compare the clocks",
  nbf: "compare the clocks",
  kid: "a key that is new since a moment ago, or another issuer of the same name",
  signature: "another issuer of the same name, or a token that was cut short or changed",
};

/** One check: `look` answers what it found, or throws a TokenRefused. */
export async function check(
  name: string,
  expected: string,
  look: () => string | Promise<string>,
  hintOf?: HintOf,
): Promise<Check> {
  try {
    return { name, ok: true, expected, found: await look() };
  } catch (error) {
    if (!(error instanceof TokenRefused)) throw error;
    const { text, parts } = error;
    const hint = parts.hint ?? hintOf?.(error) ?? HINTS[error.check];
    const found = parts.found === undefined ? text : `${parts.found}: ${text}`;
    return { name, ok: false, expected, found, ...(hint === undefined ? {} : { hint }) };
  }
}

/** Says of a claim whether anybody vouches for it. */
function claimed({ isVerified }: Looked, text: string): string {
  return isVerified ? text : `${text} (unverified)`;
}

export function anyOf(values: readonly unknown[]): string {
  return values.map(show).join(" or ");
}

export function issuerCheck(looked: Looked, hint: string | undefined): Promise<Check> {
  const { iss } = looked.claims;
  return check("iss", show(looked.config.issuer), () => {
    if (iss === looked.config.issuer) return claimed(looked, show(iss));
    throw badCredentials("iss", "another issuer", { found: claimed(looked, show(iss)), hint });
  });
}

/** `mayBeMissing`: of an issuer that is asked and names no audience. */
export function audienceCheck(looked: Looked, mayBeMissing: boolean): Promise<Check> {
  const { aud } = looked.claims;
  const { audience } = looked.config;
  const look = (): string => {
    if (aud === undefined && mayBeMissing) return "nothing, as audienceOptional says";
    const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
    if (named.some((name) => audience.includes(name as string))) return claimed(looked, show(aud));
    throw badCredentials("aud", "the token is for somebody else", { found: claimed(looked, show(aud)) });
  };
  return check("aud", anyOf(audience), look, looked.hint);
}

/** `exp`, `nbf` and, of a signed token, `iat`. */
export async function timeChecks(looked: Looked, isSigned: boolean): Promise<Check[]> {
  const { config, claims, nowMs, hint } = looked;
  const { nbf, iat } = claims;
  const checks = [await expiryCheck(looked)];
  const soonest = Math.floor(nowMs / 1000) + config.clockSkewSeconds;
  if (nbf !== undefined) {
    const look = (): string => {
      const found = claimed(looked, timeText(nbf, nowMs));
      if (typeof nbf === "number" && nbf <= soonest) return found;
      throw badCredentials("nbf", "the token is not valid yet", { found });
    };
    checks.push(await check("nbf", "a time that has come", look, hint));
  }
  if (isSigned && (iat !== undefined || config.tokenAgeSecondsMax !== undefined)) checks.push(await ageCheck(looked));
  return checks;
}

function expiryCheck(looked: Looked): Promise<Check> {
  const { config, claims, nowMs, hint } = looked;
  const { exp } = claims;
  const look = (): string => {
    const found = claimed(looked, timeText(exp, nowMs));
    if (typeof exp !== "number" || !Number.isFinite(exp)) throw badCredentials("exp", "not a time", { found });
    if (exp * 1000 <= nowMs) throw badCredentials("exp", "expired", { found });
    expiryOf(config, exp, nowMs);
    return found;
  };
  return check("exp", "a time to come", look, hint);
}

function ageCheck(looked: Looked): Promise<Check> {
  const { config, claims, nowMs, hint } = looked;
  const { iat } = claims;
  const { tokenAgeSecondsMax: ageMax, clockSkewSeconds: skew } = config;
  const expected = ageMax === undefined ? "a time" : `at most ${ageMax} s ago (tokenAgeSecondsMax)`;
  const look = (): string => {
    const found = claimed(looked, timeText(iat, nowMs));
    if (typeof iat !== "number") throw badCredentials("iat", "not a time", { found });
    const age = Math.floor(nowMs / 1000) - iat;
    if (ageMax !== undefined && age - skew > ageMax) throw badCredentials("iat", "the token is too old", { found });
    if (ageMax !== undefined && age < -skew) throw badCredentials("iat", "made in the future", { found });
    return found;
  };
  return check("iat", expected, look, hint);
}

/** What is left once issuer, audience and times are known: binding, required claims, identity, rights. */
export async function holderChecks(looked: Looked, authorizationId: string | undefined): Promise<Check[]> {
  const { config, claims, request, hint } = looked;
  const checks: Check[] = [];
  if (claims["cnf"] !== undefined) {
    const look = (): string => {
      checkBinding(claims["cnf"], request);
      return "the client's certificate";
    };
    checks.push(await check("cnf", "the certificate that the token is bound to", look, hint));
  }
  for (const condition of config.require) {
    const name = condition.claim.join(".");
    const look = (): string => {
      const found = claimed(looked, show(claimAt(claims, condition.claim)));
      if (holds(claims, condition)) return found;
      throw new TokenRefused("not-authorized", name, "a required claim differs", { found });
    };
    checks.push(await check(name, anyOf(condition.has), look, hint));
  }
  const subject = (): string => subjectOf(config, claims);
  const identity = () => claimed(looked, `${config.name}:${subject()}, from ${config.idClaim.join(".")}`);
  const isKnown = await check("identity", `who the holder is, in ${config.idClaim.join(".")}`, identity, hint);
  checks.push(isKnown);
  if (isKnown.ok && (authorizationId !== undefined || request.current !== undefined)) {
    checks.push(await samePerson(looked, subject(), authorizationId));
  }
  if (config.clientId !== undefined) checks.push(await clientIdCheck(looked));
  const scopes = scopesOf(claims, config.scopeClaims);
  if (config.scopeClaims.length > 0) checks.push(scopesCheck(looked, scopes));
  const rights = rightsCheck(rulesOf(claims, config));
  return [...checks, { ...rights, found: claimed(looked, rights.found) }];
}

function samePerson(looked: Looked, subject: string, authorizationId: string | undefined): Promise<Check> {
  const { config, claims, request } = looked;
  const username = config.usernameClaim === undefined ? undefined : textAt(claims, config.usernameClaim);
  const id = `${config.name}:${subject}`;
  return check("same person", "that the client is who it says, or was, it is", () => {
    checkIdentity({ id, ...(username === undefined ? {} : { username }) }, subject, authorizationId, request);
    return "the same";
  });
}

function clientIdCheck(looked: Looked): Promise<Check> {
  const { config, claims, hint } = looked;
  const path = config.clientId?.equals ?? config.clientId?.prefix ?? [];
  const look = (): string => {
    const { equals, prefix } = clientIdOf(config, claims).clientId ?? {};
    return claimed(looked, equals === undefined ? `ids that begin with ${show(prefix)}` : `only ${show(equals)}`);
  };
  return check("client id", `which ones the holder may use, in ${path.join(".")}`, look, hint);
}

function scopesCheck(looked: Looked, scopes: readonly string[]): Check {
  const { scopePrefix } = looked.config;
  const isOurs = (scope: string): boolean => scopePrefix !== "" && scope.startsWith(scopePrefix);
  const isVoid = (scope: string): boolean => isOurs(scope) && ruleOfScope(scope, scopePrefix) === undefined;
  const broken = scopes.filter(isVoid);
  const form = `${scopePrefix}read:FILTER or ${scopePrefix}write:FILTER`;
  const found = claimed(looked, show(scopes.length === 0 ? undefined : scopes.join(" ")));
  const hint = `void: ${show(broken.join(" "))}; expected ${form}, percent-encoded once`;
  return { name: "scopes", ok: true, expected: form, found, ...(broken.length === 0 ? {} : { hint }) };
}

/** A time of a token, and how far away it is. */
export function timeText(seconds: unknown, nowMs: number): string {
  if (typeof seconds !== "number") return show(seconds);
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return String(seconds);
  const away = seconds - nowMs / 1000;
  const distance = distanceText(Math.abs(away));
  return `${date.toISOString().replace(".000Z", "Z")}, ${away < 0 ? `${distance} ago` : `in ${distance}`}`;
}

function distanceText(seconds: number): string {
  if (seconds < 600) return `${Math.round(seconds)} s`;
  if (seconds < 36_000) return `${Math.round(seconds / 60)} min`;
  return seconds < 864_000 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}
