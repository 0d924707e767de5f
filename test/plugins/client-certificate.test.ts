/** client-certificate: who a certificate says somebody is, and what is no identity. */
import { describe, expect, test } from "bun:test";
import clientCertificate from "../../plugins/client-certificate.ts";
import type { PeerCertificate } from "../../src/core/gate/provider.ts";
import { conformance, harness } from "../../src/plugin-testing/harness.ts";

const allow = [{ on: "pub", filter: "door/${id}/#" }];
const byName = { identity: "common-name", allow };
const byDns = { identity: "alternative-name", prefix: "DNS:", allow };

function certificate(changes: Partial<PeerCertificate> = {}): PeerCertificate {
  const commonName = "commonName" in changes ? changes.commonName : "door1";
  return {
    sha256: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
    subject: `C=DE, O=Example, CN=${commonName}`,
    commonName,
    alternativeNames: ["DNS:door1.example", "URI:urn:door:1"],
    ...changes,
  };
}

/** What becomes of a client with this certificate: its identity, or the refusal's word. */
async function outcome(settings: unknown, changes: Partial<PeerCertificate>): Promise<string> {
  const door = await harness(clientCertificate, settings);
  const { verdict, principal, reasonCode, returnCode } = await door.connect({ certificate: certificate(changes) });
  await door.close();
  if (verdict?.do !== "refuse") return `id ${principal?.id}`;
  expect([reasonCode, returnCode]).toEqual([0x87, 5]);
  return verdict.because;
}

test("keeps the contract", async () => {
  const good = [{ certificate: certificate() }, { certificate: certificate(), username: "somebody", password: "else" }];
  const bad = [{ certificate: certificate({ commonName: "" }) }];
  await conformance(clientCertificate, byName, { good, bad, foreign: [{}, { username: "door1", password: "x" }] });
});

describe("identity", () => {
  const subject = "C=DE, O=Example, CN=door1";
  test.each([
    ["common name", byName, {}, "id door1"],
    ["subject", { identity: "subject", allow }, {}, `id ${subject}`],
    ["DNS name", byDns, {}, "id door1.example"],
    ["URI", { ...byDns, prefix: "URI:urn:door:" }, {}, "id 1"],
    ["letters beyond ASCII", byName, { commonName: "t\u00fcr" }, "id t\u00fcr"],
  ])("%s", async (_name, settings, changes, expected) => {
    expect(await outcome(settings, changes)).toBe(expected);
  });

  test("the user name of the client counts for nothing, not even in rules", async () => {
    const door = await harness(clientCertificate, { ...byName, allow: [{ on: "pub", filter: "of/${username}" }] });
    const client = await door.connect({ certificate: certificate(), username: "boss", password: "x" });
    expect([client.principal?.username, client.can("pub", "of/door1"), client.can("pub", "of/boss")]).toEqual([
      "door1",
      true,
      false,
    ]);
    await door.close();
  });
});

describe("E, GHSA-3f24: strange identities of certificates, and names that are not mapped to another", () => {
  const refused: [string, unknown, Partial<PeerCertificate>][] = [
    ["no common name", byName, { commonName: undefined }],
    ["empty common name", byName, { commonName: "" }],
    ["blank common name", byName, { commonName: "  " }],
    ["CN with NUL", byName, { commonName: "admin\0.example" }],
    ["CN with a line break", byName, { commonName: "door1\nCN=admin" }],
    ["CN with a change of direction", byName, { commonName: "\u202erood" }],
    ["CN not in NFC", byName, { commonName: "tu\u0308r" }],
    ["CN of 513 characters", byName, { commonName: "d".repeat(513) }],
    ["two common names", byName, { subject: "C=DE, CN=admin, CN=door1" }],
    ["two common names of one part", byName, { subject: "C=DE, CN=admin+CN=door1" }],
    ["empty subject", { identity: "subject", allow }, { subject: "" }],
    ["no alternative name", byDns, { alternativeNames: [] }],
    ["no alternative name of the kind", byDns, { alternativeNames: ["URI:urn:door1", "dns:door1"] }],
    ["two alternative names of the kind", byDns, { alternativeNames: ["DNS:a", "DNS:b"] }],
    ["the same alternative name twice", byDns, { alternativeNames: ["DNS:a", "DNS:a"] }],
    ["alternative name with nothing behind its kind", byDns, { alternativeNames: ["DNS:"] }],
    ["alternative name with NUL", byDns, { alternativeNames: ["DNS:admin\0.example"] }],
    ["quoted alternative name", byDns, { alternativeNames: ['DNS:"a, DNS:admin"'] }],
  ];

  test.each(refused)("%s", async (_name, settings, changes) => {
    expect(await outcome(settings, changes)).toBe("not-authorized");
  });

  test.each(["a/b", "+", "#", "$SYS"])("%s as an identity makes rules with ${id} void", async (commonName) => {
    const door = await harness(clientCertificate, { ...byName, allow: [{ on: "both", filter: "${id}/x" }] });
    const client = await door.connect({ certificate: certificate({ commonName }) });
    expect([client.accepted, client.can("pub", "a/b/x"), client.can("pub", "q/x"), client.canSubscribe("+/x")]).toEqual(
      [true, false, false, false],
    );
    await door.close();
  });
});

