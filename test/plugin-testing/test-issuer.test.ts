/** The issuer of the plugin kit: its tokens let clients of a real provider in, and it says what is missing where it cannot start. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { decodeJwt } from "jose";
import { harness, RESOURCE_SERVER, startTestIssuer, type TestIssuer } from "rqtt/plugin-testing";
import oauth from "../../plugins/oauth.ts";
import { importIssuer } from "../../src/plugin-testing/test-issuer.ts";
import { readText } from "../support/repository.ts";

let issuer: TestIssuer;
const claims = { team: "north" };
beforeAll(async () => {
  issuer = await startTestIssuer({ audience: "plant", scope: "mqtt:write:plant/+", claims, tokenSeconds: 90 });
});
afterAll(() => issuer.close());

const door = (changes: object = {}) =>
  harness(
    oauth,
    { issuers: { main: { issuer: issuer.issuer, audience: "plant", algorithms: ["RS256"], ...changes } } },
    { env: { SECRET: RESOURCE_SERVER.secret } },
  );
const introspection = { clientId: RESOURCE_SERVER.id, clientSecret: { env: "SECRET" } };

describe("the test issuer", () => {
  test("makes signed tokens with the audience, scopes, claims and time that were asked for", async () => {
    const token = await issuer.token("urn:jwt", "mqtt:write:plant/+ never:heard:of");
    const { aud, scope, team, exp = 0, iat = 0 } = decodeJwt(token);
    expect([aud, scope, team, exp - iat]).toEqual(["plant", "mqtt:write:plant/+", "north", 90]);
    const { connect, close } = await door();
    const client = await connect({ password: token });
    expect([client.accepted, client.can("pub", "plant/a"), client.can("pub", "plant/a/b")]).toEqual([
      true,
      true,
      false,
    ]);
    await close();
  });

  test("keeps opaque tokens through a rotation, until they are revoked", async () => {
    const token = await issuer.token("urn:opaque", "mqtt:write:plant/+");
    await issuer.rotate(false);
    const reasonCodeOf = async (password: string): Promise<number> => {
      const { connect, close } = await door({ introspection, idClaim: "client_id" });
      const { reasonCode } = await connect({ password });
      await close();
      return reasonCode;
    };
    expect(await reasonCodeOf(token)).toBe(0);
    await issuer.revoke(token);
    expect(await reasonCodeOf(token)).toBe(0x86);
  });

  test("says what to install where its package is missing, in the version that package.json names", async () => {
    const missing = importIssuer("a-package-that-is-not-there");
    const { peerDependencies } = JSON.parse(readText("package.json"));
    const install = `bun add --dev oidc-provider@${peerDependencies["oidc-provider"]}`;
    await expect(missing).rejects.toThrow(
      `startTestIssuer needs the package a-package-that-is-not-there, which is not installed: ${install}`,
    );
  });
});
