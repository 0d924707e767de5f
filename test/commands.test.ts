/** The commands beside the broker, as processes: what they print, where, and how they end; and the auth chain by SIGHUP. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLineProcess } from "./support/line-process.ts";
import { RawClient } from "./support/raw-client.ts";
import { ROOT } from "./support/repository.ts";
import { newKey, pemOf, signToken, type TokenParts } from "./support/token-kit.ts";

setDefaultTimeout(30_000);

const MAIN = join(ROOT, "src", "main.ts");
const folder = mkdtempSync(join(tmpdir(), "rqtt-commands-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function rqtt(argv: readonly string[], input = ""): Promise<Ended> {
  const child = Bun.spawn([process.execPath, MAIN, ...argv], {
    cwd: folder,
    stdin: new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, stdout, stderr };
}

async function userFile(name: string, password: string): Promise<string> {
  const { stdout } = await rqtt(["auth", "hash"], `${password}\n`);
  const path = join(folder, name);
  writeFileSync(path, `door:${stdout.trim()}\nallow door both door/\${username}/#\n`);
  chmodSync(path, 0o600);
  return path;
}

function config(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return name;
}

describe("auth hash", () => {
  test("prints a hash and nothing else; the same password hashes differently every time", async () => {
    const [first, second] = await Promise.all([rqtt(["auth", "hash"], "secret\n"), rqtt(["auth", "hash"], "secret\n")]);
    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout).toMatch(/^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[^$\s]+\$[^$\s]+\n$/u);
    expect(first.stdout).not.toBe(second.stdout);
  });

  test("prints SCRAM keys", async () => {
    const { stdout } = await rqtt(["auth", "hash", "--scram", "SCRAM-SHA-512"], "secret");
    expect(stdout).toMatch(/^SCRAM-SHA-512\$\d+\$/u);
  });

  test.each([
    [["auth", "hash", "secret"], "", "seen by every user"],
    [["auth", "hash"], "\n", "an empty password"],
    [["auth", "hash", "--scram", "MD5"], "x", "expected SCRAM-SHA-256 or SCRAM-SHA-512"],
    [["auth", "hash", "--salt", "x"], "x", "unknown flag --salt"],
    [["auth", "guess"], "", "auth guess: no such command"],
    [["plugin"], "", "no such command"],
  ])("%j is told what is wrong", async (argv, input, expected) => {
    const { code, stdout, stderr } = await rqtt(argv, input);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toInclude(expected);
  });
});

describe("auth check", () => {
  test("says who decided, what is allowed and which codes a client gets; never the password", async () => {
    await userFile("users", "canary-secret");
    const file = config(
      "check.toml",
      '[auth]\nceiling = ["door/door/cap"]\n[[auth.chain]]\nuse = "password-file"\nfile = "users"\n',
    );
    const ask = (input: string, ...more: string[]) =>
      rqtt(["auth", "check", "--config", file, "--username", "door", ...more], input);
    const good = await ask("canary-secret\n", "--publish", "door/door/a", "--subscribe", "door/door/b");
    expect(good.code).toBe(0);
    expect(good.stdout).toInclude('let in by password-file as "door"');
    expect(good.stdout).toInclude("publish door/door/a: yes, to QoS 2");
    expect(good.stdout).toInclude("subscribe door/door/b: yes, to QoS 2");
    const tooMuch = await ask("canary-secret\n", "--publish", "door/door/cap", "--subscribe", "$share/g/#");
    expect(tooMuch.code).toBe(1);
    expect(tooMuch.stdout).toInclude("publish door/door/cap: no: PUBACK 0x87");
    expect(tooMuch.stdout).toInclude("subscribe $share/g/#: no: SUBACK 0x87");
    const bad = await ask("canary-guess\n");
    expect(bad.code).toBe(1);
    expect(bad.stdout).toInclude("CONNACK 0x86 Bad User Name or Password");
    expect(bad.stdout).toInclude("MQTT 3.1.1 client: 4");
    expect(JSON.stringify([good, tooMuch, bad])).not.toContain("canary");
  });

  test.each([
    [["auth", "check"], "expected --config FILE"],
    [["auth", "check", "--config", "none.toml"], "--config: expected a file that can be read"],
    [["auth", "check", "--config", "open.toml"], "has no [[auth.chain]]"],
    [["auth", "check", "--config", "typo.toml"], "auth.chain[0].flie: unknown setting"],
    [["auth", "check", "--config", "nobody.toml"], "auth.chain[0].use: cannot load plugin"],
  ])("%j is told what is wrong", async (argv, expected) => {
    config("open.toml", "");
    config("typo.toml", '[[auth.chain]]\nuse = "password-file"\nflie = "users"\n');
    config("nobody.toml", '[[auth.chain]]\nuse = "./nobody.ts"\n');
    const { code, stderr } = await rqtt(argv, "x");
    expect(code).toBe(2);
    expect(stderr).toInclude(expected);
  });
});

describe("auth check, check by check", () => {
  const chain = `
    [[auth.chain]]
    use = "jwt"
    [auth.chain.issuers.factory]
    issuer = "https://issuer.example"
    audience = "rqtt"
    algorithms = ["ES256"]
    keys = { file = "factory.pem" }
    [[auth.chain]]
    use = "password-file"
    file = "checked-users"
  `;
  const check = (input: string, ...more: string[]) =>
    rqtt(["auth", "check", "--config", config("checks.toml", chain), ...more], input);
  const linesOf = ({ stdout }: Ended) => stdout.split("\n").filter((line) => /^ {2}(?:ok|NO) {2}/u.test(line));
  let token: (parts?: TokenParts) => Promise<string>;
  let foreign: (parts?: TokenParts) => Promise<string>;

  beforeAll(async () => {
    const [key, rsa] = await Promise.all([newKey("ES256", "key-1"), newKey("RS256", "key-1")]);
    writeFileSync(join(folder, "factory.pem"), await pemOf(key));
    await userFile("checked-users", "canary-secret");
    token = (parts) => signToken(key, parts);
    foreign = (parts) => signToken(rsa, parts);
  });

  test("a good token: aligned lines before the verdict, and providers that were not asked have none", async () => {
    const good = await check(await token({ claims: { scope: "mqtt:read:cmd/#" } }));
    expect(good.code).toBe(0);
    const lines = linesOf(good);
    expect(lines.filter((line) => !line.startsWith("  ok  "))).toEqual([]);
    expect(lines).toContain('  ok  aud:       "rqtt"');
    expect(lines).toContain("  ok  rights:    allow sub cmd/#");
    expect(good.stdout.indexOf(lines.at(-1)!)).toBeLessThan(good.stdout.indexOf("let in by jwt"));
    expect(good.stdout).not.toInclude("password:");
  });

  test.each([
    [
      "wrong issuer",
      { claims: { iss: "https://issuer.example/" } },
      /^iss: +expected "https:\/\/issuer\.example", found "https:\/\/issuer\.example\/": .*slash at the end/u,
    ],
    ["wrong audience", { claims: { aud: "account" } }, /^aud: +expected "rqtt", found "account": .*\(ask the issuer/u],
    [
      "expired",
      { claims: { exp: 1_000 } },
      /^exp: +expected a time to come, found 1970-01-01T00:16:40Z, \d+ days ago: expired/u,
    ],
  ] as const)("%s", async (_, parts, expected) => {
    const sent = await token(parts);
    const bad = await check(sent);
    expect(bad.code).toBe(1);
    const wrong = linesOf(bad).filter((line) => line.startsWith("  NO"));
    expect(wrong.map((line) => line.slice(6))).toEqual([expect.stringMatching(expected)]);
    expect(bad.stdout).toInclude("MQTT 5.0 client: CONNACK 0x86");
    for (const part of sent.split(".")) expect(JSON.stringify(bad)).not.toContain(part);
  });

  test("wrong algorithm: what the token claims is marked as unverified", async () => {
    const bad = await check(await foreign());
    expect(bad.code).toBe(1);
    expect(bad.stdout).toMatch(/NO {2}alg: +expected ES256, found "RS256": not one of this issuer's algorithms/u);
    expect(bad.stdout).toInclude('aud:       "rqtt" (unverified)');
  });

  test("wrong password, unknown user, and what a token makes of a terminal", async () => {
    const wrong = await check("canary-guess", "--username", "door");
    expect([wrong.code, linesOf(wrong).filter((line) => line.startsWith("  NO"))]).toEqual([
      1,
      [
        expect.stringContaining("token: expected one in password, found none: left to the next provider"),
        expect.stringContaining("password: expected the one of the user, found another one"),
      ],
    ]);
    const unknown = await check("canary-secret", "--username", "canary-name");
    expect(unknown.stdout).toMatch(/NO {2}user: +expected a name in checked-users, found another one/u);
    expect(JSON.stringify([wrong, unknown])).not.toContain("canary");
    const claims = { aud: "\u001b[2J\u009b31m\u202e" };
    const hostile = await check(await token({ claims }));
    expect(hostile.stdout).toInclude("aud:");
    expect(linesOf(hostile).join("")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  test("SCRAM: the checks decide, since the dialogue has steps that this command cannot make", async () => {
    const { stdout } = await rqtt(["auth", "hash", "--scram", "SCRAM-SHA-256"], "canary-secret");
    writeFileSync(join(folder, "scram-users"), `door:${stdout.trim()}\n`);
    chmodSync(join(folder, "scram-users"), 0o600);
    const file = config("scram.toml", '[[auth.chain]]\nuse = "scram-file"\nfile = "scram-users"\n');
    const ask = (input: string, ...more: string[]) =>
      rqtt(["auth", "check", "--config", file, "--username", "door", "--method", "SCRAM-SHA-256", ...more], input);
    const [good, bad, topic] = [
      await ask("canary-secret"),
      await ask("canary"),
      await ask("canary-secret", "--publish", "a"),
    ];
    expect([good.code, bad.code, topic.code]).toEqual([0, 1, 1]);
    expect(good.stdout).toInclude("password: it fits");
    expect(bad.stdout).toInclude("NO  password:");
    expect(JSON.stringify([good, bad, topic])).not.toContain("canary");
  });

  test("a plugin that fails to explain itself costs its explanation alone", async () => {
    const source = `export default { apiVersion: 1, name: "odd", create: () => ({
      connect: () => ({ do: "accept", principal: { id: "a", permissions: "everything" } }),
      explain: () => { throw new Error("canary-secret"); },
    }) };`;
    writeFileSync(join(folder, "odd.ts"), source);
    const odd = config("odd.toml", '[[auth.chain]]\nuse = "./odd.ts"\n');
    const { code, stdout } = await rqtt(["auth", "check", "--config", odd], "x");
    expect([code, stdout]).toEqual([0, expect.stringContaining("NO  explanation: expected one, found none")]);
    expect(stdout).not.toContain("canary");
  });
});

describe("plugin new", () => {
  test("writes a plugin whose test passes as it is, and overwrites nothing", async () => {
    const made = await rqtt(["plugin", "new", "my-badge", "--folder", "made"]);
    expect(made.code).toBe(0);
    const path = join(folder, "made", "my-badge.ts");
    expect(readFileSync(path, "utf8")).toInclude('from "rqtt/plugin"');
    // As after `bun add rqtt`.
    mkdirSync(join(folder, "node_modules"), { recursive: true });
    if (!existsSync(join(folder, "node_modules", "rqtt"))) symlinkSync(ROOT, join(folder, "node_modules", "rqtt"));
    const tested = Bun.spawn([process.execPath, "test", "./made/my-badge.test.ts"], {
      cwd: folder,
      stderr: "pipe",
      stdout: "pipe",
    });
    const report = await tested.stderr.text();
    expect([await tested.exited, report]).toEqual([0, expect.stringContaining(" 0 fail")]);
    const again = await rqtt(["plugin", "new", "my-badge", "--folder", "made"]);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("exists")]);
  });

  test("a name that is none", async () => {
    expect((await rqtt(["plugin", "new", "../x"])).code).toBe(2);
  });
});

/** CONNECT of level 4 with user name and password. */
function connectBytes(username: string, password: string): number[] {
  const text = (value: string) => [0, value.length, ...new TextEncoder().encode(value)];
  const body = [...text("MQTT"), 4, 0xc2, 0, 0, ...text("c"), ...text(username), ...text(password)];
  return [0x10, body.length, ...body];
}

