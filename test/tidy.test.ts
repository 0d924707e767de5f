/** Tidy rules: how sources look, where a machine can tell. What formatter, linter and compiler tell already is not here. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { filesUnder, ROOT, sourcesUnder } from "./support/repository.ts";
import { lineOf, type SourceText, scanSource, testTitles } from "./support/source-text.ts";

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const HEADER_CHARACTERS_MIN = 25;

/** Names that say nothing about what is inside, or that gather what belongs elsewhere. */
const VAGUE_NAMES = [
  "common",
  "constants",
  "helper",
  "helpers",
  "index",
  "lib",
  "misc",
  "shared-types",
  "types",
  "util",
  "utils",
];

/** Put together here, so that this file does not find itself. */
const UNFINISHED = new RegExp(`\\b(?:${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`, "gu");

function at(file: SourceText, index: number, complaint: string): string {
  return `${file.path}:${lineOf(file.source, index)}: ${complaint}`;
}

function nameComplaints(path: string): string[] {
  const name = basename(path).replace(/(?:\.test)?\.[a-z]+$/u, "");
  const complaints: string[] = [];
  if (VAGUE_NAMES.includes(name)) complaints.push(`${path}: the name says nothing`);
  // Conformance tests are named for a section of the specification: 3.8-subscribe, v311-3.1-connect.
  const words = path.startsWith("test/conformance/")
    ? name.replace(/^(?:v\d+-)?\d+(?:\.\d+)*(?:-\d+(?:\.\d+)*)*-/u, "")
    : name;
  if (!/^[a-z0-9]+(?:-[a-z0-9]+)*$/u.test(words)) complaints.push(`${path}: the name is not in kebab-case`);
  return complaints;
}

/** A file opens with a comment that says what it owns; a first line for the shell may stand before it. */
function headerComplaints(file: SourceText): string[] {
  const header = /^(?:#!.*\n)?\/\*\*([\s\S]*?)\*\//u.exec(file.source)?.[1] ?? "";
  const words = header.replace(/^\s*\*\s?/gmu, "").trim();
  return words.length >= HEADER_CHARACTERS_MIN
    ? []
    : [`${file.path}: does not open with a comment that says what it owns`];
}

function lengthComplaints(file: SourceText): string[] {
  const lines = file.source.trimEnd().split("\n").length;
  return lines <= FILE_LINES_MAX
    ? []
    : [`${file.path}: ${lines} lines, the bound is ${FILE_LINES_MAX}: two things in one file`];
}

const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/(?<![\w$.])export\s*\*/gu, "a barrel: export from where a thing is"],
  [/(?<![\w$.])enum\s+[A-Za-z_$]/gu, "enum: a union of literals does it"],
  [/(?<![\w$.])namespace\s+[A-Za-z_$][\w$.]*\s*\{/gu, "namespace: a file is one"],
  [/(?<![\w$.])class\s+\w+(?:<[^{]*>)?\s+extends\s+(?!Error\b)/gu, "a class hierarchy"],
  [/(?<![\w$.])class\s+extends\s/gu, "a class hierarchy"],
  [/^\s*@[A-Za-z_$]/gmu, "a decorator"],
];
const DEFAULT_EXPORT = /(?<![\w$.])export\s+default\b|\bas\s+default\b(?=[^}]*\})/gu;

function shapeComplaints(file: SourceText): string[] {
  const complaints = SHAPES.flatMap(([shape, why]) =>
    [...file.names.matchAll(shape)].map((match) => at(file, match.index + match[0].search(/\S/u), why)),
  );
  // A plugin is loaded by file name, and what it is loaded for has to have a known name.
  if (file.path.startsWith("plugins/")) return complaints;
  return [
    ...complaints,
    ...[...file.names.matchAll(DEFAULT_EXPORT)].map((match) => at(file, match.index, "a default export")),
  ];
}

function unfinishedComplaints(file: SourceText): string[] {
  return [...file.source.matchAll(UNFINISHED)].map((match) =>
    at(file, match.index, `${match[0]}: an issue is the place for it`),
  );
}

