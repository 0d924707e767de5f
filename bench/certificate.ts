/**
 * A key and a self-signed certificate for brokers that are measured over TLS: ECDSA with P-256, good for two days, made anew
 * by every run of a command with openssl, and gone with it. The load generator does not check who signed it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

let made: CertificateFiles | null = null;

export function hasCertificates(): boolean {
  return Bun.which("openssl") !== null;
}

export function certificateFiles(): CertificateFiles {
  made ??= make();
  return made;
}

function make(): CertificateFiles {
  const folder = mkdtempSync(join(tmpdir(), "rqtt-bench-tls-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const files = { certificate: join(folder, "server.pem"), key: join(folder, "server.key") };
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const command = ["openssl", "req", ...kind, ...names, "-keyout", files.key, "-out", files.certificate];
  const { exitCode, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`openssl made no certificate: ${stderr.toString().trim()}`);
  return files;
}
