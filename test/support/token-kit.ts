/**
 * What tests of token providers have in common: keys, tokens of any make, requests, host services with a clock and a log.
 *
 * Nothing here verifies anything: tokens are put together by hand where a library would refuse to.
 */
import { exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTHeaderParameters, SignJWT } from "jose";
import { createServices, type Services } from "../../src/bun/plugin-services.ts";
import type {
  AuthPlugin,
  ConnectRequest,
  Exchange,
  PluginHostServices,
  Provider,
  Verdict,
} from "../../src/core/gate/provider.ts";

export const ISSUER = "https://issuer.example";
export const AUDIENCE = "rqtt";

export interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  /** The public key, with kid, alg and use. */
  readonly jwk: JWK;
  readonly privateJwk: JWK;
}

export async function newKey(alg: string, kid: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const marks = { kid, alg, use: "sig" };
  const jwk = { ...(await exportJWK(publicKey)), ...marks };
  return { kid, alg, privateKey, publicKey, jwk, privateJwk: { ...(await exportJWK(privateKey)), ...marks } };
}

export function pemOf(key: SigningKey): Promise<string> {
  return exportSPKI(key.publicKey);
}

export interface TokenParts {
  /** Replaces or, where undefined, removes claims of an ordinary token. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly header?: Readonly<Record<string, unknown>>;
  readonly nowMs?: number;
}

/** A token for `ISSUER` and `AUDIENCE` that lives for ten minutes, but for what `parts` change. */
export function signToken(key: SigningKey, parts: TokenParts = {}): Promise<string> {
  const header = { alg: key.alg, kid: key.kid, ...parts.header };
  return new SignJWT(ordinaryClaims(parts))
    .setProtectedHeader(defined(header) as JWTHeaderParameters)
    .sign(key.privateKey);
}

export function ordinaryClaims({ claims = {}, nowMs = Date.now() }: TokenParts = {}): Record<string, unknown> {
  const iat = Math.floor(nowMs / 1000);
  return defined({ iss: ISSUER, aud: AUDIENCE, sub: "alice", iat, exp: iat + 600, ...claims });
}

function defined(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

/** Header and payload as texts, signed with whatever `sign` makes of them. */
export async function tokenByHand(
  header: string,
  payload: string,
  sign: (input: Uint8Array<ArrayBuffer>) => Promise<ArrayBuffer> | Uint8Array<ArrayBuffer>,
): Promise<string> {
  const input = `${base64url(bytes(header))}.${base64url(bytes(payload))}`;
  return `${input}.${base64url(new Uint8Array(await sign(bytes(input))))}`;
}

export function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

export function request(changes: Partial<ConnectRequest> = {}): ConnectRequest {
  return {
    protocolLevel: 5,
    clientId: "client",
    cleanStart: true,
    username: undefined,
    password: undefined,
    authenticationMethod: undefined,
    userProperties: [],
    will: undefined,
    peer: { address: "192.0.2.1", listener: "test://" },
    current: undefined,
    ...changes,
  };
}

export function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
}

export const never: AbortSignal = new AbortController().signal;

/** A token as the password. */
export async function login(
  provider: Provider,
  token: string,
  changes: Partial<ConnectRequest> = {},
): Promise<Verdict> {
  return await provider.connect!(request({ password: bytes(token), ...changes }), never);
}

/** A token as Authentication Data. */
export async function exchange(
  provider: Provider,
  method: string,
  data: string | undefined,
  changes: Partial<ConnectRequest> = {},
): Promise<Verdict> {
  const one: Exchange = provider.exchange!(request({ authenticationMethod: method, ...changes }));
  return await one.step(data === undefined ? undefined : bytes(data), never);
}

export interface TestServices extends Services {
  /** Every line of the log as text. */
  readonly lines: string[];
  /** Resolves with the first line, past or future, that has `text` in it. */
  logged(text: string): Promise<string>;
}

export function testServices(folder = ".", env: Readonly<Record<string, string>> = {}): TestServices {
  const lines: string[] = [];
  const waiting: { readonly text: string; readonly found: (line: string) => void }[] = [];
  const write = (level: string, event: string, fields: object): void => {
    const line = `${level} ${event} ${JSON.stringify(fields)}`;
    lines.push(line);
    for (const { text, found } of waiting) if (line.includes(text)) found(line);
  };
  const services = createServices({
    plugin: "test",
    log: { write },
    folder,
    env,
    drop: () => 0,
  });
  const logged = (text: string): Promise<string> => {
    const past = lines.find((line) => line.includes(text));
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((found) => waiting.push({ text, found }));
  };
  return { ...services, lines, logged };
}

/** Time that passes only by `advance`; what was to be called later is called then. */
export class HandSchedule {
  #nowMs = 1_750_000_000_000;
  #jobs: { readonly atMs: number; readonly job: () => void }[] = [];

  nowMs = (): number => this.#nowMs;

  later = (ms: number, job: () => void): (() => void) => {
    const entry = { atMs: this.#nowMs + ms, job };
    this.#jobs.push(entry);
    return () => {
      this.#jobs = this.#jobs.filter((other) => other !== entry);
    };
  };

  get waiting(): number {
    return this.#jobs.length;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    const due = this.#jobs.filter(({ atMs }) => atMs <= this.#nowMs);
    this.#jobs = this.#jobs.filter(({ atMs }) => atMs > this.#nowMs);
    for (const { job } of due) job();
  }
}

/** A provider made as the host makes one: settings checked first, then created. Rejects with what the schema complains of. */
export async function createProvider<Config>(
  plugin: AuthPlugin<Config>,
  settings: unknown,
  services: PluginHostServices,
): Promise<Provider> {
  const result = await plugin.config!["~standard"].validate(settings);
  if (result.issues !== undefined) {
    const [issue] = result.issues;
    throw new Error(`${issue?.path?.map(String).join(".")}: ${issue?.message}`);
  }
  return await plugin.create(result.value, services);
}

/** The rules an accepted client has, each as "pub a/b" or "not sub c/#". */
export function rulesIn(verdict: Verdict): string[] {
  if (verdict.do !== "accept") throw new Error(`not accepted: ${JSON.stringify(verdict)}`);
  const { permissions } = verdict.principal;
  if (permissions === "everything") return ["everything"];
  const { allow, deny = [] } = permissions;
  return [...allow.map(({ on, filter }) => `${on} ${filter}`), ...deny.map(({ on, filter }) => `not ${on} ${filter}`)];
}

/** What was started and waits for nothing outside has come to its end. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
