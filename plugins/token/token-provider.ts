/**
 * A provider of tokens from several issuers: finds the token, picks its issuer, verifies, says who the holder is.
 *
 * Invariant: `iss` picks the issuer before anything is verified, and then only that issuer's keys decide. What is no token is
 * somebody else's to judge (skip); what is one and fails is refused.
 */
import type {
  AbortSignalLike,
  Check,
  ConnectRequest,
  Exchange,
  PluginHostServices,
  PrincipalInit,
  Provider,
  RecheckRequest,
  Verdict,
} from "../../src/core/gate/provider.ts";
import type { Claims } from "./claim-path.ts";
import { explainToken } from "./explain-token.ts";
import { findToken, NO_TOKEN } from "./find-token.ts";
import type { Introspection } from "./introspection.ts";
import { unknownIssuerHint } from "./issuer-presets.ts";
import type { IssuerConfig, ProviderSettings } from "./issuer-settings.ts";
import { evidenceOf, judgeKept, keptIn } from "./kept-token.ts";
import { readMethodData } from "./token-methods.ts";
import { checkBinding, checkIdentity, principalOf, subjectOf } from "./token-principal.ts";
import { badCredentials, refusalOf, show, TokenRefused } from "./token-refused.ts";
import { claimedIssuer, type ShapeBounds, shapeOf } from "./token-text.ts";
import { type KeySource, verifyToken } from "./verify-token.ts";

/** One issuer at work. */
export interface Issuer {
  readonly config: IssuerConfig;
  /** Not there where the issuer is asked about every token. */
  readonly keys: KeySource | undefined;
  readonly introspection: OpaqueTokens | undefined;
  hint(refused: TokenRefused): string | undefined;
  close(): void;
}

export interface OpaqueTokens {
  readonly source: Introspection;
  /** Signed tokens of this issuer are asked about too, rather than verified. */
  readonly always: boolean;
  readonly lengthMin: number;
  readonly prefix: string;
  readonly audienceOptional: boolean;
}

interface Judged {
  readonly issuer: Issuer;
  readonly principal: PrincipalInit;
  readonly subject: string;
}

const SKIP: Verdict = { do: "skip" };

export function createTokenProvider(
  settings: ProviderSettings,
  issuers: readonly Issuer[],
  host: Pick<PluginHostServices, "nowMs">,
): Provider {
  const { tokenIn, methods } = settings;
  const judge = new TokenJudge(settings, issuers, host.nowMs);
  const inConnect = tokenIn.filter((place) => place !== "auth");
  return {
    ...(inConnect.length === 0 ? {} : { connect: (request, signal) => judge.connect(request, signal) }),
    ...(tokenIn.includes("auth") ? { methods, exchange: (request: ConnectRequest) => judge.exchange(request) } : {}),
    recheck: (request, signal) => judge.recheck(request, signal),
    explain: (request, data) => judge.explain(request, data),
    close() {
      for (const issuer of issuers) issuer.close();
    },
  };
}

class TokenJudge {
  readonly #settings: ProviderSettings;
  readonly #byIssuer: ReadonlyMap<string, Issuer>;
  /** The one issuer that is asked about opaque tokens. */
  readonly #opaque: Issuer | undefined;
  readonly #bounds: ShapeBounds;
  readonly #nowMs: () => number;

  constructor(settings: ProviderSettings, issuers: readonly Issuer[], nowMs: () => number) {
    this.#settings = settings;
    this.#byIssuer = new Map(issuers.map((issuer) => [issuer.config.issuer, issuer]));
    this.#opaque = issuers.find(({ introspection }) => introspection !== undefined);
    const { lengthMin: opaqueLengthMin = 0, prefix: opaquePrefix = "" } = this.#opaque?.introspection ?? {};
    this.#bounds = { tokenBytesMax: settings.maxTokenBytes, opaqueLengthMin, opaquePrefix };
    this.#nowMs = nowMs;
  }

