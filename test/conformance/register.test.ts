/**
 * The register: every normative statement that a server can break has a test that names it, or a written exemption.
 *
 * A test cites a statement in its title, in brackets: `[MQTT-3.8.3-2]`, and `[MQTT311-3.8.3-3]` for a statement of MQTT
 * 3.1.1. Cited means: in a title written out in a call of test, it or describe, in any *.test.ts under test/. Both ways:
 * a statement without test fails, and so do an id that does not exist and an exemption that is no longer needed.
 */
import { expect, test } from "bun:test";
import { sourcesUnder } from "../support/repository.ts";
import { type SourceText, scanSource, testTitles } from "../support/source-text.ts";
import statements from "./statements.json" with { type: "json" };

interface Statement {
  readonly id: string;
  readonly section: string;
  readonly side: string;
  readonly text: string;
  readonly exemption?: string;
}

const IDS = /\bMQTT(?:311)?-\d+(?:\.\d+)+-\d+\b/gu;
const NOT_RUN = ["skip", "todo", "failing"];
const EXEMPTION_CHARACTERS_MIN = 20;

const mqtt5: readonly Statement[] = statements.mqtt5;
const mqtt311: readonly Statement[] = statements.mqtt311;

/** Ids in brackets in the titles of tests that run. */
function citedIds(files: readonly SourceText[]): Set<string> {
  const cited = new Set<string>();
  for (const file of files) {
    for (const { title, modifiers } of testTitles(file)) {
      if (modifiers.some((modifier) => NOT_RUN.includes(modifier))) continue;
      for (const [, inside = ""] of title.matchAll(/\[([^\]]*)\]/gu)) {
        for (const [id] of inside.matchAll(IDS)) cited.add(id);
      }
    }
  }
  return cited;
}

/** Complaints about the register itself and about what tests and exemptions leave open. */
function complaintsAbout(register: readonly Statement[], cited: ReadonlySet<string>): string[] {
  const complaints: string[] = [];
  const known = new Set<string>();
  for (const { id, section, side, text, exemption } of register) {
    if (known.has(id)) complaints.push(`${id}: listed twice`);
    known.add(id);
    if (!["server", "client", "both"].includes(side)) complaints.push(`${id}: side is ${side}`);
    if (exemption !== undefined && exemption.trim().length < EXEMPTION_CHARACTERS_MIN) {
      complaints.push(`${id}: its exemption gives no reason`);
    }
    if (side === "client") {
      if (exemption !== undefined) complaints.push(`${id}: a statement about clients needs no exemption`);
    } else if (cited.has(id)) {
      if (exemption !== undefined) complaints.push(`${id}: has a test, its exemption is stale`);
    } else if (exemption === undefined) {
      complaints.push(`${id}: no test has it in its title (${section}: ${text})`);
    }
  }
  return complaints;
}

/** Ids that are written somewhere and are no statement. */
function unknownIds(register: readonly Statement[], files: readonly SourceText[]): string[] {
  const known = new Set(register.map(({ id }) => id));
  return files.flatMap(({ path, source }) =>
    source
      .split("\n")
      .flatMap((line, index) =>
        [...line.matchAll(IDS)]
          .filter(([id]) => !known.has(id))
          .map(([id]) => `${path}:${index + 1}: ${id} is no statement`),
      ),
  );
}

const testFiles = sourcesUnder("test/**/*.test.ts");
const cited = citedIds(testFiles);

function countsOf(register: readonly Statement[]): string {
  const server = register.filter(({ side }) => side !== "client");
  const exempt = server.filter(({ exemption }) => exemption !== undefined).length;
  const tested = server.filter(({ id }) => cited.has(id)).length;
  return `${tested} tested, ${exempt} exempt, ${server.length} that a server can break, ${register.length} in all`;
}

test("every statement of MQTT 5.0 that a server can break has a test or an exemption", () => {
  expect(complaintsAbout(mqtt5, cited)).toEqual([]);
  console.log(`register: MQTT 5.0: ${countsOf(mqtt5)}`);
});

test("every statement of MQTT 3.1.1 that a server can break has a test or an exemption", () => {
  expect(complaintsAbout(mqtt311, cited)).toEqual([]);
  console.log(`register: MQTT 3.1.1: ${countsOf(mqtt311)}`);
});

test("every id that tests, sources and plugins name is a statement", () => {
  const all = [...mqtt5, ...mqtt311];
  expect(unknownIds(all, sourcesUnder("{src,plugins,test}/**/*.ts"))).toEqual([]);
});

test("the register is whole: no statement was dropped to close a hole", () => {
  const count = (register: readonly Statement[], prefix: string) =>
    register.filter(({ id }) => id.startsWith(prefix) && id.match(IDS)?.[0] === id).length;
  expect([mqtt5.length, count(mqtt5, "MQTT-")]).toEqual([251, 251]);
  expect([mqtt311.length, count(mqtt311, "MQTT311-")]).toEqual([141, 141]);
});

// The rule itself, on registers small enough to see through.

/** Made up here in two pieces, so that the rule about real ids does not meet them. */
const madeUp = (number: number): string => `${"MQTT"}-99.9.9-${number}`;
const statement = (number: number, more: Partial<Statement> = {}): Statement => ({
  id: madeUp(number),
  section: "Section",
  side: "server",
  text: "Text",
  ...more,
});
const reason = "A reason of more than twenty characters.";

test("a hole, a stale exemption, an empty reason and a double entry are found", () => {
  const register = [
    statement(1),
    statement(2, { side: "both" }),
    statement(3, { side: "client" }),
    statement(4, { exemption: reason }),
    statement(5, { exemption: reason }),
    statement(6, { exemption: "none" }),
    statement(7, { side: "client", exemption: reason }),
    statement(8),
    statement(8),
  ];
  expect(complaintsAbout(register, new Set([madeUp(1), madeUp(5), madeUp(8)]))).toEqual([
    `${madeUp(2)}: no test has it in its title (Section: Text)`,
    `${madeUp(5)}: has a test, its exemption is stale`,
    `${madeUp(6)}: its exemption gives no reason`,
    `${madeUp(7)}: a statement about clients needs no exemption`,
    `${madeUp(8)}: listed twice`,
  ]);
});

test("only titles of tests that run count, and only what stands in brackets", () => {
  const source = [
    `test("a [${madeUp(1)}]", run);`,
    `describe("b", () => { it(\`c [${madeUp(2)}, ${madeUp(3)}] [${madeUp(4)}]\`, run); });`,
    `test.each([1])("d " + "[${madeUp(5)}]", run);`,
    `test("e ${madeUp(11)}", run);`,
    `test.skip("f [${madeUp(12)}]", run);`,
    `test.todo("g [${madeUp(13)}]");`,
    `// test("h [${madeUp(14)}]", run);`,
    `test("i", () => expect("[${madeUp(15)}]").toBe(""));`,
  ].join("\n");
  expect([...citedIds([scanSource("a.test.ts", source)])]).toEqual([1, 2, 3, 4, 5].map(madeUp));
});

test("an id that does not exist is found in code, strings and comments", () => {
  const source = `a("${madeUp(1)}");\n// ${madeUp(2)} and ${madeUp(3)}\n`;
  expect(unknownIds([statement(1)], [scanSource("a.ts", source)])).toEqual([
    `a.ts:2: ${madeUp(2)} is no statement`,
    `a.ts:2: ${madeUp(3)} is no statement`,
  ]);
});
