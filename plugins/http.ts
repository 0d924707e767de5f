/**
 * Asks an external HTTP service about every client.
 *
 *   [[auth.chain]]
 *   use = "http"
 *   url = "https://accounts.example/mqtt"          # https, or http to loopback
 *   method = "POST"                                # fields as JSON; "GET": in the URL, the password as Basic authorization
 *   send = ["username", "password", "clientId"]    # which fields; see http/question.ts
 *   timeoutMs = 2000
 *   headers = { "x-api-key" = { env = "ACCOUNTS_KEY" } }
 *   allow = [{ on = "both", filter = "users/${id}/#" }]   # where the answer has no rules of its own
 *
 * Yes is status 200 with `{ "allow": true, "id": "...", "expiresAt": time, "rules": { "allow": [...], "deny": [...] } }`, the last two
 * as needed. No is 200 with `{ "allow": false }` or status 403, with `"tell"` for the client if wanted. Everything else, redirects
 * and silence included, is "unavailable": nobody is let in.
 *
 * A yes is kept for the max-age of Cache-Control, at most `cacheSecondsMax`; a no only with `cacheRefusals = true`. What failed
 * is never kept. Credentials are neither logged nor kept: cached verdicts are found by an HMAC of the question. So the service
 * cannot be asked again about a client that is in: when the configuration is loaded again, its clients have to come in anew.
 */
import type {
  AbortSignalLike,
  AuthPlugin,
  FetchAnswer,
  PluginHostServices,
  Provider,
  Verdict,
} from "../src/core/gate/provider.ts";
import { keepMs, verdictIn } from "./http/answer.ts";
import { FIELDS, type Question, questionAbout, unsendable } from "./http/question.ts";
import { VerdictCache } from "./http/verdict-cache.ts";
import { rules } from "./rules/rule-setting.ts";
import {
  either,
  list,
  oneOf,
  onOff,
  optional,
  type SettingsOf,
  secret,
  table,
  tableOf,
  text,
  whole,
} from "./settings.ts";

const ANSWER_BYTES_MAX = 64 * 1024;

const settings = table({
  url: text("a URL that begins with https://, or http:// to loopback"),
  method: optional(oneOf("GET", "POST"), "POST"),
  headers: optional(tableOf(either(text(), secret())), {}),
  timeoutMs: optional(whole(1, 5_000, "milliseconds"), 2_000),
  send: optional(list(oneOf(...FIELDS), 1), ["username", "password", "clientId"]),
  running: optional(whole(1, 1_000, "questions at once"), 16),
  waiting: optional(whole(0, 100_000, "questions"), 256),
  cacheEntries: optional(whole(0, 1_000_000, "verdicts"), 10_000),
  cacheSecondsMax: optional(whole(0, 86_400, "seconds"), 300),
  cacheRefusals: optional(onOff(), false),
  ...rules(),
});
type Settings = SettingsOf<typeof settings>;

async function create(config: Settings, host: PluginHostServices): Promise<Provider> {
  checkQuestion(config);
  const ownHeaders = await readHeaders(config.headers, host);
  const one = host.limiter(config.running, config.waiting);
  const cache = new VerdictCache(config.cacheEntries);
  const fallback = { allow: config.allow, deny: config.deny };

  const ask = async (question: Question, key: string, signal: AbortSignalLike): Promise<Verdict> => {
    const { url, body } = question;
    const headers = { accept: "application/json", ...question.headers, ...ownHeaders };
    const bounds = { timeoutMs: config.timeoutMs, bytesMax: ANSWER_BYTES_MAX };
    let answer: FetchAnswer;
    try {
      answer = await one(async () => {
        if (signal.aborted) throw new Error("the client is gone");
        const request = { method: config.method, headers, signal, ...bounds };
        return host.fetch(url, body === undefined ? request : { ...request, body });
      });
    } catch (error) {
      if (error instanceof Error && error.name === "BusyError") throw error;
      // Only the kind of the error: its text may quote a header or the URL.
      const kind = error instanceof Error ? error.name : "error";
      return { do: "refuse", because: "unavailable", log: `no answer from the service: ${kind}` };
    }
    const verdict = await verdictIn(answer, host.nowMs(), fallback);
    keep(key, verdict, Math.min(keepMs(answer), config.cacheSecondsMax * 1000));
    return verdict;
  };

  const keep = (key: string, verdict: Verdict, ms: number): void => {
    const isYes = verdict.do === "accept";
    const isNo = verdict.do === "refuse" && verdict.because === "bad-credentials";
    if (ms === 0 || !(isYes || (isNo && config.cacheRefusals))) return;
    const expiresAtMs = isYes ? (verdict.principal.expiresAtMs ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY;
    cache.put(key, verdict, Math.min(host.nowMs() + ms, expiresAtMs));
  };

  return {
    connect(request, signal) {
      const question = questionAbout(request, config.url, config.method, config.send);
      if (question === "skip") return { do: "skip" };
      if (question === "refuse")
        return { do: "refuse", because: "bad-credentials", log: "no password that can be sent" };
      const key = cache.keyOf([question.url, question.headers["authorization"] ?? "", question.body ?? ""]);
      return cache.get(key, host.nowMs()) ?? ask(question, key, signal);
    },
    close: () => cache.clear(),
  };
}

function checkQuestion({ url, method, send, headers }: Settings): void {
  const parsed = URL.parse(url);
  if (parsed === null) throw new Error("url: expected a URL that begins with https://");
  if (parsed.username !== "" || parsed.password !== "") throw new Error("url: credentials belong into headers");
  if (parsed.protocol === "http:" && !/^(?:localhost|\[::1\]|127(?:\.\d+){3})$/u.test(parsed.hostname)) {
    throw new Error("url: http is for loopback only; expected https");
  }
  if (parsed.protocol !== "https:" && parsed.protocol !== "http:") throw new Error("url: expected https");
  const fields = unsendable(method, send);
  // The service would be asked about everybody with the same authorization: its own.
  const hasAuthorization = Object.keys(headers).some((name) => name.toLowerCase() === "authorization");
  if (method === "GET" && send.includes("password") && hasAuthorization) {
    throw new Error("headers.authorization: is where a GET sends the password; use another header, or POST");
  }
  if (fields.length > 0) throw new Error(`send: ${fields.join(", ")} cannot be sent in a GET; use method = "POST"`);
}

async function readHeaders(headers: Settings["headers"], host: PluginHostServices): Promise<Record<string, string>> {
  const read: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/u.test(name)) throw new Error(`headers.${name}: not the name of a header`);
    const text = typeof value === "string" ? value : await host.secret(value);
    if (!/^[\t\x20-\x7e\x80-\xff]*$/u.test(text))
      throw new Error(`headers.${name}: its value cannot be sent in a header`);
    read[name.toLowerCase()] = text;
  }
  return read;
}

export default { apiVersion: 1, name: "http", config: settings, create } satisfies AuthPlugin<Settings>;
