/** A bar on standard error for whoever watches a terminal; silent everywhere else. */

const WIDTH = 30;

export interface ProgressBar {
  show(share: number): void;
  clear(): void;
}

export function progressBar(label: string): ProgressBar {
  if (!process.stderr.isTTY) return { show() {}, clear() {} };
  const show = (share: number) => {
    const full = Math.round(Math.min(share, 1) * WIDTH);
    const bar = "█".repeat(full) + "░".repeat(WIDTH - full);
    process.stderr.write(`\r\x1b[2K${bar} ${Math.round(share * 100)} % ${label}`);
  };
  show(0);
  return { show, clear: () => process.stderr.write("\r\x1b[2K") };
}
