/** Configuration: which source wins, what each setting accepts, and the one line that a mistake gets. */
import { describe, expect, test } from "bun:test";
import { type Config, loadConfig, VERSION } from "../src/config.ts";
import { environmentName, ROWS } from "../src/config-schema.ts";
import { DEFAULT_CAPABILITIES, DEFAULT_LIMITS } from "../src/core/limits.ts";
import { withoutSecrets } from "../src/listener-url.ts";

interface Given {
  argv?: string[];
  env?: Record<string, string>;
  files?: Record<string, string>;
}

function load({ argv = [], env = {}, files = {} }: Given) {
  return loadConfig({
    argv,
    env,
    readFile(path) {
      const text = files[path];
      if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
      return text;
    },
  });
}

function configOf(given: Given): Config {
  const result = load(given);
  if (!result.ok) throw new Error("error" in result ? result.error : result.print);
  return result.config;
}

function errorOf(given: Given): string {
  const result = load(given);
  if (result.ok || !("error" in result)) throw new Error(`accepted: ${JSON.stringify(result)}`);
  expect(result.error).toMatch(/^[^\p{Cc}\p{Zl}\p{Zp}]+$/u);
  return result.error;
}

const set = (...settings: string[]): Given => ({ argv: settings.flatMap((setting) => ["--set", setting]) });
const listen = (...urls: string[]): Given => ({ argv: urls.flatMap((url) => ["--listen", url]) });
const toml = (content: string, argv: string[] = []): Given => ({
  argv: ["--config", "rqtt.toml", ...argv],
  files: { "rqtt.toml": content },
});

function valueAt(config: Config, path: string): unknown {
  return path.split(".").reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], config);
}

describe("with nothing configured", () => {
  test("loopback listeners, a folder for the state, default limits", () => {
    expect(configOf({})).toEqual({
      listeners: [
        { url: "mqtt://127.0.0.1:1883", transport: "tcp", hostname: "127.0.0.1", port: 1883, path: "" },
        { url: "ws://127.0.0.1:8083/mqtt", transport: "ws", hostname: "127.0.0.1", port: 8083, path: "/mqtt" },
      ],
      store: "data",
      durability: "fsync",
      damagedStore: "refuse",
      diskFreeBytesMin: 0,
      queueOverflow: "drop-newest",
      limits: DEFAULT_LIMITS,
      capabilities: DEFAULT_CAPABILITIES,
      sys: { intervalMs: 10_000 },
      auth: { anonymous: "loopback", chain: [], ceiling: [], denyAction: "ignore", onReload: "recheck" },
      admin: { socket: "" },
      log: { level: "info", format: "text" },
    });
  });

  test("the result is frozen all the way down", () => {
    const frozen = (value: object): boolean =>
      Object.isFrozen(value) && Object.values(value).every((entry) => typeof entry !== "object" || frozen(entry));
    expect(frozen(configOf({}))).toBe(true);
    expect(frozen(configOf(toml('[[listeners]]\nurl = "mqtt://127.0.0.1"\n[limits]\ntopicLevelsMax = 5')))).toBe(true);
  });

  test("every default is a value that its own row accepts", () => {
    for (const [path, row] of ROWS) {
      if (row.form.kind === "plugins") continue; // has no form as text
      const items = Array.isArray(row.fallback) ? row.fallback.map((entry) => entry.url ?? entry) : [row.fallback];
      const written = items.join(",");
      expect(valueAt(configOf(set(`${path}=${written}`)), path)).toEqual(row.fallback);
    }
  });
});

