/** What goes over connections: QoS 2, flow both ways, sessions that are resumed, tokens that are renewed, other clients. */
import { type Check, type CheckGroup, expectDisconnect, expectEqual, expectTrue, type Scene } from "./check.ts";
import { after, Dialogue } from "./dialogue.ts";
import { type ConnectInit, connectPacket, publishPacket, toBytes, uniqueName } from "./packets.ts";

const EXPIRY = { sessionExpiryInterval: 60 };

const deliveries: readonly Check[] = [
  {
    name: "QoS 2 there and back, each message once and in order",
    cites: ["MQTT-4.3.3-8", "MQTT-4.3.3-11", "MQTT-4.3.3-2", "MQTT-4.6.0-5"],
    run: async (scene) => {
      const topicName = uniqueName("exactly");
      const dialogue = await Dialogue.connect(scene.url("open"));
      await dialogue.subscribe(topicName, 2);
      for (let index = 0; index < 20; index++) await dialogue.publish(topicName, `${index}`, 2);
      for (let index = 0; index < 20; index++) {
        const packet = await dialogue.take("publish");
        expectEqual(
          [packet.qos, packet.dup, new TextDecoder().decode(packet.payload)],
          [2, false, `${index}`],
          "PUBLISH",
        );
      }
      await dialogue.disconnect();
    },
  },
  {
    name: "a repeated QoS 2 PUBLISH is answered again and not delivered twice",
    cites: ["MQTT-4.3.3-10", "MQTT-4.3.3-12"],
    run: async (scene) => {
      const topicName = uniqueName("repeated");
      const dialogue = await Dialogue.connect(scene.url("open"));
      await dialogue.subscribe(topicName, 0);
      for (const dup of [false, true, true]) {
        dialogue.send(publishPacket(topicName, "once", { qos: 2, packetId: 7, dup }));
        expectEqual((await dialogue.take("pubrec")).packetId, 7, "PUBREC");
      }
      dialogue.send({ type: "pubrel", packetId: 7, reasonCode: 0, properties: {} });
      await dialogue.take("pubcomp");
      await dialogue.publish(topicName, "next");
      expectEqual([await dialogue.message(), await dialogue.message()], ["once", "next"], "messages");
      await dialogue.disconnect();
    },
  },
  {
    name: "no more than Receive Maximum messages are unacknowledged",
    cites: ["MQTT-3.3.4-9", "MQTT-4.9.0-1"],
    run: receiveMaximum,
  },
];

async function receiveMaximum(scene: Scene): Promise<void> {
  const topicName = uniqueName("window");
  const properties = { receiveMaximum: 5 };
  const dialogue = await Dialogue.connect(scene.url("open"), { properties }, { acknowledges: false });
  await dialogue.subscribe(topicName, 1);
  for (let index = 0; index < 20; index++) await dialogue.publish(topicName, `${index}`, 1);
  // PINGRESP comes after whatever the broker had to send until then.
  for (let index = 0; index < 20; index++) {
    dialogue.send({ type: "pingreq" });
    await dialogue.take("pingresp");
    const waiting = dialogue.received.filter(({ type }) => type === "publish").length;
    expectEqual(waiting, Math.min(5, 20 - index), "messages without PUBACK");
    const { packetId = 0, payload } = await dialogue.take("publish");
    expectEqual(new TextDecoder().decode(payload), `${index}`, "message");
    dialogue.send({ type: "puback", packetId, reasonCode: 0, properties: {} });
  }
  await dialogue.disconnect();
}

const FLOOD = { count: 120, payloadBytes: 64 * 1024 };

