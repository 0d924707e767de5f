/** Tables and figures as text: what all reports of the benchmarks share. */

/** Columns side by side, the first to the left, the others to the right; the first row holds the titles. */
export function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = widthsOf(rows);
  return rows.map((row) => padded(row, widths).join("   ").trimEnd());
}

/** The same as a Markdown table. */
export function markdownTable(rows: readonly (readonly string[])[]): string[] {
  const widths = widthsOf(rows);
  const [titles, ...rest] = rows.map((row) => `| ${padded(row, widths).join(" | ")} |`);
  const rule = widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [titles, `| ${rule.join(" | ")} |`, ...rest];
}

function widthsOf(rows: readonly (readonly string[])[]): number[] {
  return rows[0].map((_, column) => Math.max(2, ...rows.map((row) => row[column].length)));
}

function padded(row: readonly string[], widths: readonly number[]): string[] {
  return row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])));
}

export function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 })} MB`;
}