describe("which source wins", () => {
  const file = "[limits]\ntopicLevelsMax = 10\nuserPropertiesMax = 11\ninflightMax = 12\n";

  test("file over default, environment over file, flag over environment", () => {
    const config = configOf({
      ...toml(file, ["--set", "limits.inflightMax=32"]),
      env: { RQTT_LIMITS_USER_PROPERTIES_MAX: "21", RQTT_LIMITS_INFLIGHT_MAX: "22" },
    });
    expect(config.limits).toEqual({ ...DEFAULT_LIMITS, topicLevelsMax: 10, userPropertiesMax: 21, inflightMax: 32 });
  });

  test("the order of flags does not let a file win", () => {
    const { limits } = configOf({
      argv: ["--set", "limits.inflightMax=32", "--config", "rqtt.toml"],
      files: { "rqtt.toml": file },
    });
    expect(limits.inflightMax).toBe(32);
  });

  test("the last --set of a path counts", () => {
    expect(configOf(set("limits.inflightMax=1", "limits.inflightMax=2")).limits.inflightMax).toBe(2);
  });

  test("--listen replaces the listeners of file, environment and --set", () => {
    const { listeners } = configOf({
      ...toml('[[listeners]]\nurl = "mqtt://127.0.0.1:1"\n', [
        "--listen",
        "mqtt://127.0.0.1:3",
        "--set",
        "listeners=ws://127.0.0.1:4",
        "--listen=ws://127.0.0.1:5",
      ]),
      env: { RQTT_LISTENERS: "mqtt://127.0.0.1:2" },
    });
    expect(listeners.map(({ url }) => url)).toEqual(["mqtt://127.0.0.1:3", "ws://127.0.0.1:5/mqtt"]);
  });

  test("listeners in the environment are separated by commas", () => {
    const { listeners } = configOf({ env: { RQTT_LISTENERS: "mqtt://127.0.0.1:2,ws://[::1]:0/x" } });
    expect(listeners.map(({ url }) => url)).toEqual(["mqtt://127.0.0.1:2", "ws://[::1]:0/x"]);
  });

  test("a value that is wrong is an error even where a later source replaces it", () => {
    expect(errorOf({ env: { RQTT_LOG_LEVEL: "loud" }, argv: ["--set", "log.level=warn"] })).toStartWith("log.level: ");
  });
});