const backPressure: readonly Check[] = [
  {
    name: "a page that does nothing for a second loses no QoS 1 message and no place in the order",
    cites: ["MQTT-4.3.2-3", "MQTT-4.6.0-5"],
    alone: true,
    run: async (scene) => {
      const topicName = uniqueName("slow");
      const dialogue = await Dialogue.connect(scene.url("open"));
      await dialogue.subscribe(topicName, 1);
      const flooded = scene.ask("/flood", { topicName, ...FLOOD, qos: 1 });
      // Whatever the browser takes in meanwhile, the page does not.
      await after(20);
      const untilMs = performance.now() + 1_000;
      while (performance.now() < untilMs);
      await flooded;
      for (let index = 0; index < FLOOD.count; index++) {
        const { payload } = await dialogue.take("publish");
        expectEqual(new DataView(payload.buffer, payload.byteOffset).getUint32(0), index, "number of the message");
      }
      await dialogue.disconnect();
      return `${FLOOD.count} messages of ${FLOOD.payloadBytes / 1024} KiB`;
    },
  },
  {
    name: "a page that acknowledges late gets the rest as it does",
    cites: ["MQTT-3.3.4-9"],
    alone: true,
    run: async (scene) => {
      const topicName = uniqueName("late");
      const connect = { properties: { receiveMaximum: 4 } };
      const dialogue = await Dialogue.connect(scene.url("open"), connect, { acknowledges: false });
      await dialogue.subscribe(topicName, 1);
      await scene.ask("/flood", { topicName, ...FLOOD, qos: 1 });
      for (let index = 0; index < FLOOD.count; index++) {
        const { payload, packetId = 0 } = await dialogue.take("publish");
        expectEqual(new DataView(payload.buffer, payload.byteOffset).getUint32(0), index, "number of the message");
        expectTrue(dialogue.received.length < 4, `${dialogue.received.length + 1} messages without PUBACK`);
        dialogue.send({ type: "puback", packetId, reasonCode: 0, properties: {} });
      }
      await dialogue.disconnect();
    },
  },
  {
    name: "a page that sends faster than the network takes it sees bufferedAmount, and all of it arrives",
    cites: ["MQTT-4.3.2-4", "MQTT 5.0, 4.9"],
    alone: true,
    run: async (scene) => {
      const dialogue = await Dialogue.connect(scene.url("open"));
      const [count, payload, topicName] = [64, new Uint8Array(256 * 1024), uniqueName("fast")];
      let bufferedMax = 0;
      for (let index = 1; index <= count; index++) {
        dialogue.send(publishPacket(topicName, payload, { qos: 1, packetId: index }));
        bufferedMax = Math.max(bufferedMax, dialogue.socket.bufferedAmount);
      }
      for (let index = 1; index <= count; index++)
        expectEqual((await dialogue.take("puback")).packetId, index, "PUBACK");
      expectEqual(dialogue.socket.bufferedAmount, 0, "bufferedAmount at the end");
      await dialogue.disconnect();
      return `16 MiB, at most ${(bufferedMax / 1024 / 1024).toFixed(1)} MiB of them buffered`;
    },
  },
];

