/** Users in a file: who comes in, what the file may look like, what a flood of bad logins costs, what a changed file does. */
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { connectAsync, type IClientOptions } from "mqtt";
import { createBroker, type RunningBroker } from "rqtt";
import { readPasswordHash, unmatchedHash } from "../../plugins/password/argon2-hash.ts";
import { hashPassword } from "../../plugins/password/hash.ts";
import { LoginGuard, networkOf } from "../../plugins/password/login-guard.ts";
import { readRuleLine } from "../../plugins/password/rule-line.ts";
import { VerifiedLogins } from "../../plugins/password/verified-logins.ts";
import passwordFile from "../../plugins/password-file.ts";
import { cheapHash, closeUserFiles, LIVE_SIGNAL, logIn, principalOf, UserFile, wordOf } from "../support/user-file.ts";

const brokers: RunningBroker[] = [];
afterEach(async () => {
  await Promise.all(brokers.splice(0).map((broker) => broker.close()));
  await closeUserFiles();
});

const doorHash = await cheapHash("open sesame");
const adaHash = await cheapHash("lovelace", 2);
const TEXT = [
  "# users",
  `door:${doorHash}:sensors`,
  `ada:${adaHash}`,
  "",
  "allow @sensors  pub  tele/${username}/#  maxQos=1 retain=no",
  "allow everybody sub  news/#  share=no",
  'allow ada       both "living room/#"',
  "deny  everybody both secret/#",
].join("\n");

describe("a login", () => {
  test("with the right password comes in with the rules of everybody, of its groups and its own", async () => {
    const provider = await new UserFile(TEXT).provider(passwordFile);
    expect(principalOf(await logIn(provider, "door", "open sesame"))).toEqual({
      id: "door",
      username: "door",
      permissions: {
        allow: [
          { on: "sub", filter: "news/#", share: false },
          { on: "pub", filter: "tele/${username}/#", maxQos: 1, retain: false },
        ],
        deny: [{ on: "both", filter: "secret/#" }],
      },
      evidence: expect.any(String),
    });
    const ada = principalOf(await logIn(provider, "ada", "lovelace"));
    expect(ada.permissions).toMatchObject({
      allow: [{ filter: "news/#" }, { on: "both", filter: "living room/#" }],
    });
  });

  test("with a wrong password, another user's password or an unknown name is refused alike", async () => {
    const provider = await new UserFile(TEXT).provider(passwordFile);
    for (const [username, password] of [
      ["door", "open sesam"],
      ["door", "lovelace"],
      ["nobody", "open sesame"],
      ["", "open sesame"],
      ["DOOR", "open sesame"],
      ["__proto__", "open sesame"],
    ] as const) {
      expect(wordOf(await logIn(provider, username, password))).toBe("bad-credentials");
    }
  });

  test("without a username is not this provider's kind", async () => {
    const provider = await new UserFile(TEXT).provider(passwordFile);
    expect(await logIn(provider, undefined, "open sesame")).toEqual({ do: "skip" });
    expect(await logIn(provider, undefined, undefined)).toEqual({ do: "skip" });
  });

  test("B: username without password, and with an empty one, is refused and costs no hash", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile);
    for (const username of ["door", "nobody"]) {
      expect(wordOf(await logIn(provider, username, undefined))).toBe("bad-credentials");
      expect(wordOf(await logIn(provider, username, ""))).toBe("bad-credentials");
    }
    expect(users.jobs.started).toBe(0);
  });

  test("B: a password of 65,535 bytes, and one that is not UTF-8, are passwords", async () => {
    const long = new Uint8Array(65_535).fill(0xff);
    const users = new UserFile(`a:${await cheapHash(long)}\nallow a pub x`);
    const provider = await users.provider(passwordFile);
    expect(wordOf(await logIn(provider, "a", long))).toBe("accept");
    expect(wordOf(await logIn(provider, "a", long.subarray(1)))).toBe("bad-credentials");
  });

  test("the id carries the realm, so that two files' users of one name are two principals", async () => {
    const provider = await new UserFile(TEXT).provider(passwordFile, { realm: "plant" });
    expect(principalOf(await logIn(provider, "door", "open sesame"))).toMatchObject({
      id: "plant:door",
      username: "door",
    });
  });

  test("B: an unknown user costs a hash like that of a user who is there", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile);
    expect(wordOf(await logIn(provider, "nobody", "x"))).toBe("bad-credentials");
    expect(users.jobs.started).toBe(1);
    const { memoryKiB, passes, lanes, salt, sum } = unmatchedHash(readPasswordHash(adaHash));
    expect([memoryKiB, passes, lanes, salt.length, sum.length]).toEqual([64, 2, 1, 16, 32]);
  });

  test('unknownUsers = "skip" leaves them to the next provider, after the hash; a bad password is still refused', async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile, { unknownUsers: "skip" });
    expect(await logIn(provider, "nobody", "x")).toEqual({ do: "skip" });
    expect(users.jobs.started).toBe(1);
    expect(await logIn(provider, "nobody", undefined)).toEqual({ do: "skip" });
    expect(wordOf(await logIn(provider, "door", "x"))).toBe("bad-credentials");
    expect(wordOf(await logIn(provider, "door", undefined))).toBe("bad-credentials");
  });

  test("a client that is gone before its turn costs no hash and counts as nothing", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile, { failuresPerUserMax: 1, failuresPerAddressMax: 1 });
    expect(wordOf(await logIn(provider, "door", "x", undefined, { ...LIVE_SIGNAL, aborted: true }))).toBe(
      "unavailable",
    );
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("accept");
  });
});