describe("files", () => {
  const content = {
    store: "memory",
    queueOverflow: "drop-oldest",
    listeners: [{ url: "mqtt://localhost:0" }],
    limits: { packetBytesMax: 1000 },
    capabilities: { maximumQos: 1, retainAvailable: false, serverReference: "" },
    log: { format: "json" },
  };

  test("TOML and JSON of one content are one configuration", () => {
    const written = `
      store = "memory"
      queueOverflow = "drop-oldest"
      [[listeners]]
      url = "mqtt://localhost:0"
      [limits]
      packetBytesMax = 1_000
      [capabilities]
      maximumQos = 1
      retainAvailable = false
      serverReference = ""
      [log]
      format = "json"
    `;
    const json = { argv: ["--config", "rqtt.json"], files: { "rqtt.json": `\uFEFF${JSON.stringify(content)}` } };
    expect(configOf(json)).toEqual(configOf(toml(written)));
    expect(configOf(json)).toMatchObject({ queueOverflow: "drop-oldest", limits: { packetBytesMax: 1000 } });
  });

  test("an empty file changes nothing", () => {
    expect(configOf(toml(""))).toEqual(configOf({}));
  });

  test.each([
    [
      "no file",
      { argv: ["--config", "gone.toml"] },
      /^--config: expected a file that can be read, found ENOENT: .*gone/,
    ],
    ["not TOML", toml("a = = 1"), /^--config: expected TOML, found .*\(--config rqtt\.toml\)$/],
    ["not JSON", { argv: ["--config", "a.json"], files: { "a.json": "{\n" } }, /^--config: expected JSON, found /],
    [
      "a JSON list",
      { argv: ["--config", "a.json"], files: { "a.json": "[]" } },
      /^--config: expected a table of settings/,
    ],
    [
      "a JSON null",
      { argv: ["--config", "a.json"], files: { "a.json": "null" } },
      /^--config: expected a table of settings/,
    ],
    ["two files", { argv: ["--config", "a", "--config", "b"] }, /^--config: expected one file, found a second/],
    ["an unknown key", toml("[limits]\nspeed = 1"), /^limits\.speed: .*found an unknown setting \(rqtt\.toml\)$/],
    ["an unknown section", toml("[limit]\npacketBytesMax = 100"), /^limit: .*found an unknown setting/],
    [
      "a key in other capitals",
      toml("[limits]\npacket_bytes_max = 100"),
      /expected limits\.packetBytesMax, found an unknown/,
    ],
    ["a value for a section", toml("limits = 5"), /^limits: expected a table of settings, found 5 \(rqtt\.toml\)$/],
    ["a quoted path", toml('"limits.packetBytesMax" = 100'), /^limits\.packetBytesMax: .*found an unknown setting/],
    [
      "__proto__",
      { argv: ["--config", "a.json"], files: { "a.json": '{"__proto__":{"store":"memory"}}' } },
      /^__proto__: /,
    ],
    ["constructor", toml("[constructor]\nstore = 1"), /^constructor: .*found an unknown setting/],
    ["a number as text", toml('[limits]\ninflightMax = "5"'), /^limits\.inflightMax: .*, found "5" \(rqtt\.toml\)$/],
    ["a fraction", toml("[limits]\ninflightMax = 1.5"), /^limits\.inflightMax: .*, found 1\.5 \(/],
    ["not a number", toml("[limits]\ninflightMax = nan"), /^limits\.inflightMax: .*, found NaN \(/],
    [
      "a switch as text",
      toml('[capabilities]\nretainAvailable = "no"'),
      /retainAvailable: expected true or false, found "no"/,
    ],
    ["a date", toml("store = 1979-05-27"), /^store: expected a text of at most 4096 bytes, found a date \(/],
    ["a table", toml("[store]\na = 1"), /^store: .*found a table \(/],
    [
      "one listener text",
      toml('listeners = "mqtt://127.0.0.1"'),
      /^listeners: expected \[\[listeners\]\] tables .*found "mqtt:/,
    ],
    [
      "listener texts",
      toml('listeners = ["mqtt://127.0.0.1"]'),
      /^listeners\[0\]: expected a table such as .*found "mqtt:/,
    ],
    ["no listeners", toml("listeners = []"), /^listeners: expected at least one listener, found none/],
    ["a listener without URL", toml("[[listeners]]"), /^listeners\[0\]\.url: expected a URL, found nothing/],
    [
      "a listener's other key",
      toml('[[listeners]]\nurl = "mqtt://[::1]"\ntls = true'),
      /^listeners\[0\]: .*found "tls"/,
    ],
    [
      "a wrong second URL",
      toml('[[listeners]]\nurl = "mqtt://[::1]"\n[[listeners]]\nurl = 5'),
      /^listeners\[1\]\.url: .*found 5/,
    ],
  ] as [string, Given, RegExp][])("%s", (_name, given, message) => {
    expect(errorOf(given)).toMatch(message);
  });
});

describe("environment", () => {
  test("names are RQTT_ and the path in capitals", () => {
    expect(environmentName("limits.packetBytesMax")).toBe("RQTT_LIMITS_PACKET_BYTES_MAX");
    expect(environmentName("queueOverflow")).toBe("RQTT_QUEUE_OVERFLOW");
    expect(environmentName("sys.intervalMs")).toBe("RQTT_SYS_INTERVAL_MS");
    expect(new Set([...ROWS.keys()].map(environmentName)).size).toBe(ROWS.size);
  });

  test("the auth chain has no form as text: its variable says where it belongs", () => {
    expect(errorOf({ env: { RQTT_AUTH_CHAIN: "jwt" } })).toMatch(/^auth\.chain: expected \[\[auth\.chain\]\] tables/);
  });

  const textual = [...ROWS].filter(([, { form }]) => form.kind !== "plugins");
  test.each(textual)("%s can be set by its variable", (path, { form, fallback }) => {
    const written = {
      // One less than the default is in range everywhere, and keeps the high water mark above the low one.
      whole: () => String(fallback === 0 ? 1 : Number(fallback) - 1),
      boolean: () => String(!fallback),
      choice: () => (form.kind === "choice" ? form.choices.find((entry) => entry !== fallback)! : ""),
      text: () => "other",
      listeners: () => "ws://localhost:9/mqtt",
      filters: () => "a/+,b/#",
      plugins: () => "",
    }[form.kind]();
    const value = valueAt(configOf({ env: { [environmentName(path)]: written } }), path);
    if (Array.isArray(value)) expect(value.map((entry) => entry.url ?? entry).join(",")).toBe(written);
    else expect(String(value)).toBe(written);
    expect(value).not.toEqual(fallback);
  });

  test("other variables are nobody's business, unknown ones of ours are errors", () => {
    expect(configOf({ env: { PATH: "/bin", XRQTT_STORE: "x" } })).toEqual(configOf({}));
    expect(errorOf({ env: { RQTT_LIMITS_PACKET_BYTES: "5" } })).toBe(
      "environment: expected only settings that --help lists, found RQTT_LIMITS_PACKET_BYTES (RQTT_LIMITS_PACKET_BYTES=5)",
    );
  });

  test("a mistake names the path and the variable", () => {
    expect(errorOf({ env: { RQTT_LIMITS_PACKET_BYTES_MAX: "2MB" } })).toBe(
      'limits.packetBytesMax: expected a whole number of bytes from 16 to 268435460, found "2MB" (RQTT_LIMITS_PACKET_BYTES_MAX=2MB)',
    );
    expect(errorOf({ env: { RQTT_LIMITS_PACKET_BYTES_MAX: "" } })).toInclude(', found "" (');
  });
});

describe("flags", () => {
  test("--help and --version ask for a text and nothing else", () => {
    const help = load({ argv: ["--listen", "mqtt://127.0.0.1", "--help"] });
    const text = !help.ok && "print" in help ? help.print : "";
    expect(text).toInclude("--config FILE");
    for (const [path, { about }] of ROWS) {
      expect(text).toInclude(`  ${path}\n`);
      expect(text).toInclude(about);
      expect(text).toInclude(environmentName(path));
    }
    expect(load({ argv: ["--version"] })).toEqual({ ok: false, print: `rqtt ${VERSION}` });
    expect(VERSION).toMatch(/^\d+\.\d+\.\d+$/);
  });

  test("flag and value in one argument or in two", () => {
    expect(configOf({ argv: ["--set=limits.inflightMax=7"] }).limits.inflightMax).toBe(7);
    expect(configOf({ argv: ["--store=memory"] }).store).toBe("memory");
    expect(configOf({ argv: ["--store", "memory"] }).store).toBe("memory");
  });

  test("a text may hold an equals sign or be empty", () => {
    expect(configOf(set("capabilities.serverReference=a=b")).capabilities.serverReference).toBe("a=b");
    expect(configOf(set("capabilities.responseInformationPrefix=")).capabilities.responseInformationPrefix).toBe("");
  });

  const all = "--config, --listen, --store, --set, --help, --version";
  test.each([
    [["--lisen", "x"], `command line: expected one of ${all}, found "--lisen" (--lisen)`],
    [["start"], `command line: expected one of ${all}, found "start" (start)`],
    [["-h"], `command line: expected one of ${all}, found "-h" (-h)`],
    [["--"], `command line: expected one of ${all}, found "--" (--)`],
    [["--listen"], "--listen: expected a URL such as mqtt://127.0.0.1:1883, found nothing (--listen)"],
    [["--listen", "--store"], '--listen: expected a URL such as mqtt://127.0.0.1:1883, found "--store" (--listen)'],
    [["--config"], "--config: expected a file, found nothing (--config)"],
    [["--set"], "--set: expected path=value, found nothing (--set)"],
    [["--set", "limits"], '--set: expected path=value, found "limits" (--set limits)'],
    [["--help=yes"], '--help: expected no value, found "yes" (--help=yes)'],
    [["--set", "=5"], '"": expected a setting that --help lists, found an unknown setting (--set =5)'],
    [["--set", "limits=5"], "limits: expected a setting that --help lists, found an unknown setting (--set limits=5)"],
    [["--set", "log=5"], "log: expected one of log.level, log.format, found an unknown setting (--set log=5)"],
    [
      ["--set", "log.color=1"],
      "log.color: expected one of log.level, log.format, found an unknown setting (--set log.color=1)",
    ],
    [
      ["--set", "limits.packetbytesmax=5"],
      "limits.packetbytesmax: expected limits.packetBytesMax, found an unknown setting (--set limits.packetbytesmax=5)",
    ],
    [
      ["--set", "limits.packetBytesMax=abc"],
      'limits.packetBytesMax: expected a whole number of bytes from 16 to 268435460, found "abc" (--set limits.packetBytesMax=abc)',
    ],
    [
      ["--set", "capabilities.maximumQos=3"],
      "capabilities.maximumQos: expected a whole number from 0 to 2, found 3 (--set capabilities.maximumQos=3)",
    ],
    [
      ["--set", "queueOverflow=drop"],
      'queueOverflow: expected "drop-newest" or "drop-oldest", found "drop" (--set queueOverflow=drop)',
    ],
    [
      ["--set", "capabilities.retainAvailable=1"],
      'capabilities.retainAvailable: expected true or false, found "1" (--set capabilities.retainAvailable=1)',
    ],
    [["--store="], 'store: expected a folder, or "memory", found "" (--store )'],
  ])("%j", (argv, message) => {
    expect(errorOf({ argv })).toBe(message);
  });

  test("a value with line breaks and controls stays on one line", () => {
    expect(errorOf(set("log.level=a\nb\u001b[2J\u2028"))).toInclude(
      'found "a\\nb\\u001b[2J\\u2028" (--set log.level=a\\u000ab',
    );
    expect(errorOf(set("a\nb=1"))).toStartWith("a\\u000ab: ");
  });

  test("a long value is cut", () => {
    expect(errorOf(set(`log.level=${"x".repeat(100_000)}`)).length).toBeLessThan(400);
  });
});

describe("ranges", () => {
  const rows = [...ROWS].flatMap(([path, { form }]) =>
    form.kind === "whole" ? [[path, form.min, form.max] as const] : [],
  );

  test.each(rows)("%s takes %d to %d", (path, min, max) => {
    // With the other mark out of the way, both water marks have their whole range.
    const room = path.endsWith("LowWaterBytes")
      ? ["limits.outboundHighWaterBytes=1099511627776"]
      : ["limits.outboundLowWaterBytes=0"];
    const top = path.endsWith("LowWaterBytes") ? max - 1 : max;
    for (const value of [min, top]) {
      const { argv = [] } = set(...room.filter((entry) => !entry.startsWith(path)), `${path}=${value}`);
      expect(valueAt(configOf({ argv }), path)).toBe(value);
    }
    expect(errorOf(set(`${path}=${max + 1}`))).toStartWith(`${path}: expected a whole number`);
    for (const value of [min - 1, -0.5, "1e3", "0x10", "+1", " 1", "1 ", "", "99999999999999999999"]) {
      expect(errorOf(set(`${path}=${value}`))).toStartWith(`${path}: expected a whole number`);
    }
  });

  test("numbers of the specification", () => {
    const range = (path: string) => rows.find(([name]) => name === path)?.slice(1);
    expect(range("capabilities.maximumQos")).toEqual([0, 2]);
    expect(range("limits.receiveMaximum")).toEqual([1, 65_535]);
    expect(range("limits.inflightMax")).toEqual([1, 65_535]);
    expect(range("limits.topicAliasMaximum")).toEqual([0, 65_535]);
    expect(range("limits.packetBytesMax")).toEqual([16, 268_435_460]);
    expect(range("capabilities.sessionExpiryIntervalMax")).toEqual([0, 0xffff_ffff]);
    expect(range("capabilities.serverKeepAliveMax")).toEqual([0, 65_535]);
  });

  test.each([
    [
      "a wildcard in a topic prefix",
      "capabilities.responseInformationPrefix=a/#",
      /at most 1024 bytes without \+ and #, found "a\/#"/,
    ],
    [
      "U+0000",
      "capabilities.serverReference=a\0b",
      /^capabilities\.serverReference: expected a text of at most 1024 bytes/,
    ],
    ["a lone surrogate", "capabilities.serverReference=\ud800", /^capabilities\.serverReference: expected a text/],
    [
      "1025 bytes",
      `capabilities.serverReference=${"é".repeat(512)}x`,
      /^capabilities\.serverReference: expected a text/,
    ],
  ])("text: %s", (_name, setting, message) => {
    expect(errorOf(set(setting))).toMatch(message);
  });

  test("text: 1024 bytes fit", () => {
    const text = "é".repeat(512);
    expect(configOf(set(`capabilities.serverReference=${text}`)).capabilities.serverReference).toBe(text);
  });

  test("the low water mark stays below the high one", () => {
    expect(errorOf(set("limits.outboundLowWaterBytes=1048576"))).toBe(
      "limits.outboundLowWaterBytes: expected less than outboundHighWaterBytes, 1048576, found 1048576 (--set limits.outboundLowWaterBytes=1048576)",
    );
    expect(errorOf(set("limits.outboundHighWaterBytes=262144"))).toBe(
      "limits.outboundHighWaterBytes: expected more than outboundLowWaterBytes, 262144, found 262144 (--set limits.outboundHighWaterBytes=262144)",
    );
    const { limits } = configOf(set("limits.outboundLowWaterBytes=9", "limits.outboundHighWaterBytes=10"));
    expect([limits.outboundLowWaterBytes, limits.outboundHighWaterBytes]).toEqual([9, 10]);
  });
});

describe("listeners", () => {
  test.each([
    [
      "mqtt://127.0.0.1",
      { url: "mqtt://127.0.0.1:1883", transport: "tcp", hostname: "127.0.0.1", port: 1883, path: "" },
    ],
    ["mqtt://127.0.0.1:0/", { url: "mqtt://127.0.0.1:0", transport: "tcp", hostname: "127.0.0.1", port: 0, path: "" }],
    [
      "MQTT://LocalHost:65535",
      { url: "mqtt://localhost:65535", transport: "tcp", hostname: "localhost", port: 65535, path: "" },
    ],
    ["mqtt://[::1]", { url: "mqtt://[::1]:1883", transport: "tcp", hostname: "::1", port: 1883, path: "" }],
    ["mqtt://[0:0:0:0:0:0:0:1]:5", { url: "mqtt://[::1]:5", transport: "tcp", hostname: "::1", port: 5, path: "" }],
    ["mqtt://127.1:5", { url: "mqtt://127.0.0.1:5", transport: "tcp", hostname: "127.0.0.1", port: 5, path: "" }],
    [
      "ws://127.0.0.1",
      { url: "ws://127.0.0.1:8083/mqtt", transport: "ws", hostname: "127.0.0.1", port: 8083, path: "/mqtt" },
    ],
    ["ws://[::1]:80", { url: "ws://[::1]:80/mqtt", transport: "ws", hostname: "::1", port: 80, path: "/mqtt" }],
    ["ws://127.0.0.1/", { url: "ws://127.0.0.1:8083/", transport: "ws", hostname: "127.0.0.1", port: 8083, path: "/" }],
    [
      "ws://127.0.0.1/a/b",
      { url: "ws://127.0.0.1:8083/a/b", transport: "ws", hostname: "127.0.0.1", port: 8083, path: "/a/b" },
    ],
  ])("%s", (url, listener) => {
    expect(configOf(listen(url)).listeners).toEqual([listener as Config["listeners"][number]]);
  });

  test.each([
    ["", "a URL such as mqtt://127.0.0.1:1883 or ws://127.0.0.1:8083/mqtt"],
    ["127.0.0.1:1883", "a URL such as mqtt://127.0.0.1:1883 or ws://127.0.0.1:8083/mqtt"],
    ["mqtt:127.0.0.1", "a URL such as mqtt://127.0.0.1:1883 or ws://127.0.0.1:8083/mqtt"],
    ["tcp://127.0.0.1", "a URL that begins with mqtt://, mqtts://, ws:// or wss://"],
    ["constructor://127.0.0.1", "a URL that begins with mqtt://, mqtts://, ws:// or wss://"],
    ["unix:///run/rqtt.sock", "mqtt://, mqtts://, ws:// or wss://, as unix:// is not yet possible"],
    ["mqtts://127.0.0.1/mqtt", "no path after a mqtts:// address"],
    ["mqtt://", "a host: 127.0.0.1 or [::1] for this machine alone, 0.0.0.0 or [::] for the network"],
    ["mqtt://:1883", "a host: 127.0.0.1 or [::1] for this machine alone, 0.0.0.0 or [::] for the network"],
    ["mqtt://::1:1883", "a host name, an IPv4 address or an IPv6 address in brackets"],
    ["mqtt://[::g]:1883", "a host name, an IPv4 address or an IPv6 address in brackets"],
    ["mqtt://300.1.1.1", "a host name, an IPv4 address or an IPv6 address in brackets"],
    ["mqtt://127.0.0.1:", "a port from 0 to 65535"],
    ["mqtt://127.0.0.1:65536", "a port from 0 to 65535"],
    ["mqtt://127.0.0.1:-1", "a port from 0 to 65535"],
    ["mqtt://127.0.0.1:1e3", "a port from 0 to 65535"],
    ["mqtt://127.0.0.1/mqtt", "no path after a mqtt:// address"],
    ["ws://user:word@127.0.0.1", "a URL without user name and password"],
    ["ws://127.0.0.1/mqtt?x=1", "a URL without ? and #"],
    ["ws://127.0.0.1/mqtt#x", "a URL without ? and #"],
    ["ws://127.0.0.1/a b", "a URL without spaces, control characters and backslashes"],
    ["mqtt://127.0.0.1\\@x", "a URL without user name and password"],
    ["mqtt://127.0.0.1\\x", "a URL without spaces, control characters and backslashes"],
    ["mqtt://127.0.\n0.1", "a URL without spaces, control characters and backslashes"],
  ])("%j is refused", (url, expected) => {
    const shown = JSON.stringify(withoutSecrets(url));
    expect(errorOf(listen(url))).toStartWith(`listeners[0].url: expected ${expected}, found ${shown} (`);
  });

  test("two listeners of one address", () => {
    expect(errorOf(listen("mqtt://127.0.0.1:5", "ws://127.0.0.1:5"))).toStartWith(
      'listeners[1].url: expected another address than mqtt://127.0.0.1:5 has, found "ws://127.0.0.1:5/mqtt" (',
    );
    expect(configOf(listen("mqtt://127.0.0.1:0", "ws://127.0.0.1:0", "mqtt://[::1]:0")).listeners).toHaveLength(3);
    expect(configOf(listen("mqtt://127.0.0.1:5", "mqtt://[::1]:5")).listeners).toHaveLength(2);
  });

  const beyond = [
    "mqtt://0.0.0.0",
    "ws://[::]",
    "mqtt://192.0.2.7",
    "mqtt://example.org",
    "mqtt://[2001:db8::1]",
    "mqtt://0",
  ];
  test.each(beyond)("%s is refused unless everybody may come in", (url) => {
    for (const anonymous of ["loopback", "nowhere"]) {
      const message = errorOf({ argv: ["--listen", url, "--set", `auth.anonymous=${anonymous}`] });
      expect(message).toStartWith("listeners[0].url: expected 127.0.0.1, [::1] or localhost, ");
      expect(message).toInclude("type --set auth.anonymous=everywhere");
    }
    expect(configOf({ argv: ["--listen", url, "--set", "auth.anonymous=everywhere"] }).listeners).toHaveLength(1);
  });

  const local = ["mqtt://127.0.0.1", "mqtt://127.8.9.10", "mqtt://2130706433", "ws://[::1]", "mqtt://localhost"];
  test.each(local)("%s needs no authentication", (url) => {
    for (const anonymous of ["loopback", "nowhere", "everywhere"]) {
      expect(configOf({ argv: ["--listen", url, "--set", `auth.anonymous=${anonymous}`] }).auth.anonymous).toBe(
        anonymous as Config["auth"]["anonymous"],
      );
    }
  });

  test("a file beyond loopback is refused with the file's name", () => {
    expect(errorOf(toml('[[listeners]]\nurl = "mqtt://0.0.0.0"'))).toEndWith('found "mqtt://0.0.0.0:1883" (rqtt.toml)');
  });

  test.each(["mqtts", "wss"])(
    "%s:// needs a certificate and a key, and the command line has no place for them",
    (scheme) => {
      const needs = `a PEM file in this listener's [[listeners]] table, as ${scheme}:// needs one, found nothing`;
      expect(errorOf(listen(`${scheme}://127.0.0.1`))).toBe(
        `listeners[0].certificate: expected ${needs} (--listen ${scheme}://127.0.0.1)`,
      );
      expect(errorOf({ env: { RQTT_LISTENERS: `${scheme}://127.0.0.1` } })).toStartWith("listeners[0].certificate: ");
      const table = `[[listeners]]\nurl = "${scheme}://127.0.0.1"\n`;
      expect(errorOf(toml(table))).toBe(`listeners[0].certificate: expected ${needs} (rqtt.toml)`);
      expect(errorOf(toml(`${table}certificate = "a.pem"`))).toBe(`listeners[0].key: expected ${needs} (rqtt.toml)`);
      expect(errorOf(toml(`${table}key = "a.pem"`))).toStartWith("listeners[0].certificate: ");
    },
  );
});

describe("listeners with more than a URL", () => {
  const secure = 'certificate = "server.pem"\nkey = "keys/server.key"\n';
  const table = (url: string, more: string) => toml(`[[listeners]]\nurl = "${url}"\n${more}`);

  test("TLS: default ports and path, files as they are written", () => {
    const files = { certificate: "server.pem", key: "keys/server.key" };
    expect(configOf(table("mqtts://localhost", secure)).listeners).toEqual([
      { url: "mqtts://localhost:8883", transport: "tcp", hostname: "localhost", port: 8883, path: "", ...files },
    ]);
    expect(configOf(table("wss://[::1]", secure)).listeners).toEqual([
      { url: "wss://[::1]:8084/mqtt", transport: "ws", hostname: "::1", port: 8084, path: "/mqtt", ...files },
    ]);
  });

  test("client certificates are required where a CA is named, unless they are said to be optional", () => {
    const ca = `${secure}clientCa = "ca.pem"\n`;
    const [required] = configOf(table("mqtts://localhost", ca)).listeners;
    expect(required).toMatchObject({ clientCa: "ca.pem", clientCertificate: "required" });
    const [optional] = configOf(table("mqtts://localhost", `${ca}clientCertificate = "optional"`)).listeners;
    expect(optional?.clientCertificate).toBe("optional");
    const [web] = configOf(table("wss://localhost", `${ca}clientCertificate = "optional"`)).listeners;
    expect(web?.clientCertificate).toBe("optional");
  });

  test("origins of pages", () => {
    const origins = ["https://app.example", "http://localhost:3000", "https://[::1]:8443", "capacitor://localhost"];
    const [listener] = configOf(table("ws://localhost", `origins = ${JSON.stringify(origins)}`)).listeners;
    expect(listener?.origins).toEqual(origins);
  });

  test.each([
    [
      "mqtt://[::1]",
      'certificate = "a"',
      "certificate: expected none, as mqtt:// has no TLS and mqtts:// has, found one",
    ],
    ["ws://[::1]", 'key = "a"', "key: expected none, as ws:// has no TLS and wss:// has, found one"],
    ["mqtt://[::1]", 'clientCa = "a"', "clientCa: expected none, as mqtt:// has no TLS"],
    ["ws://[::1]", 'clientCertificate = "required"', "clientCertificate: expected none, as ws:// has no TLS"],
    [
      "mqtts://[::1]",
      `${secure}clientCertificate = "required"`,
      "clientCa: expected a PEM file with the CA that clientCertificate goes by, found nothing",
    ],
    [
      "mqtts://[::1]",
      `${secure}clientCa = "a"\nclientCertificate = "maybe"`,
      'clientCertificate: expected "required" or "optional", found "maybe"',
    ],
    [
      "mqtts://[::1]",
      `${secure}clientCertificate = true`,
      'clientCertificate: expected "required" or "optional", found true',
    ],
    ["mqtts://[::1]", 'certificate = 5\nkey = "a"', "certificate: expected the path of a PEM file, found 5"],
    ["mqtts://[::1]", 'certificate = ""\nkey = "a"', 'certificate: expected the path of a PEM file, found ""'],
    ["mqtts://[::1]", `${secure}clientCa = ["a"]`, "clientCa: expected the path of a PEM file, found a list"],
    [
      "mqtt://[::1]",
      'origins = ["https://a.example"]',
      "origins: expected none, as mqtt:// is not for web pages, found some",
    ],
    ["ws://[::1]", "origins = []", "origins: expected at least one origin, found none"],
    ["ws://[::1]", 'origins = "https://a.example"', 'origins: expected a list of origins, found "https://a.example"'],
    ["ws://[::1]", "origins = [1]", "origins: expected a list of origins, found a list"],
  ])("%s with %j is refused", (url, more, message) => {
    expect(errorOf(table(url, more))).toStartWith(`listeners[0].${message}`);
  });

  const wrong = [
    "*",
    "null",
    "app.example",
    "https://app.example/",
    "https://APP.example",
    "https://app.example:443",
    "https://a b",
  ];
  test.each(wrong)("%j is no origin", (origin) => {
    expect(errorOf(table("ws://[::1]", `origins = ["https://good.example", "${origin}"]`))).toBe(
      'listeners[0].origins: expected origins such as "https://app.example", letter by letter as browsers send them, ' +
        `found "${origin}" (rqtt.toml)`,
    );
  });

  test("a key in the configuration is not taken, and not repeated in the complaint", () => {
    const message = errorOf(table("mqtts://[::1]", 'certificate = "a"\nkey = "-----BEGIN PRIVATE KEY-----c2VjcmV0"'));
    expect(message).toBe("listeners[0].key: expected the path of a PEM file, found PEM text (rqtt.toml)");
  });

  test("TLS and client certificates do not make up for missing authentication beyond loopback", () => {
    const mutual = `${secure}clientCa = "ca.pem"\n`;
    expect(errorOf(table("mqtts://0.0.0.0", mutual))).toInclude("type --set auth.anonymous=everywhere");
  });
});

describe("the auth chain", () => {
  const chain = '[[auth.chain]]\nuse = "password-file"\nfile = "users.txt"\n[[auth.chain]]\nuse = "./mine.ts"\n';

  test("is a list of plugins, each with settings of its own", () => {
    expect(configOf(toml(chain)).auth.chain).toEqual([
      { use: "password-file", settings: { file: "users.txt" } },
      { use: "./mine.ts", settings: {} },
    ]);
  });

  test("lets a listener be reached by other machines", () => {
    expect(configOf(toml(chain, ["--listen", "mqtt://0.0.0.0:1883"])).listeners).toHaveLength(1);
  });

  test("and anonymous clients exclude each other, unless the chain says so itself", () => {
    expect(errorOf(toml(chain, ["--set", "auth.anonymous=everywhere"]))).toInclude('use = "allow-all"');
    expect(configOf(toml(chain, ["--set", "auth.anonymous=nowhere"])).auth.chain).toHaveLength(2);
  });

  test.each([
    ["[auth]\nchain = 1", /^auth\.chain: expected \[\[auth\.chain\]\] tables .*, found 1 /],
    ["[auth]\nchain = [1]", /^auth\.chain\[0\]: expected a table such as/],
    [
      '[[auth.chain]]\nfile = "x"',
      /^auth\.chain\[0\]\.use: expected a plugin's name, path or package, found undefined /,
    ],
    ['[auth]\nceiling = ["a/#/b"]', /^auth\.ceiling\[0\]: expected a Topic Filter without \$share, found "a\/#\/b" /],
    ['[auth]\nceiling = ["$share/g/a"]', /^auth\.ceiling\[0\]: /],
    ['[auth]\ndenyAction = "drop"', /^auth\.denyAction: expected "ignore" or "disconnect", found "drop" /],
  ])("%j is told what is wrong", (content, message) => {
    expect(errorOf(toml(content))).toMatch(message);
  });
});

test("a URL in a message keeps neither what stands before an @ nor what stands behind a question mark", () => {
  expect(withoutSecrets("mqtt://user:word@host:1")).toBe("mqtt://...@host:1");
  expect(withoutSecrets("ws://host/a?key=word")).toBe("ws://host/a?...");
  expect(withoutSecrets("ws://host/a#word")).toBe("ws://host/a?...");
  expect(withoutSecrets("mqtt://127.0.0.1:1883")).toBe("mqtt://127.0.0.1:1883");
});
