/**
 * mosquitto_pub, mosquitto_sub and mosquitto_rr against the broker process, in MQTT 3.1, 3.1.1 and 5.0 over TCP.
 *
 * Sections: 3.1.2.5 (Will), 3.3.1.3 (RETAIN), 3.3.2.3 (PUBLISH properties), 4.1 (Session State), 4.3.3 (QoS 2), 4.8.2 (shared).
 */
import { expect } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BrokerProcess } from "../support/broker-process.ts";
import {
  endCommands,
  type MosquittoTarget,
  missingMosquittoClients,
  publish,
  startCommand,
  startSubscriber,
} from "./mosquitto-command.ts";
import { runSuite, uniqueName } from "./suite.ts";

const onlyV5 = (target: MosquittoTarget): boolean => target.version === "mqttv5";

runSuite<MosquittoTarget>({
  client: "mosquitto clients",
  targets: [
    { name: "MQTT 3.1", version: "mqttv31" },
    { name: "MQTT 3.1.1", version: "mqttv311" },
    { name: "MQTT 5.0", version: "mqttv5" },
  ],
  missing: missingMosquittoClients(),
  afterEachTest: endCommands,
  scenarios: [
    { name: "delivers at the lower of the published and the granted QoS", run: everyQos },
    { name: "does the four steps of QoS 2", run: qos2Handshake },
    { name: "sets, replaces and deletes a retained message", run: retained },
    { name: "clears retained messages with --remove-retained", run: removeRetained },
    { name: "publishes the Will of a mosquitto_sub that was killed, and only then", run: will },
    { name: "delivers with -c what was published while the client was away", run: resume },
    { name: "forgets a subscription after -U", run: unsubscribe },
    { name: "publishes each line of standard input", run: inputLines },
    {
      name: "keeps to the Receive Maximum of 20 that the client announces",
      run: receiveMaximum,
      where: onlyV5,
      mosquitto: "has more than that in flight at QoS 2",
    },
    { name: "publishes all of standard input as one message", run: inputWhole },
    { name: "repeats a message", run: repeat },
    { name: "has nothing to say with --quiet", run: quiet },
    { name: "carries 1 MB unchanged", run: largePayload },
    { name: "grants 500 filters of one SUBSCRIBE", run: manyFilters },
    { name: "shares a subscription between three clients", run: shared, where: onlyV5 },
    { name: "carries the properties of a PUBLISH", run: properties, where: onlyV5 },
    { name: "carries the properties of a Will", run: willProperties, where: onlyV5 },
    { name: "lets mosquitto_rr have its answer", run: requestAndResponse, where: onlyV5 },
  ],
});

async function everyQos(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("qos");
  const subscribers = await Promise.all(
    ["0", "1", "2"].map((qos) => startSubscriber(broker, target, ["-t", `${topicName}/+`, "-q", qos])),
  );
  for (const qos of ["0", "1", "2"]) {
    await publish(broker, target, ["-t", `${topicName}/${qos}`, "-q", qos, "-m", `sent at ${qos}`]);
    for (const [granted, subscriber] of subscribers.entries()) {
      const message = await subscriber.next();
      expect(message).toMatchObject({ topic: `${topicName}/${qos}`, payload: `sent at ${qos}`, retain: 0 });
      expect(message.qos).toBe(Math.min(granted, Number(qos)));
    }
  }
  for (const subscriber of subscribers) expect(subscriber.messages()).toHaveLength(3);
}

async function qos2Handshake(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("qos2");
  const subscriber = await startSubscriber(broker, target, ["-t", topicName, "-q", "2", "-C", "1"]);
  const printed = await publish(broker, target, ["-d", "-t", topicName, "-q", "2", "-m", "exactly once"]);
  const steps = printed.map((line) => /(sending|received) PUB[A-Z]+/.exec(line)?.[0]).filter(Boolean);
  expect(steps).toEqual(["sending PUBLISH", "received PUBREC", "sending PUBREL", "received PUBCOMP"]);
  expect((await subscriber.next()).payload).toBe("exactly once");
  expect(await subscriber.process.exited).toBe(0);
}