  connect(request: ConnectRequest, signal: AbortSignalLike): Verdict | Promise<Verdict> {
    const found = findToken(request, this.#settings.tokenIn, this.#bounds);
    if (found === undefined) return SKIP;
    if (found === "too long") return refusalOf(this.#tooLong(), "");
    if (found === "several") return refusalOf(badCredentials("token", "the client sent two different ones"), "");
    let issuer: Issuer | undefined;
    try {
      issuer = this.#issuerOf(found.token, found.shape);
      if (issuer === undefined) return SKIP;
    } catch (error) {
      return refusalOf(error, "");
    }
    return this.#judge(issuer, found, request, signal).then(
      ({ principal }): Verdict => ({ do: "accept", principal }),
      (error) => refusal(error, issuer),
    );
  }

  exchange(request: ConnectRequest): Exchange {
    let isOver = false;
    return {
      step: async (data, signal) => {
        let issuer: Issuer | undefined;
        try {
          if (isOver) throw badCredentials("token", "was judged already");
          isOver = true;
          const { token, authorizationId } = readMethodData(
            request.authenticationMethod ?? "",
            data,
            this.#bounds.tokenBytesMax,
          );
          const shape = shapeOf(token, this.#bounds);
          if (shape === "too long") throw this.#tooLong();
          if (shape === "none")
            throw badCredentials("token", "the Authentication Data is no token", { hint: NO_TOKEN });
          issuer = this.#issuerOf(token, shape);
          if (issuer === undefined) throw badCredentials("iss", "nobody here knows the issuer");
          const judged = await this.#judge(issuer, { token, shape }, request, signal);
          checkIdentity(judged.principal, judged.subject, authorizationId, request);
          return { do: "accept", principal: judged.principal };
        } catch (error) {
          return refusal(error, issuer);
        }
      },
    };
  }

  /**
   * By the claims that were verified when the client came in. A certificate that they are bound to was the client's then, and
   * a connection does not change its certificate.
   */
  async recheck({ principal }: RecheckRequest, signal: AbortSignalLike): Promise<Verdict> {
    const kept = keptIn(principal.evidence);
    if (kept === undefined) return refusalOf(new TokenRefused("unavailable", "token", "nothing of it was kept"), "");
    const { claims, presentedAtMs } = kept;
    const issuer = this.#byIssuer.get(String(claims["iss"]));
    try {
      if (issuer === undefined) throw badCredentials("iss", "no configured issuer", { found: show(claims["iss"]) });
      const { config, keys } = issuer;
      if (keys === undefined) {
        throw new TokenRefused("unavailable", "introspection", "the issuer is asked about the token itself");
      }
      await judgeKept(kept, config, keys, this.#nowMs(), signal);
      return { do: "accept", principal: principalOf(config, claims, presentedAtMs) };
    } catch (error) {
      return refusal(error, issuer);
    }
  }

  /** Check by check; at the end what decides is asked too, so that nothing it minds goes unsaid. */
  async explain(request: ConnectRequest, data: Uint8Array | undefined): Promise<readonly Check[]> {
    const place = { settings: this.#settings, bounds: this.#bounds, opaque: this.#opaque, nowMs: this.#nowMs() };
    const checks = await explainToken({ ...place, byIssuer: this.#byIssuer }, request, data);
    if (checks.some(({ ok }) => !ok)) return checks;
    const { signal } = new AbortController();
    const isExchange = request.authenticationMethod !== undefined;
    const verdict = await (isExchange ? this.exchange(request).step(data, signal) : this.connect(request, signal));
    if (verdict.do === "accept") return checks;
    const found = verdict.do === "refuse" ? (verdict.log ?? verdict.because) : verdict.do;
    return [...checks, { name: "verdict", ok: false, expected: "accept", found }];
  }

  /** `undefined`: an issuer that another provider may know. */
  #issuerOf(token: string, shape: "jwt" | "opaque"): Issuer | undefined {
    if (shape === "opaque") return this.#opaque;
    const iss = claimedIssuer(token);
    const issuer = this.#byIssuer.get(iss);
    if (issuer !== undefined || this.#settings.otherIssuers === "skip") return issuer;
    const known = [...this.#byIssuer.keys()];
    throw badCredentials("iss", "no configured issuer", {
      expected: known.map(show).join(" or "),
      found: show(iss),
      hint: unknownIssuerHint(iss, known),
    });
  }

  async #judge(
    issuer: Issuer,
    { token, shape }: { readonly token: string; readonly shape: "jwt" | "opaque" },
    request: ConnectRequest,
    signal: AbortSignalLike,
  ): Promise<Judged> {
    const { config, keys, introspection } = issuer;
    if (introspection !== undefined && (shape === "opaque" || introspection.always)) {
      const answer = await introspection.source.claims(token, signal);
      const claims = checkAnswer(answer, config, introspection, this.#nowMs());
      return this.#judged(issuer, claims, request, {});
    }
    const verified = await verifyToken(token, config, keys!, this.#nowMs(), signal);
    return this.#judged(issuer, verified.claims, request, await evidenceOf(verified, this.#nowMs()));
  }

  #judged(issuer: Issuer, claims: Claims, request: ConnectRequest, evidence: { readonly evidence?: string }): Judged {
    const { config } = issuer;
    checkBinding(claims["cnf"], request);
    const principal = { ...principalOf(config, claims, this.#nowMs()), ...evidence };
    return { issuer, principal, subject: subjectOf(config, claims) };
  }

  #tooLong(): TokenRefused {
    return badCredentials("token", `is longer than maxTokenBytes, ${this.#bounds.tokenBytesMax}`);
  }
}

function refusal(error: unknown, issuer: Issuer | undefined): Verdict {
  if (issuer === undefined) return refusalOf(error, "");
  const explained = error instanceof TokenRefused ? error.withHint(issuer.hint(error)) : error;
  return refusalOf(explained, issuer.config.name);
}

/** What an issuer said of an active token, checked as if it were the token (RFC 7662 section 2.2). */
function checkAnswer(claims: Claims, config: IssuerConfig, { audienceOptional }: OpaqueTokens, nowMs: number): Claims {
  const { iss, aud, exp, nbf, token_type: kind } = claims;
  const skewMs = config.clockSkewSeconds * 1000;
  if (iss !== undefined && iss !== config.issuer) {
    throw badCredentials("iss", "another issuer", { expected: show(config.issuer), found: show(iss) });
  }
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  const isMine =
    aud === undefined ? audienceOptional : audiences.some((name) => config.audience.includes(name as string));
  if (!isMine) {
    const expected = config.audience.map(show).join(" or ");
    throw badCredentials("aud", "the token is for somebody else", { expected, found: show(aud) });
  }
  if (typeof exp !== "number" || exp * 1000 <= nowMs - skewMs)
    throw badCredentials("exp", "expired, or not a time", { tell: "token expired" });
  if (nbf !== undefined && (typeof nbf !== "number" || nbf * 1000 > nowMs + skewMs)) {
    throw badCredentials("nbf", "the token is not valid yet, or one of the clocks is wrong");
  }
  if (typeof kind === "string" && !/^(?:bearer|access_token)$/iu.test(kind)) {
    throw badCredentials("token_type", "the token needs a proof that cannot be given here", { found: show(kind) });
  }
  return claims;
}
