/**
 * Authentication Methods that carry a token in one message: the bare token, or the frame of OAUTHBEARER.
 *
 * A failure is told at once, without the round of error details that RFC 7628 section 3.2.3 has for other protocols.
 * RFC 7628 section 3.1, RFC 5801 section 4; MQTT 5.0 section 4.12.
 */
import { badCredentials } from "./token-refused.ts";
import { textOfBytes } from "./token-text.ts";

const SEPARATOR = "\u0001";
/** What the frame may add to a token: an identity, host and port. */
const FRAME_CHARACTERS_MAX = 2048;

export interface MethodData {
  readonly token: string;
  /** Who the client says it wants to be. */
  readonly authorizationId: string | undefined;
}

export function readMethodData(method: string, data: Uint8Array | undefined, tokenBytesMax: number): MethodData {
  if (data === undefined || data.length === 0) throw badCredentials("token", "the Authentication Data is empty");
  if (method !== "OAUTHBEARER") {
    if (data.length > tokenBytesMax) throw badCredentials("token", `is longer than ${tokenBytesMax} bytes`);
    return { token: textOfBytes(data), authorizationId: undefined };
  }
  if (data.length > tokenBytesMax + FRAME_CHARACTERS_MAX) {
    throw badCredentials("token", `is longer than ${tokenBytesMax} bytes`);
  }
  return readBearerFrame(data);
}

/** `n,a=user,^Ahost=server^Aport=1883^Aauth=Bearer TOKEN^A^A`, with ^A for U+0001. */
function readBearerFrame(data: Uint8Array): MethodData {
  const parts = new TextDecoder().decode(data).split(SEPARATOR);
  const [header = "", ...pairs] = parts;
  if (parts.length < 4 || pairs.at(-1) !== "" || pairs.at(-2) !== "")
    throw malformed("it does not end with two separators");
  const gs2 = /^[ny],(?:a=([^,]+))?,$/u.exec(header);
  if (gs2 === null) throw malformed('it does not begin with "n,,"');
  let token: string | undefined;
  for (const pair of pairs.slice(0, -2)) {
    const [, key, value = ""] = /^([A-Za-z]+)=(.*)$/su.exec(pair) ?? [];
    if (key === undefined) throw malformed("a part of it is no key and value");
    if (key !== "auth") continue;
    const bearer = /^bearer +(\S+)$/iu.exec(value)?.[1];
    if (bearer === undefined || token !== undefined) throw malformed('it has no single "auth=Bearer TOKEN"');
    token = bearer;
  }
  if (token === undefined) throw malformed('it has no single "auth=Bearer TOKEN"');
  return { token, authorizationId: gs2[1] === undefined ? undefined : saslName(gs2[1]) };
}

function saslName(text: string): string {
  if (/=(?!2C|3D)/u.test(text)) throw malformed("its identity is not encoded as RFC 5801 says");
  return text.replaceAll("=2C", ",").replaceAll("=3D", "=");
}

function malformed(text: string) {
  return badCredentials("OAUTHBEARER", text);
}
