/** Under which circumstances something was measured: what a figure needs beside it to be worth anything later. */
import { cpus, totalmem } from "node:os";

export interface Circumstances {
  readonly date: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryBytes: number;
    readonly platform: string;
    readonly bun: string;
  };
  /** Null outside a checkout; with a plus when files have been changed since. */
  readonly commit: string | null;
  readonly command: string;
}

/** `program` is how the command begins, for instance "bun run bench". */
export function circumstances(program: string): Circumstances {
  const [cpu] = cpus();
  return {
    date: new Date().toISOString(),
    machine: {
      cpu: cpu.model,
      cores: cpus().length,
      memoryBytes: totalmem(),
      platform: process.platform,
      bun: Bun.version,
    },
    commit: commit(),
    command: [program, ...process.argv.slice(2).map(withoutFolders)].join(" "),
  };
}

/** Where somebody keeps a broker is nobody's business: `mosquitto=/opt/m/mosquitto` becomes `mosquitto=mosquitto`. */
export function withoutFolders(argument: string): string {
  return argument.replace(/(^|=)\/(?:.*\/)?(?=[^/]*$)/, "$1");
}

function commit(): string | null {
  const git = (...flags: string[]) => Bun.spawnSync(["git", ...flags], { cwd: import.meta.dir });
  const head = git("rev-parse", "--short", "HEAD");
  if (!head.success) return null;
  const isChanged = git("status", "--porcelain", "--untracked-files=no").stdout.length > 0;
  return `${head.stdout.toString().trim()}${isChanged ? "+" : ""}`;
}
