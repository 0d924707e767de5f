/**
 * HMAC-SHA-256 under a key that only this process knows: names for what must not be kept or guessed in clear.
 *
 * Invariant: parts are told apart whatever they hold, since each is preceded by its length.
 */
import { createHmac, randomBytes } from "node:crypto";

export interface PrivateDigest {
  bytes(...parts: readonly (string | Uint8Array)[]): Uint8Array;
  text(...parts: readonly (string | Uint8Array)[]): string;
  /** One of `items`, always the same one for the same name and items. */
  pick<T>(items: readonly T[], name: string): T | undefined;
}

/**
 * The same for everything in this process, and for a chain that follows another: what one provider has digested its successor
 * can compare.
 */
export const processDigest = createPrivateDigest();

/** `key`: default a random one. */
export function createPrivateDigest(key: string | Uint8Array = randomBytes(32)): PrivateDigest {
  const digest = (parts: readonly (string | Uint8Array)[]) => {
    const hmac = createHmac("sha256", key);
    const length = new DataView(new ArrayBuffer(4));
    for (const part of parts) {
      length.setUint32(0, typeof part === "string" ? Buffer.byteLength(part) : part.length);
      hmac.update(new Uint8Array(length.buffer)).update(part);
    }
    return hmac.digest();
  };
  return {
    bytes: (...parts) => digest(parts),
    text: (...parts) => digest(parts).toString("base64"),
    pick: (items, name) => items[digest(["pick", name]).readUInt32BE(0) % Math.max(1, items.length)],
  };
}