/** Logs in as "door"; answers the return code. */
async function login(port: number, password: string): Promise<number> {
  const client = await RawClient.connect(port);
  client.send(connectBytes("door", password));
  const packet = await client.packet();
  client.end();
  return packet[3]!;
}

describe("a broker with a chain", () => {
  test("lets in whom the file knows, and takes a new chain by SIGHUP; a wrong one leaves the old in force", async () => {
    await userFile("first", "one");
    await userFile("second", "two");
    const chain = (file: string) => `[[auth.chain]]\nuse = "password-file"\nfile = "${file}"\n`;
    const file = config("live.toml", chain("first"));
    const argv = [process.execPath, "--no-orphans", MAIN, "--config", file, "--listen", "mqtt://127.0.0.1:0"];
    const child = startLineProcess(argv, { cwd: folder });
    const ready = await child.line((line) => line.startsWith("rqtt ready"));
    const port = Number(new URL(ready.split(" ")[2]!).port);
    expect([await login(port, "one"), await login(port, "two")]).toEqual([0, 4]);
    config("live.toml", chain("second"));
    child.signal("SIGHUP");
    await child.stderrLine((line) => line.includes("auth-reloaded"));
    expect([await login(port, "one"), await login(port, "two")]).toEqual([4, 0]);
    config("live.toml", chain("missing"));
    child.signal("SIGHUP");
    await child.stderrLine((line) => line.includes("auth-reload-refused"));
    expect(await login(port, "two")).toBe(0);
    child.signal("SIGTERM");
    expect(await child.exited).toBe(0);
  });

  test("outlives a plugin whose listeners, timers and loose promises throw, and logs none of what they say", async () => {
    const plugin = `export default {
      apiVersion: 1,
      name: "broken",
      create: () => ({
        connect({ username }, signal) {
          if (username !== "door") return { do: "refuse", because: "bad-credentials" };
          signal.addEventListener("abort", () => { throw new Error("canary listener"); });
          setTimeout(() => { throw new Error("canary timer"); });
          void Promise.reject(new Error("canary promise"));
          return new Promise(() => {});
        },
      }),
    };`;
    writeFileSync(join(folder, "broken.ts"), plugin);
    const file = config("broken.toml", '[[auth.chain]]\nuse = "./broken.ts"\n');
    const argv = [process.execPath, "--no-orphans", MAIN, "--config", file, "--listen", "mqtt://127.0.0.1:0"];
    const child = startLineProcess(argv, { cwd: folder });
    const ready = await child.line((line) => line.startsWith("rqtt ready"));
    const port = Number(new URL(ready.split(" ")[2]!).port);
    const client = await RawClient.connect(port);
    client.send(connectBytes("door", "x"));
    await child.stderrLine((line) => line.includes("uncaught-exception"));
    client.end();
    await child.stderrLine((line) => line.includes("uncaught-exception"));
    const other = await RawClient.connect(port);
    other.send(connectBytes("window", "x"));
    expect((await other.packet())[3]).toBe(4);
    expect(child.stderr()).toInclude("unhandled-rejection");
    expect(child.stderr()).not.toInclude("canary");
    child.signal("SIGTERM");
    expect(await child.exited).toBe(0);
  });

  test("does not become an open one by SIGHUP: an emptied file leaves the chain in force", async () => {
    await userFile("kept", "one");
    const file = config("emptied.toml", '[[auth.chain]]\nuse = "password-file"\nfile = "kept"\n');
    const argv = [process.execPath, "--no-orphans", MAIN, "--config", file, "--listen", "mqtt://127.0.0.1:0"];
    const child = startLineProcess(argv, { cwd: folder });
    const ready = await child.line((line) => line.startsWith("rqtt ready"));
    const port = Number(new URL(ready.split(" ")[2]!).port);
    config("emptied.toml", "");
    child.signal("SIGHUP");
    await child.stderrLine((line) => line.includes("auth-reload-refused"));
    expect([await login(port, "two"), await login(port, "one")]).toEqual([4, 0]);
    child.signal("SIGTERM");
    expect(await child.exited).toBe(0);
  });

  test("drops a user who is gone from the file when SIGHUP comes right behind the change", async () => {
    const path = await userFile("going", "one");
    const file = config("going.toml", '[[auth.chain]]\nuse = "password-file"\nfile = "going"\n');
    const argv = [process.execPath, "--no-orphans", MAIN, "--config", file, "--listen", "mqtt://127.0.0.1:0"];
    const child = startLineProcess(argv, { cwd: folder });
    const ready = await child.line((line) => line.startsWith("rqtt ready"));
    const client = await RawClient.connect(Number(new URL(ready.split(" ")[2]!).port));
    client.send(connectBytes("door", "one"));
    expect((await client.packet())[3]).toBe(0);
    const { stdout } = await rqtt(["auth", "hash"], "other\n");
    writeFileSync(path, `somebody:${stdout.trim()}\n`);
    child.signal("SIGHUP");
    await client.closed;
    child.signal("SIGTERM");
    expect(await child.exited).toBe(0);
  });

  test("does not start where a plugin or its settings are wrong: exit code 2, one line", async () => {
    const file = config("wrong.toml", '[[auth.chain]]\nuse = "password-file"\n');
    const { code, stdout, stderr } = await rqtt(["--config", file, "--listen", "mqtt://127.0.0.1:0"]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^rqtt: auth\.chain\[0\]\.file: expected .*\n$/u);
  });
});
