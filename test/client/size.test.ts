/** What the client costs a page has a bound, and what a page loads names no platform and works. */
import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBroker } from "rqtt";
import type { connect as connectClient } from "rqtt/client";
import { bundleSize } from "./bundle-size.ts";
import { take } from "./client-suite.ts";

/** Raising one is a decision: say in the commit what the bytes buy. */
const GZIP_BYTES_MAX = { client: 6_500, small: 4_000 } as const;

test.each(Object.entries(GZIP_BYTES_MAX))(
  "rqtt/client, entry %s: at most %d bytes gzip -9",
  async (entry, bytesMax) => {
    const { gzipBytes } = await bundleSize(entry);
    expect(gzipBytes).toBeLessThanOrEqual(bytesMax);
  },
);

test("the small entry has nothing of tokens, requests and names of properties", async () => {
  const { source } = await bundleSize("small");
  for (const text of ["OAUTH2-JWT", "crypto.randomUUID", "correlationData"]) expect(source).not.toContain(text);
  expect((await bundleSize("client")).source).toContain("OAUTH2-JWT");
});

test.each(["client", "small"] as const)("the bundle of %s names no Bun and no Node, and works", async (entry) => {
  const { source } = await bundleSize(entry);
  expect(source).not.toMatch(/\b(?:Bun|process|Buffer|require)\b/u);
  const folder = await mkdtemp(join(tmpdir(), "rqtt-client-"));
  const broker = await createBroker({ listeners: ["ws://127.0.0.1:0/mqtt"] });
  try {
    await Bun.write(join(folder, "client.mjs"), source);
    const { connect } = (await import(join(folder, "client.mjs"))) as { connect: typeof connectClient };
    const client = await connect(broker.urls[0]!);
    const qos = entry === "client" ? 2 : 1;
    const subscription = await client.subscribe("a/+", { qos });
    await client.publish("a/b", "ü", { qos });
    expect((await take(subscription, 1))[0]!.text()).toBe("ü");
    await client.close();
  } finally {
    await broker.close();
    await rm(folder, { recursive: true });
  }
});
