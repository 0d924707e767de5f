/**
 * rqtt with an auth chain, as a user would configure it: a configuration file, a key file or user file beside it, and logins
 * that go with them. Keys are made anew for every run of the command and never leave the machine.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { hashPassword } from "../plugins/password/hash.ts";
import type { Rule } from "../src/core/gate/provider.ts";
import type { Rules } from "./auth-grant.ts";
import type { Broker } from "./broker-process.ts";
import { rqttWith } from "./brokers.ts";
import type { Login } from "./packet-bytes.ts";

export type Algorithm = "EdDSA" | "RS256";

export interface TokenIssuer {
  readonly algorithm: Algorithm;
  /** The public key as a JSON Web Key Set. */
  readonly keySet: string;
  login(subject: string): Promise<Login>;
}

const ISSUER = "https://issuer.example";
const AUDIENCE = "rqtt";
const KEY_ID = "bench";
const PRIVATE_FILE = { mode: 0o600 };
const GOOD_PASSWORD = "correct horse battery staple";

export async function newIssuer(algorithm: Algorithm): Promise<TokenIssuer> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: KEY_ID, alg: algorithm, use: "sig" };
  return {
    algorithm,
    keySet: JSON.stringify({ keys: [jwk] }),
    async login(subject) {
      const token = new SignJWT({ scope: "telemetry" })
        .setProtectedHeader({ alg: algorithm, kid: KEY_ID, typ: "JWT" })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject(subject)
        .setIssuedAt()
        .setExpirationTime("1h");
      return { username: subject, password: await token.sign(privateKey) };
    },
  };
}

/** Lets in whoever has a token of this issuer. */
export function rqttWithTokens(name: string, issuer: TokenIssuer, rules: Rules, login: Login | null): Broker {
  const configuration = `
    [[auth.chain]]
    use = "jwt"
    [auth.chain.issuers.bench]
    issuer = "${ISSUER}"
    audience = "${AUDIENCE}"
    algorithms = ["${issuer.algorithm}"]
    keys = { file = "keys.json" }
    rules = [{ deny = ${tomlRules(rules.deny)}, allow = ${tomlRules(rules.allow)} }]
  `;
  return rqttWith(name, (folder) => configured(folder, configuration, { "keys.json": issuer.keySet }), login);
}

/** Lets in one user, and knows no other; `settings` are lines of the provider's own. */
export async function rqttWithPasswords(name: string, settings: string): Promise<Broker> {
  const login = { username: "bench", password: GOOD_PASSWORD };
  const users = `${login.username}:${await hashPassword(login.password)}\nallow ${login.username} both bench/#\n`;
  const configuration = `
    [[auth.chain]]
    use = "password-file"
    file = "users"
    ${settings}
  `;
  return rqttWith(name, (folder) => configured(folder, configuration, { users }), login);
}

function configured(folder: string, configuration: string, files: Readonly<Record<string, string>>): string[] {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, PRIVATE_FILE);
  const path = join(folder, "rqtt.toml");
  // A flood of refused logins would measure the log: each of them is a line of it.
  writeFileSync(path, `[log]\nlevel = "error"\n${configuration}`);
  return ["--config", path];
}

function tomlRules(rules: readonly Rule[]): string {
  const tables = rules.map((rule) => {
    const fields = Object.entries(rule).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    return `{ ${fields.join(", ")} }`;
  });
  return `[${tables.join(", ")}]`;
}
