/**
 * What is known of certain issuers: the form of their issuer, where they put identities and rights, what usually goes wrong.
 *
 * A preset fills in what the settings leave open and refuses to start with what cannot work or would let everybody in.
 * It never fills in an audience that others share.
 */
import type { ClaimPath, Condition } from "./claim-path.ts";
import type { IssuerFields } from "./issuer-settings.ts";
import type { TokenRefused } from "./token-refused.ts";

export type PresetName = "auth0" | "keycloak" | "entra" | "okta" | "google" | "github-actions";

/** What the settings of an issuer say before a preset has looked at them. */
export interface PresetInput extends IssuerFields {
  readonly issuer: string | undefined;
  readonly audience: readonly string[] | undefined;
  readonly asksIssuer: boolean;
}

export interface Preset {
  /** The only issuer of its kind. */
  readonly issuer?: string;
  readonly issuerForm: RegExp;
  readonly issuerExample: string;
  readonly algorithms: readonly string[];
  readonly idClaim: ClaimPath;
  readonly usernameClaim?: ClaimPath;
  readonly scopeClaims: readonly ClaimPath[];
  readonly require: readonly Condition[];
  readonly audienceHint: string;
  /** What is wrong with these settings, and what to type. */
  complain?(input: PresetInput): string | undefined;
  /** What to do about a refusal. */
  hint(refused: TokenRefused): string | undefined;
}

function names(conditions: readonly Condition[], claims: readonly string[]): boolean {
  return conditions.some(({ claim }) => claim.length === 1 && claims.includes(claim[0]!));
}

const auth0: Preset = {
  issuerForm: /^https:\/\/[\w.-]+\/$/u,
  issuerExample: "https://TENANT.eu.auth0.com/ (with the slash at the end)",
  algorithms: ["RS256"],
  idClaim: ["sub"],
  scopeClaims: [["scope"], ["permissions"]],
  require: [],
  audienceHint: "the Identifier of your API in Auth0",
  hint({ check, message }) {
    if (check === "aud") return "ask for the token with audience = the Identifier of your API; it is case-sensitive";
    if (check === "token" && message.includes("encrypted"))
      return "ask for the token with an audience, or Auth0 makes one that only it can read";
    if (check === "alg") return "choose RS256 as the Signing Algorithm of the API in Auth0";
    return undefined;
  },
};

const keycloak: Preset = {
  issuerForm: /^https?:\/\/[^/]+(?:\/[^/]+)*\/realms\/[^/]+$/u,
  issuerExample: "https://HOST/realms/REALM (without a slash at the end)",
  algorithms: ["RS256"],
  idClaim: ["sub"],
  usernameClaim: ["preferred_username"],
  scopeClaims: [["scope"]],
  require: [],
  audienceHint: "what an Audience mapper of the client scope adds to the token",
  hint({ check }) {
    if (check === "aud")
      return 'add an Audience mapper to a client scope of the client; without it Keycloak says "account" or nothing';
    if (check === "sub") return "a lightweight token leaves claims out; add the scope basic to the client";
    return undefined;
  },
};

const entra: Preset = {
  issuerForm: /^https:\/\/(?:login\.microsoftonline\.[a-z]+\/[\w.-]+\/v2\.0|sts\.windows\.net\/[\w.-]+\/)$/u,
  issuerExample: "https://login.microsoftonline.com/TENANT-ID/v2.0",
  algorithms: ["RS256"],
  idClaim: ["oid"],
  scopeClaims: [["scp"], ["roles"]],
  require: [],
  audienceHint: "the application (client) ID of the API's app registration",
  complain({ issuer }) {
    const isShared = /\/(?:common|organizations|consumers|\{tenantid\})\//iu.test(issuer ?? "");
    return isShared ? "expected the issuer of one tenant: write its ID in place of common or organizations" : undefined;
  },
  hint({ check }) {
    if (check === "aud")
      return "ask for scope = api://API-CLIENT-ID/.default; v2 tokens name the client ID alone, v1 tokens api://...";
    if (check === "signature")
      return "tokens for Microsoft Graph cannot be verified by anybody else; ask for one for your own API";
    if (check === "oid") return 'a token without oid: write idClaim = "sub" or idClaim = "azp"';
    return undefined;
  },
};

