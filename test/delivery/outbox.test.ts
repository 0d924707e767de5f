/** Outboxes: one write for each connection and turn, early where much is gathered; what they keep for the next turn is bounded. */
import { describe, expect, test } from "bun:test";
import { Framer } from "../../src/core/codec/framer.ts";
import { Connection } from "../../src/core/connection/connection.ts";
import { Outboxes } from "../../src/core/delivery/outbox.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/core/limits.ts";
import type { Wire } from "../../src/core/ports.ts";
import { Journal } from "../../src/core/session/journal.ts";
import { Statistics } from "../../src/core/statistics.ts";
import { ownedMessage } from "../support/owned-message.ts";

const KB = 1024;
const MB = 1024 * KB;

interface Said {
  readonly what: "send" | "pause" | "close";
  readonly bytes?: number;
  readonly first?: number | undefined;
  readonly lasting?: boolean;
  readonly reasonCode?: number;
}

/** A wire that writes down what it is told and answers `backlogBytes`. */
class NotedWire implements Wire {
  readonly remoteAddress = "";
  readonly listener = "test://";
  readonly said: Said[] = [];
  backlogBytes = 0;
  sendWithPayload?: (head: Uint8Array, payload: Uint8Array) => number;

  send(bytes: Uint8Array, lasting: boolean): number {
    this.said.push({ what: "send", bytes: bytes.length, first: bytes[0], lasting });
    return this.backlogBytes;
  }

  pause(): void {
    this.said.push({ what: "pause" });
  }

  resume(): void {}

  close(reasonCode: number): void {
    this.said.push({ what: "close", reasonCode });
  }
}

function setUp(limits: Partial<Limits> = {}) {
  const statistics = new Statistics();
  const journal = new Journal(undefined, { nowMs: 0 });
  const outboxes = new Outboxes({ ...DEFAULT_LIMITS, ...limits }, statistics, journal);
  const connect = () => {
    const wire = new NotedWire();
    return { wire, connection: new Connection(wire, new Framer(KB), 0) };
  };
  return { outboxes, statistics, connect };
}

describe("a turn", () => {
  test("packets of a turn are one write, and a silent connection has no outbox", () => {
    const { outboxes, statistics, connect } = setUp();
    const [one, two] = [connect(), connect()];
    for (let at = 0; at < 5; at++) outboxes.writer(one.connection).u8(at);
    outboxes.flush();
    expect(one.wire.said).toEqual([{ what: "send", bytes: 5, first: 0, lasting: false }]);
    expect([one.connection.outbox, two.connection.outbox, two.wire.said]).toEqual([null, null, []]);
    expect(statistics.bytesSent).toBe(5);
    outboxes.flush();
    expect(one.wire.said.length).toBe(1);
  });

  test("a close comes after the packets, once, and without any there is only a close", () => {
    const { outboxes, connect } = setUp();
    const [one, two] = [connect(), connect()];
    outboxes.writer(one.connection).u8(1);
    for (const { connection } of [one, two]) outboxes.closeAfterFlush(connection, 0x8b);
    outboxes.flush();
    outboxes.flush();
    expect(one.wire.said.map(({ what }) => what)).toEqual(["send", "close"]);
    expect(two.wire.said).toEqual([{ what: "close", reasonCode: 0x8b }]);
  });

  test("what is enough for one write goes out at once, what comes after it later, in order", () => {
    const { outboxes, connect } = setUp();
    const { wire, connection } = connect();
    const writer = outboxes.writer(connection);
    const piece = new Uint8Array(20 * KB);
    for (let at = 0; at < 5; at++) {
      writer.u8(at);
      writer.raw(piece, 0, piece.length);
      outboxes.wrote(connection, writer);
    }
    expect(wire.said.map(({ first }) => first)).toEqual([0]);
    outboxes.flush();
    expect(wire.said.map(({ first }) => first)).toEqual([0, 4]);
    expect(wire.said.reduce((sum, { bytes }) => sum + bytes!, 0)).toBe(5 * (piece.length + 1));
  });

  test("a payload that travels by itself stands between what was written before and after it", () => {
    const { outboxes, statistics, connect } = setUp();
    const { wire, connection } = connect();
    const message = ownedMessage("a", new Uint8Array(100 * KB).fill(2));
    outboxes.writer(connection).u8(1);
    outboxes.sendPayload(connection, message);
    outboxes.writer(connection).u8(3);
    outboxes.flush();
    expect(wire.said.map(({ first, lasting }) => [first, lasting])).toEqual([
      [1, false],
      [2, true],
      [3, false],
    ]);
    expect(statistics.bytesSent).toBe(100 * KB + 2);
  });

  test("a transport that takes both at once is given them together, and its backlog counts", () => {
    const { outboxes, statistics, connect } = setUp({ outboundHighWaterBytes: 10 });
    const { wire, connection } = connect();
    const message = ownedMessage("a", new Uint8Array(100 * KB).fill(2));
    const together: [number[], Uint8Array][] = [];
    wire.sendWithPayload = (head, payload) => {
      together.push([[...head], payload]);
      return 10;
    };
    outboxes.writer(connection).u8(1);
    outboxes.sendPayload(connection, message);
    expect([connection.backlogBytes, connection.congested]).toEqual([10, true]);
    outboxes.writer(connection).u8(3);
    outboxes.flush();
    expect(together.map(([head, payload]) => [head, payload.buffer])).toEqual([[[1], message.payload.buffer]]);
    expect(wire.said.map(({ what, first }) => [what, first])).toEqual([
      ["pause", undefined],
      ["send", 3],
    ]);
    expect(statistics.bytesSent).toBe(100 * KB + 2);
  });

  test("a transport that fails with both is closed, and nobody else notices", () => {
    const { outboxes, connect } = setUp();
    const [broken, sound] = [connect(), connect()];
    broken.wire.sendWithPayload = () => {
      throw new Error("broken");
    };
    const message = ownedMessage("a", new Uint8Array(100 * KB).fill(2));
    for (const { connection } of [broken, sound]) {
      outboxes.writer(connection).u8(1);
      outboxes.sendPayload(connection, message);
    }
    outboxes.flush();
    expect(broken.wire.said).toEqual([{ what: "close", reasonCode: 0x80 }]);
    expect(sound.wire.said.map(({ bytes }) => bytes)).toEqual([1, 100 * KB]);
  });
});

