/**
 * What a provider looked at, as lines for a person: `ok  name: found`, or `NO  name: expected ..., found ... (hint)`.
 *
 * A provider that throws or hangs while it explains itself costs its explanation and nothing else. What a token says is made
 * harmless for a terminal.
 */
import type { Check, ConnectRequest, Provider } from "../core/gate/provider.ts";
import type { AuthRequest } from "../core/ports.ts";

const DEADLINE_MS = 10_000;
const TEXT_CHARACTERS_MAX = 2_000;

/** The checks of this provider; `undefined` where it has none to show. */
export async function explanationOf(
  provider: Provider,
  request: AuthRequest,
  data: Uint8Array | undefined,
): Promise<readonly Check[] | undefined> {
  if (provider.explain === undefined) return undefined;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("late")), DEADLINE_MS);
  try {
    return await Promise.race([provider.explain(questionOf(request), data), late.promise]);
  } catch {
    // The text of the error might quote the credential.
    return [{ name: "explanation", ok: false, expected: "one", found: "none: the provider failed or took too long" }];
  } finally {
    clearTimeout(timer);
  }
}

export function explanationLines(checks: readonly Check[]): string[] {
  const width = Math.max(...checks.map(({ name }) => plain(name).length)) + 1;
  return checks.map(({ name, ok, expected, found, hint }) => {
    const text = ok ? plain(found) : `expected ${plain(expected)}, found ${plain(found)}`;
    const advice = hint === undefined ? "" : ` (${plain(hint)})`;
    return `  ${ok ? "ok" : "NO"}  ${`${plain(name)}:`.padEnd(width)} ${text}${advice}`;
  });
}

function questionOf(request: AuthRequest): ConnectRequest {
  const { protocolLevel, clientId, cleanStart, username, password, authenticationMethod } = request;
  const { userProperties, will, current } = request;
  const peer = { address: request.remoteAddress, listener: request.listener };
  return {
    protocolLevel,
    clientId,
    cleanStart,
    username,
    password,
    authenticationMethod,
    userProperties,
    will,
    peer,
    current,
  };
}

/** One line without control characters, and without those that turn the direction of a text. */
function plain(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
  return line.length > TEXT_CHARACTERS_MAX ? `${line.slice(0, TEXT_CHARACTERS_MAX)}...` : line;
}
