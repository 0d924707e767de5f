/** SCRAM: the published example, the dialogue and every way to leave it, users who are not there, re-authentication. */
import { afterEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect, type IConnackPacket, type MqttClient } from "mqtt";
import { createBroker, type RunningBroker } from "rqtt";
import { deriveScramKeys, scramEntry } from "../../plugins/password/hash.ts";
import { formatScramKeys, readScramKeys } from "../../plugins/password/scram-keys.ts";
import {
  formatServerFirst,
  readClientFinal,
  readClientFirst,
  ScramFault,
  verifyProof,
} from "../../plugins/password/scram-message.ts";
import { prepareString } from "../../plugins/password/string-preparation.ts";
import scramFile from "../../plugins/scram-file.ts";
import type { ConnectRequest, Exchange, Provider, Verdict } from "../../src/core/gate/provider.ts";
import { readChallenge, ScramClient, type ScramClientOptions } from "../support/scram-client.ts";
import { closeUserFiles, connectRequest, LIVE_SIGNAL, principalOf, UserFile, wordOf } from "../support/user-file.ts";

const brokers: RunningBroker[] = [];
const clients: MqttClient[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.endAsync(true)));
  await Promise.all(brokers.splice(0).map((broker) => broker.close()));
  await closeUserFiles();
});

const toBytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const toText = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

const [door256, door512, ada256] = await Promise.all([
  scramEntry("open sesame", "SCRAM-SHA-256", 4_096),
  scramEntry("open sesame", "SCRAM-SHA-512", 5_000),
  scramEntry("lovelace", "SCRAM-SHA-256", 4_096),
]);
const TEXT = [
  `door:${door256}:sensors`,
  `door:${door512}`,
  `ada:${ada256}`,
  `a=b,c:${ada256}`,
  "allow @sensors both tele/${username}/#",
  "allow ada pub #",
].join("\n");

const begin = (provider: Provider, changes: Partial<ConnectRequest> & { readonly address?: string } = {}): Exchange =>
  provider.exchange!(connectRequest({ authenticationMethod: "SCRAM-SHA-256", ...changes }));

const step = async (exchange: Exchange, data: Uint8Array | string | undefined): Promise<Verdict> =>
  exchange.step(typeof data === "string" ? toBytes(data) : data, LIVE_SIGNAL);

/** The whole dialogue, up to its first refusal. */
async function talk(
  provider: Provider,
  options: ScramClientOptions,
  changes: Partial<ConnectRequest> & { readonly address?: string } = {},
): Promise<Verdict> {
  const client = new ScramClient(options);
  const exchange = begin(provider, { authenticationMethod: options.mechanism ?? "SCRAM-SHA-256", ...changes });
  const first = await step(exchange, client.first());
  if (first.do !== "continue") return first;
  const final = await step(exchange, client.final(first.data!));
  if (final.do === "accept") expect(toText(final.data)).toBe(client.serverFinal);
  return final;
}

const DOOR = { username: "door", password: "open sesame" };