describe("a password that was right a moment ago", () => {
  test("is known without a hash for cacheSeconds, not longer for being used, and only itself", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile, { cacheSeconds: 30 });
    await logIn(provider, "door", "open sesame");
    users.clock.nowMs += 29_000;
    expect(wordOf(await logIn(provider, "door", "open sesame", "192.0.2.7"))).toBe("accept");
    expect(users.jobs.started).toBe(1);
    expect(wordOf(await logIn(provider, "door", "open sesame!"))).toBe("bad-credentials");
    expect(wordOf(await logIn(provider, "ada", "open sesame"))).toBe("bad-credentials");
    expect(users.jobs.started).toBe(3);
    users.clock.nowMs += 1_000;
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("accept");
    expect(users.jobs.started).toBe(4);
  });

  test("cacheSeconds = 0 hashes each time", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile, { cacheSeconds: 0 });
    for (let login = 0; login < 3; login++) await logIn(provider, "door", "open sesame");
    expect(users.jobs.started).toBe(3);
  });

  test("is forgotten with the password that the file had", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile);
    await logIn(provider, "door", "open sesame");
    await users.replace(TEXT.replace(doorHash, await cheapHash("another")));
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("bad-credentials");
    expect(wordOf(await logIn(provider, "door", "another"))).toBe("accept");
  });

  test("logins are kept in bounded number, oldest first to go", () => {
    const verified = new VerifiedLogins(1_000, () => 5);
    for (let login = 0; login < 10_050; login++) verified.add(String(login));
    expect(verified.size).toBe(10_000);
    expect(verified.has("49")).toBe(false);
    expect(verified.has("50")).toBe(true);
  });

  test("a clock that is set back does not prolong it", () => {
    const clock = { nowMs: 100_000 };
    const verified = new VerifiedLogins(1_000, () => clock.nowMs);
    verified.add("a");
    clock.nowMs = 0;
    expect(verified.has("a")).toBe(false);
  });
});