const sessions: readonly Check[] = [
  {
    name: "a session is resumed: what came meanwhile comes now",
    cites: ["MQTT-3.2.2-3", "MQTT-3.1.2-23", "MQTT-4.5.0-1"],
    run: async (scene) => {
      const [topicName, clientId] = [uniqueName("away"), uniqueName("away")];
      const resumable: ConnectInit = { clientId, cleanStart: false, properties: EXPIRY };
      const first = await Dialogue.open(scene.url("open"));
      expectEqual(await first.login(resumable), false, "Session Present at first");
      await first.subscribe(topicName, 1);
      first.socket.close();
      await first.end();
      const publisher = await Dialogue.connect(scene.url("open"));
      await publisher.publish(topicName, "meanwhile", 1);
      await publisher.disconnect();
      const second = await Dialogue.open(scene.url("open"));
      expectEqual(await second.login(resumable), true, "Session Present");
      expectEqual(await second.message(), "meanwhile", "message");
      second.send({ type: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
      await second.end();
    },
  },
  {
    name: "what was not acknowledged comes again with DUP and its Packet Identifier",
    cites: ["MQTT-4.4.0-1", "MQTT-3.3.1-1"],
    run: async (scene) => {
      const [topicName, clientId] = [uniqueName("again"), uniqueName("again")];
      const resumable: ConnectInit = { clientId, cleanStart: false, properties: EXPIRY };
      const first = await Dialogue.connect(scene.url("open"), resumable, { acknowledges: false });
      await first.subscribe(topicName, 2);
      await first.publish(topicName, "one", 1);
      await first.publish(topicName, "two", 2);
      const sent = [await first.take("publish"), await first.take("publish")];
      first.socket.close();
      await first.end();
      const second = await Dialogue.connect(scene.url("open"), resumable);
      for (const { packetId, payload } of sent) {
        const again = await second.take("publish");
        expectEqual([again.packetId, again.dup], [packetId, true], "Packet Identifier, DUP");
        expectEqual(again.payload, payload, "payload");
      }
      second.send({ type: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
      await second.end();
    },
  },
  {
    name: "the broker is restarted: the page reconnects to its session and its message",
    cites: ["MQTT-3.2.2-3", "MQTT-4.1.0-1"],
    run: async (scene) => {
      const { name, port } = (await (await scene.ask("/spare")).json()) as { name: string; port: number };
      const [topicName, clientId] = [uniqueName("restart"), uniqueName("restart")];
      const resumable: ConnectInit = { clientId, cleanStart: false, properties: EXPIRY };
      const first = await Dialogue.connect(scene.url(port), resumable, { acknowledges: false });
      await first.subscribe(topicName, 1);
      expectEqual(await first.publish(topicName, "kept", 1), 0, "reason code of PUBACK");
      await scene.ask("/spare/stop", { name });
      await first.end();
      await scene.ask("/spare/start", { name });
      const second = await Dialogue.open(scene.url(port));
      expectEqual(await second.login(resumable), true, "Session Present");
      expectEqual(await second.message(), "kept", "message");
      await second.disconnect();
      await scene.ask("/spare/end", { name });
    },
  },
];

const METHOD = "OAUTH2-JWT";

async function tokenFor(scene: Scene, subject: string, seconds: number): Promise<string> {
  return (await (await scene.ask("/token", { subject, seconds })).json()) as string;
}

/** A client that came in with a token as Authentication Data. */
async function withToken(scene: Scene, subject: string, seconds: number): Promise<Dialogue> {
  const dialogue = await Dialogue.open(scene.url("login"));
  const authenticationData = toBytes(await tokenFor(scene, subject, seconds));
  dialogue.send(connectPacket({ properties: { authenticationMethod: METHOD, authenticationData } }));
  const { reasonCode, properties } = await dialogue.take("connack");
  expectEqual([reasonCode, properties.authenticationMethod], [0, METHOD], "CONNACK");
  return dialogue;
}

async function renew(scene: Scene, dialogue: Dialogue, subject: string): Promise<void> {
  const authenticationData = toBytes(await tokenFor(scene, subject, 60));
  dialogue.send({ type: "auth", reasonCode: 0x19, properties: { authenticationMethod: METHOD, authenticationData } });
}

const tokens: readonly Check[] = [
  {
    name: "a token is renewed in the session: the connection outlives the first one",
    cites: ["MQTT-4.12.0-5", "MQTT 5.0, 4.12.1"],
    run: async (scene) => {
      const subject = uniqueName("renewed");
      const dialogue = await withToken(scene, subject, 3);
      await dialogue.subscribe(`token/${subject}/a`, 1);
      await renew(scene, dialogue, subject);
      expectEqual((await dialogue.take("auth")).reasonCode, 0, "reason code of AUTH");
      await after(3_200);
      expectEqual(await dialogue.publish(`token/${subject}/a`, "renewed", 1), 0, "reason code of PUBACK");
      expectEqual(await dialogue.message(), "renewed", "message");
      expectEqual((await dialogue.disconnect()).code, 1000, "close code");
    },
  },
  {
    name: "a token expires: DISCONNECT 0x87, close code 4135",
    cites: ["MQTT 5.0, 4.13.2"],
    run: async (scene) => expectDisconnect(await withToken(scene, uniqueName("expired"), 2), 0x87),
  },
  {
    name: "somebody else's token does not renew: DISCONNECT 0x87, close code 4135",
    cites: ["MQTT-4.12.1-2"],
    run: async (scene) => {
      const dialogue = await withToken(scene, uniqueName("mine"), 60);
      await renew(scene, dialogue, uniqueName("theirs"));
      return expectDisconnect(dialogue, 0x87);
    },
  },
  {
    name: "a token as the password lets in, to its own topics only",
    cites: ["MQTT-3.1.4-5", "MQTT 5.0, 3.9.3"],
    run: async (scene) => {
      const subject = uniqueName("password");
      const password = await tokenFor(scene, subject, 60);
      const dialogue = await Dialogue.connect(scene.url("login"), { password });
      await dialogue.subscribe(`token/${subject}/a`, 1);
      expectEqual(await dialogue.publish("token/somebody/a", "x", 1), 0x87, "reason code of PUBACK");
      await dialogue.disconnect();
    },
  },
];

export const sessionGroups: readonly CheckGroup[] = [
  { name: "Deliveries", checks: deliveries },
  { name: "Back-pressure", checks: backPressure },
  { name: "Sessions", checks: sessions },
  { name: "Tokens", checks: tokens },
];
