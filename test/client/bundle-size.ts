/**
 * What the client costs a page: bundled for browsers, minified, gzip -9. `bun run size` prints it; size.test.ts bounds it.
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { ROOT } from "../support/repository.ts";

export interface BundleSize {
  readonly entry: string;
  readonly source: string;
  readonly minifiedBytes: number;
  readonly gzipBytes: number;
}

export async function bundleSize(entry: string): Promise<BundleSize> {
  const entrypoints = [join(ROOT, "src", "client", `${entry}.ts`)];
  const { success, outputs, logs } = await Bun.build({ entrypoints, target: "browser", minify: true });
  if (!success) throw new AggregateError(logs, "the bundle failed");
  const source = await outputs[0]!.text();
  return {
    entry,
    source,
    minifiedBytes: Buffer.byteLength(source),
    gzipBytes: gzipSync(source, { level: 9 }).length,
  };
}

if (import.meta.main) {
  for (const entry of ["client", "small"]) {
    const { minifiedBytes, gzipBytes } = await bundleSize(entry);
    console.log(`src/client/${entry}.ts  ${minifiedBytes} bytes minified, ${gzipBytes} gzip -9`);
  }
}