async function retained(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("retained");
  const stored = async (): Promise<readonly (readonly [string, number])[]> => {
    const late = await startSubscriber(broker, target, ["-t", topicName, "-t", `${topicName}/marker`, "-q", "1"]);
    await publish(broker, target, ["-t", `${topicName}/marker`, "-q", "1", "-m", "marker"]);
    const first = await late.next();
    if (first.payload !== "marker") expect((await late.next()).payload).toBe("marker");
    return late.messages().map(({ payload, retain }) => [payload, retain]);
  };
  const live = await startSubscriber(broker, target, ["-t", topicName, "-q", "1"]);
  await publish(broker, target, ["-t", topicName, "-q", "1", "-r", "-m", "first"]);
  expect(await stored()).toEqual([
    ["first", 1],
    ["marker", 0],
  ]);
  await publish(broker, target, ["-t", topicName, "-q", "2", "-r", "-m", "second"]);
  expect(await stored()).toEqual([
    ["second", 1],
    ["marker", 0],
  ]);
  await publish(broker, target, ["-t", topicName, "-q", "1", "-r", "-n"]);
  expect(await stored()).toEqual([["marker", 0]]);
  const seen = await live.take(3);
  expect(seen.map(({ payload, retain }) => [payload, retain])).toEqual([
    ["first", 0],
    ["second", 0],
    ["", 0],
  ]);
}

async function removeRetained(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("remove");
  for (const name of ["a", "b"]) {
    await publish(broker, target, ["-t", `${topicName}/${name}`, "-q", "1", "-r", "-m", name]);
  }
  const watcher = await startSubscriber(broker, target, ["-t", `${topicName}/+`, "-q", "1"]);
  expect((await watcher.take(2)).map(({ retain }) => retain)).toEqual([1, 1]);
  await startSubscriber(broker, target, ["-t", `${topicName}/+`, "-q", "1", "--remove-retained"]);
  expect((await watcher.take(2)).map(({ payload }) => payload)).toEqual(["", ""]);
  const late = await startSubscriber(broker, target, ["-t", `${topicName}/+`, "-q", "1"]);
  await publish(broker, target, ["-t", `${topicName}/marker`, "-q", "1", "-m", "marker"]);
  expect((await late.next()).payload).toBe("marker");
}

async function will(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("will");
  const withWill = (payload: string): readonly string[] =>
    ["-t", uniqueName("unused")].concat(
      ["--will-topic", topicName, "--will-qos", "1", "--will-retain"],
      ["--will-payload", payload],
    );
  const watcher = await startSubscriber(broker, target, ["-t", topicName, "-q", "2"]);
  const polite = await startSubscriber(broker, target, [...withWill("must not appear"), "-E"]);
  expect(await polite.process.exited).toBe(0);
  const lost = await startSubscriber(broker, target, withWill("lost"));
  lost.process.signal("SIGKILL");
  expect(await watcher.next()).toMatchObject({ topic: topicName, payload: "lost", qos: 1, retain: 0 });
  const late = await startSubscriber(broker, target, ["-t", topicName, "-q", "2"]);
  expect(await late.next()).toMatchObject({ payload: "lost", retain: 1 });
  expect(watcher.messages()).toHaveLength(1);
}

async function resume(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("resume");
  const session = ["-c", "-i", uniqueName("resume"), "-t", topicName, "-q", "2"];
  const away = await startSubscriber(broker, target, [...session, "-E"]);
  expect(await away.process.exited).toBe(0);
  for (const qos of ["1", "2"]) {
    const lines = Array.from({ length: 5 }, (_, n) => `queued at ${qos}, ${n}\n`).join("");
    await publish(broker, target, ["-t", topicName, "-q", qos, "-l"], lines);
  }
  const back = await startSubscriber(broker, target, [...session, "-C", "11"]);
  const messages = [...(await back.take(10))];
  for (const qos of [1, 2]) {
    const payloads = messages.filter((message) => message.qos === qos).map(({ payload }) => payload);
    expect(payloads).toEqual(Array.from({ length: 5 }, (_, n) => `queued at ${qos}, ${n}`));
  }
  await publish(broker, target, ["-t", topicName, "-q", "1", "-m", "live"]);
  expect((await back.next()).payload).toBe("live");
  expect(await back.process.exited).toBe(0);
}

