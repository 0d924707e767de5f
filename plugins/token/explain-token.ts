/**
 * Why a token is let in or not, check by check: where it is, what it is, who made it, who holds it.
 *
 * Goes on after a failure as far as something can still be said; what an unverified token claims is marked so. Invariant: the
 * token is verified by no other keys and algorithms than the issuer's, and neither it nor its signature is in any text.
 */
import { compactVerify, type JWTHeaderParameters } from "jose";
import type { Check, ConnectRequest } from "../../src/core/gate/provider.ts";
import type { Claims } from "./claim-path.ts";
import { findToken, NO_TOKEN } from "./find-token.ts";
import { unknownIssuerHint } from "./issuer-presets.ts";
import type { ProviderSettings } from "./issuer-settings.ts";
import {
  anyOf,
  audienceCheck,
  check,
  type HintOf,
  holderChecks,
  issuerCheck,
  type Looked,
  timeChecks,
} from "./token-checks.ts";
import { readMethodData } from "./token-methods.ts";
import type { Issuer } from "./token-provider.ts";
import { badCredentials, show, TokenRefused } from "./token-refused.ts";
import { type ShapeBounds, shapeOf, unverifiedParts } from "./token-text.ts";
import { acceptedTypes, checkKeyId, checkType, explained } from "./verify-token.ts";

/** What tokens are judged by. */
export interface Court {
  readonly settings: ProviderSettings;
  readonly bounds: ShapeBounds;
  readonly byIssuer: ReadonlyMap<string, Issuer>;
  readonly opaque: Issuer | undefined;
  readonly nowMs: number;
}

interface Located {
  readonly token: string;
  readonly shape: "jwt" | "opaque";
  readonly authorizationId: string | undefined;
}

/** What a token says of itself before anybody has verified it. */
interface Opened {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Claims;
}

const METHOD_WITHOUT_TOKEN = "not one of this provider's methods, or tokenIn has no auth";
/** A plugin may be asked to stop; nobody asks that of an explanation. */
const unhurried = (): AbortSignal => new AbortController().signal;

export async function explainToken(
  court: Court,
  request: ConnectRequest,
  data: Uint8Array | undefined,
): Promise<Check[]> {
  const checks: Check[] = [];
  const located = await locate(court, request, data, checks);
  if (located === undefined) return checks;
  if (located.shape === "jwt") return [...checks, ...(await explainJwt(court, located, request))];
  return [...checks, ...(await explainOpaque(court, located, request, court.opaque!))];
}

/** Finds the token, and adds the checks of how it came. */
async function locate(
  court: Court,
  request: ConnectRequest,
  data: Uint8Array | undefined,
  checks: Check[],
): Promise<Located | undefined> {
  const { settings, bounds } = court;
  const { authenticationMethod: method } = request;
  const places = settings.tokenIn.filter((place) => (place === "auth") === (method !== undefined));
  let located: Located | undefined;
  const place = async (): Promise<string> => {
    located = method === undefined ? inConnect(court, request) : inData(court, method, data);
    const kind = located.shape === "jwt" ? "a signed token (JWT)" : "an opaque token";
    return method === undefined ? kind : `${kind} by ${method}`;
  };
  const where = places.length === 0 ? "nowhere, as tokenIn says" : places.join(", ");
  checks.push(await check("token", `one in ${where}`, place, anyHint(court)));
  if (located?.shape === "jwt") {
    const { length } = located.token;
    const expected = `at most ${bounds.tokenBytesMax} bytes`;
    checks.push({ name: "size", ok: true, expected, found: `${length} bytes` });
  }
  return located;
}

function inConnect({ settings, bounds }: Court, request: ConnectRequest): Located {
  const found = findToken(request, settings.tokenIn, bounds);
  if (found === undefined) throw badCredentials("token", "none: left to the next provider", { hint: NO_TOKEN });
  if (found === "several") throw badCredentials("token", "two different ones");
  if (found === "too long") throw tooLong(bounds);
  return { ...found, authorizationId: undefined };
}

