/**
 * Tokens of OAuth 2.0 and OpenID Connect issuers that publish where their keys are; opaque tokens by asking the issuer.
 *
 *   [[auth.chain]]
 *   use = "oauth"
 *   [auth.chain.issuers.main]
 *   preset = "keycloak"
 *   issuer = "https://login.example/realms/plant"
 *   audience = "rqtt"
 *   rules = [{ when = { claim = "realm_access.roles", has = "sensor" }, allow = [{ on = "pub", filter = "tele/#" }] }]
 *
 * While an issuer has never been reached its tokens are refused as unavailable, and it is tried again; later outages leave
 * the keys that are known in force for a day. `oauth.md` has all settings, `issuers/` a page for each preset.
 */
import type { AuthPlugin, PluginHostServices, Provider } from "../src/core/gate/provider.ts";
import { group, oneOf, onOff, optional, type SettingsOf, secret, table, tableOf, text, whole } from "./settings.ts";
import { oneOrList } from "./token/claim-path.ts";
import { createDiscovery, type Discovery } from "./token/discovery.ts";
import { Introspection } from "./token/introspection.ts";
import { PRESETS, type Preset, type PresetInput } from "./token/issuer-presets.ts";
import {
  asymmetricAlgorithms,
  checkIssuers,
  type IssuerConfig,
  issuerConfig,
  issuerFields,
  providerFields,
} from "./token/issuer-settings.ts";
import { checkUrl, messageOf, RemoteKeys } from "./token/remote-keys.ts";
import { realSchedule, type Schedule } from "./token/schedule.ts";
import { createTokenProvider, type Issuer, type OpaqueTokens } from "./token/token-provider.ts";

const introspection = group({
  clientId: text(),
  clientSecret: secret(),
  authentication: optional(oneOf("basic", "post"), "basic"),
  endpoint: optional(text()),
  cacheSeconds: optional(whole(0, 60, "seconds"), 60),
  always: optional(onOff(), false),
  audienceOptional: optional(onOff(), false),
  lengthMin: optional(whole(8, 4096, "characters"), 20),
  prefix: optional(text()),
});
const issuer = group({
  ...issuerFields,
  preset: optional(oneOf("auth0", "keycloak", "entra", "okta", "google", "github-actions")),
  issuer: optional(text()),
  audience: optional(oneOrList(text())),
  algorithms: optional(asymmetricAlgorithms()),
  jwks: optional(text()),
  introspection: optional(introspection),
});
const settings = table({ ...providerFields, issuers: tableOf(issuer) });
type Settings = SettingsOf<typeof settings>;
type IssuerSettings = Settings["issuers"][string];

export default {
  apiVersion: 1,
  name: "oauth",
  config: settings,
  create: (config, host) => createOauth(config, host, realSchedule(host.nowMs)),
} satisfies AuthPlugin<Settings>;

/** `schedule` is for tests. */
export async function createOauth(config: Settings, host: PluginHostServices, schedule: Schedule): Promise<Provider> {
  const named = Object.entries(config.issuers).map(([name, one]) => ({ one, config: configOf(name, one) }));
  checkIssuers(named.map((entry) => entry.config));
  const asked = named.filter(({ one }) => one.introspection !== undefined);
  if (asked.length > 1) {
    throw new Error("issuers: expected introspection at one issuer at most: an opaque token does not say whose it is");
  }
  const issuers: Issuer[] = [];
  try {
    for (const entry of named) issuers.push(await createIssuer(entry.one, entry.config, host, schedule));
  } catch (error) {
    for (const made of issuers) made.close();
    throw error;
  }
  return createTokenProvider(config, issuers, host);
}

