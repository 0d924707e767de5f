/** The guard's judgement: which ratio passes, what it says, and that nothing passes after a loss or without a peer. */
import { expect, test } from "bun:test";
import { judge } from "../../bench/guard-ratio.ts";
import { measurementOf } from "./measurements.ts";

const demand = { scenario: "seed", ratioMin: 8 };

test.each([
  [16, true, "16.00 × the CPU"],
  [8, true, "8.00 × the CPU"],
  [7.99, false, "7.99 × the CPU"],
  [0.5, false, "0.50 × the CPU"],
  [Number.NaN, false, "NaN × the CPU"],
])("a peer that costs %d times as much", (micros, isMet, says) => {
  const measurements = [measurementOf("rqtt", 1), measurementOf("mosquitto", micros)];
  const judgement = judge(demand, { measurements, unable: [] });
  expect(judgement.isMet).toBe(isMet);
  expect(judgement.text).toContain(says);
  expect(judgement.text).toContain(`wanted at least 8: ${isMet ? "met" : "FAILED"}`);
});

test.each(["rqtt", "mosquitto"])("a message that %s lost fails, whatever the ratio", (loser) => {
  const measurements = ["rqtt", "mosquitto"].map((name, n) =>
    measurementOf(name, [1, 100][n]!, { failures: name === loser ? ["1 lost"] : [] }),
  );
  const judgement = judge(demand, { measurements, unable: [] });
  expect(judgement).toEqual({ isMet: false, text: `seed: FAILED, ${loser}: 1 lost` });
});

test("without a peer there is nothing to be proud of", () => {
  const unable = [{ broker: "mosquitto", version: "1.0", reason: "gone" }];
  const judgement = judge(demand, { measurements: [measurementOf("rqtt", 1)], unable });
  expect(judgement.isMet).toBe(false);
  expect(judgement.text).toContain("mosquitto cannot do this: gone");
});