const okta: Preset = {
  issuerForm: /^https:\/\/[\w.-]+(?:\/oauth2\/[\w-]+)?$/u,
  issuerExample: "https://ORG.okta.com/oauth2/default",
  algorithms: ["RS256"],
  idClaim: ["sub"],
  scopeClaims: [["scp"]],
  require: [],
  audienceHint: "the Audience of the authorization server, api://default for the one named default",
  complain({ issuer = "", asksIssuer }) {
    if (issuer.includes("/oauth2/") || asksIssuer) return undefined;
    return "tokens of the organization's own server cannot be verified by others: use https://ORG.okta.com/oauth2/default, or introspection with always = true";
  },
  hint({ check }) {
    if (check === "aud") return "compare with the Audience under Security, API, Authorization Servers";
    return undefined;
  },
};

const google: Preset = {
  issuer: "https://accounts.google.com",
  issuerForm: /^https:\/\/accounts\.google\.com$/u,
  issuerExample: "https://accounts.google.com",
  algorithms: ["RS256"],
  idClaim: ["sub"],
  usernameClaim: ["email"],
  scopeClaims: [],
  require: [{ claim: ["email_verified"], has: [true] }],
  audienceHint: "the OAuth client ID, or the value of --audiences for a service account",
  complain(input) {
    const whose = ["email", "hd", "sub"];
    if (names(input.require, whose)) return undefined;
    if (input.rules.length > 0 && input.rules.every(({ when }) => names(when, whose))) return undefined;
    return 'anybody with a Google account may get such a token: add require = [{ claim = "hd", has = "example.com" }] or a list of "email"';
  },
  hint({ check }) {
    if (check === "email_verified")
      return "ask for the ID token with the e-mail address, such as gcloud auth print-identity-token --include-email";
    if (check === "aud")
      return "ask for an ID token for this audience, such as gcloud auth print-identity-token --audiences=AUDIENCE";
    return undefined;
  },
};

const githubActions: Preset = {
  issuer: "https://token.actions.githubusercontent.com",
  issuerForm: /^https:\/\/token\.actions\.githubusercontent\.com(?:\/[\w-]+)?$/u,
  issuerExample: "https://token.actions.githubusercontent.com",
  algorithms: ["RS256"],
  idClaim: ["repository_id"],
  usernameClaim: ["repository"],
  scopeClaims: [],
  require: [],
  audienceHint: 'a name of your own, the one in core.getIDToken("rqtt")',
  complain({ audience = [], require }) {
    if (audience.some((name) => /^https:\/\/github\.com\//u.test(name))) {
      return 'every workflow gets this audience without asking: choose your own, such as audience = "rqtt" and core.getIDToken("rqtt")';
    }
    if (!names(require, ["repository", "repository_id", "repository_owner_id"])) {
      return 'any repository of the world may ask for such a token: add require = [{ claim = "repository_id", has = "ID" }, ...]';
    }
    if (!names(require, ["ref", "environment", "job_workflow_ref", "sub"])) {
      return 'any branch and pull request would do: add { claim = "ref", has = "refs/heads/main" } or an environment to require';
    }
    return undefined;
  },
  hint({ check }) {
    if (check === "aud") return 'ask for the token with your audience: core.getIDToken("rqtt")';
    if (check === "exp") return "these tokens live for minutes: fetch one right before connecting";
    return undefined;
  },
};

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  auth0,
  keycloak,
  entra,
  okta,
  google,
  "github-actions": githubActions,
};

/** What may be wrong where a token names an issuer that nobody configured. */
export function unknownIssuerHint(found: string, known: readonly string[]): string | undefined {
  const near = known.find((issuer) => withoutSlash(issuer) === withoutSlash(found));
  if (near !== undefined)
    return "it differs from the configured one only by the slash at the end: write it as the token does";
  if (
    found.startsWith("https://sts.windows.net/") &&
    known.some((issuer) => issuer.includes("login.microsoftonline."))
  ) {
    return "this is a v1 token: set api.requestedAccessTokenVersion to 2 in the manifest of the API's app registration";
  }
  const realm = /\/realms\/[^/]+$/u.exec(found)?.[0];
  if (realm !== undefined && known.some((issuer) => issuer.endsWith(realm))) {
    return "the same realm under another host name: set KC_HOSTNAME so that there is only one";
  }
  if (/^https:\/\/[\w.-]+\.okta(?:preview|-emea)?\.com$/u.test(found)) {
    return "this is a token of the Okta organization's own server; ask /oauth2/default for one";
  }
  return undefined;
}

function withoutSlash(url: string): string {
  return url.replace(/\/$/u, "");
}
