/** Traces written by hand: what is read from them, what left too early, and what a disk holds after a loss of power. */
import { describe, expect, test } from "bun:test";
import { type Cut, StoreFiles } from "./store-files.ts";
import { type Expectation, judgeOrder, packetsOf } from "./sync-order.ts";
import { readTrace, TraceError } from "./system-calls.ts";
import { encodeAcknowledgement, encodePublish, PUBACK, PUBREL } from "./wire.ts";

const FOLDER = "/tmp/store";
const SOCKET = "TCP:[127.0.0.1:1883->127.0.0.1:40000]";

function hex(bytes: string | Uint8Array): string {
  return [...Buffer.from(bytes)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

const opened = (name: string, descriptor: number, flags = "O_RDWR|O_CREAT"): string => {
  return `1 openat(AT_FDCWD<${hex("/")}>, "${hex(`${FOLDER}/${name}`)}", ${flags}, 0600) = ${descriptor}<${hex(`${FOLDER}/${name}`)}>`;
};
const file = (name: string, descriptor: number): string => `${descriptor}<${hex(`${FOLDER}/${name}`)}>`;
const pwrite = (name: string, descriptor: number, text: string, at: number): string => {
  return `2 pwrite64(${file(name, descriptor)}, "${hex(text)}", ${text.length}, ${at}) = ${text.length}`;
};
const sync = (name: string, descriptor: number): string => `2 fdatasync(${file(name, descriptor)}) = 0`;
const sent = (bytes: Uint8Array): string => {
  return `1 sendto(9<${SOCKET}>, "${hex(bytes)}", ${bytes.length}, MSG_DONTWAIT, NULL, 0) = ${bytes.length}`;
};
const received = (bytes: Uint8Array): string => {
  return `1 recvfrom(9<${SOCKET}>, "${hex(bytes)}", 524288, MSG_DONTWAIT, NULL, NULL) = ${bytes.length}`;
};
const puback = encodeAcknowledgement(PUBACK, 7, 0);

describe("reading", () => {
  test("a call of one line", () => {
    const [call] = readTrace(`${opened("a", 5)}\n${pwrite("a", 5, "mark", 32)}`).slice(1);
    expect(call).toMatchObject({
      name: "pwrite64",
      entered: 1,
      left: 1,
      target: `${FOLDER}/a`,
      descriptor: 5,
      result: 4,
    });
    expect(Buffer.concat(call!.strings).toString()).toBe("mark");
    expect(call!.rest).toEqual(["4", "32"]);
  });

  test("a call that others interrupt, and one that never ends", () => {
    const lines = [
      `2 fdatasync(${file("a", 5)} <unfinished ...>`,
      sent(puback),
      "2 <... fdatasync resumed>) = 0",
      `2 fdatasync(${file("a", 5)} <unfinished ...>`,
      "2 +++ killed by SIGKILL +++",
    ];
    const calls = readTrace(lines.join("\n"));
    expect(calls.map(({ name, entered, left }) => [name, entered, left])).toEqual([
      ["sendto", 1, 1],
      ["fdatasync", 0, 2],
    ]);
    expect(calls[1]!.target).toBe(`${FOLDER}/a`);
  });

  test("what was received stands behind the interruption", () => {
    const lines = [
      `1 recvfrom(9<${SOCKET}>,  <unfinished ...>`,
      sync("a", 5),
      `1 <... recvfrom resumed>"${hex(puback)}", 524288, MSG_DONTWAIT, NULL, NULL) = 4`,
    ];
    const [packet] = packetsOf(readTrace(lines.join("\n")), 1883, "received");
    expect(packet).toMatchObject({ clientPort: 40_000, type: PUBACK, packetId: 7, entered: 0, left: 2 });
  });

  test("pieces of a writev are one write", () => {
    const [call] = readTrace(
      `1 writev(${file("a", 5)}, [{iov_base="${hex("ab")}", iov_len=2}, {iov_base="${hex("c")}", iov_len=1}], 2) = 3`,
    );
    expect(Buffer.concat(call!.strings).toString()).toBe("abc");
  });

  test("a string that was cut off is no evidence", () => {
    expect(() => readTrace(`1 write(${file("a", 5)}, "${hex("ab")}"..., 4) = 4`)).toThrow(TraceError);
  });

  test("packets that were sent in pieces", () => {
    const publish = encodePublish({
      topicName: "a",
      qos: 1,
      dup: false,
      retain: false,
      packetId: 3,
      properties: [],
      payload: Buffer.from("x"),
    });
    const lines = [sent(publish.subarray(0, 4)), sent(Buffer.concat([publish.subarray(4), puback]))];
    const packets = packetsOf(readTrace(lines.join("\n")), 1883, "sent");
    expect(packets).toMatchObject([
      { packetId: 3, payload: "x", entered: 0, left: 1 },
      { type: PUBACK, packetId: 7, entered: 1 },
    ]);
  });
});

describe("order", () => {
  const byMarker: Expectation = {
    name: "PUBACK",
    packet: { clientPort: 40_000, type: PUBACK, packetId: 7 },
    cause: { marker: "mark" },
  };
  const released = { clientPort: 40_000, type: PUBREL, packetId: 7 };
  const byRequest: Expectation = { ...byMarker, cause: { received: released } };
  const write = pwrite("a", 5, "...mark...", 0);
  const request = received(encodeAcknowledgement(PUBREL, 7, 0));

  function complaints(lines: readonly string[], expectation: Expectation): readonly string[] {
    const calls = readTrace([opened("a", 5), opened("b", 6), ...lines].join("\n"));
    const store = new StoreFiles(calls, FOLDER);
    return judgeOrder(store, packetsOf(calls, 1883, "sent"), packetsOf(calls, 1883, "received"), [expectation]).faults;
  }

  test.each([
    ["written, synced, sent", byMarker, [write, sync("a", 5), sent(puback)]],
    ["received, written, synced, sent", byRequest, [request, write, sync("a", 5), sent(puback)]],
  ])("kept: %s", (_, expectation, lines) => {
    expect(complaints(lines, expectation)).toEqual([]);
  });

  test.each([
    ["written, sent, synced", byMarker, [write, sent(puback), sync("a", 5)], "synced at line 5"],
    ["sent, written, synced", byMarker, [sent(puback), write, sync("a", 5)], "it left at line 3"],
    ["written and sent", byMarker, [write, sent(puback)], "synced never"],
    ["synced, written, sent", byMarker, [sync("a", 5), write, sent(puback)], "synced never"],
    ["another file synced", byMarker, [write, sync("b", 6), sent(puback)], "synced never"],
    ["never written", byMarker, [pwrite("a", 5, "other", 0), sync("a", 5), sent(puback)], "never written"],
    ["never sent", byMarker, [write, sync("a", 5)], "no packet"],
    ["written before it was asked for", byRequest, [write, request, sync("a", 5), sent(puback)], "nothing was written"],
    [
      "sync begun before the write",
      byMarker,
      [`3 fdatasync(${file("a", 5)} <unfinished ...>`, write, "3 <... fdatasync resumed>) = 0", sent(puback)],
      "synced never",
    ],
    [
      "sent before the sync had ended",
      byMarker,
      [write, `3 fdatasync(${file("a", 5)} <unfinished ...>`, sent(puback), "3 <... fdatasync resumed>) = 0"],
      "synced at line 6",
    ],
  ])("broken: %s", (_, expectation, lines, complaint) => {
    expect(complaints(lines, expectation)).toEqual([expect.stringContaining(complaint)]);
  });
});

describe("a loss of power", () => {
  function contents(lines: readonly string[], at: number, cut: Cut): Record<string, string> {
    const files = new StoreFiles(readTrace(lines.join("\n")), FOLDER).stateAt(at, cut);
    return Object.fromEntries(
      [...files].map(([path, bytes]) => [path.slice(FOLDER.length + 1), Buffer.from(bytes).toString("latin1")]),
    );
  }

  const two = [
    opened("a", 5),
    pwrite("a", 5, "one", 0),
    sync("a", 5),
    pwrite("a", 5, "TWO", 3),
    pwrite("a", 5, "FOUR", 6),
    sync("a", 5),
  ];

  test("leaves what was synced, and of the rest as much as the cut says", () => {
    expect(contents(two, 0, "cut")).toEqual({ a: "one" });
    expect(contents(two, 0, "torn")).toEqual({ a: "oneTWOFO" });
    expect(contents(two, 0, "reordered")).toEqual({ a: "one\0\0\0FOUR" });
    expect(contents(two, 1, "cut")).toEqual({ a: "oneTWOFOUR" });
    expect(contents(two, 1, "torn")).toEqual({ a: "oneTWOFOUR" });
  });

  test("knows each file by its own syncs", () => {
    const lines = [opened("a", 5), opened("b", 6), pwrite("a", 5, "one", 0), pwrite("b", 6, "two", 0), sync("b", 6)];
    expect(contents(lines, 0, "cut")).toEqual({ a: "", b: "two" });
  });

  test("follows appending, positions, lengths and names", () => {
    const write = (name: string, descriptor: number, text: string): string => {
      return `1 write(${file(name, descriptor)}, "${hex(text)}", ${text.length}) = ${text.length}`;
    };
    const lines = [
      opened("log", 5, "O_WRONLY|O_CREAT|O_APPEND"),
      write("log", 5, "ab"),
      write("log", 5, "cd"),
      opened("b", 6),
      write("b", 6, "123456"),
      `1 lseek(${file("b", 6)}, 2, SEEK_SET) = 2`,
      write("b", 6, "x"),
      `1 ftruncate(${file("b", 6)}, 4) = 0`,
      `1 rename("${hex(`${FOLDER}/b`)}", "${hex(`${FOLDER}/c`)}") = 0`,
      opened("gone", 7),
      `1 unlink("${hex(`${FOLDER}/gone`)}") = 0`,
      sync("log", 5),
      sync("c", 6),
    ];
    const before = lines.findIndex((line) => line.includes("rename("));
    const synced = [...lines.slice(0, before), sync("b", 6), ...lines.slice(before)];
    expect(contents(synced, 1, "cut")).toEqual({ log: "abcd", c: "12x4" });
  });

  test("a file that syncs each write needs no other", () => {
    const lines = [opened("a", 5, "O_RDWR|O_CREAT|O_DSYNC"), pwrite("a", 5, "one", 0), pwrite("a", 5, "two", 3)];
    expect(contents(lines, 0, "cut")).toEqual({ a: "one" });
    expect(contents(lines, 1, "cut")).toEqual({ a: "onetwo" });
  });
});