function inData({ settings, bounds }: Court, method: string, data: Uint8Array | undefined): Located {
  if (!settings.tokenIn.includes("auth") || !settings.methods.some((own) => own === method)) {
    throw badCredentials("method", METHOD_WITHOUT_TOKEN);
  }
  const { token, authorizationId } = readMethodData(method, data, bounds.tokenBytesMax);
  const shape = shapeOf(token, bounds);
  if (shape === "too long") throw tooLong(bounds);
  if (shape === "none") throw badCredentials("token", "Authentication Data that is no token", { hint: NO_TOKEN });
  return { token, shape, authorizationId };
}

function tooLong({ tokenBytesMax }: ShapeBounds): TokenRefused {
  return badCredentials("token", `one that is longer than maxTokenBytes, ${tokenBytesMax}`, {
    hint: "it most likely lists groups: have the issuer leave them out",
  });
}

async function explainJwt(court: Court, located: Located, request: ConnectRequest): Promise<Check[]> {
  const { token } = located;
  let opened: Opened | undefined;
  const form = await check(
    "form",
    "header, payload and signature",
    () => {
      opened = open(token);
      return "header, payload and signature";
    },
    anyHint(court),
  );
  if (opened === undefined) return [form];
  const { header, payload } = opened;
  const known = [...court.byIssuer.keys()];
  const named = typeof payload["iss"] === "string" ? payload["iss"] : "";
  // With one issuer configured it is clear which one was meant.
  const issuer = court.byIssuer.get(named) ?? (known.length === 1 ? court.byIssuer.get(known[0]!) : undefined);
  if (issuer === undefined) return [form, await unknownIssuer(court, payload)];
  const { config, keys, introspection } = issuer;
  const hint: HintOf = (refused) => issuer.hint(refused);
  const looked = (claims: Claims, isVerified: boolean): Looked => ({
    config,
    claims,
    isVerified,
    request,
    nowMs: court.nowMs,
    hint,
  });
  const issuerHint = unknownIssuerHint(named, known);
  if (introspection?.always === true || keys === undefined) {
    const first = await issuerCheck(looked(payload, false), issuerHint);
    return [form, first, ...(await explainOpaque(court, located, request, issuer))];
  }
  const signed = await signatureChecks(token, header, issuer, court.nowMs);
  const isVerified = signed.at(-1)?.ok === true;
  const about = looked(payload, isVerified);
  return [
    form,
    await issuerCheck(about, issuerHint),
    ...signed,
    await audienceCheck(about, false),
    ...(await timeChecks(about, true)),
    ...(await holderChecks(about, located.authorizationId)),
  ];
}

function open(token: string): Opened {
  const parts = token.split(".");
  if (parts.length !== 3) throw badCredentials("token", "is encrypted; only signed tokens are accepted");
  const { header, payload } = unverifiedParts(token);
  if (header === undefined) throw badCredentials("token", "its header is no object in JSON");
  if (payload === undefined) throw badCredentials("token", "its payload is no object in JSON");
  return { header, payload };
}

function unknownIssuer({ byIssuer, settings }: Court, { iss }: Claims): Promise<Check> {
  const known = [...byIssuer.keys()];
  return check("iss", anyOf(known), () => {
    const text = settings.otherIssuers === "skip" ? "left to the next provider" : "no configured issuer";
    const hint = unknownIssuerHint(typeof iss === "string" ? iss : "", known);
    throw badCredentials("iss", text, { found: `${show(iss)} (unverified)`, hint });
  });
}

