/** TCP and TLS in Bun: certificates that are accepted and refused, nobody listening, a URL of another kind. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createBroker, type RunningBroker } from "rqtt";
import { connect } from "rqtt/client";
import { tcp } from "rqtt/client/tcp";
import { type Certificates, makeCertificates, opensslCommand } from "../support/certificates.ts";
import { take } from "./client-suite.ts";
import { rejection } from "./scripted-server.ts";

test("nobody listens: told, and worth another try", async () => {
  expect(await rejection(connect(tcp("mqtt://127.0.0.1:1")))).toMatchObject({ code: -4, retriable: true });
});

test("a URL of another kind is refused at once", () => {
  expect(() => tcp("http://127.0.0.1")).toThrow("expected mqtt: or mqtts:");
});

describe.skipIf(opensslCommand === null)("mqtts", () => {
  let made: Certificates;
  let broker: RunningBroker;
  beforeAll(async () => {
    made = makeCertificates();
    const { cert: certificate, key } = made.server;
    broker = await createBroker({ listeners: [{ url: "mqtts://127.0.0.1:0", certificate, key, clientCa: made.ca }] });
  });
  afterAll(async () => {
    await broker.close();
    made.remove();
  });

  test("a server whose certificate was signed by the CA, which asks for one of ours", async () => {
    const { ca, good } = made;
    const client = await connect(tcp(broker.urls[0]!, { ca, ...good }));
    const subscription = await client.subscribe("t", { qos: 1 });
    const payload = new Uint8Array(500_000).fill(7);
    await client.publish("t", payload, { qos: 1 });
    const [message] = await take(subscription, 1);
    expect(Buffer.compare(message!.bytes, payload)).toBe(0);
    await client.close();
  });

  test("a server whose certificate was signed by nobody known is not spoken to", async () => {
    const error = await rejection(connect(tcp(broker.urls[0]!), { deadlineMs: 5_000 }));
    expect(error).toMatchObject({ code: -4, packet: "connect" });
    expect(error["reasonString"]).toContain("certificate");
  });
});
