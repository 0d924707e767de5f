/**
 * The client's side of SCRAM, written by RFC 5802 on its own: shares nothing with the server's side, so that both have to be
 * right to agree. For names and passwords in ASCII.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";

const toBytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const base64 = (bytes: string | Uint8Array): string => Buffer.from(bytes).toString("base64");

export interface ScramClientOptions {
  readonly mechanism?: "SCRAM-SHA-256" | "SCRAM-SHA-512";
  readonly username: string;
  readonly password: string;
  /** Default `n,,`. */
  readonly header?: string;
  readonly nonce?: string;
  /** Put into the final message where the true ones would stand. */
  readonly lies?: {
    readonly binding?: string;
    readonly nonce?: string;
    readonly proof?: string;
    readonly more?: string;
  };
}

export class ScramClient {
  readonly #options: ScramClientOptions;
  readonly #hash: "sha256" | "sha512";
  readonly nonce: string;
  /** What the server has to answer in the end. */
  serverFinal = "";

  constructor(options: ScramClientOptions) {
    this.#options = options;
    this.#hash = options.mechanism === "SCRAM-SHA-512" ? "sha512" : "sha256";
    this.nonce = options.nonce ?? base64(randomBytes(15));
  }

  get #bare(): string {
    const { username } = this.#options;
    return `n=${username.replaceAll("=", "=3D").replaceAll(",", "=2C")},r=${this.nonce}`;
  }

  first(): Uint8Array {
    return toBytes(`${this.#options.header ?? "n,,"}${this.#bare}`);
  }

  final(challenge: Uint8Array): Uint8Array {
    const { password, header = "n,,", lies = {} } = this.#options;
    const serverFirst = new TextDecoder().decode(challenge);
    const { nonce, salt, iterations } = readChallenge(challenge);
    const hmac = (key: Uint8Array, text: string) => createHmac(this.#hash, key).update(text).digest();
    const length = this.#hash === "sha512" ? 64 : 32;
    const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), iterations, length, this.#hash);
    const clientKey = hmac(salted, "Client Key");
    const storedKey = createHash(this.#hash).update(clientKey).digest();
    const withoutProof = `c=${lies.binding ?? base64(header)},r=${lies.nonce ?? nonce}${lies.more ?? ""}`;
    const signed = `${this.#bare},${serverFirst},${withoutProof}`;
    const signature = hmac(storedKey, signed);
    const proof = Uint8Array.from(clientKey, (byte, at) => byte ^ signature[at]!);
    this.serverFinal = `v=${base64(hmac(hmac(salted, "Server Key"), signed))}`;
    return toBytes(`${withoutProof},p=${lies.proof ?? base64(proof)}`);
  }
}

export function readChallenge(challenge: Uint8Array): { nonce: string; salt: string; iterations: number } {
  const [, nonce = "", salt = "", iterations = ""] =
    /^r=([^,]+),s=([^,]+),i=(\d+)$/u.exec(new TextDecoder().decode(challenge)) ?? [];
  return { nonce, salt, iterations: Number(iterations) };
}
