/**
 * A real OAuth 2.0 and OpenID Connect issuer on loopback, built on oidc-provider, with a switch for outages and counters.
 *
 *   const issuer = await startTestIssuer();
 *   const door = await harness(plugin, { issuers: { main: { issuer: issuer.issuer, audience: "rqtt", ... } } });
 *   const client = await door.connect({ password: await issuer.token("urn:jwt", "mqtt:write:tele/+") });
 *   await issuer.close();
 *
 * The package is no dependency of the broker: whoever starts an issuer has it installed. Rotation puts another issuer behind the
 * same server; what is stored stays. Never for more than tests: its secrets are known to everybody.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWK } from "jose";

interface Issuing {
  callback(): (request: IncomingMessage, response: ServerResponse) => void;
}
type Settings = Readonly<Record<string, unknown>>;
type IssuingClass = new (issuer: string, settings: Settings) => Issuing;

const PACKAGE = { name: "oidc-provider", version: "9.13.3" };
/** Who asks about opaque tokens: client id and secret for introspection. */
export const RESOURCE_SERVER = { id: "rqtt-rs", secret: "resource-server-secret" };
const CLIENT = { id: "device-1", secret: "device-secret" };
const CLIENT_METADATA = { redirect_uris: [], response_types: [], token_endpoint_auth_method: "client_secret_post" };
const STORED_MAX = 10_000;

export interface TestIssuerOptions {
  /** `aud` of tokens for a resource. Default "rqtt". */
  readonly audience?: string;
  /** Scopes that may be asked for, with blanks between. Default "mqtt:read:cmd/# mqtt:write:tele/+ other:scope". */
  readonly scope?: string;
  /** Claims that every token has besides the usual ones. Default `{ roles: ["sensor"], device: "d1" }`. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Default 60. */
  readonly tokenSeconds?: number;
}

export interface TestIssuer {
  readonly issuer: string;
  /** How often each path was asked for. */
  readonly asked: Map<string, number>;
  /** Requests other than for tokens are answered with 503. */
  isDown: boolean;
  /**
   * A token of the client "device-1", by client credentials: for "urn:jwt" a signed one, for "urn:opaque" an opaque one with scope
   * and audience, for nothing an opaque one that is bare.
   */
  token(resource: "urn:jwt" | "urn:opaque" | undefined, scope?: string): Promise<string>;
  revoke(token: string): Promise<void>;
  /** Signs with a new key from now on; `overlap`: the key set has the old one too. */
  rotate(overlap: boolean): Promise<void>;
  close(): Promise<void>;
}

/** Listens on a free port of 127.0.0.1. */
export async function startTestIssuer(options: TestIssuerOptions = {}): Promise<TestIssuer> {
  const createIssuing = issuingOf(await importIssuer(), options);
  let handle: (request: IncomingMessage, response: ServerResponse) => void;
  const asked = new Map<string, number>();
  const server: Server = createServer((incoming, response) => {
    const path = (incoming.url ?? "").split("?")[0]!;
    asked.set(path, (asked.get(path) ?? 0) + 1);
    if (self.isDown && path !== "/token") response.writeHead(503).end();
    else handle(incoming, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let keys: JWK[] = [];
  let serial = 0;
  const credentials = { client_id: CLIENT.id, client_secret: CLIENT.secret };
  const self: TestIssuer = {
    issuer,
    asked,
    isDown: false,
    async token(resource, scope) {
      const fields = { ...credentials, grant_type: "client_credentials", ...(scope === undefined ? {} : { scope }) };
      const answer = await post(`${issuer}/token`, { ...fields, ...(resource === undefined ? {} : { resource }) });
      return (answer as { access_token: string }).access_token;
    },
    async revoke(token) {
      await post(`${issuer}/token/revocation`, { ...credentials, token });
    },
    async rotate(overlap) {
      // The first key signs.
      keys = [await newPrivateKey(`key-${++serial}`), ...(overlap ? keys : [])];
      handle = createIssuing(issuer, keys).callback();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  await self.rotate(false);
  return self;
}

/** Loads the package; rejects with what to install where it is missing. `name` is for tests. */
export async function importIssuer(name: string = PACKAGE.name): Promise<IssuingClass> {
  try {
    // The package has no type declarations, and a name that the compiler cannot see needs none.
    return ((await import(name)) as { default: IssuingClass }).default;
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code !== "ERR_MODULE_NOT_FOUND") throw error;
    const install = `bun add --dev ${PACKAGE.name}@${PACKAGE.version}`;
    throw new Error(`startTestIssuer needs the package ${name}, which is not installed: ${install}`);
  }
}

async function newPrivateKey(kid: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg: "RS256", use: "sig" };
}

async function post(url: string, fields: Record<string, string>): Promise<unknown> {
  const response = await fetch(url, { method: "POST", body: new URLSearchParams(fields) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}

/** How issuers are made that differ in their keys alone and share what they have stored. */
function issuingOf(
  Issuing: IssuingClass,
  options: TestIssuerOptions,
): (issuer: string, keys: readonly JWK[]) => Issuing {
  const { audience = "rqtt", scope = "mqtt:read:cmd/# mqtt:write:tele/+ other:scope", tokenSeconds = 60 } = options;
  const { claims = { roles: ["sensor"], device: "d1" } } = options;
  const resourceServer = (resource: string) => ({
    scope,
    audience,
    accessTokenTTL: tokenSeconds,
    accessTokenFormat: resource === "urn:jwt" ? "jwt" : "opaque",
    ...(resource === "urn:jwt" ? { jwt: { sign: { alg: "RS256" } } } : {}),
  });
  const nobody = { redirect_uris: [], response_types: [] };
  const settings = {
    adapter: createAdapter(),
    clientDefaults: { id_token_signed_response_alg: "RS256" },
    clients: [
      { client_id: CLIENT.id, client_secret: CLIENT.secret, grant_types: ["client_credentials"], ...CLIENT_METADATA },
      { client_id: RESOURCE_SERVER.id, client_secret: RESOURCE_SERVER.secret, grant_types: [], ...nobody },
    ],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      revocation: { enabled: true, allowedPolicy: () => true },
      introspection: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context: unknown, resource: string) => resourceServer(resource),
      },
    },
    extraTokenClaims: () => claims,
    ttl: { ClientCredentials: () => tokenSeconds },
  };
  return (issuer, keys) => new Issuing(issuer, { ...settings, jwks: { keys } });
}

/** Where tokens are stored, by kind and name. Client credentials need no more of a store than this. */
function createAdapter() {
  const stored = new Map<string, { readonly payload: unknown; readonly untilMs: number }>();
  return (kind: string) => ({
    async upsert(id: string, payload: unknown, seconds: number | undefined): Promise<void> {
      if (stored.size >= STORED_MAX) stored.delete(stored.keys().next().value!);
      stored.set(`${kind}:${id}`, { payload, untilMs: Date.now() + (seconds ?? Number.POSITIVE_INFINITY) * 1000 });
    },
    async find(id: string): Promise<unknown> {
      const entry = stored.get(`${kind}:${id}`);
      return entry !== undefined && Date.now() < entry.untilMs ? entry.payload : undefined;
    },
    async destroy(id: string): Promise<void> {
      stored.delete(`${kind}:${id}`);
    },
  });
}
