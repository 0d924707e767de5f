/** The circuit breaker of a provider, and the limiter it is lent: neither may be turned against everybody else. */
import { describe, expect, test } from "bun:test";
import { ProviderMeter } from "../../src/bun/plugin-meter.ts";
import { BusyError, createLimiter } from "../../src/bun/plugin-services.ts";

describe("the breaker", () => {
  function broken(): ProviderMeter {
    const meter = new ProviderMeter("p");
    for (let at = 0; at < 5; at++) meter.record("failed", 1, 0);
    return meter;
  }

  test("opens after five failures in a row and lets one call in a while through", () => {
    const meter = broken();
    expect(meter.report().breakerOpen).toBe(true);
    expect([meter.admits(100), meter.admits(4_999)]).toEqual([false, false]);
    expect([meter.admits(5_000), meter.admits(5_001)]).toEqual([true, false]);
    meter.record("accept", 1, 5_002);
    expect([meter.admits(5_003), meter.report().breakerOpen, meter.report().notAsked]).toEqual([true, false, 3]);
  });

  test("a call that its client gives up is no trial: the next one is let through at once", () => {
    const meter = broken();
    expect(meter.admits(5_000)).toBe(true);
    meter.abandoned();
    expect(meter.admits(5_001)).toBe(true);
  });

  test("skips neither keep it from opening nor close it; a refusal is a sign of health", () => {
    const meter = new ProviderMeter("p");
    for (let at = 0; at < 5; at++) {
      meter.record("failed", 1, 0);
      meter.record("skip", 1, 0);
    }
    expect(meter.report().breakerOpen).toBe(true);
    meter.record("skip", 1, 0);
    expect(meter.report().breakerOpen).toBe(true);
    meter.record("refuse", 1, 0);
    expect(meter.report().breakerOpen).toBe(false);
  });
});

describe("the limiter", () => {
  test("runs so many at once, in order, and frees the place of a job that fails", async () => {
    const limit = createLimiter(1, 10);
    const order: number[] = [];
    const jobs = [1, 2, 3].map((n) =>
      limit(async () => {
        order.push(n);
        if (n === 1) throw new Error("failed");
        return n;
      }),
    );
    expect((await Promise.allSettled(jobs)).map(({ status }) => status)).toEqual([
      "rejected",
      "fulfilled",
      "fulfilled",
    ]);
    expect(order).toEqual([1, 2, 3]);
    expect(await limit(async () => 4)).toBe(4);
  });

  test("is busy when as many wait as may, and for a job that has waited too long; both leave the others alone", async () => {
    const limit = createLimiter(1, 1, 1);
    const first = Promise.withResolvers<string>();
    const running = limit(() => first.promise);
    const waiting = limit(async () => "never runs");
    await expect(limit(async () => "one too many")).rejects.toBeInstanceOf(BusyError);
    await expect(waiting).rejects.toBeInstanceOf(BusyError);
    first.resolve("done");
    expect(await running).toBe("done");
    expect(await limit(async () => "next")).toBe("next");
  });
});
