/**
 * The contract as a test: everything that `src/core/gate/provider.ts` asks of a plugin and that can be seen from outside.
 *
 * Each check opens the plugin anew and closes it again. A check that fails adds a complaint; all of them are told at once.
 */
import type { AuthPlugin, PluginHostServices, StandardSchema } from "../core/gate/provider.ts";
import { secretsIn } from "./canary.ts";
import type { ClientInit } from "./dry-client.ts";
import type { AuthData, Harness, LoginResult } from "./harness.ts";
import { bytesOf, type Surroundings } from "./lent-services.ts";
import { watchTimers } from "./open-timers.ts";
import type { Said } from "./provider-under-test.ts";
import { checkRecheck } from "./recheck-checks.ts";

/** A client of which the author knows what has to become of it. */
export interface Sample extends ClientInit {
  /** Authentication Method and its data, as in `Harness.exchange`. */
  readonly method?: string;
  readonly data?: readonly AuthData[];
}

export interface Samples {
  /** Have to be let in, at every level that can carry them or at `level`. */
  readonly good: readonly Sample[];
  /** Of the plugin's own kind but wrong: have to be refused, not skipped. */
  readonly bad: readonly Sample[];
  /** Somebody else's: have to be skipped. */
  readonly foreign?: readonly Sample[];
}

type Open = (surroundings: Surroundings) => Promise<Harness>;

/** What a check is given. */
interface Bench {
  readonly schema: StandardSchema<unknown> | undefined;
  readonly settings: unknown;
  readonly samples: Samples;
  readonly surroundings: Surroundings;
  readonly open: Open;
  readonly complain: (complaint: string) => void;
  /** Everything that a plugin said or logged, for the search after secrets. */
  readonly spoken: string[];
}

/** How long a call may go on, in real time, after its signal was aborted. */
const END_WITHIN_MS = 1_000;
const BIG = 65_535;
const CANARY = "canary-4f1d8a52c6e97b03";

const realTimeout = globalThis.setTimeout;

export async function keepContract<Settings>(
  plugin: AuthPlugin<Settings>,
  settings: unknown,
  samples: Samples,
  surroundings: Surroundings,
  open: Open,
): Promise<void> {
  const complaints = new Set<string>();
  const spoken: string[] = [];
  const complain = (complaint: string): void => void complaints.add(complaint);
  const bench: Bench = { schema: plugin.config, settings, samples, surroundings, open, complain, spoken };
  const timers = watchTimers();
  try {
    await checkUnknownSetting(bench);
    await withHarness(bench, {}, (door) => checkSamples(bench, door));
    await withHarness(bench, {}, (door) => checkOddCredentials(bench, door));
    await withHarness(bench, {}, (door) => checkMethods(bench, door));
    await withHarness(bench, {}, (door) => checkRechecks(bench, door));
    for (const [at, sample] of samples.good.entries()) {
      for (const [name, fetch] of Object.entries(OUTAGES)) await checkOutage(bench, sample, `good[${at}]`, name, fetch);
      await checkAbort(bench, sample, `good[${at}]`);
    }
    checkSecrets(bench);
    await settled();
    if (timers.open > 0) complain(`after close ${timers.open} timers are still running`);
  } finally {
    timers.restore();
  }
  if (complaints.size === 0) return;
  throw new Error(
    `plugin ${plugin.name} does not keep the contract:\n${[...complaints].map((c) => `- ${c}`).join("\n")}`,
  );
}

/** Opens, checks, closes; and looks at what is left. */
async function withHarness(bench: Bench, around: Surroundings, check: (door: Harness) => Promise<void>): Promise<void> {
  const door = await bench.open({ ...bench.surroundings, ...around });
  try {
    await check(door);
  } finally {
    await door.close();
    await settled();
    const { underWay } = door.work;
    const lines = door.logged.length;
    if (underWay > 0) bench.complain(`after close ${underWay} calls of fetch or jobs of a limiter go on`);
    await settled();
    if (door.logged.length > lines) bench.complain("logs after close");
    bench.spoken.push(...door.logged.map(({ text }) => text));
  }
}

