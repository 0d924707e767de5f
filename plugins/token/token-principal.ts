/**
 * Who the holder of verified claims is: id, user name, expiry, client id, rights.
 *
 * Invariant: nothing the client chose itself (its user name, its client id) becomes part of the identity. A token that is
 * bound to a key (`cnf`, RFC 7800) is refused unless the binding was checked: a certificate, RFC 8705 section 3.
 */
import type { ConnectRequest, PrincipalInit } from "../../src/core/gate/provider.ts";
import { attributesOf, type Claims, holds, textAt } from "./claim-path.ts";
import { rulesOf } from "./claims-to-rules.ts";
import type { IssuerConfig } from "./issuer-settings.ts";
import { badCredentials, show, TokenRefused } from "./token-refused.ts";
import { isObject } from "./token-text.ts";

const ID_CHARACTERS_MAX = 1024;
/** The last millisecond that a Date can name. */
const TIME_MS_MAX = 8_640_000_000_000_000;

/** `presentedAtMs`: when the client has shown the token. That a token is bound to a key is checked apart. */
export function principalOf(config: IssuerConfig, claims: Claims, presentedAtMs: number): PrincipalInit {
  const unmet = config.require.find((condition) => !holds(claims, condition));
  if (unmet !== undefined) {
    const name = unmet.claim.join(".");
    throw new TokenRefused("not-authorized", name, "a required claim differs", {
      expected: unmet.has.map(show).join(" or "),
    });
  }
  const username = config.usernameClaim === undefined ? undefined : textAt(claims, config.usernameClaim);
  const { sessionExpirySecondsMax } = config;
  return {
    id: `${config.name}:${subjectOf(config, claims)}`,
    ...(username === undefined ? {} : { username }),
    expiresAtMs: expiryOf(config, claims["exp"], presentedAtMs),
    permissions: rulesOf(claims, config),
    ...clientIdOf(config, claims),
    ...(sessionExpirySecondsMax === undefined ? {} : { sessionExpiryIntervalMax: sessionExpirySecondsMax }),
    attributes: attributesOf(claims),
  };
}

export function subjectOf(config: IssuerConfig, claims: Claims): string {
  const name = config.idClaim.join(".");
  const subject = textAt(claims, config.idClaim);
  if (subject === undefined) throw badCredentials(name, "the token does not say who its holder is");
  // A control character in a name that logs and session owners are made of, or half a character, was put there to mislead.
  if (subject.length > ID_CHARACTERS_MAX || /[\p{Cc}\p{Cs}]/u.test(subject)) {
    throw badCredentials(name, `is longer than ${ID_CHARACTERS_MAX} characters or has control characters`);
  }
  return subject;
}

export function expiryOf(config: IssuerConfig, exp: unknown, nowMs: number): number {
  if (typeof exp !== "number" || !Number.isFinite(exp)) throw badCredentials("exp", "not a time", { found: show(exp) });
  const byToken = Math.min(Math.floor(exp * 1000), TIME_MS_MAX);
  if (byToken <= nowMs) {
    // Verification allows for clocks that differ; a connection that has ended before it began would be no use.
    throw badCredentials("exp", "expired just now", { tell: "token expired" });
  }
  const { connectionSecondsMax } = config;
  return connectionSecondsMax === undefined ? byToken : Math.min(byToken, nowMs + connectionSecondsMax * 1000);
}

export function clientIdOf({ clientId }: IssuerConfig, claims: Claims): Pick<PrincipalInit, "clientId"> {
  const path = clientId?.equals ?? clientId?.prefix;
  if (path === undefined) return {};
  const value = textAt(claims, path);
  const name = path.join(".");
  if (value === undefined) throw new TokenRefused("not-authorized", name, "names no client id");
  if (clientId?.equals !== undefined) return { clientId: { equals: value } };
  // "a~" would be the beginning of the client ids of "a~b".
  const separator = clientId?.separator ?? "~";
  if (value.includes(separator)) {
    throw new TokenRefused("not-authorized", name, `has ${show(separator)} in it and cannot begin client ids`);
  }
  return { clientId: { prefix: value + separator } };
}

export function checkBinding(cnf: unknown, request: ConnectRequest): void {
  if (cnf === undefined) return;
  const members = isObject(cnf) ? Object.keys(cnf) : [];
  if (!isObject(cnf) || members.length !== 1 || members[0] !== "x5t#S256") {
    throw badCredentials("cnf", "the token is bound to a key whose possession cannot be proven here", {
      found: members.map((name) => name.slice(0, 40)).join(", ") || "nothing",
    });
  }
  const { certificate } = request.peer;
  if (certificate === undefined)
    throw badCredentials("cnf", "the token is bound to a certificate, and the client has none");
  if (cnf["x5t#S256"] !== certificate.sha256) throw badCredentials("cnf", "the token is bound to another certificate");
}

/** A client that renews its token, or that says who it wants to be, has to be that one. */
export function checkIdentity(
  { id, username }: Pick<PrincipalInit, "id" | "username">,
  subject: string,
  authorizationId: string | undefined,
  request: ConnectRequest,
): void {
  if (authorizationId !== undefined && ![subject, id, username].includes(authorizationId)) {
    throw new TokenRefused("not-authorized", "OAUTHBEARER", "the client asks to be somebody else than the token says");
  }
  if (request.current !== undefined && request.current.id !== id) {
    throw new TokenRefused("not-authorized", "re-authentication", "the token is somebody else's");
  }
}
