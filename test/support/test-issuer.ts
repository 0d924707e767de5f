/**
 * A real OAuth 2.0 and OpenID Connect issuer on loopback, built on oidc-provider, with a switch for outages and counters.
 *
 * `resource` picks the kind of token: "urn:jwt" signed, "urn:opaque" opaque with scope and audience, none opaque and bare.
 * Rotation puts another issuer behind the same server; what is stored stays.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { newKey, type SigningKey } from "./token-kit.ts";

interface Issuing {
  callback(): (request: IncomingMessage, response: ServerResponse) => void;
}
/** The package has no type declarations, and a name that the compiler cannot see needs none. */
const PACKAGE: string = "oidc-provider";
type Settings = Readonly<Record<string, unknown>>;
const { default: Provider } = (await import(PACKAGE)) as {
  default: new (issuer: string, settings: Settings) => Issuing;
};

const TOKEN_SECONDS = 60;
export const RESOURCE_SERVER = { id: "rqtt-rs", secret: "resource-server-secret" };
const CLIENT = { id: "device-1", secret: "device-secret" };
const CLIENT_METADATA = { redirect_uris: [], response_types: [], token_endpoint_auth_method: "client_secret_post" };

export interface TestIssuer {
  readonly issuer: string;
  /** How often each path was asked for. */
  readonly asked: Map<string, number>;
  /** Requests other than for tokens are answered with 503. */
  isDown: boolean;
  /** A token by client credentials. */
  token(resource: "urn:jwt" | "urn:opaque" | undefined, scope?: string): Promise<string>;
  revoke(token: string): Promise<void>;
  /** Signs with a new key from now on; `overlap`: the key set has the old one too. */
  rotate(overlap: boolean): Promise<void>;
  close(): Promise<void>;
}

export async function startTestIssuer(): Promise<TestIssuer> {
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
  let keys: SigningKey[] = [];
  let serial = 0;
  const post = async (path: string, fields: Record<string, string>): Promise<unknown> => {
    const response = await fetch(`${issuer}${path}`, { method: "POST", body: new URLSearchParams(fields) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  };
  const credentials = { client_id: CLIENT.id, client_secret: CLIENT.secret };
  const self: TestIssuer = {
    issuer,
    asked,
    isDown: false,
    async token(resource, scope) {
      const fields = { ...credentials, grant_type: "client_credentials", ...(scope === undefined ? {} : { scope }) };
      const answer = await post("/token", { ...fields, ...(resource === undefined ? {} : { resource }) });
      return (answer as { access_token: string }).access_token;
    },
    async revoke(token) {
      await post("/token/revocation", { ...credentials, token });
    },
    async rotate(overlap) {
      // The first key signs.
      keys = [await newKey("RS256", `key-${++serial}`), ...(overlap ? keys : [])];
      handle = createProvider(issuer, keys).callback();
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

function createProvider(issuer: string, keys: readonly SigningKey[]): Issuing {
  const resourceServer = (resource: string) => ({
    scope: "mqtt:read:cmd/# mqtt:write:tele/+ other:scope",
    audience: "rqtt",
    accessTokenTTL: TOKEN_SECONDS,
    accessTokenFormat: resource === "urn:jwt" ? "jwt" : "opaque",
    ...(resource === "urn:jwt" ? { jwt: { sign: { alg: "RS256" } } } : {}),
  });
  return new Provider(issuer, {
    jwks: { keys: keys.map(({ privateJwk }) => privateJwk) },
    clientDefaults: { id_token_signed_response_alg: "RS256" },
    clients: [
      { client_id: CLIENT.id, client_secret: CLIENT.secret, grant_types: ["client_credentials"], ...CLIENT_METADATA },
      {
        client_id: RESOURCE_SERVER.id,
        client_secret: RESOURCE_SERVER.secret,
        grant_types: [],
        redirect_uris: [],
        response_types: [],
      },
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
    extraTokenClaims: () => ({ roles: ["sensor"], device: "d1" }),
    ttl: { ClientCredentials: () => TOKEN_SECONDS },
  });
}
