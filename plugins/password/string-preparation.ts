/**
 * SASLprep: one form for user names and passwords that look the same, whatever keyboard they come from.
 *
 * Refuses control characters, private use, unassigned code points and the like. Not checked is the order of right-to-left
 * text: it keeps nobody out that ought to be, since both sides compare the same bytes.
 * Sources: RFC 4013, RFC 3454 tables B.1, C.1.2 and C.2 to C.9.
 */

const SPACES = /\p{Zs}|\u{200b}/gu;
const LEFT_OUT = /\p{Variation_Selector}|\u{34f}|\u{200d}|[\u{ad}\u{1806}\u{200c}\u{2060}\u{feff}]/gu;
/** Controls, formats, private use, surrogates, unassigned and noncharacters; line ends; what describes or replaces others. */
const PROHIBITED = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}\u{2ff0}-\u{2fff}\u{fff9}-\u{fffd}]/u;

/** The prepared form, or `undefined` where there is none. */
export function prepareString(text: string): string | undefined {
  const mapped = text.replace(SPACES, " ").replace(LEFT_OUT, "").normalize("NFKC");
  return PROHIBITED.test(mapped) ? undefined : mapped;
}
