/** Everything that the specification asks of a broker holds with a store too: all its tests once more, on one that commits. */
import { expect, test } from "bun:test";
import { join } from "node:path";

test("the conformance tests with a store", async () => {
  const run = Bun.spawn([process.execPath, "test", "test/conformance"], {
    cwd: join(import.meta.dir, "../.."),
    env: { ...process.env, RQTT_TEST_STORE: "1", NO_COLOR: "1" },
    stdout: "ignore",
    stderr: "pipe",
  });
  const [text, status] = await Promise.all([run.stderr.text(), run.exited]);
  const failures = text.split("\n").filter((line) => line.startsWith("(fail)"));
  expect({ failures, status }).toEqual({ failures: [], status: 0 });
  expect(text).toMatch(/^ *\d{4} pass$/mu);
}, 120_000);