async function unsubscribe(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("unsubscribe");
  const session = ["-c", "-i", uniqueName("unsubscribe"), "-q", "1"];
  const both = ["-t", `${topicName}/kept`, "-t", `${topicName}/left`];
  const first = await startSubscriber(broker, target, [...session, ...both, "-E"]);
  expect(await first.process.exited).toBe(0);
  const second = await startSubscriber(broker, target, [
    ...session,
    "-t",
    `${topicName}/kept`,
    "-U",
    `${topicName}/left`,
  ]);
  await second.process.line((line) => line.includes("received UNSUBACK"));
  await publish(broker, target, ["-t", `${topicName}/left`, "-q", "1", "-m", "left"]);
  await publish(broker, target, ["-t", `${topicName}/kept`, "-q", "1", "-m", "kept"]);
  expect((await second.next()).payload).toBe("kept");
}

async function inputLines(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("lines");
  const subscriber = await startSubscriber(broker, target, ["-t", topicName, "-q", "1"]);
  const lines = Array.from({ length: 300 }, (_, n) => `line ${n}: äöü ☃`);
  await publish(broker, target, ["-t", topicName, "-q", "1", "-l"], `${lines.join("\n")}\n`);
  const messages = await subscriber.take(lines.length);
  expect(messages.map(({ payload }) => payload)).toEqual(lines);
}

/** mosquitto_sub gives up on a broker that sends one message too many. */
async function receiveMaximum(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("receive-maximum");
  const session = ["-c", "-i", topicName, "-t", topicName, "-q", "2"];
  const away = await startSubscriber(broker, target, [...session, "-E"]);
  expect(await away.process.exited).toBe(0);
  const lines = Array.from({ length: 300 }, (_, n) => `line ${n}`);
  await publish(broker, target, ["-t", topicName, "-q", "2", "-l"], `${lines.join("\n")}\n`);
  const back = await startSubscriber(broker, target, [...session, "-C", "300"]);
  expect((await back.take(lines.length)).map(({ payload }) => payload)).toEqual(lines);
  expect(await back.process.exited).toBe(0);
}

async function inputWhole(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("whole");
  const subscriber = await startSubscriber(broker, target, ["-t", topicName, "-q", "1"]);
  await publish(broker, target, ["-t", topicName, "-q", "1", "-s"], "one\ntwo\nthree");
  expect((await subscriber.next()).payload).toBe("one\ntwo\nthree");
}

async function repeat(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("repeat");
  const subscriber = await startSubscriber(broker, target, ["-t", topicName, "-q", "1", "-C", "20"]);
  await publish(broker, target, ["-t", topicName, "-q", "1", "-m", "again", "--repeat", "20"]);
  expect(await subscriber.process.exited).toBe(0);
  expect(subscriber.messages().map(({ payload }) => payload)).toEqual(Array.from({ length: 20 }, () => "again"));
}

async function quiet(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  for (const qos of ["0", "1", "2"]) {
    // Nobody subscribes: 5.0 may say so in the acknowledgement, which is no error.
    const flags = ["--quiet", "-t", uniqueName("nobody"), "-q", qos, "-m", "unheard"];
    const child = startCommand("mosquitto_pub", broker, target, flags);
    expect(await child.exited).toBe(0);
    expect([child.lines, child.stderr()]).toEqual([[], ""]);
  }
}

async function largePayload(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("large");
  const payload = Array.from({ length: 64 * 1024 }, (_, n) => n.toString(36).padStart(16, ".")).join("");
  expect(payload).toHaveLength(1024 * 1024);
  const file = join(broker.folder, topicName);
  await writeFile(file, payload);
  const subscriber = await startSubscriber(broker, target, ["-t", topicName, "-q", "2"]);
  for (const qos of ["0", "1", "2"]) {
    await publish(broker, target, ["-t", topicName, "-q", qos, "-f", file]);
    const message = await subscriber.next();
    expect(message.qos).toBe(Number(qos));
    expect(message.payload === payload).toBe(true);
  }
}

