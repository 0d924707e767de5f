/**
 * Why a token is refused, as data: which check failed, what it wanted and what it found, and what to do about it.
 *
 * Never holds a token, a part of one, or a key: only names and values of single claims and header members, cut short.
 */
import type { Refusal, Verdict } from "../../src/core/gate/provider.ts";

const SHOWN_CHARACTERS_MAX = 120;

/** What failed, in the words of the token: "aud", "exp", "kid", "signature", "cnf", "keys", "introspection" and so on. */
export type TokenCheck = string;

export interface RefusedParts {
  readonly expected?: string;
  readonly found?: string;
  /** What to type or to change. */
  readonly hint?: string | undefined;
  /** Text for the client. */
  readonly tell?: string;
}

export class TokenRefused extends Error {
  readonly because: Refusal;
  readonly check: TokenCheck;
  /** What is wrong, without the rest of the message. */
  readonly text: string;
  readonly parts: RefusedParts;

  constructor(because: Refusal, check: TokenCheck, text: string, parts: RefusedParts = {}) {
    const wanted = parts.expected === undefined ? "" : `: expected ${parts.expected}`;
    const found = parts.found === undefined ? "" : `, found ${parts.found}`;
    const hint = parts.hint === undefined ? "" : `; ${parts.hint}`;
    super(`${check}: ${text}${wanted}${found}${hint}`);
    this.name = "TokenRefused";
    this.because = because;
    this.check = check;
    this.text = text;
    this.parts = parts;
  }

  /** The same refusal with advice, unless it has some. */
  withHint(hint: string | undefined): TokenRefused {
    if (hint === undefined || this.parts.hint !== undefined) return this;
    return new TokenRefused(this.because, this.check, this.text, { ...this.parts, hint });
  }
}

function onlyTell({ tell }: RefusedParts): RefusedParts {
  return tell === undefined ? {} : { tell };
}

export function badCredentials(check: TokenCheck, text: string, parts?: RefusedParts): TokenRefused {
  return new TokenRefused("bad-credentials", check, text, parts);
}

/** The verdict for whatever was thrown while a token was looked at; `who` names the issuer in the log. */
export function refusalOf(error: unknown, who: string): Verdict {
  if (error instanceof TokenRefused) {
    const { because, message, parts } = error;
    const log = who === "" ? message : `issuer ${who}: ${message}`;
    return { do: "refuse", because, log, ...onlyTell(parts) };
  }
  const name = error instanceof Error ? error.name : "not an Error";
  if (name === "BusyError") return { do: "refuse", because: "busy", log: "too many tokens wait to be looked at" };
  // The message of a foreign error might quote what it choked on.
  return { do: "refuse", because: "unavailable", log: `a token could not be looked at: ${name}` };
}

/** A claim's value for the log: short, and in the form of JSON so that nothing in it passes for our own words. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}...` : text;
}
