/**
 * Text from outside, made safe for one line of a terminal or a log.
 *
 * Invariant: the answer holds no control character, no line separator and no character that changes the direction of
 * writing; it is no longer than asked for, but for the mark that tells how much was cut.
 */

const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Replaces what would end, hide or turn around a line by its `\uXXXX` form. */
export function escapeControls(text: string): string {
  return text.replace(UNPRINTABLE, (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** Keeps the first `charactersMax` UTF-16 units and says how many were left out. */
export function shorten(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text;
  // A surrogate pair is not cut in half: its first half goes too.
  const last = text.charCodeAt(charactersMax - 1);
  const kept = last >= 0xd800 && last <= 0xdbff ? charactersMax - 1 : charactersMax;
  return `${text.slice(0, kept)}...(+${text.length - kept})`;
}

/** A double-quoted form in which quotes, backslashes and controls are escaped. */
export function quote(text: string, charactersMax: number): string {
  return escapeControls(JSON.stringify(shorten(text, charactersMax)));
}
