/** The benchmark's command from end to end, small: it starts a broker and a generator, counts, and exits with 0. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { ROOT } from "../support/repository.ts";

test("a short run over WebSocket beside TCP loses nothing", async () => {
  const small = ["--messages", "300", "--window", "50", "--runs", "1", "--peer", "none", "--json"];
  const child = Bun.spawn([process.execPath, join(ROOT, "bench/run.ts"), "seed-ws", ...small], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, complaint, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect({ status, complaint }).toEqual({ status: 0, complaint: "" });
  const { rows, command } = JSON.parse(output);
  expect(command).toBe(`bun run bench seed-ws ${small.join(" ")}`);
  expect(rows).toHaveLength(1);
  const [row] = rows;
  expect(
    row.measurements.map(({ broker, transport }: { broker: string; transport: string }) => [broker, transport]),
  ).toEqual([
    ["rqtt", "ws"],
    ["rqtt", "tcp"],
  ]);
  for (const { failures, cpuMicrosPerMessage } of row.measurements) {
    expect(failures).toEqual([]);
    expect(cpuMicrosPerMessage).toBeGreaterThan(0);
  }
});
