/**
 * The messages of SCRAM as a server reads and writes them. No channel binding: MQTT brokers behind it offer no -PLUS mechanism.
 *
 * Refuses, by ScramFault: what is not UTF-8 or too long, channel binding that is demanded, extensions that are mandatory, a
 * nonce that is not the one that was sent, a binding that is not the header that came first, a proof of the wrong length.
 * Sources: RFC 5802 sections 5.1, 6 and 7; RFC 7677.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { fromBase64, SCRAM_DIGESTS, type ScramKeys, toBase64 } from "./scram-keys.ts";
import { prepareString } from "./string-preparation.ts";

/** What the client sent is no SCRAM message that goes on; the message tells nothing of what it held. */
export class ScramFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ScramFault";
  }
}

export interface ClientFirst {
  /** What `c=` of the last message has to repeat. */
  readonly header: string;
  /** Without the header: the first part of what is signed. */
  readonly bare: string;
  /** Prepared (RFC 4013). */
  readonly username: string;
  /** On whose behalf, if the client says so. */
  readonly authorizationId: string | undefined;
  readonly nonce: string;
}

export interface ClientFinal {
  readonly withoutProof: string;
  readonly proof: Uint8Array;
}

const MESSAGE_BYTES_MAX = 4_096;
const NONCE = "[!-+\\--~]+";
const EXTENSIONS = "(?:,[A-Za-z]=[^,]+)*";
const CLIENT_FIRST = new RegExp(
  `^((?:n|y|p=[A-Za-z0-9.-]+),(?:a=([^,]+))?,)(n=([^,]+),r=(${NONCE})${EXTENSIONS})$`,
  "u",
);
const CLIENT_FINAL = new RegExp(`^(c=([A-Za-z0-9+/=]+),r=(${NONCE})${EXTENSIONS}),p=([A-Za-z0-9+/=]+)$`, "u");

export function readClientFirst(data: Uint8Array): ClientFirst {
  const text = textOf(data);
  if (text.startsWith("p=")) throw new ScramFault("channel binding is not offered");
  if (/^[^,]*,[^,]*,m=/u.test(text)) throw new ScramFault("a mandatory extension that is not known");
  const [, header, authorizationId, bare, username, nonce] = CLIENT_FIRST.exec(text) ?? [];
  if (header === undefined || bare === undefined || username === undefined || nonce === undefined) {
    throw new ScramFault("the first message is malformed");
  }
  const asked = authorizationId === undefined ? undefined : nameOf(authorizationId);
  return { header, bare, username: nameOf(username), authorizationId: asked, nonce };
}

export function formatServerFirst(nonce: string, salt: Uint8Array, iterations: number): string {
  return `r=${nonce},s=${toBase64(salt)},i=${iterations}`;
}

/** `nonce`: the client's and the server's together. */
export function readClientFinal(data: Uint8Array, header: string, nonce: string, proofBytes: number): ClientFinal {
  const [, withoutProof, binding, echoed, proofText] = CLIENT_FINAL.exec(textOf(data)) ?? [];
  if (withoutProof === undefined || proofText === undefined) throw new ScramFault("the final message is malformed");
  if (binding !== toBase64(new TextEncoder().encode(header))) throw new ScramFault("the binding is another one");
  if (echoed !== nonce) throw new ScramFault("the nonce is another one");
  const proof = fromBase64(proofText);
  if (proof?.length !== proofBytes) throw new ScramFault("the proof has a wrong length");
  return { withoutProof, proof };
}

/** Whether the proof shows the client's key, and how the server shows its own. Same work either way. */
export function verifyProof(
  keys: ScramKeys,
  clientFirstBare: string,
  serverFirst: string,
  { withoutProof, proof }: ClientFinal,
): { readonly isRight: boolean; readonly serverFinal: string } {
  const { digest } = SCRAM_DIGESTS[keys.mechanism];
  const signed = `${clientFirstBare},${serverFirst},${withoutProof}`;
  const clientSignature = createHmac(digest, keys.storedKey).update(signed).digest();
  const clientKey = clientSignature.map((byte, at) => byte ^ proof[at]!);
  const isRight = timingSafeEqual(createHash(digest).update(clientKey).digest(), keys.storedKey);
  const serverSignature = createHmac(digest, keys.serverKey).update(signed).digest();
  return { isRight, serverFinal: `v=${toBase64(serverSignature)}` };
}

function textOf(data: Uint8Array): string {
  if (data.length > MESSAGE_BYTES_MAX) throw new ScramFault(`a message of more than ${MESSAGE_BYTES_MAX} bytes`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new ScramFault("a message that is not UTF-8");
  }
}

/** Undoes =2C and =3D, which stand for what would end or begin an attribute. */
function nameOf(escaped: string): string {
  if (/=(?!2C|3D)/u.test(escaped)) throw new ScramFault("a name with an escape that is not known");
  const name = prepareString(escaped.replaceAll("=2C", ",").replaceAll("=3D", "="));
  if (name === undefined || name === "") throw new ScramFault("a name that cannot be prepared");
  return name;
}
