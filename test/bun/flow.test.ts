/** One direction between two sockets: order, completeness, who is held back, and what becomes of the end. */
import { expect, test } from "bun:test";
import type { Socket } from "bun";
import fc from "fast-check";
import { Flow } from "../../src/bun/flow.ts";

/** A socket that takes as much as it has room for, and remembers what was done to it. */
function fakeSocket() {
  const state = { room: 0, taken: [] as number[], isPaused: false, isShut: false, isClosed: false };
  const socket = {
    write(bytes: Uint8Array): number {
      if (state.isClosed) return -1;
      const count = Math.min(bytes.length, state.room);
      state.room -= count;
      state.taken.push(...bytes.subarray(0, count));
      return count;
    },
    pause: () => void (state.isPaused = true),
    resume: () => void (state.isPaused = false),
    shutdown: () => void (state.isShut = true),
  };
  return { state, socket: socket as unknown as Socket<unknown> };
}

test("whatever room there is, and when: every byte in order, the sender held back meanwhile, the end last", () => {
  const step = fc.oneof(fc.record({ send: fc.nat(40_000) }), fc.record({ room: fc.nat(40_000) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.nat(20), (steps, opensAt) => {
      const [from, to] = [fakeSocket(), fakeSocket()];
      const flow = new Flow(from.socket, null);
      let sent = 0;
      for (const [at, one] of steps.entries()) {
        if (at === opensAt) flow.open(to.socket);
        if ("room" in one) {
          to.state.room = one.room;
          flow.drain();
        } else if (!from.state.isPaused) {
          // A buffer that is used again: what is kept has to be a copy.
          const bytes = Uint8Array.from({ length: one.send }, (_, index) => (sent + index) % 251);
          flow.pass(bytes);
          bytes.fill(255);
          sent += one.send;
        }
        expect(from.state.isPaused).toBe(to.state.taken.length < sent);
      }
      flow.end();
      if (steps.length <= opensAt) flow.open(to.socket);
      expect([flow.isDone, to.state.isShut]).toEqual(Array(2).fill(to.state.taken.length === sent));
      to.state.room = Number.POSITIVE_INFINITY;
      flow.drain();
      expect(to.state.taken.every((byte, at) => byte === at % 251)).toBe(true);
      expect([to.state.taken.length, to.state.isShut, flow.isDone]).toEqual([sent, true, true]);
    }),
  );
});

test("a receiver that is gone: what is kept and what comes is dropped, and the sender is read from to its end", () => {
  const [from, to] = [fakeSocket(), fakeSocket()];
  const flow = new Flow(from.socket, to.socket);
  flow.pass(new Uint8Array(10));
  expect(from.state.isPaused).toBe(true);
  to.state.isClosed = true;
  flow.drain();
  flow.break();
  expect(from.state.isPaused).toBe(false);
  flow.pass(new Uint8Array(10));
  expect([from.state.isPaused, flow.isDone]).toEqual([false, false]);
  flow.end();
  expect([flow.isDone, to.state.taken.length]).toEqual([true, 0]);
});