test("from the high water mark on a client is not read from; said once", () => {
  const { outboxes, connect } = setUp({ outboundHighWaterBytes: 10 });
  const { wire, connection } = connect();
  for (const backlogBytes of [9, 10, 11, 5]) {
    wire.backlogBytes = backlogBytes;
    outboxes.writer(connection).u8(1);
    outboxes.flush();
    expect(connection.congested).toBe(backlogBytes !== 9);
  }
  expect(wire.said.filter(({ what }) => what === "pause").length).toBe(1);
});

test("what is kept for the next turn is bounded, whatever the last one needed", () => {
  const { outboxes, connect } = setUp({ outboundHighWaterBytes: Number.MAX_SAFE_INTEGER });
  const connections = Array.from({ length: 500 }, connect);
  const filling = new Uint8Array(200 * KB);
  for (const { connection } of connections) outboxes.writer(connection).raw(filling, 0, filling.length);
  outboxes.flush();
  // What the next turn borrows is what was kept, until there is nothing and new ones are made.
  const capacities = connections.map(({ connection }) => outboxes.writer(connection).bytes.length);
  const kept = capacities.filter((capacity) => capacity > 64 * KB);
  expect(kept.length).toBeGreaterThan(10);
  expect(kept.reduce((sum, capacity) => sum + capacity, 0)).toBeLessThanOrEqual(16 * MB);
});

test("small ones are kept for many connections, a very large one is not", () => {
  const { outboxes, connect } = setUp();
  const connections = Array.from({ length: 1000 }, connect);
  const first = connections.map(({ connection }) => {
    const writer = outboxes.writer(connection);
    writer.u8(1);
    return writer;
  });
  outboxes.flush();
  const again = new Set(connections.map(({ connection }) => outboxes.writer(connection)));
  expect(first.filter((writer) => again.has(writer)).length).toBe(1000);
  outboxes.flush();
  const { connection } = connections[0]!;
  const large = outboxes.writer(connection);
  large.reserve(2 * MB);
  outboxes.flush();
  expect(connections.some((one) => outboxes.writer(one.connection) === large)).toBe(false);
});
