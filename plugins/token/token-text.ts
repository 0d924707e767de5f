/**
 * A token as text: whether something is one, and what an unverified JWT says of itself.
 *
 * Invariant: what is longer than the bound is never decoded, and what is read here is never believed; it only picks the
 * issuer whose keys decide. RFC 7515 section 7.1, RFC 7519 section 3, RFC 6750 section 2.1.
 */
import { badCredentials } from "./token-refused.ts";

/** Three parts, or the five of an encrypted one. The first is an object in JSON, which begins with "{". */
const JWT_SHAPE = /^e[wy][\w-]*(?:\.[\w-]*){2}(?:(?:\.[\w-]*){2})?$/u;
const JWT_START = /^e[wy][\w-]*\.?/u;
const OPAQUE_SHAPE = /^[\w.~+/-]+=*$/u;

export type TokenShape = "jwt" | "opaque" | "none" | "too long";

export interface ShapeBounds {
  readonly tokenBytesMax: number;
  /** Shortest text that may be an opaque token; 0: none may. */
  readonly opaqueLengthMin: number;
  readonly opaquePrefix: string;
}

export function shapeOf(text: string, bounds: ShapeBounds): TokenShape {
  if (text.length > bounds.tokenBytesMax) return JWT_START.test(text.slice(0, 64)) ? "too long" : "none";
  if (JWT_SHAPE.test(text)) return "jwt";
  const { opaqueLengthMin, opaquePrefix } = bounds;
  if (opaqueLengthMin === 0 || text.length < opaqueLengthMin || !text.startsWith(opaquePrefix)) return "none";
  return OPAQUE_SHAPE.test(text) ? "opaque" : "none";
}

/** The bytes of a password or of Authentication Data, one character each: tokens are ASCII, anything else is none. */
export function textOfBytes(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

/** The `iss` of a JWT that nobody has verified yet. */
export function claimedIssuer(token: string): string {
  const parts = token.split(".");
  if (parts.length !== 3) throw badCredentials("token", "is encrypted; only signed tokens are accepted");
  if (parts[2] === "") throw badCredentials("alg", "the token is not signed");
  const payload = decodeObject(parts[1]!);
  if (payload === undefined) throw badCredentials("token", "its payload is no object in JSON");
  const { iss } = payload;
  if (typeof iss !== "string" || iss === "") throw badCredentials("iss", "the token names no issuer");
  return iss;
}

/** Header and payload of a JWT that nobody has verified; `undefined` for one that is no object in JSON. */
export function unverifiedParts(
  token: string,
): Readonly<Record<"header" | "payload", Record<string, unknown> | undefined>> {
  const [header = "", payload = ""] = token.split(".");
  return { header: decodeObject(header), payload: decodeObject(payload) };
}

function decodeObject(part: string): Record<string, unknown> | undefined {
  try {
    const bytes = Uint8Array.fromBase64(part, { alphabet: "base64url" });
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