async function checkUnknownSetting({ schema, settings, complain }: Bench): Promise<void> {
  if (schema === undefined) return;
  const strange = { ...(settings as Record<string, unknown>), "no-such-setting": true };
  const result = await schema["~standard"].validate(strange);
  if (result.issues === undefined) complain("an unknown setting is no error: a typing mistake would pass in silence");
}

function levelsOf(sample: Sample): readonly (3 | 4 | 5)[] {
  if (sample.level !== undefined) return [sample.level];
  // Before MQTT 5.0 there is no AUTH, and a password needs a user name.
  const isNew = sample.method !== undefined || (sample.password !== undefined && sample.username === undefined);
  return isNew ? [5] : [3, 4, 5];
}

async function checkSamples(bench: Bench, door: Harness): Promise<void> {
  const { samples, complain } = bench;
  if (samples.good.length === 0) complain("samples.good is empty: nothing shows that anybody is let in");
  if (samples.bad.length === 0) complain("samples.bad is empty: nothing shows that anybody is kept out");
  const kinds = [
    ["good", samples.good, "accept"],
    ["bad", samples.bad, "refuse"],
    ["foreign", samples.foreign ?? [], "skip"],
  ] as const;
  for (const [kind, list, expected] of kinds) {
    for (const [at, sample] of list.entries()) {
      for (const level of levelsOf(sample)) {
        const where = `${kind}[${at}] at level ${level}`;
        const result = await login(door, { ...sample, level });
        note(bench, result);
        const word = result.error === undefined ? result.verdict?.do : "throw";
        if (word !== expected) complain(`${where}: expected ${expected}, found ${word}${ofError(result.error)}`);
        else if (expected === "accept" && !result.accepted) {
          complain(`${where}: accepted, but the broker answered 0x${result.reasonCode.toString(16)}`);
        }
        result.disconnect();
        await checkForm(bench, door, { ...sample, level }, where);
      }
    }
  }
}

function login(door: Harness, sample: Sample): Promise<LoginResult> {
  if (sample.method === undefined) return door.connect(sample);
  return door.exchange(sample.method, sample.data, sample);
}

/** Asks once more, directly, for what the host does not tell. Of an exchange only the first step. */
async function checkForm(bench: Bench, door: Harness, sample: Sample, where: string): Promise<void> {
  const first = sample.data?.[0];
  const said = await door.ask(sample, {
    method: sample.method,
    data: typeof first === "function" ? await first(undefined) : first,
  });
  noteSaid(bench, said);
  for (const complaint of [...said.invalid, ...said.odd]) bench.complain(`${where}: ${complaint}`);
}

/** Credentials that are absent, empty, as large as they can be, or named like something else, at every level. */
async function checkOddCredentials(bench: Bench, door: Harness): Promise<void> {
  const { complain } = bench;
  const strange = ["__proto__", "constructor", "#", "a/+", "\u{1f511} \u0301"];
  const passwords = [undefined, new Uint8Array(0), new Uint8Array(BIG).fill(0x61), Uint8Array.of(0xff, 0xfe, 0)];
  for (const level of [3, 4, 5] as const) {
    // A provider may take its time to check a password: the names are tried once.
    const usernames = [undefined, "", "x".repeat(BIG), ...(level === 5 ? strange : [])];
    for (const username of usernames) {
      for (const password of passwords) {
        const said = await door.ask({ level, username, password });
        noteSaid(bench, said);
        const named = `user name ${shown(username)}, password ${shown(password)} at level ${level}`;
        if (said.threw && !isBusy(said.error)) complain(`${named}: throws${ofError(said.error)}`);
        for (const complaint of [...said.invalid, ...said.odd]) complain(`${named}: ${complaint}`);
      }
    }
  }
  for (const sample of bench.samples.good) {
    const marked = {
      ...sample,
      password: CANARY,
      upgrade: { authorization: `Bearer ${CANARY}`, query: { t: CANARY } },
    };
    noteSaid(bench, await door.ask(marked, { method: sample.method, data: CANARY }));
  }
}