/** The settings of one issuer with what its preset knows. */
function configOf(name: string, one: IssuerSettings): IssuerConfig {
  const preset: Preset | undefined = one.preset === undefined ? undefined : PRESETS[one.preset];
  const fail = (key: string, text: string): never => {
    throw new Error(`issuers.${name}${key}: ${text}`);
  };
  const issuerUrl = one.issuer ?? preset?.issuer;
  if (issuerUrl === undefined) return fail(".issuer", `expected ${preset?.issuerExample ?? "a URL"}, found nothing`);
  try {
    checkUrl(issuerUrl);
    if (one.jwks !== undefined) checkUrl(one.jwks);
  } catch (error) {
    fail("", messageOf(error));
  }
  // RFC 8414 section 2: an issuer has neither query nor fragment; what stands there is not repeated.
  if (/[?#]/u.test(issuerUrl)) fail(".issuer", "expected a URL without ? and #");
  if (preset?.issuerForm.test(issuerUrl) === false) {
    fail(".issuer", `expected ${preset.issuerExample}, found ${JSON.stringify(issuerUrl.slice(0, 200))}`);
  }
  const { audience, algorithms = preset?.algorithms } = one;
  if (audience === undefined) {
    return fail(".audience", `expected ${preset?.audienceHint ?? "what issuers write for this broker"}, found nothing`);
  }
  if (algorithms === undefined) return fail(".algorithms", 'expected a list such as ["RS256"], found nothing');
  const input: PresetInput = { ...one, issuer: issuerUrl, audience, asksIssuer: one.introspection?.always === true };
  const complaint = preset?.complain?.(input);
  if (complaint !== undefined) fail("", complaint);
  return issuerConfig(
    { name, issuer: issuerUrl, audience, algorithms },
    {
      ...one,
      idClaim: one.idClaim ?? preset?.idClaim,
      usernameClaim: one.usernameClaim ?? preset?.usernameClaim,
      scopeClaims: one.scopeClaims ?? preset?.scopeClaims,
      require: [...(preset?.require ?? []), ...one.require],
    },
  );
}

async function createIssuer(
  one: IssuerSettings,
  config: IssuerConfig,
  host: PluginHostServices,
  schedule: Schedule,
): Promise<Issuer> {
  const { name } = config;
  const discovery = createDiscovery(config.issuer, host.fetch);
  const opaque = await opaqueTokens(one, config, discovery, host, schedule);
  const keys =
    opaque?.always === true
      ? undefined
      : new RemoteKeys({ name, locate: () => locateKeys(one, discovery), failed: discovery.forget, host, schedule });
  const preset = one.preset === undefined ? undefined : PRESETS[one.preset];
  return {
    config,
    keys,
    introspection: opaque,
    hint: (refused) => preset?.hint(refused),
    close() {
      keys?.close();
      opaque?.source.close();
      discovery.close();
    },
  };
}

async function locateKeys({ jwks }: IssuerSettings, discovery: Discovery): Promise<string> {
  if (jwks !== undefined) return jwks;
  const { jwks_uri: uri } = await discovery.metadata();
  if (typeof uri !== "string") throw new Error("the issuer's metadata has no jwks_uri");
  return uri;
}

async function opaqueTokens(
  { introspection: asked }: IssuerSettings,
  { name, issuer: issuerUrl }: IssuerConfig,
  discovery: Discovery,
  host: PluginHostServices,
  schedule: Schedule,
): Promise<OpaqueTokens | undefined> {
  if (asked === undefined) return undefined;
  const { endpoint, clientId, authentication, always, lengthMin, prefix = "", audienceOptional } = asked;
  let clientSecret: string;
  try {
    if (endpoint !== undefined) checkUrl(endpoint);
    clientSecret = await host.secret(asked.clientSecret);
  } catch (error) {
    throw new Error(`issuers.${name}.introspection: ${messageOf(error)}`);
  }
  const source = new Introspection({
    name,
    server: () =>
      endpoint === undefined
        ? discovery.metadata()
        : Promise.resolve({ issuer: issuerUrl, introspection_endpoint: endpoint }),
    failed: discovery.forget,
    clientId,
    clientSecret,
    authentication,
    cacheMs: asked.cacheSeconds * 1000,
    host,
    schedule,
  });
  return { source, always, lengthMin, prefix, audienceOptional };
}
