/**
 * What the external service's answer amounts to: a verdict, or "unavailable" with the reason for the log.
 *
 * Invariant: only a 200 with `allow: true`, an id and well-formed rules lets anybody in. Of an answer in another form nothing is
 * used, and nothing that the service wrote reaches the log: it may hold what the client sent.
 */
import type { FetchAnswer, RuleSet, Verdict } from "../../src/core/gate/provider.ts";
import { ruleSet } from "../rules/rule-setting.ts";
import { type Fields, onOff, optional, type Setting, type SettingsOf, table, text, whole } from "../settings.ts";

const ID_CHARACTERS_MAX = 512;
const TELL_CHARACTERS_MAX = 256;
/** The largest time of a Date. */
const TIME_MAX = 8.64e15;

const answerForm = table({
  allow: onOff(),
  id: optional(text()),
  expiresAt: optional(expiry()),
  rules: optional(ruleSet()),
  tell: optional(text()),
} satisfies Fields);
type Answer = SettingsOf<typeof answerForm>;

/** ISO 8601 with its time zone, or milliseconds since 1970. */
function expiry(): Setting<number> {
  const milliseconds = whole(0, TIME_MAX);
  return {
    expected: "a time",
    read(value, path) {
      const isDate = typeof value === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/u.test(value);
      return milliseconds.read(isDate ? Date.parse(value) : value, path);
    },
  };
}

function unavailable(log: string): Verdict {
  return { do: "refuse", because: "unavailable", log };
}

/** The verdict in an answer; `fallback` are the rules of a client that the service names none for. */
export async function verdictIn(answer: FetchAnswer, nowMs: number, fallback: RuleSet): Promise<Verdict> {
  const { status } = answer;
  if (status !== 200 && status !== 403) return unavailable(`the service answered with status ${status}`);
  const form = await formOf(answer.text);
  if (status === 403) return refused("string" === typeof form ? undefined : form.tell);
  if (typeof form === "string") return unavailable(form);
  const { allow, id, expiresAt, rules = fallback, tell } = form;
  if (!allow) return refused(tell);
  if (id === undefined) return unavailable("the service's answer has no id");
  if (id.length > ID_CHARACTERS_MAX || /\p{Cc}/u.test(id)) return unavailable("the service's answer has no usable id");
  if (expiresAt === undefined) return { do: "accept", principal: { id, permissions: rules } };
  if (expiresAt <= nowMs) return unavailable("the service's answer has expired: milliseconds or ISO 8601 are expected");
  return { do: "accept", principal: { id, expiresAtMs: expiresAt, permissions: rules } };
}

/** The answer, or what is wrong with it. */
async function formOf(json: string): Promise<Answer | string> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return "the service's answer is no JSON";
  }
  const result = await answerForm["~standard"].validate(value);
  if (result.issues === undefined) return result.value;
  // The path is ours as far as it is known; what was found there is the service's.
  const at = result.issues[0]?.path?.[0];
  const known = at === "allow" || at === "id" || at === "expiresAt" || at === "rules" || at === "tell";
  return known ? `the service's answer has a wrong ${at}` : "the service's answer is not in the form expected";
}

function refused(tell: string | undefined): Verdict {
  const log = "the service said no";
  if (tell === undefined || tell.length > TELL_CHARACTERS_MAX) return { do: "refuse", because: "bad-credentials", log };
  return { do: "refuse", because: "bad-credentials", log, tell };
}

/** How long the answer may be kept, in milliseconds: what Cache-Control says, 0 where it says nothing. */
export function keepMs({ headers }: FetchAnswer): number {
  const directives = (headers["cache-control"] ?? "").toLowerCase().split(",");
  const words = directives.map((directive) => directive.trim());
  if (words.includes("no-store") || words.some((word) => word.startsWith("no-cache"))) return 0;
  const ages = words.filter((word) => word.startsWith("max-age"));
  const seconds = /^max-age="?(\d{1,9})"?$/u.exec(ages[0] ?? "")?.[1];
  // Said twice, it is not said at all.
  return ages.length !== 1 || seconds === undefined ? 0 : Number(seconds) * 1000;
}
