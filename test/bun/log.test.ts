/** The Log port: what a line looks like, what a peer cannot do to it, and what a reader that does not read costs. */
import { describe, expect, test } from "bun:test";
import { createLog, type LogOptions, type LogSink } from "../../src/bun/log.ts";
import type { LogFields, LogLevel } from "../../src/core/ports.ts";

const NOW_MS = Date.UTC(2026, 10, 23, 6, 12);

/** A log whose lines are collected; `take` calls what the sink was asked to call. */
function recorded(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const waiting: (() => void)[] = [];
  const log = createLog({
    level: "debug",
    format: "text",
    nowMs: () => NOW_MS,
    sink: (line, done) => {
      lines.push(line);
      waiting.push(done);
    },
    ...options,
  });
  const take = () => {
    for (const done of waiting.splice(0)) done();
  };
  return { log, lines, take };
}

function textOf(fields: LogFields, event = "event", level: LogLevel = "warn"): string {
  const { log, lines } = recorded();
  log.write(level, event, fields);
  return lines.join("");
}

function jsonOf(fields: LogFields): Record<string, unknown> {
  const { log, lines } = recorded({ format: "json" });
  log.write("warn", "event", fields);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^[^\n]*\n$/);
  return JSON.parse(lines[0]!);
}

describe("text", () => {
  test("time, level, event, then the fields in order", () => {
    expect(textOf({ client: "a-1", code: 0x82, statement: "MQTT-3.1.0-2", fatal: false }, "peer-error")).toBe(
      "2026-11-23T06:12:00.000Z warn peer-error client=a-1 code=130 statement=MQTT-3.1.0-2 fatal=false\n",
    );
  });

  test("no fields", () => {
    expect(textOf({}, "started", "info")).toBe("2026-11-23T06:12:00.000Z info started\n");
  });

  test("a value that could be taken for something else is quoted", () => {
    expect(textOf({ a: "two words", b: "", c: 'say "hi"', d: "k=v", e: "back\\slash" })).toBe(
      '2026-11-23T06:12:00.000Z warn event a="two words" b="" c="say \\"hi\\"" d="k=v" e="back\\\\slash"\n',
    );
  });

  test("topics and addresses stay readable", () => {
    expect(textOf({ filter: "$share/g/a/+/#", peer: "[::1]:50000", name: "user@host" })).toEndWith(
      "filter=$share/g/a/+/# peer=[::1]:50000 name=user@host\n",
    );
  });

  test.each([
    ["line feed", "a\nb", '"a\\nb"'],
    ["carriage return", "a\rb", '"a\\rb"'],
    ["escape", "a\u001b[31mb", '"a\\u001b[31mb"'],
    ["delete", "a\u007fb", '"a\\u007fb"'],
    ["C1 control", "a\u009bb", '"a\\u009bb"'],
    ["line separator", "a\u2028b", '"a\\u2028b"'],
    ["right-to-left override", "a\u202eb", '"a\\u202eb"'],
    ["null", "a\u0000b", '"a\\u0000b"'],
    ["lone surrogate", "a\ud800b", '"a\\ud800b"'],
  ])("%s in a value is escaped", (_name, value, shown) => {
    expect(textOf({ value })).toBe(`2026-11-23T06:12:00.000Z warn event value=${shown}\n`);
  });

  test("controls in event and key are escaped as well", () => {
    expect(textOf({ "k\ney": 1 }, "ev\nent")).toBe('2026-11-23T06:12:00.000Z warn "ev\\nent" "k\\ney"=1\n');
  });

  test("a long value is cut and says by how much", () => {
    expect(textOf({ value: "x".repeat(10_000) })).toBe(
      `2026-11-23T06:12:00.000Z warn event value="${"x".repeat(512)}...(+9488)"\n`,
    );
  });

  test("a cut never splits a character", () => {
    expect(textOf({ value: `${"x".repeat(511)}\u{1f600}` })).toContain(`"${"x".repeat(511)}...(+2)"`);
  });

  test("the number of fields is bounded", () => {
    const fields = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`k${index}`, index]));
    const line = textOf(fields);
    expect(line).toContain(" k31=31\n");
    expect(line).not.toContain("k32");
  });
});

describe("JSON", () => {
  test("one object per line, types kept", () => {
    expect(jsonOf({ client: "a", code: 130, fatal: true })).toEqual({
      time: "2026-11-23T06:12:00.000Z",
      level: "warn",
      event: "event",
      client: "a",
      code: 130,
      fatal: true,
    });
  });

  test("controls survive the way through JSON without breaking the line", () => {
    const value = 'a\nb\u001b\u2028\u202e\u007f\u0000"\\';
    expect(jsonOf({ value })["value"]).toBe(value);
  });

  test("raw line has no control character", () => {
    const { log, lines } = recorded({ format: "json" });
    log.write("warn", "event", { value: "\u007f\u009b\u2029\u202e" });
    expect(lines[0]).toContain("\\u007f\\u009b\\u2029\\u202e");
  });

  test("a field does not replace time, level or event", () => {
    expect(jsonOf({ level: "debug", event: "other", time: 0 })).toEqual({
      time: "2026-11-23T06:12:00.000Z",
      level: "warn",
      event: "event",
      level_: "debug",
      event_: "other",
      time_: 0,
    });
  });

  test("a long value is cut", () => {
    expect(jsonOf({ value: "x".repeat(600) })["value"]).toBe(`${"x".repeat(512)}...(+88)`);
  });
});