async function manyFilters(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("filters");
  const filters = Array.from({ length: 500 }, (_, n) => ["-t", `${topicName}/${n}/+`]).flat();
  const subscriber = await startSubscriber(broker, target, [...filters, "-q", "1"]);
  const granted = subscriber.process.lines.find((line) => line.startsWith("Subscribed "))!;
  expect(granted.split(": ").at(-1)).toBe(Array.from({ length: 500 }, () => "1").join(", "));
  await publish(broker, target, ["-t", `${topicName}/499/x`, "-q", "1", "-m", "to the last"]);
  expect((await subscriber.next()).payload).toBe("to the last");
}

async function shared(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("shared");
  const flags = ["-t", `$share/group/${topicName}`, "-q", "1"];
  const members = await Promise.all([1, 2, 3].map(() => startSubscriber(broker, target, flags)));
  const lines = Array.from({ length: 30 }, (_, n) => `shared ${n}`);
  await publish(broker, target, ["-t", topicName, "-q", "1", "-l"], `${lines.join("\n")}\n`);
  const shares = await Promise.all(members.map((member) => member.take(10)));
  const payloads = shares.flat().map(({ payload }) => payload);
  expect(payloads.sort()).toEqual(lines.sort());
}

async function properties(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("properties");
  const identifier = ["-D", "subscribe", "subscription-identifier", "42"];
  const subscriber = await startSubscriber(broker, target, ["-t", topicName, "-q", "2", ...identifier]);
  const sent = [
    ["content-type", "text/plain"],
    ["response-topic", `${topicName}/response`],
    ["correlation-data", "correlation"],
    ["payload-format-indicator", "1"],
    ["message-expiry-interval", "3600"],
    ["user-property", "first", "one"],
    ["user-property", "second", "zwei µ"],
  ].flatMap((property) => ["-D", "publish", ...property]);
  await publish(broker, target, ["-t", topicName, "-q", "2", "-m", "with properties", ...sent]);
  const message = await subscriber.next();
  const { "message-expiry-interval": remaining, ...rest } = message.properties ?? {};
  expect(remaining).toBeGreaterThan(0);
  expect(remaining).toBeLessThanOrEqual(3600);
  expect(rest).toEqual({
    "content-type": "text/plain",
    "response-topic": `${topicName}/response`,
    "correlation-data": "correlation",
    "payload-format-indicator": 1,
    "subscription-identifier": 42,
    "user-properties": { first: "one", second: "zwei µ" },
  });
}

async function willProperties(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("will");
  const watcher = await startSubscriber(broker, target, ["-t", topicName, "-q", "1"]);
  const sent = [
    ["content-type", "text/plain"],
    ["correlation-data", "correlation"],
    ["user-property", "cause", "killed"],
  ].flatMap((property) => ["-D", "will", ...property]);
  const flags = ["-t", uniqueName("unused"), "--will-topic", topicName, "--will-qos", "1", "--will-payload", "lost"];
  const lost = await startSubscriber(broker, target, [...flags, ...sent]);
  lost.process.signal("SIGKILL");
  expect(await watcher.next()).toMatchObject({
    payload: "lost",
    properties: {
      "content-type": "text/plain",
      "correlation-data": "correlation",
      "user-properties": { cause: "killed" },
    },
  });
}

async function requestAndResponse(broker: BrokerProcess, target: MosquittoTarget): Promise<void> {
  const topicName = uniqueName("request");
  const responder = await startSubscriber(broker, target, ["-t", topicName, "-q", "1"]);
  const flags = ["-t", topicName, "-e", `${topicName}/answer`, "-q", "1", "-m", "question", "-W", "300"];
  const requester = startCommand("mosquitto_rr", broker, target, flags);
  const request = await responder.next();
  expect(request).toMatchObject({ payload: "question", properties: { "response-topic": `${topicName}/answer` } });
  await publish(broker, target, ["-t", String(request.properties!["response-topic"]), "-q", "1", "-m", "answer"]);
  expect(await requester.line((line) => line.length > 0)).toBe("answer");
  expect(await requester.exited).toBe(0);
}