describe("the example of RFC 7677", () => {
  const clientNonce = "rOprNGfwEbeRWgbNEkqO";
  const nonce = `${clientNonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0`;
  const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
  const clientFinal = `c=biws,r=${nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`;

  test("comes out byte for byte", async () => {
    const keys = await deriveScramKeys("pencil", "SCRAM-SHA-256", 4_096, salt);
    const first = readClientFirst(toBytes(`n,,n=user,r=${clientNonce}`));
    expect(first).toEqual({
      header: "n,,",
      bare: `n=user,r=${clientNonce}`,
      username: "user",
      authorizationId: undefined,
      nonce: clientNonce,
    });
    const serverFirst = formatServerFirst(nonce, keys.salt, keys.iterations);
    expect(serverFirst).toBe(`r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`);
    const final = readClientFinal(toBytes(clientFinal), first.header, nonce, 32);
    expect(verifyProof(keys, first.bare, serverFirst, final)).toEqual({
      isRight: true,
      serverFinal: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    });
    final.proof[0]! ^= 1;
    expect(verifyProof(keys, first.bare, serverFirst, final).isRight).toBe(false);
  });

  test("our own client of the tests agrees", () => {
    const client = new ScramClient({ username: "user", password: "pencil", nonce: clientNonce });
    expect(toText(client.first())).toBe(`n,,n=user,r=${clientNonce}`);
    expect(toText(client.final(toBytes(formatServerFirst(nonce, salt, 4_096))))).toBe(clientFinal);
    expect(client.serverFinal).toBe("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  });
});

describe("a dialogue", () => {
  test("ends well for both methods, with the user's rules and the server's signature", async () => {
    const provider = await new UserFile(TEXT).provider(scramFile, { realm: "r" });
    expect(provider.methods).toEqual(["SCRAM-SHA-256", "SCRAM-SHA-512"]);
    expect(provider.connect).toBeUndefined();
    for (const mechanism of ["SCRAM-SHA-256", "SCRAM-SHA-512"] as const) {
      expect(principalOf(await talk(provider, { ...DOOR, mechanism }))).toEqual({
        id: "r:door",
        username: "door",
        permissions: { allow: [{ on: "both", filter: "tele/${username}/#" }], deny: [] },
        evidence: expect.any(String),
      });
    }
  });

  test.each(["n,,", "y,,", "n,a=door,"])("takes the header %s", async (header) => {
    const provider = await new UserFile(TEXT).provider(scramFile);
    expect(wordOf(await talk(provider, { ...DOOR, header }))).toBe("accept");
  });

  test("escapes in a name are undone, extensions that are optional are let be", async () => {
    const provider = await new UserFile(TEXT).provider(scramFile);
    expect(principalOf(await talk(provider, { username: "a=b,c", password: "lovelace" })).id).toBe("a=b,c");
    expect(wordOf(await talk(provider, { ...DOOR, lies: { more: ",x=y" } }))).toBe("accept");
  });

  test("begins with an invitation where CONNECT carried no data; only once", async () => {
    const provider = await new UserFile(TEXT).provider(scramFile);
    const exchange = begin(provider);
    expect(await step(exchange, undefined)).toEqual({ do: "continue" });
    const client = new ScramClient(DOOR);
    const challenge = await step(exchange, client.first());
    expect(wordOf(await step(exchange, client.final((challenge as { data: Uint8Array }).data)))).toBe("accept");
    const silent = begin(provider);
    await step(silent, undefined);
    expect(wordOf(await step(silent, undefined))).toBe("bad-credentials");
  });

  test.each([
    ["a wrong password", { password: "x" }, "bad-credentials"],
    ["an unknown user", { username: "nobody" }, "bad-credentials"],
    [
      "a user without keys for the method",
      { username: "ada", password: "lovelace", mechanism: "SCRAM-SHA-512" },
      "bad-credentials",
    ],
    ["acting for another user", { header: "n,a=ada," }, "not-authorized"],
    ["another nonce", { lies: { nonce: "abc" } }, "bad-credentials"],
    ["another binding", { lies: { binding: "eSws" } }, "bad-credentials"],
    ["a short proof", { lies: { proof: "AAAA" } }, "bad-credentials"],
    ["an empty proof", { lies: { proof: "" } }, "bad-credentials"],
    ["a proof of zeros", { lies: { proof: `${"A".repeat(43)}=` } }, "bad-credentials"],
    ["a proof that is no base64", { lies: { proof: `${"A".repeat(42)}==` } }, "bad-credentials"],
  ] as const)("is refused for %s", async (_, changes, word) => {
    const provider = await new UserFile(TEXT).provider(scramFile);
    expect(wordOf(await talk(provider, { ...DOOR, ...changes }))).toBe(word);
  });

  test.each([
    "",
    "n",
    "n,,",
    "n,,n=door",
    "n,,r=abc,n=door",
    "n,,n=,r=abc",
    "n,,n=door,r=",
    "n,,n=door,r=a b",
    "n,,n=door,r=ä",
    "n,,n=do=or,r=abc",
    "n,,n=door=2c,r=abc",
    "n,,n=do\u0007or,r=abc",
    "n,,m=x,n=door,r=abc",
    "p=tls-exporter,,n=door,r=abc",
    "p=tls-unique,a=door,n=door,r=abc",
    "x,,n=door,r=abc",
    "\u{feff}n,,n=door,r=abc",
    `n,,n=door,r=${"a".repeat(5_000)}`,
  ])("is refused for a malformed first message: %p", async (message) => {
    const provider = await new UserFile(TEXT).provider(scramFile);
    const exchange = begin(provider);
    expect(wordOf(await step(exchange, message))).toBe("bad-credentials");
    // Nothing can follow a refusal, a right message neither.
    expect(wordOf(await step(exchange, new ScramClient(DOOR).first()))).toBe("bad-credentials");
  });

  test("is refused for bytes that are not UTF-8, and never throws, whatever is changed", async () => {
    const provider = await new UserFile(TEXT).provider(scramFile, { failuresPerAddressMax: 0, failuresPerUserMax: 0 });
    expect(wordOf(await step(begin(provider), new Uint8Array([0xff, 0xfe])))).toBe("bad-credentials");
    const length = new ScramClient({ ...DOOR, nonce: "n" }).first().length;
    for (let at = 0; at < length; at++) {
      for (const byte of [0, 0x2c, 0x3d, 0xff]) {
        const message = new ScramClient({ ...DOOR, nonce: "n" }).first();
        message[at] = byte;
        expect(["continue", "bad-credentials"]).toContain(wordOf(await step(begin(provider), message)));
      }
    }
  });

  test("cannot be played again: the server's nonce is new each time, and a finished exchange answers nothing", async () => {
    const provider = await new UserFile(TEXT).provider(scramFile);
    const client = new ScramClient(DOOR);
    const exchange = begin(provider);
    const challenge = await step(exchange, client.first());
    const final = client.final((challenge as { data: Uint8Array }).data);
    expect(wordOf(await step(exchange, final))).toBe("accept");
    expect(wordOf(await step(exchange, final))).toBe("bad-credentials");
    const again = begin(provider);
    await step(again, client.first());
    expect(wordOf(await step(again, final))).toBe("bad-credentials");
    const aborted = begin(provider);
    await step(aborted, client.first());
    aborted.abort?.();
    expect(wordOf(await step(aborted, final))).toBe("bad-credentials");
  });

  test("is refused where CONNECT names another user", async () => {
    const provider = await new UserFile(TEXT).provider(scramFile);
    expect(wordOf(await talk(provider, DOOR, { username: "ada" }))).toBe("bad-credentials");
    expect(wordOf(await talk(provider, DOOR, { username: "door" }))).toBe("accept");
  });

  test("is refused if the file took the password away meanwhile", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(scramFile);
    const client = new ScramClient(DOOR);
    const exchange = begin(provider);
    const challenge = await step(exchange, client.first());
    await users.replace(`door:${ada256}`);
    expect(wordOf(await step(exchange, client.final((challenge as { data: Uint8Array }).data)))).toBe(
      "bad-credentials",
    );
    expect(wordOf(await talk(provider, { ...DOOR, password: "lovelace" }))).toBe("accept");
  });
});

describe("a user who is not there", () => {
  const challengeOf = async (provider: Provider, username: string, mechanism = "SCRAM-SHA-256") => {
    const verdict = await step(
      begin(provider, { authenticationMethod: mechanism }),
      new ScramClient({ username, password: "x" }).first(),
    );
    if (verdict.do !== "continue") throw new Error("no challenge");
    return readChallenge(verdict.data!);
  };

  test("B: gets a salt of its own that stays the same, and iterations of a user who is there", async () => {
    const provider = await new UserFile(TEXT).provider(scramFile);
    const [one, again, other, longer] = [
      await challengeOf(provider, "nobody"),
      await challengeOf(provider, "nobody"),
      await challengeOf(provider, "nobody2"),
      await challengeOf(provider, "nobody", "SCRAM-SHA-512"),
    ];
    expect(one.salt).toBe(again.salt);
    expect(new Set([one.salt, other.salt, longer.salt]).size).toBe(3);
    expect(Buffer.from(one.salt, "base64")).toHaveLength(16);
    expect(one.iterations).toBe(4_096);
    expect(one.nonce).not.toBe(again.nonce);
  });

  test("with fakeSaltKey gets the same salt after another start; without, another", async () => {
    const salts: string[] = [];
    for (const settings of [{ fakeSaltKey: { env: "SALT_KEY" } }, { fakeSaltKey: { env: "SALT_KEY" } }, {}, {}]) {
      const provider = await new UserFile(TEXT).provider(scramFile, settings);
      salts.push((await challengeOf(provider, "nobody")).salt);
    }
    expect(salts[0]).toBe(salts[1]!);
    expect(new Set(salts).size).toBe(3);
    const users = new UserFile(TEXT);
    writeFileSync(join(users.folder, "key"), "short\n");
    const tooShort = users.provider(scramFile, { fakeSaltKey: { file: "key" } });
    await expect(tooShort).rejects.toThrow("fakeSaltKey: expected at least 16");
  });

  test("has to wait after failures as one who is there does", async () => {
    const users = new UserFile(TEXT);
    const provider = await users.provider(scramFile, { failuresPerUserMax: 2 });
    for (const username of ["door", "nobody"]) {
      for (let failure = 0; failure < 2; failure++) {
        await talk(provider, { username, password: "x" }, { address: `192.0.2.${failure}` });
      }
      expect(wordOf(await talk(provider, { username, password: "open sesame" }))).toBe("banned");
    }
    users.clock.nowMs += 1_000;
    expect(wordOf(await talk(provider, DOOR))).toBe("accept");
  });
});

describe("a re-authentication", () => {
  test("is for the same user only", async () => {
    const provider = await new UserFile(TEXT).provider(scramFile);
    const current = { ...principalOf(await talk(provider, DOOR)), provider: "scram-file" };
    expect(principalOf(await talk(provider, DOOR, { current }))).toMatchObject({ id: "door" });
    expect(wordOf(await talk(provider, { username: "ada", password: "lovelace" }, { current }))).toBe("not-authorized");
    expect(wordOf(await talk(provider, { ...DOOR, password: "x" }, { current }))).toBe("bad-credentials");
  });
});

describe("the keys in the file", () => {
  test.each([
    ["door:open sesame", "expected SCRAM-SHA-256$ITERATIONS"],
    [`door:${door256.replace("256", "1")}`, "expected SCRAM-SHA-256$ITERATIONS"],
    [`door:${door256.replace("4096", "4095")}`, "expected from 4096 to 10000000 iterations"],
    [`door:${door256.replace("4096", "1e9")}`, "iterations"],
    [`door:${door256.replace("4096", "99999999")}`, "iterations"],
    [`door:${door256.replace(/\$[^$]{24}\$/u, "$$AAAA$$")}`, "expected a salt of 8 to 256 bytes"],
    [`door:${door256.slice(0, -4)}`, "expected two keys of 32 bytes"],
    [`door:${door256.replace("256", "512")}`, "expected two keys of 64 bytes"],
    [`door:${door256}$AAAA`, "expected SCRAM-SHA-256$ITERATIONS"],
    [`ｄoor:${door256}`, "in its normal form"],
    [`door:${door256}\ndoor:${ada256}`, "found a second one"],
  ])("B: a garbled line refuses the load: %p", async (line, expected) => {
    const problem = await new UserFile(line).provider(scramFile).then(
      () => "",
      (error: Error) => error.message,
    );
    expect(problem).toMatch(/^users:[12]: /u);
    expect(problem).toContain(expected);
    expect(problem).not.toContain("open sesame");
  });

  test("scramEntry writes what readScramKeys reads, with another salt each time, and refuses what cannot be carried", async () => {
    const [one, two] = await Promise.all([scramEntry("x"), scramEntry("x")]);
    expect(one).toStartWith("SCRAM-SHA-256$15000$");
    expect(one).not.toBe(two);
    expect(formatScramKeys(readScramKeys(one))).toBe(one);
    for (const password of ["", "\u0007", "\u{ad}"])
      await expect(scramEntry(password)).rejects.toThrow("expected a password");
  });

  test.each([
    // RFC 4013 section 3.
    ["I\u{ad}X", "IX"],
    ["user", "user"],
    ["USER", "USER"],
    ["\u{aa}", "a"],
    ["\u{2168}", "IX"],
    ["\u{7}", undefined],
    ["a\u{a0}b\u{3000}c", "a b c"],
    ["e\u{301}", "\u{e9}"],
    ["\u{e000}", undefined],
    ["\u{202e}x", undefined],
  ])("%p is prepared to %p", (text, prepared) => {
    expect(prepareString(text)).toBe(prepared);
  });

  test("a fault tells nothing of the message", () => {
    expect(() => readClientFirst(toBytes("n,,n=canary"))).toThrow(ScramFault);
    expect(() => readClientFirst(toBytes("n,,n=canary"))).not.toThrow("canary");
  });
});

describe("a broker with MQTT.js clients", () => {
  interface Session {
    readonly client: MqttClient;
    readonly scram: ScramClient;
    readonly connack: Promise<IConnackPacket>;
  }

  const start = async (users: UserFile): Promise<string> => {
    const broker = await createBroker({
      listeners: ["mqtt://127.0.0.1:0"],
      sysIntervalMs: 0,
      log: users.log,
      folder: users.folder,
      plugins: [{ plugin: scramFile, config: { file: "users" } }],
    });
    brokers.push(broker);
    return broker.urls[0]!;
  };

  const comeIn = (url: string, options: ScramClientOptions): Session => {
    const scram = new ScramClient(options);
    const method = { authenticationMethod: options.mechanism ?? "SCRAM-SHA-256" };
    const client = connect(url, {
      protocolVersion: 5,
      reconnectPeriod: 0,
      properties: { ...method, authenticationData: Buffer.from(scram.first()) },
    });
    clients.push(client);
    client.handleAuth = (packet, callback) => {
      if (packet.reasonCode === 0) return callback();
      const authenticationData = Buffer.from(scram.final(packet.properties!.authenticationData!));
      callback(undefined, { cmd: "auth", reasonCode: 24, properties: { ...method, authenticationData } });
    };
    const connack = new Promise<IConnackPacket>((resolve, reject) => {
      client.once("connect", resolve);
      client.once("error", reject);
    });
    return { client, scram, connack };
  };

  test("lets in by SCRAM, proves itself, renews, keeps to the rules, and tells no secret", async () => {
    const canary = "canary-91c2";
    const entry = await scramEntry(canary, "SCRAM-SHA-512", 4_096);
    const users = new UserFile(`door:${entry}\nallow door both tele/\${username}/#`);
    const url = await start(users);
    const { client, scram, connack } = comeIn(url, { username: "door", password: canary, mechanism: "SCRAM-SHA-512" });
    expect(toText((await connack).properties?.authenticationData)).toBe(scram.serverFinal);
    expect(await client.publishAsync("tele/door/x", "1", { qos: 1 }).then(() => "taken")).toBe("taken");
    expect(await client.publishAsync("tele/ada/x", "1", { qos: 1 }).catch(({ code }) => code)).toBe(0x87);

    // MQTT.js never begins a re-authentication by itself; its packets and its handler of AUTH serve as well.
    const renewal = new ScramClient({ username: "door", password: canary, mechanism: "SCRAM-SHA-512" });
    const method = { authenticationMethod: "SCRAM-SHA-512" };
    const renewed = new Promise<string>((resolve) => {
      client.handleAuth = (packet, callback) => {
        const { authenticationData } = packet.properties!;
        if (packet.reasonCode === 0) {
          resolve(toText(authenticationData));
          return callback();
        }
        const properties = { ...method, authenticationData: Buffer.from(renewal.final(authenticationData!)) };
        callback(undefined, { cmd: "auth", reasonCode: 24, properties });
      };
    });
    const properties = { ...method, authenticationData: Buffer.from(renewal.first()) };
    client["_sendPacket"]({ cmd: "auth", reasonCode: 25, properties });
    const signature = await renewed;
    expect(signature).toBe(renewal.serverFinal);
    expect(await client.publishAsync("tele/door/x", "2", { qos: 1 }).then(() => "taken")).toBe("taken");

    const log = users.log.lines.join("\n");
    expect(log).toContain("user-file-loaded");
    expect(log).not.toContain(canary);
    for (const part of entry.split("$").slice(2)) expect(log).not.toContain(part);
  });

  test.each([
    ["a wrong password", { ...DOOR, password: "x" }, 0x86],
    ["an unknown user", { ...DOOR, username: "nobody" }, 0x86],
    ["channel binding", { ...DOOR, header: "p=tls-exporter,," }, 0x86],
  ] as const)("keeps out for %s", async (_, options, reasonCode) => {
    const url = await start(new UserFile(TEXT));
    const { connack } = comeIn(url, options);
    expect(
      await connack.then(
        () => 0,
        ({ code }: { code: number }) => code,
      ),
    ).toBe(reasonCode);
  });

  test("refuses a login without a method, which is not its kind", async () => {
    const url = await start(new UserFile(TEXT));
    const client = connect(url, { protocolVersion: 5, reconnectPeriod: 0, ...DOOR });
    clients.push(client);
    const code = await new Promise((resolve) =>
      client.once("error", (error) => resolve((error as { code?: number }).code)),
    );
    expect(code).toBe(0x87);
  });
});
