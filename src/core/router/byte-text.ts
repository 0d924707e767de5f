/**
 * Bytes as a string, a character for each: how the topic tree keeps what it compares with topics.
 *
 * A string takes half of what a Uint8Array of a few bytes does, and a filter in ASCII is one already: the one that its
 * subscription has.
 */

export function textOfBytes(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

export function bytesOfText(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
