/**
 * Certificates for tests of TLS, made by the openssl command when they are needed: a CA with its server and its clients,
 * and a rogue CA of the same name with a client of the same name.
 *
 * Everything lives in one temporary folder, for whoever made it to remove.
 */
import { createPrivateKey, sign, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const opensslCommand: string | null = Bun.which("openssl");

export interface Identity {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  readonly folder: string;
  /** PEM of the CA that the tests trust. */
  readonly ca: string;
  readonly server: Identity;
  readonly good: Identity;
  readonly expired: Identity;
  readonly rogue: Identity;
  /** Signed by the CA, with more than one Common Name and an alternative name that looks like two. */
  readonly odd: Identity;
  /** Signed by the CA; behind "door" in its Common Name is U+0000 and a second name. */
  readonly cut: Identity;
  remove(): void;
}

const CLIENT = "subjectAltName=DNS:door.example,URI:urn:door\nextendedKeyUsage=clientAuth\n";
const ODD = "subjectAltName=@names\n[names]\nDNS.1=door.example\nURI.1=urn:a, DNS:admin.example\n";
const SUBJECT = "/C=DE/O=Example/CN=door";

export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), "rqtt-tls-"));
  const read = (name: string): Identity => ({
    cert: readFileSync(join(folder, `${name}.pem`), "utf8"),
    key: readFileSync(join(folder, `${name}.key`), "utf8"),
  });
  for (const name of ["ca", "other-ca"]) {
    openssl(folder, ["req", "-x509", ...newKey(name), "-out", `${name}.pem`, "-days", "2", "-subj", "/CN=Test CA"]);
  }
  const issue = (name: string, ca: string, subject: string, extensions: string, days = 2): Identity => {
    writeFileSync(join(folder, `${name}.cnf`), extensions);
    openssl(folder, ["req", ...newKey(name), "-out", `${name}.csr`, "-utf8", "-subj", subject]);
    const signer = ["-CA", `${ca}.pem`, "-CAkey", `${ca}.key`, "-set_serial", `${++serials}`];
    const files = ["-in", `${name}.csr`, "-extfile", `${name}.cnf`, "-out", `${name}.pem`];
    openssl(folder, ["x509", "-req", ...files, ...signer, "-days", String(days)]);
    return read(name);
  };
  const template = issue("cut", "ca", "/C=DE/O=Example/CN=door_admin", CLIENT);
  return {
    folder,
    ca: read("ca").cert,
    server: issue("server", "ca", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\n"),
    good: issue("good", "ca", SUBJECT, CLIENT),
    expired: issue("expired", "ca", SUBJECT, CLIENT, -1),
    rogue: issue("rogue", "other-ca", SUBJECT, CLIENT),
    odd: issue("odd", "ca", "/O=Ex, CN=admin\\+x/CN=one/CN=two", ODD),
    cut: { cert: withNul(template.cert, "door_admin", read("ca").key), key: template.key },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

let serials = 1;

function newKey(name: string): string[] {
  return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${name}.key`];
}

function openssl(folder: string, args: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { cwd: folder });
  if (exitCode !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}

/** The certificate with U+0000 for the underscore in a name, signed anew: no command makes one. */
function withNul(pem: string, name: string, caKey: string): string {
  const { raw } = new X509Certificate(pem);
  // SEQUENCE { tbsCertificate, algorithm, signature }, each of the outer lengths in two bytes.
  const end = 4 + 4 + raw.readUInt16BE(6);
  const signed = Buffer.from(raw.subarray(4, end));
  signed[signed.indexOf(name) + name.indexOf("_")] = 0;
  const algorithm = raw.subarray(end, end + 2 + raw[end + 1]!);
  const signature = sign("sha256", signed, createPrivateKey(caKey));
  const rest = Buffer.concat([signed, algorithm, Uint8Array.of(3, signature.length + 1, 0), signature]);
  const der = Buffer.concat([Uint8Array.of(0x30, 0x82, rest.length >> 8, rest.length & 0xff), rest]);
  return `-----BEGIN CERTIFICATE-----\n${der.toString("base64").replaceAll(/.{64}/gu, "$&\n")}\n-----END CERTIFICATE-----\n`;
}
