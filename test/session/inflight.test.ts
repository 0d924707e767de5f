/** The table of messages under way, against a map: every identifier is found, none is given twice, order is kept. */
import { expect, test } from "bun:test";
import { Delivery, DeliveryState, Inflight } from "../../src/core/session/inflight.ts";
import { Random } from "../fuzz/random.ts";
import { ownedMessage } from "../support/owned-message.ts";

const MESSAGE = ownedMessage("a");
const SEEDS = Array.from({ length: 20 }, (_, at) => at + 1);

function delivery(): Delivery {
  return new Delivery(MESSAGE, 1, false, null, null);
}

function expectSame(inflight: Inflight, model: ReadonlyMap<number, Delivery>): void {
  expect(inflight.count).toBe(model.size);
  // Insertion order of the model is the order of first sending.
  expect(inflight.inOrder().map(({ packetId }) => packetId)).toEqual([...model.keys()]);
  for (const [packetId, expected] of model) {
    if (inflight.get(packetId) !== expected) throw new Error(`identifier ${packetId} is lost`);
  }
}

test.each(SEEDS)("random adding and removing: seed %d", (seed) => {
  const random = new Random(seed);
  const inflight = new Inflight();
  const model = new Map<number, Delivery>();
  const countMax = random.pick([1, 8, 100, 1000]);
  for (let step = 0; step < 5000; step++) {
    const isGrowing = Math.floor(step / 500) % 2 === 0;
    const mayAdd = model.size < countMax;
    if (mayAdd && (model.size === 0 || random.below(100) < (isGrowing ? 70 : 30))) {
      const added = delivery();
      inflight.add(added);
      expect(added.packetId).toBeGreaterThanOrEqual(1);
      expect(added.packetId).toBeLessThanOrEqual(65_535);
      expect(model.has(added.packetId)).toBe(false);
      model.set(added.packetId, added);
    } else if (model.size > 0) {
      // Mostly the oldest, as receivers do; sometimes any, so that some stay for long.
      const ids = [...model.keys()];
      const packetId = random.oneIn(4) ? random.pick(ids) : ids[0]!;
      inflight.remove(model.get(packetId)!);
      model.delete(packetId);
      expect(inflight.get(packetId)).toBeNull();
    }
    const unknown = random.below(65_536);
    if (!model.has(unknown)) expect(inflight.get(unknown)).toBeNull();
    if (random.oneIn(100)) inflight.trim();
    if (random.oneIn(200)) expectSame(inflight, model);
  }
  expectSame(inflight, model);
});

test("identifiers begin at 1, ascend, and begin anew after 65,535, passing over those in use", () => {
  const inflight = new Inflight();
  const stays = delivery();
  inflight.add(stays);
  expect([stays.packetId, stays.state]).toEqual([1, DeliveryState.Queued]);
  for (let expected = 2; expected <= 65_535; expected++) {
    const one = delivery();
    inflight.add(one);
    if (one.packetId !== expected) {
      // A place in the table may be taken by the one that stays: the next identifier is used then, and none is lost for good.
      expect((one.packetId - stays.packetId) % 16).not.toBe(0);
      expected = one.packetId;
    }
    inflight.remove(one);
  }
  const next = delivery();
  inflight.add(next);
  expect([next.packetId, inflight.get(1)]).toEqual([2, stays]);
});

test("half of all identifiers can be in use at once, each found", () => {
  const inflight = new Inflight();
  const all = Array.from({ length: 32_768 }, delivery);
  for (const one of all) inflight.add(one);
  expect(new Set(all.map(({ packetId }) => packetId)).size).toBe(all.length);
  expect(all.every((one) => inflight.get(one.packetId) === one)).toBe(true);
  expect(inflight.inOrder()).toEqual(all);
});

test("every identifier can be in use at once, and given back", () => {
  const inflight = new Inflight();
  const all = Array.from({ length: 65_535 }, delivery);
  for (const one of all) inflight.add(one);
  expect(new Set(all.map(({ packetId }) => packetId)).size).toBe(all.length);
  const freed = all[12_344]!;
  inflight.remove(freed);
  const one = delivery();
  inflight.add(one);
  expect(one.packetId).toBe(freed.packetId);
});

test("cleared, it knows nothing, and goes on with identifiers that were not used last", () => {
  const inflight = new Inflight();
  for (let at = 0; at < 5; at++) inflight.add(delivery());
  inflight.clear();
  expect([inflight.count, inflight.inOrder(), inflight.get(3)]).toEqual([0, [], null]);
  const one = delivery();
  inflight.add(one);
  expect([one.packetId, inflight.count]).toEqual([6, 1]);
});
