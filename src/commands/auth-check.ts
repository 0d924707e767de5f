/**
 * `rqtt auth check`: what the configured chain says of a client, without a broker: what each provider looked at, which one
 * decided and why, what the client may do, and the codes that an MQTT 5.0 and a 3.1.1 client would get. The credential comes from the terminal or
 * standard input and is not shown.
 *
 * Exit codes: 0 let in (and allowed everything that was asked for), 1 kept out, 2 not asked rightly.
 */
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { createChain, loadPlugin, type PluginUse } from "../bun/plugin-chain.ts";
import { PluginHost } from "../bun/plugin-host.ts";
import { loadConfig } from "../config.ts";
import { reasonCodeName } from "../core/codec/reason-code-name.ts";
import { returnCodeOf } from "../core/codec/return-code.ts";
import { parseTopicFilter } from "../core/codec/topic.ts";
import { refusalReasonCode } from "../core/gate/gate.ts";
import { Grant } from "../core/gate/grant.ts";
import type { PrincipalInit, Rule, Verdict } from "../core/gate/provider.ts";
import type { AuthRequest, Log } from "../core/ports.ts";
import { type Arguments, readArguments, readSecret } from "./arguments.ts";
import { explanationLines, explanationOf } from "./explanation.ts";
import { ruleText } from "./rule-text.ts";
import { UsageError } from "./usage-error.ts";

const FLAGS = ["--config", "--client-id", "--username", "--method", "--publish", "--subscribe", "--address"];

export const authCheck = {
  usage:
    "rqtt auth check --config FILE [--username NAME] [--client-id ID] [--method METHOD] " +
    "[--publish TOPIC]... [--subscribe FILTER]...   password or token from the terminal or standard input",
  async run(argv: readonly string[]): Promise<number> {
    const given = readArguments(argv, FLAGS);
    const file = last(given, "--config");
    if (file === undefined || given.words.length > 0) throw new UsageError("expected --config FILE");
    const loaded = loadConfig({ argv: ["--config", file], env: {}, readFile: (path) => readFileSync(path, "utf8") });
    if (!loaded.ok) throw new UsageError("error" in loaded ? loaded.error : "not a configuration");
    const { chain, ceiling } = loaded.config.auth;
    if (chain.length === 0) throw new UsageError(`${file} has no [[auth.chain]]: nothing to check`);
    const folder = dirname(file);
    const uses = await Promise.all(
      chain.map(async ({ use, settings }, at): Promise<PluginUse> => {
        return { plugin: await loadPlugin(use, folder, `auth.chain[${at}]`), config: settings };
      }),
    );
    const secret = await readSecret("Password or token: ");
    const request = requestOf(given, secret);
    const { verdict, fits } = await askOnce(uses, folder, request, secret);
    if (verdict.do === "continue") return askedOn(fits, given);
    if (verdict.do !== "accept") return kept(verdict);
    const deny: Rule[] = ceiling.map((filter) => ({ on: "both", filter }));
    return letIn(verdict.principal, request.clientId, given, deny);
  },
};

function last({ flags }: Arguments, flag: string): string | undefined {
  return flags.get(flag)?.at(-1);
}

function requestOf(given: Arguments, secret: Uint8Array): AuthRequest {
  const method = last(given, "--method");
  return {
    id: 1,
    exchangeId: 1,
    phase: "connect",
    protocolLevel: 5,
    clientId: last(given, "--client-id") ?? "rqtt-auth-check",
    cleanStart: true,
    username: last(given, "--username"),
    password: method === undefined && secret.length > 0 ? secret : undefined,
    authenticationMethod: method,
    // The first message of SCRAM has no password in it: the provider is made to ask on instead.
    authenticationData: method === undefined || isDialogue(method) ? undefined : secret,
    userProperties: [],
    will: undefined,
    remoteAddress: last(given, "--address") ?? "127.0.0.1",
    listener: "rqtt auth check",
    current: undefined,
  };
}

function isDialogue(method: string): boolean {
  return method.startsWith("SCRAM-");
}

/** Shows what the providers log: that is where each check says what it expected and got. */
const shown: Log = {
  write(level, event, fields) {
    const text = Object.entries(fields).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    console.log(`  ${level} ${event} ${text.join(" ")}`);
  },
};

