/**
 * Commands beside the broker itself: `rqtt auth hash`, `rqtt auth check`, `rqtt auth explain`, `rqtt plugin new`, `rqtt
 * store check`, `rqtt store stats`, `rqtt store backup`.
 *
 * A command answers its exit code: 0 done, 1 the answer is no, 2 it was not asked rightly. Results go to standard output,
 * questions and complaints to standard error, so that a result can be piped on.
 */
import { authCheck } from "./auth-check.ts";
import { authExplain } from "./auth-explain.ts";
import { authHash } from "./auth-hash.ts";
import { pluginNew } from "./plugin-new.ts";
import { storeBackup } from "./store-backup.ts";
import { storeCheck } from "./store-check.ts";
import { storeStats } from "./store-stats.ts";
import { UsageError } from "./usage-error.ts";

interface Command {
  readonly usage: string;
  run(argv: readonly string[]): Promise<number>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  "auth hash": authHash,
  "auth check": authCheck,
  "auth explain": authExplain,
  "plugin new": pluginNew,
  "store check": storeCheck,
  "store stats": storeStats,
  "store backup": storeBackup,
};

export async function runCommand(argv: readonly string[]): Promise<number> {
  const name = argv.slice(0, 2).join(" ");
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const known = Object.values(COMMANDS).map(({ usage }) => `  ${usage}`);
    console.error(`rqtt: ${name}: no such command; there are\n${known.join("\n")}`);
    return 2;
  }
  try {
    return await command.run(argv.slice(2));
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    console.error(`rqtt ${name}: ${text}${error instanceof UsageError ? `\nusage: ${command.usage}` : ""}`);
    return 2;
  }
}