/** Clients that were let in are asked about again; what is kept of them is searched for secrets. */
async function checkRechecks(bench: Bench, door: Harness): Promise<void> {
  const { samples, spoken, complain } = bench;
  for (const [at, sample] of samples.good.entries()) {
    const { clientId = "rechecked", ...rest } = sample;
    const { principal, disconnect } = await login(door, { ...rest, clientId, level: levelsOf(sample).at(-1)! });
    if (principal === undefined) continue;
    spoken.push(`evidence ${principal.evidence ?? "none"}`);
    await checkRecheck({ provider: door.provider, principal, clientId, where: `good[${at}]`, complain });
    disconnect();
  }
}

async function checkMethods(bench: Bench, door: Harness): Promise<void> {
  const { complain } = bench;
  const unknown = await door.exchange("NO-SUCH-METHOD", [CANARY]);
  if (unknown.reasonCode !== 0x8c) complain("owns a method that it does not list: NO-SUCH-METHOD");
  for (const method of door.provider.methods ?? []) {
    for (const data of [undefined, new Uint8Array(0), new Uint8Array(BIG).fill(0xff), Uint8Array.of(0), CANARY]) {
      const said = await door.ask({}, { method, data });
      noteSaid(bench, said);
      const named = `method ${method}, data ${shown(data)}`;
      if (said.threw && !isBusy(said.error)) complain(`${named}: throws${ofError(said.error)}`);
      for (const complaint of [...said.invalid, ...said.odd]) complain(`${named}: ${complaint}`);
      if (wordOf(said) === "accept") complain(`${named}: lets in`);
    }
  }
}

const HANG: PluginHostServices["fetch"] = (_url, init) =>
  new Promise((_resolve, reject) => {
    const stop = (): void => reject(new DOMException("aborted", "AbortError"));
    if (init?.signal?.aborted === true) stop();
    init?.signal?.addEventListener("abort", stop);
  });
const answers =
  (status: number, text: string): PluginHostServices["fetch"] =>
  async () => ({ status, headers: { "content-type": "application/json" }, text });
/** Ways in which a service that a plugin asks may fail. */
const OUTAGES: Readonly<Record<string, PluginHostServices["fetch"]>> = {
  "cannot be reached": async () => {
    throw new TypeError("unable to connect");
  },
  "answers 500": answers(500, '{"error":"broken"}'),
  "answers with a web page": answers(200, "<!doctype html><title>Sign in</title>"),
  "answers with an empty table": answers(200, "{}"),
  "answers null": answers(200, "null"),
  "answers nothing": answers(200, ""),
};

/** Whoever needs a service and does not get it lets nobody in, and does not pass the client on to a weaker provider. */
async function checkOutage(
  bench: Bench,
  sample: Sample,
  where: string,
  name: string,
  fetch: PluginHostServices["fetch"],
): Promise<void> {
  const { complain } = bench;
  const check = async (door: Harness): Promise<void> => {
    const result = await login(door, { ...sample, level: levelsOf(sample).at(-1)! });
    note(bench, result);
    if (door.work.fetchCount === 0) return;
    const told = `${where}: a service that ${name}`;
    if (result.verdict?.do === "accept") complain(`${told}: lets in`);
    if (result.verdict?.do === "skip") complain(`${told}: skips`);
    const isTold = name === "cannot be reached" || name === "answers 500";
    if (isTold && result.verdict?.do === "refuse" && !["unavailable", "busy"].includes(result.verdict.because)) {
      complain(`${told}: refuses because ${result.verdict.because}, expected unavailable`);
    }
  };
  try {
    await withHarness(bench, { fetch }, check);
  } catch (error) {
    // A provider that cannot be created without its service refuses the start.
    bench.spoken.push(textOf(error));
  }
}

