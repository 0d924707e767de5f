/**
 * `rqtt/core` in a browser: it bundles, the bundle names no platform, and it serves a client where there is no platform.
 *
 * The bundle runs in an empty context, which has the language and nothing else: less than any browser, so what runs
 * there runs in a page and in a worker.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { createContext, runInContext } from "node:vm";
import type { Broker as BrokerClass } from "../../src/core/broker.ts";
import { allowAll } from "../../src/core/gate/allow-all.ts";
import { DEFAULT_BROKER_CONFIG } from "../../src/core/limits.ts";
import type { Wire } from "../../src/core/ports.ts";
import { ROOT } from "../support/repository.ts";
import { scanSource } from "../support/source-text.ts";

const PLATFORM = /(?<![\w$.])(?:Bun|process|Buffer|require|__dirname|__filename|import|Deno)(?![\w$])(?!\s*:)/gu;

async function bundle(): Promise<string> {
  const result = await Bun.build({ entrypoints: [join(ROOT, "src", "core", "broker.ts")], target: "browser" });
  if (!result.success) throw new AggregateError(result.logs, "the bundle failed");
  expect(result.outputs).toHaveLength(1);
  return result.outputs[0]!.text();
}

function platformNames(source: string): string[] {
  const { names, code } = scanSource("bundle.js", source);
  return [...(names.match(PLATFORM) ?? []), ...(code.match(/\b(?:node|bun):[\w/]+/gu) ?? [])];
}

/** Evaluates the bundle in a context of its own and answers its exports. */
function evaluate(source: string): { readonly Broker: typeof BrokerClass } {
  const exported = /\nexport \{([^}]*)\};?\s*$/u.exec(source);
  if (exported === null) throw new Error("the bundle exports nothing");
  const body = source.slice(0, exported.index);
  const context = createContext({});
  expect(
    runInContext("[typeof Bun, typeof process, typeof Buffer, typeof setTimeout, typeof TextDecoder].join()", context),
  ).toBe("undefined,undefined,undefined,undefined,undefined");
  return runInContext(
    `(() => { "use strict"; ${body}\nreturn {${exported[1]!.replace(/(\w+) as (\w+)/gu, "$2: $1")}}; })()`,
    context,
  );
}

test("rqtt/core bundles for the browser without a name of Bun or Node", async () => {
  expect(platformNames(await bundle())).toEqual([]);
});

test("rqtt/core runs where there is nothing but the language", async () => {
  const { Broker } = evaluate(await bundle());
  const sent: number[] = [];
  const wire: Wire = {
    remoteAddress: "in-process",
    listener: "test://",
    send: (bytes) => {
      sent.push(...bytes);
      return 0;
    },
    pause: () => {},
    resume: () => {},
    close: (reasonCode) => {
      throw new Error(`closed with ${reasonCode}`);
    },
  };
  const ports = { auth: allowAll, log: { write: () => {} }, ids: { clientId: () => "assigned", seed: () => 1 } };
  const broker = new Broker({ ...DEFAULT_BROKER_CONFIG, sysIntervalMs: 0 }, ports, 0);
  const connection = broker.open(wire, 0);
  const receive = (...bytes: number[]) => {
    sent.length = 0;
    broker.receive(connection, new Uint8Array(bytes), 0);
    broker.settle(0);
    return [...sent];
  };

  // CONNECT, MQTT 3.1.1, Clean Session, client id "a" -> CONNACK, accepted.
  expect(receive(0x10, 0x0d, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 1, 0x61)).toEqual([0x20, 2, 0, 0]);
  // SUBSCRIBE 1 to "ü" at QoS 1 -> SUBACK with QoS 1: a topic with letters that need decoding.
  expect(receive(0x82, 7, 0, 1, 0, 2, 0xc3, 0xbc, 1)).toEqual([0x90, 3, 0, 1, 1]);
  // PUBLISH "ü" at QoS 0 -> the same PUBLISH back.
  expect(receive(0x30, 5, 0, 2, 0xc3, 0xbc, 0x21)).toEqual([0x30, 5, 0, 2, 0xc3, 0xbc, 0x21]);
});

test("a name of the platform would be found", () => {
  const source =
    'import fs from "node:fs"; Bun.gc(); a(process); // Buffer\nb("Buffer"); c.process; new Buffer(1); require("x");';
  expect(platformNames(source)).toEqual(["import", "Bun", "process", "Buffer", "require", "node:fs"]);
});