describe("levels", () => {
  const all: LogLevel[] = ["debug", "info", "warn", "error"];
  test.each(all)("%s writes itself and what is above", (level) => {
    const { log, lines } = recorded({ level });
    for (const entry of all) log.write(entry, "event", {});
    expect(lines.map((line) => line.split(" ")[1])).toEqual(all.slice(all.indexOf(level)));
  });
});

describe("a reader that does not read", () => {
  test("what waits is bounded; what is dropped is counted and told once there is room", () => {
    const { log, lines, take } = recorded({ pendingCharactersMax: 1000 });
    for (let index = 0; index < 1000; index++) log.write("info", "event", { index });
    const before = lines.length;
    const waiting = lines.join("").length;
    expect(waiting).toBeGreaterThanOrEqual(1000);
    expect(waiting).toBeLessThan(1000 + lines[0]!.length + 10);

    take();
    log.write("info", "after", {});
    expect(lines.slice(before)).toEqual([
      `2026-11-23T06:12:00.000Z warn log-lines-dropped lines=${1000 - before}\n`,
      "2026-11-23T06:12:00.000Z info after\n",
    ]);

    take();
    log.write("info", "later", {});
    expect(lines.at(-1)).toBe("2026-11-23T06:12:00.000Z info later\n");
    expect(lines).toHaveLength(before + 3);
  });

  test("a sink that calls done twice frees its room once", () => {
    let lines = 0;
    const sink: LogSink = (_line, done) => {
      lines++;
      if (lines === 1) {
        done();
        done();
      }
    };
    const { log } = recorded({ sink, pendingCharactersMax: 60 });
    // Each line takes 36 characters: after the first is gone, two fit under the bound and the next does not.
    for (let index = 0; index < 10; index++) log.write("info", "event-x", {});
    expect(lines).toBe(3);
  });

  test("a sink that throws costs its line and nothing else", () => {
    let fails = true;
    const lines: string[] = [];
    const sink: LogSink = (line, done) => {
      if (fails) throw new Error("gone");
      lines.push(line);
      done();
    };
    const { log } = recorded({ sink, pendingCharactersMax: 10 });
    for (let index = 0; index < 5; index++) expect(() => log.write("error", "lost", {})).not.toThrow();
    fails = false;
    log.write("error", "kept", {});
    expect(lines).toEqual([
      "2026-11-23T06:12:00.000Z warn log-lines-dropped lines=5\n",
      "2026-11-23T06:12:00.000Z error kept\n",
    ]);
  });

  test("a clock without a date costs its line and nothing else", () => {
    const { log, lines } = recorded({ nowMs: () => Number.NaN });
    expect(() => log.write("error", "lost", {})).not.toThrow();
    expect(lines).toEqual([]);
  });
});

describe("standard error of a process", () => {
  const program = `
    import { createLog, stderrSink } from ${JSON.stringify(new URL("../../src/bun/log.ts", import.meta.url).pathname)};
    const log = createLog({ level: "info", format: "text", nowMs: Date.now, sink: stderrSink() });
    await new Promise((resolve) => process.stdin.once("data", resolve));
    for (let index = 0; index < 20_000; index++) log.write("info", "event", { index, text: "x".repeat(400) });
    setTimeout(() => { log.write("info", "last", {}); console.log("alive"); process.exit(0); }, 0);
  `;

  test("lines arrive whole and in order", async () => {
    const short = program.replace("20_000", "100");
    const child = Bun.spawn([process.execPath, "-e", short], { stdin: "pipe", stdout: "pipe", stderr: "pipe" });
    child.stdin.write("go");
    child.stdin.end();
    const [errors, status] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    const lines = errors.trimEnd().split("\n");
    expect(lines.slice(0, -1).map((line) => / index=(\d+) /.exec(line)?.[1])).toEqual(
      Array.from({ length: 100 }, (_, index) => String(index)),
    );
    expect(lines.at(-1)).toEndWith(" info last");
    expect(status).toBe(0);
  });

  test.each(["does not read", "has gone"])("a reader that %s does not stop the process", async (reader) => {
    const child = Bun.spawn([process.execPath, "-e", program], { stdin: "pipe", stdout: "pipe", stderr: "pipe" });
    if (reader === "has gone") await child.stderr.cancel();
    child.stdin.write("go");
    child.stdin.end();
    expect(await new Response(child.stdout).text()).toBe("alive\n");
    expect(await child.exited).toBe(0);
  });
});
