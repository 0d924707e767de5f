/**
 * Source text as the rules about it need it: comments told from code, strings told from names.
 *
 * Owns a scanner for TypeScript that knows comments, strings, templates and regular expressions, and nothing else. All
 * texts it answers are as long as the source, with spaces in the place of what was taken out, so that positions and line
 * numbers stay true. A slash begins a regular expression where a value may begin, judged by the token before it.
 */

export interface SourceText {
  readonly path: string;
  readonly source: string;
  /** Without comments. */
  readonly code: string;
  /** Without comments, and without the content of strings, templates and regular expressions. */
  readonly names: string;
  readonly comments: string;
}

/** Where a value may begin, a slash is a regular expression; after a value it divides. */
const VALUE_ENDS = /(?:[\w$)\]}"'`]|\+\+|--)$/u;
const WORDS_BEFORE_VALUES = /(?:^|[^\w$.])(?:return|typeof|case|in|of|do|else|throw|void|delete|await|yield|new)$/u;

type Part = "code" | "comment" | "text";

export function scanSource(path: string, source: string): SourceText {
  const parts = partsOf(source);
  const keep = (...wanted: Part[]) =>
    parts.map((part, index) => (wanted.includes(part) || source[index] === "\n" ? source[index] : " ")).join("");
  return { path, source, code: keep("code", "text"), names: keep("code"), comments: keep("comment") };
}

/** What each character belongs to; quotes, slashes and backticks count as code. */
function partsOf(source: string): Part[] {
  const parts: Part[] = new Array(source.length).fill("code");
  /** Depth of braces at which each open template goes on. */
  const templates: number[] = [];
  let depth = 0;
  let at = 0;
  while (at < source.length) {
    const one = source[at]!;
    const two = source.slice(at, at + 2);
    let end = at + 1;
    if (two === "//" || two === "/*" || (at === 0 && two === "#!")) {
      end = two === "/*" ? endOf(source, "*/", at + 2) + 2 : endOf(source, "\n", at);
      parts.fill("comment", at, end);
    } else if (one === '"' || one === "'") {
      end = skipQuoted(source, at);
      parts.fill("text", at + 1, end - 1);
    } else if (one === "/" && mayBeginValue(source, parts, at)) {
      end = skipRegExp(source, at);
      parts.fill("text", at + 1, end - 1);
    } else if (one === "`" || (one === "}" && templates.at(-1) === depth)) {
      if (one === "}") templates.pop();
      end = skipTemplate(source, at + 1);
      const goesOn = source[end - 1] === "{";
      parts.fill("text", at + 1, goesOn ? end - 2 : end - 1);
      if (goesOn) templates.push(depth);
    } else if (one === "{") depth++;
    else if (one === "}") depth--;
    at = end;
  }
  return parts;
}

function mayBeginValue(source: string, parts: readonly Part[], at: number): boolean {
  let before = "";
  for (let index = at - 1; index >= 0 && before.length < 12; index--) {
    if (parts[index] !== "comment" && (before !== "" || !/\s/u.test(source[index]!))) before = source[index] + before;
  }
  return !VALUE_ENDS.test(before) || WORDS_BEFORE_VALUES.test(before);
}

function endOf(source: string, mark: string, from: number): number {
  const end = source.indexOf(mark, from);
  return end < 0 ? source.length : end;
}

/** The position after the closing quote. */
function skipQuoted(source: string, from: number): number {
  let at = from + 1;
  while (at < source.length && source[at] !== source[from] && source[at] !== "\n") at += source[at] === "\\" ? 2 : 1;
  return at + 1;
}

/** The position after the closing slash. */
function skipRegExp(source: string, from: number): number {
  let inClass = false;
  for (let at = from + 1; at < source.length; at++) {
    const one = source[at];
    if (one === "\\") at++;
    else if (one === "[") inClass = true;
    else if (one === "]") inClass = false;
    else if (one === "\n" || (one === "/" && !inClass)) return at + 1;
  }
  return source.length;
}

/** The position after the closing backtick, or after the brace that opens a substitution. */
function skipTemplate(source: string, from: number): number {
  for (let at = from; at < source.length; at++) {
    if (source[at] === "\\") at++;
    else if (source[at] === "`") return at + 1;
    else if (source[at] === "$" && source[at + 1] === "{") return at + 2;
  }
  return source.length;
}

export function lineOf(source: string, position: number): number {
  return source.slice(0, position).split("\n").length;
}

export interface TestTitle {
  readonly title: string;
  readonly line: number;
  /** Names behind test, it or describe: `each`, `skip` and so on. */
  readonly modifiers: readonly string[];
}

/** The titles that `test`, `it` and `describe` are called with, where they are written out. */
export function testTitles({ source, names }: SourceText): TestTitle[] {
  const titles: TestTitle[] = [];
  for (const match of names.matchAll(/(?<![\w$.])(?:test|it|describe)(?=\s*[.(])/gu)) {
    let at = match.index + match[0].length;
    const modifiers: string[] = [];
    for (;;) {
      at += /^\s*/u.exec(names.slice(at))![0].length;
      const modifier = /^\.\s*(\w+)\s*(?:<[^(]*>(?=\s*\())?/u.exec(names.slice(at));
      if (modifier !== null) {
        modifiers.push(modifier[1]!);
        at += modifier[0].length;
      } else if (names[at] === "(") {
        const title = /^\(\s*((?:(["'`]).*?\2\s*\+?\s*)+)/su.exec(names.slice(at));
        if (title !== null) {
          titles.push({ title: source.slice(at, at + title[0].length), line: lineOf(source, match.index), modifiers });
          break;
        }
        at = closing(names, at) + 1;
      } else break;
    }
  }
  return titles;
}

function closing(names: string, open: number): number {
  let depth = 0;
  for (let at = open; at < names.length; at++) {
    if ("([{".includes(names[at]!)) depth++;
    else if (")]}".includes(names[at]!) && --depth === 0) return at;
  }
  return names.length;
}
