/**
 * TLS of listeners: PEM into the runtime's options, and a finished handshake into a judgement about the client.
 *
 * Refuses to start with anything that would weaken verification: an unreadable CA, a key of another certificate, the
 * environment variable that switches verification off. Invariant: a client has a `PeerCertificate` only where the runtime
 * said `authorized` and named no error; one that presented a certificate which does not verify is never let in, not even
 * where certificates are optional.
 *
 * TLS 1.2 and 1.3 only. Where client certificates are asked for, sessions are not resumed: a resumed one is not verified
 * again, and could outlive its certificate.
 */
import { constants, createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Socket, TLSOptions } from "bun";
import type { PeerCertificate } from "../core/gate/provider.ts";
import type { ClientCertificate, Listener } from "../listener-url.ts";

/** Every certificate of a PEM file. */
const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/gu;

/** A setting of a listener that TLS cannot be had with; the message names it and never holds what a file holds. */
export class TlsSettingError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TlsSettingError";
  }
}

export interface ListenerTls {
  /** What `Bun.listen` and `Bun.serve` take. */
  readonly options: TLSOptions;
  /** `undefined`: clients are not asked for a certificate. */
  readonly clientCertificate: ClientCertificate | undefined;
}

/** TLS of a listener, or `undefined` for one without; a relative path begins at `folder`. */
export function readTls(
  listener: Listener,
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): ListenerTls | undefined {
  const { certificate, key, clientCa, clientCertificate = "required" } = listener;
  if (certificate === undefined || key === undefined) return undefined;
  if (env["NODE_TLS_REJECT_UNAUTHORIZED"] === "0") {
    throw new TlsSettingError("NODE_TLS_REJECT_UNAUTHORIZED=0 switches verification off: unset it");
  }
  const cert = readPem("certificate", certificate, folder);
  const chain = readCertificates("certificate", cert);
  const keyPem = readPem("key", key, folder);
  checkKey(keyPem, chain[0]!);
  const secureOptions = constants.SSL_OP_NO_TLSv1 | constants.SSL_OP_NO_TLSv1_1;
  if (clientCa === undefined) {
    const options = { cert, key: keyPem, requestCert: false, rejectUnauthorized: true, secureOptions };
    return { options, clientCertificate: undefined };
  }
  const ca = readPem("clientCa", clientCa, folder);
  readCertificates("clientCa", ca);
  const options: TLSOptions = {
    cert,
    key: keyPem,
    ca,
    requestCert: true,
    // Never left to a default, which an environment variable has decided in the past.
    rejectUnauthorized: clientCertificate === "required",
    secureOptions: secureOptions | constants.SSL_OP_NO_TICKET,
  };
  return { options, clientCertificate };
}

/** PEM text as it is, or the text of the file with that path. */
function readPem(name: string, given: string, folder: string): string {
  if (given.includes("-----BEGIN")) return given;
  try {
    return readFileSync(resolve(folder, given), "utf8");
  } catch (error) {
    const why = (error as { code?: string }).code ?? "unknown error";
    throw new TlsSettingError(`${name}: expected a PEM file that can be read, found ${why} (${given})`);
  }
}

function readCertificates(name: string, pem: string): X509Certificate[] {
  const blocks = pem.match(CERTIFICATES) ?? [];
  if (blocks.length === 0) throw new TlsSettingError(`${name}: expected certificates in PEM, found none`);
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new TlsSettingError(`${name}: expected certificates in PEM, found a broken one (number ${index + 1})`);
    }
  });
}

function checkKey(pem: string, certificate: X509Certificate): void {
  let fits: boolean;
  try {
    fits = certificate.checkPrivateKey(createPrivateKey(pem));
  } catch {
    throw new TlsSettingError("key: expected a private key in PEM without passphrase, found something else");
  }
  if (!fits) throw new TlsSettingError("key: expected the private key of the certificate, found another one");
}

export type PeerJudgement =
  | { readonly ok: true; readonly certificate: PeerCertificate | undefined }
  | { readonly ok: false; readonly why: string };

/** What a finished handshake says of the client. `success` alone says only that records can be exchanged. */
export function judgePeer(
  socket: Socket<unknown>,
  success: boolean,
  error: Error | null | undefined,
  policy: ClientCertificate | undefined,
): PeerJudgement {
  if (!success) return { ok: false, why: reasonOf(error) };
  if (policy === undefined) return { ok: true, certificate: undefined };
  const certificate: X509Certificate | undefined = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    return policy === "optional" ? { ok: true, certificate } : { ok: false, why: "no client certificate" };
  }
  const problem = error ?? socket.getAuthorizationError() ?? undefined;
  if (!socket.authorized || problem !== undefined) return { ok: false, why: reasonOf(problem) };
  try {
    return { ok: true, certificate: peerCertificateOf(certificate) };
  } catch {
    return { ok: false, why: "a certificate whose names cannot be read" };
  }
}

/** The runtime's words without the place in its TLS library. */
function reasonOf(error: Error | null | undefined): string {
  return error?.message.split(":").at(-1)?.replaceAll("_", " ").toLowerCase() ?? "the certificate was not verified";
}

function peerCertificateOf(certificate: X509Certificate): PeerCertificate {
  return {
    sha256: createHash("sha256").update(certificate.raw).digest("base64url"),
    // One attribute a line, its special characters escaped: what is joined here can be told apart again.
    subject: certificate.subject.replaceAll("\n", ", "),
    commonName: commonNameOf(certificate),
    alternativeNames: alternativeNamesOf(certificate.subjectAltName),
  };
}

/** The only Common Name; several of them, or one that hides something behind a control character, are none. */
function commonNameOf(certificate: X509Certificate): string | undefined {
  const name: unknown = certificate.toLegacyObject().subject?.CN;
  return typeof name === "string" && name !== "" && !/\p{Cc}/u.test(name) ? name : undefined;
}

/** The runtime writes them as one text, in which a name that holds a comma is a JSON string. */
function alternativeNamesOf(text: string | undefined): string[] {
  const names: string[] = [];
  for (const [, type, quoted, plain] of (text ?? "").matchAll(/([^:,]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, |$)/gu)) {
    names.push(`${type}:${quoted === undefined ? plain : JSON.parse(quoted)}`);
  }
  return names;
}
