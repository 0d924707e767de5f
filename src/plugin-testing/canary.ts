/**
 * Looks for secrets in what a plugin said: as they are, and as base64, base64url, hex and percent-encoded text.
 */

/** Shorter ones are found everywhere by chance. */
const BYTES_MIN = 4;

/** The lines that hold a secret, with the secret blanked out: a complaint must not tell it again. */
export function secretsIn(lines: readonly string[], secrets: readonly Uint8Array[]): string[] {
  const forms = new Set(secrets.filter((secret) => secret.length >= BYTES_MIN).flatMap(formsOf));
  const found: string[] = [];
  for (const line of lines) {
    const told = [...forms].filter((form) => line.includes(form));
    if (told.length > 0) found.push(told.reduce((text, form) => text.replaceAll(form, "[secret]"), line).slice(0, 200));
  }
  return [...new Set(found)];
}

function formsOf(secret: Uint8Array): string[] {
  const text = new TextDecoder().decode(secret);
  const base64 = secret.toBase64({ omitPadding: true });
  const base64url = secret.toBase64({ alphabet: "base64url", omitPadding: true });
  return [text, encodeURIComponent(text.toWellFormed()), base64, base64url, secret.toHex()];
}