describe("failures", () => {
  test("of one address make it wait, without a hash, for all users it has not been let in with", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile, { failuresPerAddressMax: 3, failuresPerUserMax: 0 });
    for (let failure = 0; failure < 3; failure++) await logIn(provider, `u${failure}`, "x");
    expect(wordOf(await logIn(provider, "ada", "lovelace"))).toBe("banned");
    expect(users.jobs.started).toBe(3);
    expect(wordOf(await logIn(provider, "ada", "lovelace", "192.0.2.2"))).toBe("accept");
    users.clock.nowMs += 1_000;
    expect(wordOf(await logIn(provider, "u3", "x"))).toBe("bad-credentials");
    users.clock.nowMs += 1_999;
    expect(wordOf(await logIn(provider, "ada", "lovelace"))).toBe("banned");
    users.clock.nowMs += 1;
    expect(wordOf(await logIn(provider, "ada", "lovelace"))).toBe("accept");
  });

  test("for one user make that user wait at addresses where it never came in, known or not, and nobody else", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile, { failuresPerUserMax: 2, cacheSeconds: 0 });
    await logIn(provider, "door", "open sesame", "192.0.2.50");
    for (const username of ["door", "nobody"]) {
      for (let failure = 0; failure < 2; failure++) await logIn(provider, username, "x", `192.0.2.${failure}`);
      expect(wordOf(await logIn(provider, username, "x", "192.0.2.9"))).toBe("banned");
    }
    expect(wordOf(await logIn(provider, "ada", "lovelace", "192.0.2.9"))).toBe("accept");
    expect(wordOf(await logIn(provider, "door", "open sesame", "192.0.2.50"))).toBe("accept");
  });

  test("beside a client that came in do not lock it out, but its own do", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile, { failuresPerAddressMax: 2, failuresPerUserMax: 2 });
    await logIn(provider, "door", "open sesame");
    for (let failure = 0; failure < 2; failure++) await logIn(provider, "nobody", "x");
    expect(wordOf(await logIn(provider, "nobody", "x"))).toBe("banned");
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("accept");
    for (let failure = 0; failure < 2; failure++) await logIn(provider, "door", "x");
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("banned");
    users.clock.nowMs += 1_000;
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("accept");
  });

  test("owning one password does not wipe out an address's failures with others", () => {
    const guard = new LoginGuard({
      failuresPerAddressMax: 3,
      failuresPerUserMax: 3,
      backOffMsMax: 60_000,
      pendingPerAddressMax: 9,
      nowMs: () => 0,
    });
    for (let failure = 0; failure < 3; failure++) {
      guard.succeeded(guard.attempt("192.0.2.1", "own"));
      guard.failed(guard.attempt("192.0.2.1", `other ${failure}`));
    }
    expect(guard.isBlocked(guard.attempt("192.0.2.1", "other"))).toBe(true);
  });

  test("the wait doubles up to its bound, and is forgotten after a quiet time", () => {
    const clock = { nowMs: 0 };
    const guard = new LoginGuard({
      failuresPerAddressMax: 1,
      failuresPerUserMax: 0,
      backOffMsMax: 5_000,
      pendingPerAddressMax: 9,
      nowMs: () => clock.nowMs,
    });
    const attempt = guard.attempt("192.0.2.1", "u");
    const waits: number[] = [];
    for (let failure = 0; failure < 5; failure++) {
      guard.failed(attempt);
      const beginMs = clock.nowMs;
      while (guard.isBlocked(attempt)) clock.nowMs += 500;
      waits.push(clock.nowMs - beginMs);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 5_000, 5_000]);
    clock.nowMs += 60 * 60_000;
    guard.failed(attempt);
    clock.nowMs += 1_000;
    expect(guard.isBlocked(attempt)).toBe(false);
  });

  test("tables are bounded, whatever names and addresses come", () => {
    const guard = new LoginGuard({
      failuresPerAddressMax: 1,
      failuresPerUserMax: 1,
      backOffMsMax: 5_000,
      pendingPerAddressMax: 9,
      nowMs: () => 0,
    });
    for (let login = 0; login < 10_100; login++) {
      guard.failed(guard.attempt(`10.0.${login >> 8}.${login & 255}`, `u${login}`));
      guard.succeeded(guard.attempt(`10.1.${login >> 8}.${login & 255}`, `v${login}`));
    }
    expect(guard.entries).toBe(10_000);
    expect(guard.attempt("x".repeat(100_000), "u").address.length).toBeLessThan(100);
  });

  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0db8:0001:2::9", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["in-process", "in-process"],
  ])("%s counts as %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});

describe("a flood", () => {
  test("1,000 bad logins of one address: few hashes, one at a time, and none once it has to wait", async () => {
    const users = new UserFile(TEXT);
    const settings = { hashesRunningMax: 1, hashesWaitingMax: 16 };
    const provider = await users.provider(passwordFile, settings);
    const words = new Map<string, number>();
    for (let round = 0; round < 10; round++) {
      const verdicts = await Promise.all(
        Array.from({ length: 100 }, (_, at) => logIn(provider, `u${round}-${at}`, "guess", "192.0.2.66")),
      );
      for (const word of verdicts.map(wordOf)) words.set(word, (words.get(word) ?? 0) + 1);
    }
    expect(users.jobs.runningMax).toBe(1);
    expect(words.get("bad-credentials")).toBe(20);
    expect(words.get("busy")! + words.get("banned")!).toBe(980);
    const spent = users.jobs.started;
    for (let login = 0; login < 50; login++) await logIn(provider, "door", "guess", "192.0.2.66");
    expect(users.jobs.started).toBe(spent);
    expect(wordOf(await logIn(provider, "door", "open sesame", "192.0.2.67"))).toBe("accept");
  });

  test("B: queue full is busy, not a wait; one address takes only a part of the queue", async () => {
    const users = new UserFile(TEXT);
    const opened = Promise.withResolvers<void>();
    users.gate = opened.promise;
    const provider = await users.provider(passwordFile, { hashesRunningMax: 1, hashesWaitingMax: 8 });
    const flood = Array.from({ length: 20 }, () => logIn(provider, "u", "guess", "192.0.2.66"));
    const settled = await Promise.all(flood.slice(2));
    expect(settled.map(wordOf)).toEqual(Array(18).fill("busy"));
    const others = Array.from({ length: 7 }, (_, at) => logIn(provider, "door", "open sesame", `192.0.2.${at}`));
    expect(wordOf(await logIn(provider, "door", "open sesame", "192.0.2.99"))).toBe("busy");
    opened.resolve();
    expect((await Promise.all(flood.slice(0, 2))).map(wordOf)).toEqual(Array(2).fill("bad-credentials"));
    expect((await Promise.all(others)).map(wordOf)).toEqual(Array(7).fill("accept"));
    expect(users.jobs.runningMax).toBe(1);
  });

  test("logins that wait when their address is found out are refused without a hash", async () => {
    const users = new UserFile(TEXT);
    const settings = { hashesRunningMax: 1, failuresPerAddressMax: 2 };
    const provider = await users.provider(passwordFile, settings);
    const verdicts = await Promise.all(Array.from({ length: 10 }, (_, at) => logIn(provider, `u${at}`, "guess")));
    expect(verdicts.map(wordOf)).toEqual([...Array(2).fill("bad-credentials"), ...Array(8).fill("banned")]);
  });
});

describe("the file", () => {
  const problem = async (text: string | Uint8Array): Promise<string> => {
    const users = new UserFile("");
    users.write(text);
    return users.provider(passwordFile).then(
      () => "",
      (error: Error) => error.message,
    );
  };
  const phc = (parameters: string, salt = "c2FsdHNhbHQ", sum = "aGFzaGhhc2hoYXNoaGFzaA") =>
    `$argon2id$v=19$${parameters}$${salt}$${sum}`;

  test("F: an empty user file lets nobody in, nor does one of comments or of rules", async () => {
    for (const text of ["", "\n# nobody yet\n", "allow everybody both #"]) {
      const users = new UserFile(text);
      const provider = await users.provider(passwordFile);
      expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("bad-credentials");
      expect(users.jobs.started).toBe(1);
      expect(users.log.lines.join("\n")).toContain("no users");
    }
  });

  test("a file that is not there, is not UTF-8 or is open to writing by others refuses the start and says so", async () => {
    const users = new UserFile("");
    await expect(users.provider(passwordFile, { file: "absent" })).rejects.toThrow("absent: expected a readable file");
    expect(await problem(new Uint8Array([0x61, 0xff]))).toBe("users: expected UTF-8");
    users.write(TEXT, 0o606);
    await expect(users.provider(passwordFile, { file: users.path })).rejects.toThrow(
      "others cannot write, found mode 0606",
    );
  });

  test("a file that others can read is warned of", async () => {
    const users = new UserFile("");
    users.write(TEXT, 0o644);
    await users.provider(passwordFile, { file: users.path });
    expect(users.log.lines.filter((line) => line.includes("user-file-open-to-others"))).toHaveLength(1);
    const closed = new UserFile(TEXT);
    await closed.provider(passwordFile, { file: closed.path });
    expect(closed.log.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  test.each([
    ["canary-password", "expected USER:$argon2id$...[:GROUP,GROUP], or a line with allow or deny"],
    ["door:", "expected USER:$argon2id$"],
    ["door:canary-password", "found none"],
    ["door:$2b$12$canary-password", "found one of the kind 2b"],
    ["door:$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$canary-password", "found one of the kind argon2i"],
    [`door:${phc("m=64,t=1")}`, "found a garbled one"],
    [`door:${phc("m=64,t=1,p=1", "c2FsdHNhbHR")}`, "whose parameters, salt and hash can be read"],
    [`door:${phc("m=4,t=1,p=1")}`, "whose parameters, salt and hash can be read"],
    [`door:${phc("m=64,t=0,p=1")}`, "whose parameters, salt and hash can be read"],
    [`door:${phc("m=64,t=1,p=1", "c2FsdA")}`, "expected"],
    [`door:${phc("m=64,t=1,p=1", undefined, "aGFzaGhhc2g")}`, "sumBytes from 16 to 64"],
    [`door:${phc("m=16,t=1,p=4")}`, "expected an argon2id hash"],
    [`:${doorHash}`, "expected a user name"],
    [` door :${doorHash}`, "without blanks around it"],
    [`everybody:${doorHash}`, 'not "everybody"'],
    [`@sensors:${doorHash}`, 'does not begin with "@"'],
    [`door:${doorHash}:a b`, "expected groups"],
    [`door:${doorHash}:`, "expected groups"],
    [`door:${doorHash}:a:b`, "expected USER:"],
    [`door:${doorHash}\ndoor:${adaHash}`, "expected one line for a user, found a second one"],
  ])("B: a malformed hash line refuses the file: %p", async (line, expected) => {
    const complaint = await problem(`# first\n${line}`);
    expect(complaint).toStartWith(line.includes("\n") ? "users:3: " : "users:2: ");
    expect(complaint).toContain(expected);
    expect(complaint).not.toContain("canary");
    expect(complaint).not.toContain(doorHash);
  });

  test.each([
    ["m=4194304,t=1,p=1", "memoryKiB from 8 to 131072"],
    ["m=64,t=999,p=1", "passes from 1 to 16"],
    ["m=2048,t=1,p=255", "lanes from 1 to 16"],
    ["m=131072,t=16,p=1", "memory times passes (m * t) up to"],
    ["m=4294967295,t=1,p=1", "found a garbled one"],
  ])("B: bounds on m, t, p at load: %s", async (parameters, expected) => {
    expect(await problem(`a:${phc(parameters)}`)).toContain(expected);
  });

  test("a hash cut or changed anywhere is refused, or can be verified without a throw", async () => {
    const users = new UserFile("");
    let refused = 0;
    for (let at = 0; at < doorHash.length; at++) {
      for (const text of [doorHash.slice(0, at), `${doorHash.slice(0, at)}~${doorHash.slice(at + 1)}`]) {
        users.write(`door:${text}`);
        try {
          const provider = await users.provider(passwordFile);
          expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("bad-credentials");
        } catch (error) {
          expect((error as Error).message).toStartWith("users:1: expected ");
          refused++;
        }
      }
    }
    expect(refused).toBeGreaterThan(doorHash.length);
  });

  test("line ends of Windows, a byte order mark, blanks and a name with blanks and signs are fine", async () => {
    const users = new UserFile(`\u{feff}# x\r\n  living room/+ü:${doorHash}  \r\nallow "living room/+ü" pub a\r\n`);
    const provider = await users.provider(passwordFile);
    const { permissions } = principalOf(await logIn(provider, "living room/+ü", "open sesame"));
    expect(permissions).toEqual({ allow: [{ on: "pub", filter: "a" }], deny: [] });
  });

  test("what is hardly meant is told: rules for nobody, users who may do nothing", async () => {
    const users = new UserFile(`door:${doorHash}:sensors\nallow @sensor pub a\ndeny dor pub b\n`);
    await users.provider(passwordFile);
    const warnings = users.log.lines.filter((line) => line.startsWith("warn user-file-warning"));
    expect(warnings.map((line) => JSON.parse(line.slice(line.indexOf("{"))).warning)).toEqual([
      "users:2: no user is in that group",
      "users:3: no user has that name",
      "users: 1 users without an allow rule may do nothing, such as door",
    ]);
  });
});

describe("a rule line", () => {
  test.each([
    ["allow everybody both #", { on: "both", filter: "#" }],
    ["allow ada sub $SYS/#", { on: "sub", filter: "$SYS/#" }],
    [
      "allow ada sub +/a//+/#  share=one,two maxQos=0",
      { on: "sub", filter: "+/a//+/#", share: ["one", "two"], maxQos: 0 },
    ],
    [
      "allow ada both a retain=yes share=yes maxQos=2",
      { on: "both", filter: "a", retain: true, share: true, maxQos: 2 },
    ],
    ["deny\tada\tpub\t${clientId}/${id}", { on: "pub", filter: "${clientId}/${id}" }],
  ])("%s", (line, rule) => {
    expect(readRuleLine(line).rule).toEqual(rule as never);
  });

  test.each([
    ["allow", "expected allow|deny"],
    ["allow ada", "expected allow|deny"],
    ["allow @ pub a", "expected allow|deny"],
    ["allow ada publish a", "expected allow|deny"],
    ["allow ada pub", "FILTER is missing"],
    ['allow ada pub "a b', "double quotes"],
    ["allow ada pub a#", '"#" only as the last level'],
    ["allow ada pub #/a", '"#" only as the last level'],
    ["allow ada pub a+/b", '"+" alone in its level'],
    ["allow ada sub $share/g/a", "without $share"],
    ["allow ada pub a/${user}", "no placeholders but"],
    ["allow ada pub a/${username", "no placeholders but"],
    ["allow ada pub a maxQos=3", "maxQos=0, maxQos=1 or maxQos=2"],
    ["allow ada pub a maxQos=1 maxQos=2", "expected maxQos once"],
    ["allow ada pub a maxqos=1", "expected options"],
    ["allow ada pub a on=sub", "expected on once"],
    ["allow ada pub a retain=maybe", "retain=yes or retain=no"],
    ["allow ada sub a retain=no", "retain only with pub"],
    ["allow ada pub a share=no", "share only with sub"],
    ["allow ada sub a share=a,+", "share=yes, share=no"],
    ["deny ada pub a maxQos=1", "expected no options"],
  ])("C: a mistaken rule is refused: %s", (line, expected) => {
    expect(() => readRuleLine(line)).toThrow(expected);
  });
});

describe("a changed file", () => {
  test("takes effect without a restart, and drops whose password or rights went, and nobody else", async () => {
    const lines = ["a", "b", "c", "d", "e"].map((name) => `${name}:${doorHash}${name === "d" ? ":g" : ""}`);
    const rules = ["allow @g pub g/#", "allow everybody sub news", "allow e pub e"];
    const users = new UserFile([...lines, ...rules].join("\n"));
    const provider = await users.provider(passwordFile, { realm: "r" });
    for (const name of ["a", "b", "c", "d", "e"]) {
      users.live.push({ ...principalOf(await logIn(provider, name, "open sesame")), provider: "password-file" });
    }
    // a keeps all and gains something, b vanishes, c has another password, d leaves its group, e is denied something.
    const next = [`a:${doorHash}`, `c:${adaHash}`, `d:${doorHash}`, `e:${doorHash}`, `f:${doorHash}`];
    await users.replace([...next, ...rules, "allow a pub more", "deny e pub e/secret"].join("\n"));
    expect(users.dropped).toEqual(["r:b", "r:c", "r:d", "r:e"]);
    expect(wordOf(await logIn(provider, "b", "open sesame", "192.0.2.2"))).toBe("bad-credentials");
    expect(wordOf(await logIn(provider, "c", "lovelace", "192.0.2.3"))).toBe("accept");
    expect(wordOf(await logIn(provider, "f", "open sesame", "192.0.2.4"))).toBe("accept");
  });

  test("F: one that is not understood, or not UTF-8, keeps the old users and is told with its line", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile);
    const line = await users.replace(`${TEXT}\nallow door pub a#`, "user-file-refused");
    expect(line).toContain("users:9: ");
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("accept");
    await users.replace(new Uint8Array([0xff]), "user-file-refused");
    expect(wordOf(await logIn(provider, "ada", "lovelace"))).toBe("accept");
    expect(users.dropped).toEqual([]);
    await users.replace("");
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("bad-credentials");
  });

  test("during a hash does not let in with what it took away", async () => {
    const users = new UserFile(TEXT);
    const opened = Promise.withResolvers<void>();
    users.gate = opened.promise;
    const provider = await users.provider(passwordFile);
    const logins = [logIn(provider, "door", "open sesame"), logIn(provider, "ada", "lovelace", "192.0.2.2")];
    await users.replace(`door:${await cheapHash("another")}`);
    opened.resolve();
    expect((await Promise.all(logins)).map(wordOf)).toEqual(["bad-credentials", "bad-credentials"]);
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("bad-credentials");
  });

  test("after close changes nothing", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(passwordFile);
    await provider.close?.();
    users.write("");
    expect(wordOf(await logIn(provider, "door", "open sesame"))).toBe("accept");
  });
});

describe("hashPassword", () => {
  test("makes a line that the provider takes, of OWASP's cost, salted, and refuses an empty password", async () => {
    const [one, two] = await Promise.all([hashPassword("pä$$"), hashPassword(new TextEncoder().encode("pä$$"))]);
    expect(one).toStartWith("$argon2id$v=19$m=19456,t=2,p=1$");
    expect(one).not.toBe(two);
    const provider = await new UserFile(`a:${one}\nb:${two}\nallow everybody pub a`).provider(passwordFile);
    expect(wordOf(await logIn(provider, "a", "pä$$"))).toBe("accept");
    expect(wordOf(await logIn(provider, "b", "pä$$"))).toBe("accept");
    await expect(hashPassword("")).rejects.toThrow("not empty");
  });
});

describe("a broker with MQTT.js clients", () => {
  const start = async (users: UserFile): Promise<string> => {
    const broker = await createBroker({
      listeners: ["mqtt://127.0.0.1:0"],
      sysIntervalMs: 0,
      log: users.log,
      folder: users.folder,
      plugins: [{ plugin: passwordFile, config: { file: "users" } }],
    });
    brokers.push(broker);
    return broker.urls[0]!;
  };
  const comeIn = (url: string, options: IClientOptions) =>
    connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...options }, false);
  const failure = (url: string, options: IClientOptions): Promise<unknown> =>
    comeIn(url, options).then(
      () => "let in",
      (error: { code?: unknown }) => error.code,
    );

  test("lets in by password and no other way, keeps to the rules, drops on a changed file, and tells no secret", async () => {
    const canary = "canary-7f3a";
    const canaryHash = await cheapHash(canary);
    const users = new UserFile(`door:${canaryHash}\nallow door both tele/\${username}/# maxQos=1\n`);
    const url = await start(users);
    expect(await failure(url, { username: "door", password: `${canary}x` })).toBe(0x86);
    expect(await failure(url, { username: `u-${canary}`, password: canary })).toBe(0x86);
    expect(await failure(url, { username: "door" })).toBe(0x86);
    expect(await failure(url, {})).toBe(0x87);
    expect(await failure(url, { username: "door", password: "x", protocolVersion: 4 })).toBe(4);

    const client = await comeIn(url, { username: "door", password: canary, clientId: "d" });
    const granted = await client.subscribeAsync(["tele/door/#", "tele/#", "tele/other/x"], { qos: 2 }).then(
      () => [],
      (error: { packet?: { granted?: number[] } }) => error.packet?.granted,
    );
    expect(granted).toEqual([1, 0x87, 0x87]);
    const received = new Promise<string>((resolve) => client.once("message", (_, payload) => resolve(String(payload))));
    await client.publishAsync("tele/door/state", "shut", { qos: 1 });
    expect(await received).toBe("shut");
    const refused = await client.publishAsync("tele/other/state", "x", { qos: 1 }).catch((error) => error.code);
    expect(refused).toBe(0x87);

    const disconnected = new Promise<number | undefined>((resolve) =>
      client.once("disconnect", ({ reasonCode }) => resolve(reasonCode)),
    );
    client.on("error", () => {});
    await users.replace("# nobody");
    expect(await disconnected).toBe(0x87);
    expect(await failure(url, { username: "door", password: canary })).toBe(0x86);

    const log = users.log.lines.join("\n");
    expect(log).toContain("user-file-loaded");
    expect(log.replaceAll(`u-${canary}`, "")).not.toContain(canary);
    for (const part of canaryHash.split("$").slice(4)) expect(log).not.toContain(part);
  });

  test("does not start with a garbled file", async () => {
    const users = new UserFile("door:canary-password");
    const problem = await start(users).then(
      () => "",
      (error: Error) => error.message,
    );
    expect(problem).toContain("users:1: expected a hash");
    expect(problem).not.toContain("canary");
    expect(users.path).toBe(join(users.folder, "users"));
  });
});