/** A call whose client has gone ends, and what it waited for with it. */
async function checkAbort(bench: Bench, sample: Sample, where: string): Promise<void> {
  const abort = new AbortController();
  const opening = bench.open({ ...bench.surroundings, fetch: HANG });
  const door = await within(opening.catch(() => undefined));
  // A provider that needs its service in order to be created has nothing to be aborted yet.
  if (door === undefined || door === LATE) return;
  const first = sample.data?.[0];
  const data = typeof first === "function" ? await first(undefined) : first;
  const asked = door.ask(
    { ...sample, level: levelsOf(sample).at(-1)! },
    { method: sample.method, data, signal: abort.signal },
  );
  await settled();
  abort.abort();
  const said = await within(asked);
  if (said === LATE) bench.complain(`${where}: goes on after its signal was aborted; is it given to fetch?`);
  else if (wordOf(said) === "accept" && door.work.fetchCount > 0) bench.complain(`${where}: lets in though aborted`);
  await within(door.close());
  await settled();
  if (said !== LATE && door.work.underWay > 0) bench.complain(`${where}: leaves a call of fetch behind when aborted`);
}

function checkSecrets({ samples, surroundings, spoken, complain }: Bench): void {
  const secrets: Uint8Array[] = [bytesOf(CANARY)];
  const gather = (list: readonly Sample[], bytesMin: number): void => {
    for (const { password, data = [], upgrade } of list) {
      for (const item of [password, upgrade?.authorization, ...data]) {
        if (item === undefined || typeof item === "function") continue;
        if (bytesOf(item).length >= bytesMin) secrets.push(bytesOf(item));
      }
    }
  };
  gather(samples.good, 4);
  // A wrong password may be a word that is found in any sentence, such as "wrong"; the canary stands for it.
  gather(samples.bad, 12);
  for (const value of Object.values(surroundings.env ?? {})) secrets.push(bytesOf(value));
  for (const found of secretsIn(spoken, secrets)) complain(`tells a secret: ${found}`);
}

function note(bench: Bench, { verdict, error }: LoginResult): void {
  if (verdict !== undefined) noteAnswer(bench, verdict);
  if (error !== undefined) bench.spoken.push(textOf(error));
}

function noteSaid(bench: Bench, { answer, error, threw }: Said): void {
  if (threw) bench.spoken.push(textOf(error));
  else noteAnswer(bench, answer);
}

/** What of a verdict is logged or sent: everything but the rules and the Authentication Data. */
function noteAnswer({ spoken }: Bench, answer: unknown): void {
  const { principal, log, tell } = Object(answer) as { principal?: { id?: unknown }; log?: unknown; tell?: unknown };
  spoken.push(`${String(principal?.id)} ${String(log)} ${String(tell)}`);
}

function wordOf({ answer }: Said): unknown {
  return (Object(answer) as { do?: unknown }).do;
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && error.name === "BusyError";
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

function ofError(error: unknown): string {
  return error === undefined ? "" : ` (${textOf(error)})`;
}

function shown(value: string | Uint8Array | undefined): string {
  if (value === undefined) return "absent";
  if (value.length === 0) return "empty";
  if (value.length > 40) return `of ${value.length} bytes`;
  return typeof value === "string" ? JSON.stringify(value) : "of strange bytes";
}

/** Lets everything happen that is ready to happen. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}

const LATE = Symbol("late");

/** What the promise becomes, or LATE. */
async function within<T>(promise: Promise<T>): Promise<T | typeof LATE> {
  const late = Promise.withResolvers<typeof LATE>();
  const timer = realTimeout(() => late.resolve(LATE), END_WITHIN_MS);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
