/** The scanner that the rules about sources stand on. */
import { expect, test } from "bun:test";
import { lineOf, scanSource, testTitles } from "./source-text.ts";

const names = (source: string) => scanSource("a.ts", source).names;
const code = (source: string) => scanSource("a.ts", source).code;
const comments = (source: string) => scanSource("a.ts", source).comments;

test("comments, code and names are told apart, positions stay", () => {
  const source = "#!/x\nlet a = 'it\\'s'; // one 'two'\n/* three\n\" */ b /** c */;\n";
  expect(code(source)).toBe("    \nlet a = 'it\\'s';             \n        \n     b         ;\n");
  expect(names(source)).toBe("    \nlet a = '     ';             \n        \n     b         ;\n");
  expect(comments(source)).toBe("#!/x\n                 // one 'two'\n/* three\n\" */   /** c */ \n");
});

test("a comment mark in a string is none, a quote in a comment is none", () => {
  expect(names("a('//', \"/*\"); b // don't\nc")).toBe("a('  ', \"  \"); b         \nc");
});

test("templates, with code in them and templates in that", () => {
  expect(names("a(`x #{b + `y#{{ c: 1 }.c}z`} // w`); d".replaceAll("#", "$"))).toBe(
    "a(`  #{b + ` #{{ c: 1 }.c} `}     `); d".replaceAll("#", "$"),
  );
});

test("a slash that divides and one that begins a regular expression", () => {
  expect(names("a = b / c; d = /[/\"]'/u.test(e) / 2; return /'/; f = (g) / h / i; ++j / k")).toBe(
    "a = b / c; d = /     /u.test(e) / 2; return / /; f = (g) / h / i; ++j / k",
  );
  expect(names("match(/* x */ /'/, '/')")).toBe("match(        / /, ' ')");
});

test("lines count from one", () => {
  expect(lineOf("a\nb\nc", 0)).toBe(1);
  expect(lineOf("a\nb\nc", 4)).toBe(3);
});

test("titles: plain, nested, joined, with modifiers and tables", () => {
  const source = [
    'test("a [X-1]", () => {});',
    "describe('b', () => { it(`c #{d(\"e\")} [X-2]`, f); });".replace("#", "$"),
    'test.each([["no title", "x)"], [`#{y}`]])("g %s", () => {});'.replace("#", "$"),
    'test.skipIf(!found("z"))("h" +\n  "i [X-3]", j);',
    'test.each<[string, number]>([["k", 1]])("l", m);',
    "test.skip('n', () => {});",
    '// test("comment", o)\nconst text = "test(\'p\')"; regex.test("q"); latest("r"); test(title, s);',
  ].join("\n");
  expect(testTitles(scanSource("a.test.ts", source))).toEqual([
    { title: '("a [X-1]"', line: 1, modifiers: [] },
    { title: "('b'", line: 2, modifiers: [] },
    { title: '(`c #{d("e")} [X-2]`'.replace("#", "$"), line: 2, modifiers: [] },
    { title: '("g %s"', line: 3, modifiers: ["each"] },
    { title: '("h" +\n  "i [X-3]"', line: 4, modifiers: ["skipIf"] },
    { title: '("l"', line: 6, modifiers: ["each"] },
    { title: "('n'", line: 7, modifiers: ["skip"] },
  ]);
});
