/** The fuzzer in the test run: a few seconds from a new seed each time, and what the fuzzer itself promises. */
import { describe, expect, test } from "bun:test";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import { decodeOutcome } from "../codec/one-packet.ts";
import { newSeed, runCampaign, TARGET_NAMES } from "./campaign.ts";
import { BROKEN_PACKETS, CORPUS_PACKETS, CORPUS_STREAMS } from "./corpus.ts";
import { fuzzPacket } from "./packet-fuzzer.ts";
import { Random } from "./random.ts";

/** Five seconds a target, ten in all, or as many cases as this, whichever comes first. */
const DURATION_MS = 5000;
const CASES_MAX = { codec: 200_000, broker: 20_000 } as const;
const TEST_TIMEOUT_MS = 60_000;

test.each(TARGET_NAMES)(
  "%s: a new seed",
  (target) => {
    const result = runCampaign({ target, seed: newSeed(), casesMax: CASES_MAX[target], durationMs: DURATION_MS });
    // The seed and the way to repeat the case are in the text.
    if (result.failure !== undefined) throw new Error(result.failure);
    expect(result.cases).toBeGreaterThan(0);
  },
  TEST_TIMEOUT_MS,
);

describe("the fuzzer", () => {
  test("makes the same packet from the same seed, and others from others", () => {
    const make = (seed: number): string => {
      const { level, bytes } = fuzzPacket(new Random(seed));
      return `${level} ${Buffer.from(bytes).toString("hex")}`;
    };
    const packets = Array.from({ length: 1000 }, (_, seed) => make(seed));
    expect(Array.from({ length: 1000 }, (_, seed) => make(seed))).toEqual(packets);
    expect(new Set(packets).size).toBeGreaterThan(900);
  });

  test("makes packets of every type, at every level, that are read and that are refused", () => {
    const seen = new Set<string>();
    const random = new Random(1);
    for (let i = 0; i < 20_000; i++) {
      const { level, bytes } = fuzzPacket(random);
      let outcome = "read";
      try {
        if (decodeOutcome(bytes, level) instanceof PeerError) outcome = "refused";
      } catch {
        outcome = "not one packet";
      }
      seen.add(`${bytes[0]! >> 4} v${level} ${outcome}`);
    }
    const types = Array.from({ length: 15 }, (_, index) => index + 1);
    const wanted = types.flatMap((type) =>
      [3, 4, 5].flatMap((level) =>
        ["read", "refused", "not one packet"]
          .filter((outcome) => !(type === 15 && level !== 5 && outcome === "read"))
          .map((outcome) => `${type} v${level} ${outcome}`),
      ),
    );
    expect(wanted.filter((kind) => !seen.has(kind))).toEqual([]);
  });

  test("has streams of whole sessions that are read from beginning to end", () => {
    const sessions = CORPUS_STREAMS.filter(({ name }) => name.startsWith("session-"));
    expect(sessions.map(({ level }) => level)).toEqual([3, 4, 5]);
    for (const { name, level, packets } of sessions) {
      expect(packets.length).toBeGreaterThan(8);
      for (const bytes of packets) {
        const outcome = decodeOutcome(bytes, level);
        const refusal = outcome instanceof PeerError ? `${Buffer.from(bytes).toString("hex")}: ${outcome.message}` : "";
        expect({ name, refusal }).toEqual({ name, refusal: "" });
      }
    }
    expect(Math.min(CORPUS_PACKETS.length, BROKEN_PACKETS.length)).toBeGreaterThan(500);
  });
});