/** Header type, algorithm, key and signature; a key is looked for only for an algorithm that is allowed. */
async function signatureChecks(
  token: string,
  header: Readonly<Record<string, unknown>>,
  issuer: Issuer,
  nowMs: number,
): Promise<Check[]> {
  const { config, keys } = issuer;
  const { typ, alg, kid } = header;
  const hint: HintOf = (refused) => issuer.hint(refused);
  const types = [...acceptedTypes(config.requiredType), ...(config.requiredType === undefined ? ["nothing"] : [])];
  const typed = await check("typ", types.join(" or "), () => {
    checkType(typ, config.requiredType);
    return show(typ);
  });
  const allowed = await check(
    "alg",
    config.algorithms.join(" or "),
    () => {
      if (typeof alg === "string" && config.algorithms.includes(alg)) return show(alg);
      throw badCredentials("alg", "not one of this issuer's algorithms", { found: show(alg) });
    },
    hint,
  );
  if (!allowed.ok) return [typed, allowed, await unlookedSignature("not looked at, for the algorithm")];
  let key: CryptoKey | Uint8Array | undefined;
  const asked = header as JWTHeaderParameters;
  const found = await check(
    "kid",
    "one of the issuer's keys",
    async () => {
      checkKeyId(kid);
      key = await inWords(() => keys!.find(asked, unhurried()), issuer, asked, nowMs);
      return kid === undefined ? "the issuer's key; the token names none" : show(kid);
    },
    hint,
  );
  if (key === undefined) return [typed, allowed, found, await unlookedSignature("not looked at, without a key")];
  const good = key;
  const signature = await check(
    "signature",
    "one of this key",
    async () => {
      if (token.endsWith(".")) throw badCredentials("signature", "none: the token is not signed");
      await inWords(() => compactVerify(token, good, { algorithms: [...config.algorithms] }), issuer, asked, nowMs);
      return "one of this key";
    },
    hint,
  );
  return [typed, allowed, found, signature];
}

function unlookedSignature(why: string): Promise<Check> {
  return check("signature", "one of the issuer's keys", () => {
    throw badCredentials("unlooked", why);
  });
}

/** What libraries throw, said as a refusal would say it. */
async function inWords<T>(
  job: () => Promise<T>,
  { config }: Issuer,
  header: JWTHeaderParameters,
  nowMs: number,
): Promise<T> {
  try {
    return await job();
  } catch (error) {
    const refused = explained(error, config, header, nowMs);
    if (refused instanceof TokenRefused) throw refused;
    // The message of a foreign error might quote what it choked on.
    throw new TokenRefused(
      "unavailable",
      "keys",
      `could not be looked at: ${error instanceof Error ? error.name : "?"}`,
    );
  }
}

/** A token that the issuer is asked about, checked by what it says. */
async function explainOpaque(
  { nowMs }: Court,
  { token, authorizationId }: Located,
  request: ConnectRequest,
  issuer: Issuer,
): Promise<Check[]> {
  const { config, introspection } = issuer;
  const hint: HintOf = (refused) => issuer.hint(refused);
  let claims: Claims | undefined;
  const asked = await check(
    "introspection",
    `that issuer ${config.name} says it is active`,
    async () => {
      claims = await inWords(() => introspection!.source.claims(token, unhurried()), issuer, { alg: "" }, nowMs);
      return "active";
    },
    hint,
  );
  if (claims === undefined) return [asked];
  const looked: Looked = { config, claims, isVerified: true, request, nowMs, hint };
  const { iss, token_type: kind } = claims;
  return [
    asked,
    ...(iss === undefined ? [] : [await issuerCheck(looked, undefined)]),
    await audienceCheck(looked, introspection!.audienceOptional),
    ...(await timeChecks(looked, false)),
    ...(typeof kind === "string" ? [await kindCheck(kind)] : []),
    ...(await holderChecks(looked, authorizationId)),
  ];
}

function kindCheck(kind: string): Promise<Check> {
  return check("token_type", "Bearer", () => {
    if (/^(?:bearer|access_token)$/iu.test(kind)) return show(kind);
    throw badCredentials("token_type", "the token needs a proof that cannot be given here", { found: show(kind) });
  });
}

/** Advice on a token whose issuer cannot be told: the first that any of them has. */
function anyHint({ byIssuer }: Court): HintOf {
  return (refused) => {
    for (const issuer of byIssuer.values()) {
      const hint = issuer.hint(refused);
      if (hint !== undefined) return hint;
    }
    return undefined;
  };
}