interface Answer {
  readonly verdict: Verdict;
  /** Whether there were checks, and none of them failed. */
  readonly fits: boolean;
}

async function askOnce(
  uses: readonly PluginUse[],
  folder: string,
  request: AuthRequest,
  secret: Uint8Array,
): Promise<Answer> {
  const late = Promise.withResolvers<Verdict>();
  const chain = await createChain(uses, { log: shown, folder });
  const host = new PluginHost(chain, { log: shown, sink: (_id, verdict) => late.resolve(verdict) });
  const verdict = host.ask(request) ?? (await late.promise);
  let fits = false;
  for (const [at, { name, outcomes, longestMs }] of host.report().entries()) {
    const [outcome = "not asked"] = Object.entries(outcomes).find(([, count]) => count > 0) ?? [];
    console.log(`provider ${name}: ${outcome}${outcome === "not asked" ? "" : ` after ${longestMs.toFixed(1)} ms`}`);
    // Whoever was not asked is not shown the credential either.
    if (outcome === "not asked") continue;
    const data = request.authenticationMethod === undefined ? undefined : secret;
    const checks = await explanationOf(chain[at]!.provider, request, data);
    if (checks === undefined || checks.length === 0) continue;
    for (const line of explanationLines(checks)) console.log(line);
    fits = checks.every(({ ok }) => ok);
  }
  await host.close();
  return { verdict, fits };
}

/** The checks are all there is to go by: with several steps there is no verdict without the client's part. */
function askedOn(fits: boolean, given: Arguments): number {
  console.log("asked on: this method takes several steps, which this command cannot make");
  if (fits) console.log("a client with this password would be let in");
  return fits && !given.flags.has("--publish") && !given.flags.has("--subscribe") ? 0 : 1;
}

function kept(verdict: Exclude<Verdict, { do: "accept" | "continue" }>): number {
  const because = verdict.do === "refuse" ? verdict.because : "not-authorized";
  const code = refusalReasonCode(because);
  console.log(`kept out: ${because}${verdict.do === "refuse" && verdict.log ? `: ${verdict.log}` : ""}`);
  console.log(`  MQTT 5.0 client: CONNACK 0x${code.toString(16)} ${reasonCodeName(code)}`);
  console.log(`  MQTT 3.1.1 client: ${returnCodeOf(code) ?? "closed without CONNACK"}`);
  return 1;
}

function letIn(principal: PrincipalInit, clientId: string, given: Arguments, ceiling: readonly Rule[]): number {
  const { id, provider = "", expiresAtMs, permissions } = principal;
  const until = expiresAtMs === undefined ? "" : `, until ${new Date(expiresAtMs).toISOString()}`;
  console.log(`let in by ${provider} as ${JSON.stringify(id)}${until}`);
  if (permissions === "everything") console.log("  may do everything");
  else {
    for (const rule of permissions.allow) console.log(`  allow ${ruleText(rule)}`);
    for (const rule of permissions.deny ?? []) console.log(`  deny  ${ruleText(rule)}`);
  }
  for (const rule of ceiling) console.log(`  deny  ${ruleText(rule)} (ceiling)`);
  const grant = new Grant(principal, clientId, { deny: ceiling });
  let refused = 0;
  for (const topicName of given.flags.get("--publish") ?? []) {
    const qos = ([2, 1, 0] as const).find((level) => grant.mayPublish(topicName, level, false));
    const retain = qos !== undefined && grant.mayPublish(topicName, qos, true);
    const answer = qos === undefined ? "no: PUBACK 0x87" : `yes, to QoS ${qos}${retain ? "" : ", not retained"}`;
    if (qos === undefined) refused++;
    console.log(`publish ${topicName}: ${answer}`);
  }
  for (const filter of given.flags.get("--subscribe") ?? []) {
    const parsed = parseTopicFilter(filter, Number.POSITIVE_INFINITY);
    if (parsed === undefined) throw new UsageError(`--subscribe: ${filter} is no Topic Filter`);
    const qos = grant.maySubscribe(parsed.topicFilter, parsed.shareName, 2);
    if (qos === -1) refused++;
    console.log(`subscribe ${filter}: ${qos === -1 ? "no: SUBACK 0x87" : `yes, to QoS ${qos}`}`);
  }
  return refused === 0 ? 0 : 1;
}
