/** Text from outside: what is escaped, where it is cut. */
import { expect, test } from "bun:test";
import { escapeControls, quote, shorten } from "../src/printable.ts";

test("what ends, hides or turns a line is escaped, everything else stays", () => {
  expect(escapeControls("a\n\r\t\u0000\u001b\u007f\u0085\u2028\u2029\u200e\u202e\u2066z")).toBe(
    "a\\u000a\\u000d\\u0009\\u0000\\u001b\\u007f\\u0085\\u2028\\u2029\\u200e\\u202e\\u2066z",
  );
  expect(escapeControls("Grüße, \u{1f468}\u200d\u{1f469} \\n \u{feff}")).toBe(
    "Grüße, \u{1f468}\u200d\u{1f469} \\n \u{feff}",
  );
});

test("a text at the bound is kept, one over it is cut and says by how much", () => {
  expect(shorten("abcd", 4)).toBe("abcd");
  expect(shorten("abcde", 4)).toBe("abcd...(+1)");
  expect(shorten("abc\u{1f600}", 4)).toBe("abc...(+2)");
  expect(shorten("ab\u{1f600}c", 4)).toBe("ab\u{1f600}...(+1)");
});

test("quotes and backslashes are escaped, and the cut comes before the quoting", () => {
  expect(quote('a"\\\n\u2028', 10)).toBe('"a\\"\\\\\\n\\u2028"');
  expect(quote('""""', 2)).toBe('"\\"\\"...(+2)"');
});
