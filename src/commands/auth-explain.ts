/**
 * `rqtt auth explain CLIENTID`: a live client of a running broker: who it is, until when, what it may do, and the rule that
 * refused it last. Asks the broker at its `admin.socket`.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { askAdmin } from "../bun/admin.ts";
import { loadConfig } from "../config.ts";
import type { ClientReport } from "../core/client-report.ts";
import { escapeControls } from "../printable.ts";
import { readArguments } from "./arguments.ts";
import { ruleText } from "./rule-text.ts";
import { UsageError } from "./usage-error.ts";

export const authExplain = {
  usage: "rqtt auth explain CLIENTID --config FILE | --socket PATH",
  async run(argv: readonly string[]): Promise<number> {
    const { words, flags } = readArguments(argv, ["--config", "--socket"]);
    const [clientId, ...others] = words;
    if (clientId === undefined || others.length > 0) throw new UsageError("expected one client id");
    const path = flags.get("--socket")?.at(-1) ?? socketOf(flags.get("--config")?.at(-1));
    const report = await askBroker(path, clientId);
    if (report === undefined) {
      console.log(`no session of client ${JSON.stringify(clientId)}`);
      return 1;
    }
    // Clients choose much of it: one line stays one line, and a terminal is told nothing.
    for (const line of linesOf(report)) console.log(escapeControls(line));
    return 0;
  },
};

function socketOf(file: string | undefined): string {
  if (file === undefined) throw new UsageError("expected --config FILE or --socket PATH");
  const loaded = loadConfig({ argv: ["--config", file], env: {}, readFile: (path) => readFileSync(path, "utf8") });
  if (!loaded.ok) throw new UsageError("error" in loaded ? loaded.error : "not a configuration");
  const { socket } = loaded.config.admin;
  if (socket === "")
    throw new UsageError(`${file} has no admin.socket; add [admin] socket = "rqtt.sock" and start anew`);
  return resolve(dirname(file), socket);
}

async function askBroker(path: string, clientId: string): Promise<ClientReport | undefined> {
  try {
    return await askAdmin(path, clientId);
  } catch {
    throw new UsageError(`no broker answers at ${path}`);
  }
}

function linesOf(report: ClientReport): string[] {
  const { connection, lastRefusal } = report;
  const lines = [`client ${JSON.stringify(report.clientId)}: ${report.connected ? "connected" : "away"}`];
  if (connection !== undefined) {
    const until =
      connection.expiresAtMs === undefined ? "" : `, until ${new Date(connection.expiresAtMs).toISOString()}`;
    const protocol = { 3: "3.1", 4: "3.1.1", 5: "5.0" }[connection.protocolLevel];
    lines.push(
      `  let in by ${connection.provider} as ${JSON.stringify(connection.principal)}${until}`,
      `  MQTT ${protocol} from ${connection.remoteAddress} at ${connection.listener}`,
    );
  }
  if (report.allow === "everything") lines.push("  may do everything");
  else lines.push(...report.allow.map((rule) => `  allow ${ruleText(rule)}`));
  lines.push(...report.deny.map((rule) => `  deny  ${ruleText(rule)}`));
  lines.push(...report.subscriptions.map((filter) => `  subscribed to ${filter}`));
  const { inflightMessages, queuedMessages, droppedMessages } = report;
  lines.push(`  messages: ${inflightMessages} in flight, ${queuedMessages} queued, ${droppedMessages} dropped`);
  if (lastRefusal === undefined) lines.push("  nothing was refused");
  else lines.push(`  last refusal: ${lastRefusal.what} ${lastRefusal.on}: ${lastRefusal.because}`);
  return lines;
}