describe("rules", () => {
  const sub = (filter: string) => [{ on: "sub", filter }];
  const settings = {
    ...byName,
    rules: [
      { identity: "fleet1-*", allow: sub("fleet1/#") },
      { identity: "*.reader.*", allow: sub("read/#"), deny: sub("read/secret/#") },
      { identity: "a.c", allow: sub("exact") },
      { identity: "ab*ba", allow: sub("around") },
    ],
  };

  test.each([
    ["fleet1-eu", "fleet1/a", true],
    ["fleet1", "fleet1/a", false],
    ["fleet1-", "fleet1/a", true],
    ["xfleet1-eu", "fleet1/a", false],
    ["a.reader.b", "read/a", true],
    ["a.reader.b", "read/secret/x", false],
    ["a.reader", "read/a", false],
    ["a.c", "exact", true],
    ["abc", "exact", false],
    ["abba", "around", true],
    ["aba", "around", false],
    ["A.C", "exact", false],
  ])("E: prefix confusion and metacharacters: %s and %s: %p", async (commonName, topicFilter, expected) => {
    const door = await harness(clientCertificate, settings);
    const client = await door.connect({ certificate: certificate({ commonName }) });
    expect(client.canSubscribe(topicFilter)).toBe(expected);
    await door.close();
  });

  test("the first entry that fits replaces the default, nothing is added up", async () => {
    const door = await harness(clientCertificate, settings);
    const client = await door.connect({ certificate: certificate({ commonName: "fleet1-eu" }) });
    expect([client.can("pub", "door/fleet1-eu/x"), client.canSubscribe("fleet1/#")]).toEqual([false, true]);
    const other = await door.connect({ certificate: certificate() });
    expect([other.can("pub", "door/door1/x"), other.can("pub", "door/door2/x")]).toEqual([true, false]);
    await door.close();
  });

  test("without any rule nothing is allowed", async () => {
    const door = await harness(clientCertificate, { identity: "common-name" });
    const client = await door.connect({ certificate: certificate() });
    expect([client.accepted, client.can("pub", "a"), client.canSubscribe("#")]).toEqual([true, false, false]);
    await door.close();
  });

  test.each([
    [{ identity: "alternative-name" }, "prefix: expected which alternative names"],
    [{ identity: "common-name", prefix: "DNS:" }, "prefix: is only for"],
    [{ identity: "cn" }, "identity: expected"],
    [{ ...byName, allow: [{ on: "pub", filter: "a#" }] }, "allow.0.filter: expected a Topic Filter"],
    [{ ...byName, allow: [{ on: "pub", filter: "$share/g/a" }] }, "allow.0.filter: expected a Topic Filter"],
    [{ ...byName, allow: [{ on: "write", filter: "a" }] }, 'allow.0.on: expected "pub"'],
    [{ ...byName, deny: [{ on: "pub", filter: "a", qos: 1 }] }, "deny.0.qos: unknown setting"],
    [{ ...byName, deny: [{ on: "pub", filter: "a", maxQos: 3 }] }, "deny.0.maxQos: expected"],
    [{ ...byName, rule: [] }, "rule: unknown setting"],
  ])("wrong settings refuse the start: %p", async (wrong, complaint) => {
    await expect(harness(clientCertificate, wrong)).rejects.toThrow(complaint);
  });
});
