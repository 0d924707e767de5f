/**
 * A door for whoever runs the broker: HTTP on a Unix socket that only its own user can open (mode 0600), for the commands.
 *
 * Answers questions about live clients; changes nothing. Never listens on a network.
 */
import { chmodSync, existsSync, lstatSync, rmSync } from "node:fs";
import type { ClientReport } from "../core/client-report.ts";

export interface AdminDoor {
  close(): void;
}

const CLIENT = /^\/clients\/([^/]+)$/u;

/** Opens the socket at `path`. Throws where another broker has it. */
export async function openAdmin(
  path: string,
  report: (clientId: string) => ClientReport | undefined,
): Promise<AdminDoor> {
  if (existsSync(path)) {
    if (!lstatSync(path).isSocket()) throw new Error(`admin.socket: ${path} is something else than a socket`);
    if (await isAlive(path)) throw new Error(`admin.socket: another broker has ${path}`);
    // Left behind by a process that was killed.
    rmSync(path);
  }
  const before = process.umask(0o177);
  try {
    const server = Bun.serve({
      unix: path,
      fetch: (request) => answer(new URL(request.url).pathname, report),
      error: () => new Response("bad request\n", { status: 400 }),
    });
    chmodSync(path, 0o600);
    return {
      close() {
        void server.stop(true);
        rmSync(path, { force: true });
      },
    };
  } finally {
    process.umask(before);
  }
}

function answer(pathname: string, report: (clientId: string) => ClientReport | undefined): Response {
  const [, encoded] = CLIENT.exec(pathname) ?? [];
  const found = encoded === undefined ? undefined : report(decodeURIComponent(encoded));
  return found === undefined ? Response.json({ error: "no such client" }, { status: 404 }) : Response.json(found);
}

async function isAlive(path: string): Promise<boolean> {
  try {
    await fetch("http://rqtt/", { unix: path, signal: AbortSignal.timeout(1_000) });
    return true;
  } catch {
    return false;
  }
}

/** Asks a running broker about a client; undefined where it knows none of this name. Rejects where nobody listens. */
export async function askAdmin(path: string, clientId: string): Promise<ClientReport | undefined> {
  const url = `http://rqtt/clients/${encodeURIComponent(clientId)}`;
  const response = await fetch(url, { unix: path, signal: AbortSignal.timeout(5_000) });
  return response.status === 404 ? undefined : ((await response.json()) as ClientReport);
}
