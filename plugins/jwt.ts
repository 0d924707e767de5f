/**
 * Tokens signed by issuers whose keys are known: a file, a secret, or the URL of a key set.
 *
 *   [[auth.chain]]
 *   use = "jwt"
 *   [auth.chain.issuers.factory]
 *   issuer = "https://factory.example"
 *   audience = "rqtt"
 *   algorithms = ["ES256"]
 *   keys = { file = "factory.pem" }       # or { jwks = "https://..." } or { secret = { env = "NAME" } }
 *   rules = [{ allow = [{ on = "pub", filter = "machine/${claim.sub}/#" }] }]
 *
 * The token travels as the password (any client), as the user name or the Authorization of a WebSocket (if `tokenIn` says
 * so), or as Authentication Data. Passwords that are no tokens are left to the next provider. Identity is `NAME:sub`.
 */
import type { AuthPlugin, PluginHostServices, Provider } from "../src/core/gate/provider.ts";
import { group, optional, type SettingsOf, secret, table, tableOf, text } from "./settings.ts";
import { oneOrList } from "./token/claim-path.ts";
import { algorithms, checkIssuers, issuerConfig, issuerFields, providerFields } from "./token/issuer-settings.ts";
import { checkAlgorithms } from "./token/key-set.ts";
import { checkUrl, messageOf, RemoteKeys } from "./token/remote-keys.ts";
import { realSchedule, type Schedule } from "./token/schedule.ts";
import { staticKeys } from "./token/static-keys.ts";
import { createTokenProvider, type Issuer } from "./token/token-provider.ts";
import type { KeySource } from "./token/verify-token.ts";

const issuer = group({
  ...issuerFields,
  issuer: text(),
  audience: oneOrList(text()),
  algorithms: algorithms(),
  keys: group({ jwks: optional(text()), file: optional(text()), secret: optional(secret()) }),
});
const settings = table({ ...providerFields, issuers: tableOf(issuer) });
type Settings = SettingsOf<typeof settings>;

type IssuerSettings = Settings["issuers"][string];

export default {
  apiVersion: 1,
  name: "jwt",
  config: settings,
  create: (config, host) => createJwt(config, host, realSchedule(host.nowMs)),
} satisfies AuthPlugin<Settings>;

/** `schedule` is for tests. */
export async function createJwt(config: Settings, host: PluginHostServices, schedule: Schedule): Promise<Provider> {
  const named = Object.entries(config.issuers);
  checkIssuers(named.map(([name, one]) => ({ name, issuer: one.issuer })));
  const issuers: Issuer[] = [];
  try {
    for (const [name, one] of named) issuers.push(await createIssuer(name, one, host, schedule));
  } catch (error) {
    for (const made of issuers) made.close();
    throw error;
  }
  return createTokenProvider(config, issuers, host);
}

async function createIssuer(
  name: string,
  one: IssuerSettings,
  host: PluginHostServices,
  schedule: Schedule,
): Promise<Issuer> {
  const identity = { name, issuer: one.issuer, audience: one.audience, algorithms: one.algorithms };
  const checked = issuerConfig(identity, one);
  try {
    const keys = await keysFrom(name, one, host, schedule);
    return { config: checked, keys, introspection: undefined, hint: () => undefined, close: () => keys.close() };
  } catch (error) {
    throw new Error(`issuers.${name}.keys: ${messageOf(error)}`);
  }
}

async function keysFrom(
  name: string,
  { keys, algorithms }: IssuerSettings,
  host: PluginHostServices,
  schedule: Schedule,
): Promise<KeySource> {
  const { jwks, file, secret: reference } = keys;
  if ([jwks, file, reference].filter((form) => form !== undefined).length !== 1) {
    throw new Error("expected one of jwks, file and secret");
  }
  if (file !== undefined) return staticKeys({ name, from: { file }, algorithms, host });
  if (reference !== undefined) return staticKeys({ name, from: { secret: reference }, algorithms, host });
  checkAlgorithms(algorithms, false);
  const url = checkUrl(jwks ?? "");
  return new RemoteKeys({ name, locate: () => Promise.resolve(url), host, schedule });
}