/** Tests that are switched off or that wait for time to pass prove nothing, or prove it only sometimes. */
function testComplaints(file: SourceText): string[] {
  // Beside the tests themselves, a suite that meets a machine without its client may say so and skip.
  const titles = file.path.endsWith(".test.ts") ? testTitles(file) : [];
  const switched = titles
    .filter(({ modifiers }) => modifiers.some((modifier) => ["only", "skip", "todo", "failing"].includes(modifier)))
    .map(({ line, modifiers }) => `${file.path}:${line}: a test with .${modifiers.join(".")}`);
  const sleeps = [...file.names.matchAll(/(?<![\w$])(?:Bun\.)?sleep(?:Sync)?\s*\(/gu)].map((match) =>
    at(file, match.index, "sleeps: wait for an event"),
  );
  return [...switched, ...sleeps];
}

/** Lengths of functions as Biome counts them, with a configuration that holds nothing but this rule. */
function functionComplaints(paths: readonly string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), "rqtt-tidy-"));
  try {
    const rule = { level: "error", options: { maxLines: FUNCTION_LINES_MAX } };
    const linter = { rules: { complexity: { noExcessiveLinesPerFunction: rule } } };
    writeFileSync(join(folder, "biome.json"), JSON.stringify({ root: true, formatter: { enabled: false }, linter }));
    const only = "--only=complexity/noExcessiveLinesPerFunction";
    const command = [join("node_modules", ".bin", "biome"), "lint", `--config-path=${folder}`, only, "--reporter=json"];
    const { stdout, stderr, exitCode } = Bun.spawnSync([...command, "--max-diagnostics=1000", ...paths], { cwd: ROOT });
    const report = stdout.toString();
    if (!report.startsWith("{")) throw new Error(`biome ended with ${exitCode}: ${report}${stderr}`);
    const { diagnostics, summary } = JSON.parse(report) as BiomeReport;
    if (summary.changed + summary.unchanged === 0) throw new Error("biome looked at no file");
    return diagnostics.map(({ location, message }) => `${location.path}:${location.start.line}: ${message}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface BiomeReport {
  readonly summary: { readonly changed: number; readonly unchanged: number };
  readonly diagnostics: readonly {
    readonly message: string;
    readonly location: { readonly path: string; readonly start: { readonly line: number } };
  }[];
}

const all = sourcesUnder("{src,plugins,test,bench}/**/*.ts");
const product = all.filter(({ path }) => /^(?:src|plugins)\//u.test(path));
const tests = all.filter(({ path }) => path.startsWith("test/"));

test("there is something to look at", () => {
  expect(product.length).toBeGreaterThan(20);
  expect(tests.length).toBeGreaterThan(5);
});

test("file names are in kebab-case and say something", () => {
  expect(filesUnder("{src,plugins,test,bench}/**/*.{ts,js,tsx,json,py,sh}").flatMap(nameComplaints)).toEqual([]);
});

test("every file opens with a comment that says what it owns", () => {
  expect(all.flatMap(headerComplaints)).toEqual([]);
});

test(`no file of src and plugins is longer than ${FILE_LINES_MAX} lines`, () => {
  expect(product.flatMap(lengthComplaints)).toEqual([]);
});

test(`no function of src and plugins is longer than ${FUNCTION_LINES_MAX} lines`, () => {
  expect(functionComplaints(["src", "plugins"])).toEqual([]);
});

test("no barrels, default exports, enums, namespaces, decorators or class hierarchies", () => {
  expect(all.flatMap(shapeComplaints)).toEqual([]);
});

test("nothing is marked as unfinished", () => {
  expect(all.flatMap(unfinishedComplaints)).toEqual([]);
});

test("no test is switched off, singled out or asleep", () => {
  expect(tests.flatMap(testComplaints)).toEqual([]);
});

describe("the rules themselves", () => {
  const file = (source: string, path = "src/a.ts") => scanSource(path, source);

  test("names", () => {
    for (const path of ["src/utils.ts", "src/core/types.ts", "test/helpers.test.ts", "src/core/index.ts"]) {
      expect(nameComplaints(path)).toEqual([`${path}: the name says nothing`]);
    }
    for (const path of ["src/topicTree.ts", "src/Topic.ts", "src/topic_tree.ts", "src/-a.ts"]) {
      expect(nameComplaints(path)).toEqual([`${path}: the name is not in kebab-case`]);
    }
    expect(
      [
        "src/topic-tree.ts",
        "test/utf8.test.ts",
        "src/core/tsconfig.json",
        "test/conformance/3.8-subscribe.test.ts",
      ].flatMap(nameComplaints),
    ).toEqual([]);
  });

  test("headers", () => {
    const header = "/**\n * What it owns, what it refuses, and why.\n */\n";
    expect(headerComplaints(file(`${header}const a = 1;`))).toEqual([]);
    expect(headerComplaints(file(`#!/usr/bin/env bun\n${header}`))).toEqual([]);
    for (const source of [
      "",
      "const a = 1;",
      `const a = 1;\n${header}`,
      "/** Short. */",
      "// What it owns, what it refuses, why",
    ]) {
      expect(headerComplaints(file(source))).toHaveLength(1);
    }
  });

  test("lengths of files", () => {
    expect(lengthComplaints(file("a\n".repeat(400)))).toEqual([]);
    expect(lengthComplaints(file("a\n".repeat(401)))).toHaveLength(1);
  });

  test("lengths of functions", () => {
    const folder = mkdtempSync(join(tmpdir(), "rqtt-tidy-"));
    try {
      const statements = (count: number) => "  call();\n".repeat(count);
      writeFileSync(
        join(folder, "short.ts"),
        `function a() {\n${statements(68)}}\nconst b = () => {\n${statements(68)}};\n`,
      );
      writeFileSync(join(folder, "long.ts"), `class A {\n  method() {\n${statements(75)}  }\n}\n`);
      expect(functionComplaints([join(folder, "short.ts")])).toEqual([]);
      const [complaint, ...more] = functionComplaints([join(folder, "short.ts"), join(folder, "long.ts")]);
      expect(complaint).toContain("long.ts:2: ");
      expect(more).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test.each([
    'export * from "./a.ts";',
    'export * as a from "./a.ts";',
    "export default 1;",
    "export { a as default };",
    "enum A { B }",
    "export const enum A { B }",
    "namespace A {}",
    "class A extends B {}",
    "class A<T> extends B<T> {}",
    "const a = class extends B {};",
    "@a class B {}",
  ])("shape: %s", (source) => {
    expect(shapeComplaints(file(`const first = 1;\n${source}`))).toEqual([expect.stringMatching(/^src\/a\.ts:2: /u)]);
  });

  test("shapes that are allowed, and places where a word is just a word", () => {
    expect(
      shapeComplaints(file("class A extends Error {}\nclass B<T extends C> {}\nexport type { D } from './d.ts';")),
    ).toEqual([]);
    expect(shapeComplaints(file("// enum A, export default\nconst a = 'export * from'; b.enum; c = `\n@d`;"))).toEqual(
      [],
    );
    expect(shapeComplaints(file("import { default as a } from 'b';"))).toEqual([]);
    expect(shapeComplaints(file("export default {};", "plugins/a.ts"))).toEqual([]);
  });

  test("marks of unfinished work", () => {
    const mark = "TO" + "DO";
    expect(unfinishedComplaints(file(`const a = 1; // ${mark}: later\nconst b = "${mark}";`))).toHaveLength(2);
    expect(unfinishedComplaints(file("const hackney = 'todo';"))).toEqual([]);
  });

  test("tests that prove nothing", () => {
    const source = [
      "test.only('a', b);",
      "describe.skip('c', d);",
      "it.todo('e');",
      "await Bun.sleep(5);",
      "sleep(1);",
      "test.skipIf(no)('f', g);",
      "// test.only('h', i)",
    ].join("\n");
    expect(testComplaints(file(source, "test/a.test.ts")).map((complaint) => complaint.split(":")[1])).toEqual([
      "1",
      "2",
      "3",
      "4",
      "5",
    ]);
  });
});
