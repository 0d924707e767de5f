/**
 * The settings of one issuer that `jwt` and `oauth` have in common, and what becomes of them once presets have filled them in.
 *
 * Issuer, audience and algorithms are never guessed: without them a token made for somebody else would pass.
 */
import { group, list, oneOf, optional, type SettingsOf, table, text, whole } from "../settings.ts";
import { type ClaimPath, claimPath, condition, oneOrList, optionalPath } from "./claim-path.ts";
import { claimRulesList } from "./claims-to-rules.ts";

const ASYMMETRIC = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
] as const;
const SYMMETRIC = ["HS256", "HS384", "HS512"] as const;
const YEAR_SECONDS = 366 * 86_400;

export function algorithms() {
  return list(oneOf(...ASYMMETRIC, ...SYMMETRIC), 1);
}

export function asymmetricAlgorithms() {
  return list(oneOf(...ASYMMETRIC), 1);
}

export function isSymmetric(algorithm: string): boolean {
  return (SYMMETRIC as readonly string[]).includes(algorithm);
}

/** What every issuer may have. */
export const issuerFields = {
  idClaim: optionalPath(),
  usernameClaim: optionalPath(),
  clientId: optional(group({ equals: optionalPath(), prefix: optionalPath(), separator: optional(text(), "~") })),
  require: optional(list(condition()), []),
  rules: claimRulesList(),
  scopeClaims: optional(list(claimPath())),
  scopePrefix: optional(text(), "mqtt:"),
  requiredType: optional(oneOrList(text())),
  clockSkewSeconds: optional(whole(0, 300, "seconds"), 5),
  tokenAgeSecondsMax: optional(whole(1, YEAR_SECONDS, "seconds")),
  connectionSecondsMax: optional(whole(1, YEAR_SECONDS, "seconds")),
  sessionExpirySecondsMax: optional(whole(0, 0xffff_ffff, "seconds")),
};

/** What a provider of tokens may have beside its issuers. */
export const providerFields = {
  tokenIn: optional(list(oneOf("password", "username", "auth", "authorization"), 1), ["password", "auth"]),
  maxTokenBytes: optional(whole(256, 65_535, "bytes"), 16_384),
  otherIssuers: optional(oneOf("refuse", "skip"), "refuse"),
  methods: optional(list(oneOf("OAUTH2-JWT", "CUSTOM-JWT", "K8S-SAT", "OAUTHBEARER")), [
    "OAUTH2-JWT",
    "CUSTOM-JWT",
    "K8S-SAT",
    "OAUTHBEARER",
  ]),
};

export const issuerTable = table(issuerFields);
export type IssuerFields = SettingsOf<typeof issuerTable>;
const providerTable = table(providerFields);
export type ProviderSettings = SettingsOf<typeof providerTable>;

/** One issuer, complete. */
export interface IssuerConfig extends Omit<IssuerFields, "idClaim" | "scopeClaims"> {
  readonly name: string;
  /** Compared with `iss` byte for byte. */
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly algorithms: readonly string[];
  readonly idClaim: ClaimPath;
  readonly scopeClaims: readonly ClaimPath[];
}

const DEFAULT_SCOPE_CLAIMS: readonly ClaimPath[] = [["scope"], ["scp"]];

export interface IssuerIdentity {
  readonly name: string;
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly algorithms: readonly string[];
}

export function issuerConfig(identity: IssuerIdentity, fields: IssuerFields): IssuerConfig {
  const { clientId } = fields;
  if (clientId !== undefined && (clientId.equals === undefined) === (clientId.prefix === undefined)) {
    throw new Error(`issuers.${identity.name}.clientId: expected either equals or prefix`);
  }
  // The host refuses a prefix whose last character occurs in ids, and every id has a ":".
  if (clientId?.separator.endsWith(":")) {
    throw new Error(`issuers.${identity.name}.clientId.separator: expected an end other than ":", which every id has`);
  }
  return {
    ...fields,
    ...identity,
    algorithms: withBothNames(identity.algorithms),
    idClaim: fields.idClaim ?? ["sub"],
    scopeClaims: fields.scopeClaims ?? DEFAULT_SCOPE_CLAIMS,
  };
}

/** RFC 9864 renamed EdDSA on this curve; libraries on either side of the change have to get on. */
function withBothNames(names: readonly string[]): readonly string[] {
  const isEdwards = names.some((name) => name === "EdDSA" || name === "Ed25519");
  return isEdwards ? [...new Set([...names, "EdDSA", "Ed25519"])] : names;
}

/** The names are part of principals' ids: a ":" in one could make two principals the same. */
export function checkIssuers(issuers: readonly { readonly name: string; readonly issuer: string }[]): void {
  if (issuers.length === 0) throw new Error("issuers: expected at least one");
  const seen = new Map<string, string>();
  for (const { name, issuer } of issuers) {
    if (!/^[\w-]{1,64}$/u.test(name)) {
      throw new Error(`issuers: expected a name of letters, digits, "-" and "_", found ${JSON.stringify(name)}`);
    }
    const other = seen.get(issuer);
    if (other !== undefined) {
      throw new Error(`issuers.${name}.issuer: the same as that of ${other}; give one of them a list of audiences`);
    }
    seen.set(issuer, name);
  }
}
