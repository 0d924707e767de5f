/**
 * Imports are a ladder: a file imports from its own rung and from the rungs named for it, never from above or beside.
 *
 * The core names no runtime; Bun and node:* are for src/bun and main.ts (config.ts reads TOML with Bun). Types climb by
 * the same ladder as code, with one exception: Session and Connection are records that point at what the stages made for
 * them (a grant, an exchange, each other), and may name the types of those fields.
 */
import { describe, expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { sourcesUnder } from "./support/repository.ts";
import { lineOf, type SourceText, scanSource } from "./support/source-text.ts";

interface Import {
  readonly specifier: string;
  readonly line: number;
  /** `import type { ... } from`. */
  readonly typeOnly: boolean;
}

/** Everything a file takes from another: import and export declarations, import() and types from import(). */
function importsOf({ source, code, names }: SourceText): Import[] {
  const found: Import[] = [];
  const declarations = /(?<![\w$.])(?:from\s*|import\s*(?:\(\s*)?|require\s*\(\s*)(?=["'`])/gu;
  for (const match of names.matchAll(declarations)) {
    const start = match.index + match[0].length;
    const end = code.indexOf(names[start]!, start + 1);
    const declaration = names.slice(names.lastIndexOf("import", match.index), match.index);
    const typeOnly = /^import\s+type\b[^;]*$/u.test(declaration);
    found.push({ specifier: code.slice(start + 1, end), line: lineOf(source, match.index), typeOnly });
  }
  return found;
}

const STAGES = ["gate", "router", "delivery"];
const BELOW_STAGES = ["codec", "foundation", "store", "session", "connection"];
const CORE = [...BELOW_STAGES, ...STAGES, "state", "handle", "broker"];

/** What each rung may import besides itself. */
const LADDER: Readonly<Record<string, readonly string[]>> = {
  codec: [],
  foundation: ["codec"],
  store: ["codec", "foundation"],
  session: ["codec", "foundation", "store"],
  connection: ["codec", "foundation", "store", "session"],
  gate: BELOW_STAGES,
  router: BELOW_STAGES,
  delivery: BELOW_STAGES,
  state: [...BELOW_STAGES, ...STAGES],
  handle: [...BELOW_STAGES, ...STAGES, "state"],
  broker: [...BELOW_STAGES, ...STAGES, "state", "handle"],
  client: ["codec"],
  config: ["codec", "foundation", "package.json"],
  bun: [...CORE, "config"],
  "plugin-testing": [...CORE, "bun"],
  commands: [...CORE, "config", "bun", "plugins"],
  main: [...CORE, "config", "bun", "commands", "plugins", "package.json"],
  plugins: ["foundation"],
};

/** Files of the core that belong to no stage and that every rung above the codec may use. */
const FOUNDATION = [
  "application-message.ts",
  "deadlines.ts",
  "limits.ts",
  "ports.ts",
  "statistics.ts",
  "store/store-engine.ts",
  "store/store-record.ts",
  "gate/provider.ts",
];

/** Records whose fields point upwards, by type only. */
const RECORDS = ["src/core/session/session.ts", "src/core/connection/connection.ts"];

function rungOf(path: string): string {
  if (path === "package.json") return path;
  if (path.startsWith("plugins/")) return "plugins";
  if (path === "src/main.ts") return "main";
  const [, top = "", ...rest] = path.split("/");
  if (["bun", "client", "commands", "plugin-testing"].includes(top)) return top;
  if (top !== "core") return path.startsWith("src/") && rest.length === 0 ? "config" : "nothing";
  if (FOUNDATION.includes(rest.join("/"))) return "foundation";
  if (rest.length > 1) return rest[0]!;
  // A file beside state.ts holds what the stages share and the handlers use.
  return rest[0] === "broker.ts" ? "broker" : "state";
}

function ladderComplaints(file: SourceText): string[] {
  const rung = rungOf(file.path);
  const allowed = LADDER[rung];
  if (allowed === undefined) return [`${file.path}: has no rung in the ladder`];
  const complaints: string[] = [];
  const isRecord = RECORDS.includes(file.path);
  for (const { specifier, line, typeOnly } of importsOf(file)) {
    if (!specifier.startsWith(".") || (isRecord && typeOnly)) continue;
    const target = rungOf(join(dirname(file.path), specifier));
    if (target === rung || allowed.includes(target)) continue;
    complaints.push(`${file.path}:${line}: ${rung} imports ${target} (${specifier})`);
  }
  return complaints;
}

const RUNTIME = /(?<![\w$.])(?:Bun|process|Buffer|require|__dirname|__filename)(?![\w$])(?!\s*:)/gu;
const MAY_NAME_BUN =
  /^(?:src\/(?:bun|commands|plugin-testing)\/.*|src\/client\/tcp\.ts|src\/main\.ts|src\/config\.ts)$/u;
const MAY_IMPORT_NODE = /^(?:src\/(?:bun|commands|plugin-testing)\/.*|src\/main\.ts|plugins\/.*)$/u;

function runtimeComplaints(file: SourceText): string[] {
  const { path, source, names } = file;
  const complaints: string[] = [];
  for (const { specifier, line } of importsOf(file)) {
    if (specifier.startsWith(".")) {
      if (!/\.(?:ts|json)$/u.test(specifier)) complaints.push(`${path}:${line}: ${specifier} has no extension`);
    } else if (!MAY_IMPORT_NODE.test(path)) {
      complaints.push(`${path}:${line}: imports ${specifier}`);
    }
  }
  if (MAY_NAME_BUN.test(path) || path.startsWith("plugins/")) return complaints;
  for (const match of names.matchAll(RUNTIME))
    complaints.push(`${path}:${lineOf(source, match.index)}: names ${match[0]}`);
  return complaints;
}

/** No clock, no timer, no promise, no random source: time and chance come in as arguments. */
const UNSURE =
  /(?<![\w$.])(?:Date|Math\.random|Promise|async|await|setTimeout|setInterval|queueMicrotask|performance|crypto|console|globalThis)(?![\w$])(?!\s*:)/gu;

function coreComplaints({ path, source, names }: SourceText): string[] {
  // The plugin contract speaks of promises: plugins may take their time, the core never waits for them.
  if (path === "src/core/gate/provider.ts") return [];
  return [...names.matchAll(UNSURE)].map((match) => `${path}:${lineOf(source, match.index)}: names ${match[0]}`);
}

const files = sourcesUnder("{src,plugins}/**/*.ts");

test("there is something to look at", () => {
  expect(files.length).toBeGreaterThan(20);
  expect(files.flatMap(importsOf).length).toBeGreaterThan(files.length);
});

test("imports are a ladder", () => {
  expect(files.flatMap(ladderComplaints)).toEqual([]);
});

test("only src/bun, the commands, the plugin kit and main.ts name Bun or node:*", () => {
  expect(files.flatMap(runtimeComplaints)).toEqual([]);
});

test("the core has no clock, no timer, no promise and no random source", () => {
  expect(files.filter(({ path }) => path.startsWith("src/core/")).flatMap(coreComplaints)).toEqual([]);
});

describe("the rules themselves", () => {
  const file = (path: string, source: string) => scanSource(path, source);

  test("every form of import is seen, and nothing that only looks like one", () => {
    const source = [
      'import a, { b } from "./a.ts";',
      "import type {\n  C,\n} from './c.ts';",
      'export { d } from "./d.ts";',
      'import "./e.ts";',
      'const f = await import("./f.ts");',
      'type G = import("./g.ts").G;',
      'const h = require("./h.ts");',
      '// from "./comment.ts"\nconst i = "from \'./string.ts\'"; Array.from("./array.ts"); j.import("./method.ts");',
    ].join("\n");
    expect(importsOf(file("a.ts", source)).map(({ specifier }) => specifier)).toEqual(
      ["a", "c", "d", "e", "f", "g", "h"].map((name) => `./${name}.ts`),
    );
    expect(importsOf(file("a.ts", source))[1]!.line).toBe(4);
  });

  test.each([
    ["src/core/codec/connect.ts", "../limits.ts", false],
    ["src/core/codec/connect.ts", "./reader.ts", true],
    ["src/core/session/session.ts", "../codec/packet.ts", true],
    ["src/core/session/inflight.ts", "../connection/connection.ts", false],
    ["src/core/session/session.ts", "../connection/connection.ts", true],
    ["src/core/connection/connection.ts", "../session/session.ts", true],
    ["src/core/connection/connection.ts", "../ports.ts", true],
    ["src/core/connection/topic-alias.ts", "../gate/grant.ts", false],
    ["src/core/gate/gate.ts", "../router/topic-tree.ts", false],
    ["src/core/gate/gate.ts", "./provider.ts", true],
    ["src/core/router/shared.ts", "../delivery/fan-out.ts", false],
    ["src/core/router/shared.ts", "../state.ts", false],
    ["src/core/state.ts", "./router/topic-tree.ts", true],
    ["src/core/state.ts", "./handle/publish.ts", false],
    ["src/core/handle/publish.ts", "../state.ts", true],
    ["src/core/handle/publish.ts", "../broker.ts", false],
    ["src/core/broker.ts", "./handle/publish.ts", true],
    ["src/core/broker.ts", "../bun/log.ts", false],
    ["src/core/broker.ts", "../../package.json", false],
    ["src/core/ports.ts", "./state.ts", false],
    ["src/bun/tcp.ts", "../core/broker.ts", true],
    ["src/bun/tcp.ts", "../main.ts", false],
    ["src/config.ts", "./bun/log.ts", false],
    ["src/main.ts", "./bun/log.ts", true],
    ["src/client/client.ts", "../core/broker.ts", false],
    ["src/client/client.ts", "../core/codec/packet.ts", true],
    ["plugins/jwt/jwt.ts", "../../src/core/gate/provider.ts", true],
    ["plugins/jwt/jwt.ts", "../../src/core/gate/gate.ts", false],
    ["src/core/gate/gate.ts", "../../../test/support/world.ts", false],
  ])("%s imports %s: %p", (path, specifier, allowed) => {
    expect(ladderComplaints(file(path, `import type { A } from "${specifier}";`))).toHaveLength(allowed ? 0 : 1);
  });

  test("a record may name a type from above, but not use its code", () => {
    const source = 'import { B } from "../codec/b.ts";\nimport { A } from "../gate/grant.ts";';
    expect(ladderComplaints(file("src/core/session/session.ts", source))).toHaveLength(1);
  });

  test("a folder nobody knows has no rung", () => {
    expect(ladderComplaints(file("src/core/misc/a.ts", ""))).toEqual(["src/core/misc/a.ts: has no rung in the ladder"]);
    expect(ladderComplaints(file("src/misc/a.ts", ""))).toEqual(["src/misc/a.ts: has no rung in the ladder"]);
  });

  test("a runtime is found in code and in imports, not in comments, texts and names of members", () => {
    const bad = 'import { x } from "node:fs";\nBun.serve(); new Buffer(1); process.exit();';
    expect(runtimeComplaints(file("src/core/a.ts", bad))).toHaveLength(4);
    expect(runtimeComplaints(file("src/bun/a.ts", bad))).toEqual([]);
    expect(
      runtimeComplaints(file("src/core/a.ts", '// Bun\nthis.process(); a("Buffer"); let b: { process: 1 };')),
    ).toEqual([]);
    expect(runtimeComplaints(file("src/bun/a.ts", 'import "./b";'))).toEqual(["src/bun/a.ts:1: ./b has no extension"]);
  });

  test("time and chance are found in the core", () => {
    const bad = "const a = async () => { await b; };\nnew Date(); Math.random(); setTimeout(c);";
    expect(coreComplaints(file("src/core/a.ts", bad))).toHaveLength(5);
    expect(coreComplaints(file("src/core/a.ts", "// Date\nconst updateAt = wire.performance;"))).toEqual([]);
  });
});
