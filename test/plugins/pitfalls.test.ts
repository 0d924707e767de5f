/**
 * Pitfalls that no provider has to itself: secrets of any length, back-off beside the hashing queue, a key that goes while its
 * sessions live, user files that are empty or cannot be read.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { hash } from "@node-rs/argon2";
import { harness } from "rqtt/plugin-testing";
import jwt from "../../plugins/jwt.ts";
import { scramEntry } from "../../plugins/password/hash.ts";
import passwordFile from "../../plugins/password-file.ts";
import scramFile from "../../plugins/scram-file.ts";
import template from "../../plugins/template.ts";
import type { PluginUse } from "../../src/bun/plugin-chain.ts";
import { ScramClient } from "../support/scram-client.ts";
import { AUDIENCE, ISSUER, newKey, type SigningKey, settled, signToken } from "../support/token-kit.ts";
import { cheapHash, closeUserFiles, logIn, principalOf, UserFile, wordOf } from "../support/user-file.ts";

afterEach(closeUserFiles);

describe("secrets of unequal length", () => {
  const lengths = [1, 2, 10, 11, 12, 31, 32, 33, 64, 10_000];
  const guesses = lengths.map((length) => "open sesame".repeat(1_000).slice(0, length));

  test.each([16, 20, 32, 64])(
    "B: secrets of unequal length compare without a throw: password-file, a hash of %d bytes",
    async (outputLen) => {
      const line = await hash("open sesame", { memoryCost: 64, timeCost: 1, parallelism: 1, outputLen });
      const settings = { failuresPerAddressMax: 0, failuresPerUserMax: 0 };
      const provider = await new UserFile(`door:${line}\nallow door pub a`).provider(passwordFile, settings);
      for (const guess of guesses) {
        expect(wordOf(await logIn(provider, "door", guess))).toBe(
          guess === "open sesame" ? "accept" : "bad-credentials",
        );
      }
    },
  );

  test("B: secrets of unequal length compare without a throw: scram-file, proofs", async () => {
    const settings = { file: "users", failuresPerAddressMax: 0, failuresPerUserMax: 0 };
    const text = `door:${await scramEntry("open sesame", "SCRAM-SHA-256", 4_096)}\nallow door pub a`;
    const door = await harness(scramFile, settings, { files: { users: text } });
    for (const length of [0, 1, 31, 32, 33, 64, 1_000]) {
      const proof = Buffer.alloc(length, 0x41).toString("base64");
      const client = new ScramClient({ username: "door", password: "open sesame", lies: { proof } });
      const ended = await door.exchange("SCRAM-SHA-256", [client.first(), (challenge) => client.final(challenge!)]);
      expect([length, ended.verdict, ended.error]).toEqual([
        length,
        expect.objectContaining({ because: "bad-credentials" }),
        undefined,
      ]);
    }
    await door.close();
  });

  test("B: secrets of unequal length compare without a throw: template, PINs", async () => {
    const settings = { badges: { file: "badges.txt" }, area: "doors" };
    const door = await harness(template, settings, { files: { "badges.txt": "anna 4711" } });
    for (const password of ["4", "471", "4711", "47110", ...guesses]) {
      const { reasonCode, error } = await door.connect({ username: "anna", password });
      expect([reasonCode, error]).toEqual([password === "4711" ? 0 : 0x86, undefined]);
    }
    await door.close();
  });
});

test("B: the back-off does not hold a hashing slot", async () => {
  const users = new UserFile(`door:${await cheapHash("open sesame")}\nallow door pub a`);
  const settings = { hashesRunningMax: 1, hashesWaitingMax: 4, failuresPerAddressMax: 1, failuresPerUserMax: 0 };
  const provider = await users.provider(passwordFile, settings);
  expect(wordOf(await logIn(provider, "door", "guess", "192.0.2.66"))).toBe("bad-credentials");
  // The clock stands: the address has to wait from now on, and the one slot is free all the same.
  expect(users.jobs).toEqual({ started: 1, running: 0, runningMax: 1 });
  for (let login = 0; login < 20; login++) {
    expect(wordOf(await logIn(provider, "door", "guess", "192.0.2.66"))).toBe("banned");
  }
  expect(wordOf(await logIn(provider, "door", "open sesame", "192.0.2.1"))).toBe("accept");
  expect(users.jobs.started).toBe(2);
  // The slot is taken by somebody else: whoever has to wait is told so at once, and takes no place in the queue.
  const opened = Promise.withResolvers<void>();
  users.gate = opened.promise;
  const hashing = logIn(provider, "door", "another guess", "192.0.2.2");
  for (let login = 0; login < 20; login++) {
    expect(wordOf(await logIn(provider, "door", "guess", "192.0.2.66"))).toBe("banned");
  }
  const queued = [3, 4, 5, 6].map((host) => logIn(provider, "u", "guess", `192.0.2.${host}`));
  opened.resolve();
  const verdicts = await Promise.all([hashing, ...queued]);
  expect(verdicts.map(wordOf)).toEqual(Array(5).fill("bad-credentials"));
});

test("B: a key that is removed while a session lives: the session lives until its token expires", async () => {
  const [key, other] = await Promise.all([newKey("ES256", "first"), newKey("ES256", "second")]);
  const both = JSON.stringify({ keys: [key.jwk, other.jwk] });
  const rules = [{ allow: [{ on: "pub", filter: "door/#" }] }];
  const settings = {
    issuers: {
      main: { issuer: ISSUER, audience: AUDIENCE, algorithms: ["ES256"], keys: { file: "keys.json" }, rules },
    },
  };
  const door = await harness(jwt, settings, { files: { "keys.json": both } });
  const token = (from: SigningKey, seconds: number) =>
    signToken(from, { nowMs: door.nowMs, claims: { exp: Math.floor(door.nowMs / 1_000) + seconds } });
  const session = await door.connect({ password: await token(key, 600) });
  expect([session.reasonCode, session.can("pub", "door/a")]).toEqual([0, true]);
  const old = await token(key, 6_000);
  expect((await door.connect({ password: old })).reasonCode).toBe(0);

  const loaded = () => door.logged.filter(({ event }) => event === "issuer-keys-loaded").length;
  const before = loaded();
  door.writeFile("keys.json", JSON.stringify({ keys: [other.jwk] }));
  // Keys are imported in the background, and only the log says when that is done.
  for (let turn = 0; turn < 1_000 && loaded() === before; turn++) await settled();
  expect(loaded()).toBe(before + 1);

  expect((await door.connect({ password: old })).reasonCode).toBe(0x86);
  expect((await door.connect({ password: await token(key, 600) })).reasonCode).toBe(0x86);
  expect((await door.connect({ password: await token(other, 600) })).reasonCode).toBe(0);
  expect([session.endedWith, session.can("pub", "door/a")]).toEqual([undefined, true]);
  door.advance(599_000);
  expect([session.endedWith, session.can("pub", "door/a")]).toEqual([undefined, true]);
  door.advance(1_001);
  expect(session.endedWith).toBe(0x87);
  await door.close();
});

describe("user files", () => {
  const plugins: readonly [string, PluginUse["plugin"]][] = [
    ["password-file", passwordFile],
    ["scram-file", scramFile],
  ];
  const talk = async (door: Awaited<ReturnType<typeof harness>>, name: string): Promise<number> => {
    if (name === "password-file") return (await door.connect({ username: "door", password: "open sesame" })).reasonCode;
    const client = new ScramClient({ username: "door", password: "open sesame" });
    return (await door.exchange("SCRAM-SHA-256", [client.first(), (asked) => client.final(asked!)])).reasonCode;
  };

  test.each(plugins)("F: an empty user file lets nobody in: %s", async (name, plugin) => {
    for (const users of ["", "\n", "# nobody\n", "allow everybody both #\n"]) {
      const door = await harness(plugin, { file: "users" }, { files: { users } });
      expect(await talk(door, name)).toBe(0x86);
      expect((await door.connect()).accepted).toBe(false);
      expect((await door.connect({ username: "", password: "" })).accepted).toBe(false);
      await door.close();
    }
  });

  test("F: an unreadable file on reload keeps the old rules", async () => {
    const text = `door:${await cheapHash("open sesame")}\nallow door pub door/#\ndeny everybody both secret/#`;
    const users = new UserFile(text);
    const provider = await users.provider(passwordFile, { cacheSeconds: 0 });
    const before = principalOf(await logIn(provider, "door", "open sesame"));
    const keeps = async (change: () => void): Promise<void> => {
      const said = users.log.next("user-file-refused");
      change();
      await said;
      expect(principalOf(await logIn(provider, "door", "open sesame"))).toEqual(before);
      expect(wordOf(await logIn(provider, "nobody", "open sesame", "192.0.2.2"))).toBe("bad-credentials");
      expect(wordOf(await logIn(provider, undefined, undefined))).toBe("skip");
    };
    await keeps(() => rmSync(users.path));
    await keeps(() => mkdirSync(users.path));
    expect(users.dropped).toEqual([]);
    rmSync(users.path, { recursive: true });
    await users.replace("door:", "user-file-refused");
    await users.replace(text.replace("door/#", "gate/#"));
    expect(principalOf(await logIn(provider, "door", "open sesame")).permissions).toMatchObject({
      allow: [{ filter: "gate/#" }],
    });
  });
});
