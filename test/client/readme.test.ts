/** Every example of the client's README, run as it stands there with a broker of this process; it prints what it says. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createBroker, type RunningBroker } from "rqtt";
import * as client from "rqtt/client";
import { inProcess } from "rqtt/client/in-process";
import * as small from "rqtt/client/small";
import { tcp } from "rqtt/client/tcp";
import { ROOT } from "../support/repository.ts";

const MODULES: Readonly<Record<string, object>> = {
  rqtt: { createBroker },
  "rqtt/client": client,
  "rqtt/client/in-process": { inProcess },
  "rqtt/client/small": small,
  "rqtt/client/tcp": { tcp },
};

let broker: RunningBroker;
beforeAll(async () => {
  broker = await createBroker({ listeners: ["ws://127.0.0.1:0/mqtt"] });
});
afterAll(() => broker.close());

interface Example {
  readonly title: string;
  readonly code: string;
  /** What stands behind `//` on the lines that print. */
  readonly prints: readonly string[];
}

function examplesOf(markdown: string): Example[] {
  return [...markdown.matchAll(/^## (.+)$|^```ts\n([\s\S]*?)^```$/gmu)].reduce<Example[]>(
    (examples, [, title, code]) => {
      if (title !== undefined) examples.push({ title, code: "", prints: [] });
      else if (code !== undefined) {
        const prints = [...code.matchAll(/console\.log\(.*\); \/\/ (.+)$/gmu)].map(([, printed]) => printed!);
        examples.push({ title: examples.at(-1)!.title, code, prints });
      }
      return examples;
    },
    [],
  );
}

const examples = examplesOf(readFileSync(join(ROOT, "src", "client", "README.md"), "utf8")).filter(
  ({ code }) => code !== "",
);

test("there are examples", () => {
  expect(examples.length).toBeGreaterThanOrEqual(8);
});

test.each(examples.map((example) => [example.title, example] as const))("%s", async (_, { code, prints }) => {
  const printed: string[] = [];
  const log = (...values: unknown[]): void => {
    printed.push(
      values.map((value) => (typeof value === "string" ? value : Bun.inspect(value, { compact: true }))).join(" "),
    );
  };
  const body = code
    .replaceAll(/^import (\{.*\}) from "(.+)";$/gmu, 'const $1 = modules["$2"];')
    .replaceAll("wss://broker.example/mqtt", broker.urls[0]!);
  const script = new Bun.Transpiler({ loader: "ts" }).transformSync(
    `export async function run(modules, console) {${body}}`,
  );
  const run = new Function(`${script.replace("export ", "")}; return run;`)() as (
    modules: typeof MODULES,
    console: { log: typeof log },
  ) => Promise<void>;
  await run(MODULES, { log });
  expect(printed.map((line) => line.replaceAll(/\s+/gu, " ")).sort()).toEqual([...prints].sort());
});
