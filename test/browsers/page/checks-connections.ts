/** How connections begin and end: origins, logins, refusals, goodbyes, silence, Wills. */
import {
  type Check,
  type CheckGroup,
  expectDisconnect,
  expectEnd,
  expectEqual,
  expectTrue,
  type Scene,
} from "./check.ts";
import { after, Dialogue } from "./dialogue.ts";
import { type FrameHandle, openFrame, openWorker } from "./frame-handle.ts";
import { type ConnectInit, connectPacket, publishPacket, uniqueName } from "./packets.ts";

const origins: readonly Check[] = [
  {
    name: "a page on the list of origins connects",
    cites: ["RFC 6455, 10.2"],
    run: async (scene) => void (await (await Dialogue.connect(scene.url("listed"))).disconnect()),
  },
  {
    name: "a page of another origin is refused, and reaches a broker without a list",
    cites: ["RFC 6455, 10.2"],
    run: async (scene) => {
      const origin = `${location.protocol}//${location.hostname}:${scene.environment.ports.foreignPage}`;
      expectEqual(await wordOf(openFrame({ origin, url: scene.url("listed") })), "refused", "with a list");
      expectEqual(await wordOf(openFrame({ origin, url: scene.url("open") })), "connected", "without a list");
    },
  },
  {
    name: "a sandboxed frame, whose origin is null, is refused",
    cites: ["RFC 6455, 10.2", "RFC 6454, 7.1"],
    run: async (scene) => {
      const url = scene.url("listed");
      expectEqual(await wordOf(openFrame({ isSandboxed: true, url })), "refused", "sandboxed");
    },
  },
];

async function wordOf(frame: Promise<FrameHandle>): Promise<string> {
  const { word, tearDown } = await frame;
  tearDown();
  return word;
}

/** CONNACK with the reason, then the close code that says the same. */
async function expectLoginRefused(
  url: string,
  init: ConnectInit,
  reasonCode: number,
  level: 4 | 5 = 5,
): Promise<string> {
  const dialogue = await Dialogue.open(url, { level });
  dialogue.send(connectPacket(init, level));
  const connack = await dialogue.take("connack");
  const returnCode = { 134: 4, 135: 5 }[reasonCode];
  expectEqual(connack.reasonCode, level === 5 ? reasonCode : returnCode, "reason code of CONNACK");
  return expectEnd(dialogue, 4000 + reasonCode);
}

const logins: readonly Check[] = [
  {
    name: "a cookie of the page's own server lets it in",
    cites: ["MQTT 5.0, 5.4.1"],
    run: async (scene) => {
      await scene.ask("/login");
      await (await Dialogue.connect(scene.url("login"), { username: "cookie" })).disconnect();
    },
  },
  {
    name: "a ticket in the URL lets in once, and the refusal can be read",
    cites: ["MQTT-3.1.4-2", "MQTT-3.2.2-7"],
    run: async (scene) => {
      const ticket = (await (await scene.ask("/ticket")).json()) as string;
      const url = `${scene.url("login")}?ticket=${ticket}`;
      await (await Dialogue.connect(url)).disconnect();
      return expectLoginRefused(url, {}, 0x86);
    },
  },
  {
    name: "a refusal says why, and carries a Reason String",
    cites: ["MQTT-3.2.2-7", "MQTT 5.0, 3.2.2.3.9"],
    run: async (scene) => {
      const dialogue = await Dialogue.open(`${scene.url("login")}?ticket=forged`);
      dialogue.send(connectPacket({}));
      const { reasonCode, properties } = await dialogue.take("connack");
      expectEqual([reasonCode, properties.reasonString], [0x86, "unknown ticket"], "CONNACK");
      expectEqual((await dialogue.end()).code, 4134, "close code");
    },
  },
  {
    name: "a client of MQTT 3.1.1 reads return code 4, and the reason in the close code",
    cites: ["MQTT311-3.2.2-5"],
    run: (scene) => expectLoginRefused(`${scene.url("login")}?ticket=forged`, {}, 0x86, 4),
  },
  {
    name: "nobody without any credential is let in",
    cites: ["MQTT-3.1.4-2"],
    run: async (scene) => {
      const dialogue = await Dialogue.open(scene.url("login"));
      dialogue.send(connectPacket({}));
      const { reasonCode } = await dialogue.take("connack");
      expectTrue(reasonCode >= 0x80, `CONNACK ${reasonCode}`);
      expectEqual((await dialogue.end()).code, 4000 + reasonCode, "close code");
    },
  },
];

const goodbyes: readonly Check[] = [
  {
    name: "a client's DISCONNECT: close code 1000",
    cites: ["MQTT 5.0, 3.14.4"],
    run: async (scene) => {
      const dialogue = await Dialogue.connect(scene.url("open"));
      dialogue.send({ type: "disconnect", reasonCode: 0, properties: {} });
      return expectEnd(dialogue, 1000);
    },
  },
  {
    name: "taken over by another connection: DISCONNECT 0x8E, close code 4142",
    cites: ["MQTT-3.1.4-3"],
    run: async (scene) => {
      const clientId = uniqueName("twice");
      const first = await Dialogue.connect(scene.url("open"), { clientId });
      const second = await Dialogue.connect(scene.url("open"), { clientId });
      const seen = await expectDisconnect(first, 0x8e);
      await second.disconnect();
      return seen;
    },
  },
  {
    name: "the broker stops: DISCONNECT 0x8B, close code 4139",
    cites: ["MQTT 5.0, 4.13.2"],
    run: async (scene) => {
      const { name, port } = (await (await scene.ask("/spare")).json()) as { name: string; port: number };
      const dialogue = await Dialogue.connect(scene.url(port));
      await scene.ask("/spare/end", { name });
      return expectDisconnect(dialogue, 0x8b);
    },
  },
  {
    name: "a malformed packet: DISCONNECT 0x81, close code 4129",
    cites: ["MQTT-4.13.1-1", "MQTT-3.8.1-1"],
    run: async (scene) => {
      const dialogue = await Dialogue.connect(scene.url("open"));
      dialogue.frame(Uint8Array.of(0x80, 2, 0, 1));
      return expectDisconnect(dialogue, 0x81);
    },
  },
  {
    name: "a wildcard in a Topic Name: DISCONNECT 0x90, close code 4144",
    cites: ["MQTT-3.3.2-2"],
    run: async (scene) => {
      const dialogue = await Dialogue.connect(scene.url("open"));
      dialogue.send(publishPacket("a/#", "x"));
      return expectDisconnect(dialogue, 0x90);
    },
  },
  {
    name: "a second CONNECT: DISCONNECT 0x82, close code 4130",
    cites: ["MQTT-3.1.0-2"],
    run: async (scene) => {
      const dialogue = await Dialogue.connect(scene.url("open"));
      dialogue.send(connectPacket({}));
      return expectDisconnect(dialogue, 0x82);
    },
  },
  {
    name: "something else than CONNECT at first: closed without an answer",
    cites: ["MQTT-3.1.0-1"],
    run: async (scene) => {
      const dialogue = await Dialogue.open(scene.url("open"));
      dialogue.send({ type: "pingreq" });
      const { code } = await dialogue.end();
      expectTrue(code >= 4128 || code === 1006, `close code ${code}`);
      expectEqual(dialogue.received.length, 0, "packets");
      return `close code ${code}`;
    },
  },
];

const silence: readonly Check[] = [
  {
    name: "a quiet tab stays as long as it sends PINGREQ",
    cites: ["MQTT-3.12.4-1", "MQTT-3.1.2-22"],
    run: async (scene) => {
      const topicName = uniqueName("quiet");
      const dialogue = await Dialogue.connect(scene.url("open"), { keepAlive: 2 });
      await dialogue.subscribe(topicName, 0);
      for (let index = 0; index < 4; index++) {
        await after(900);
        dialogue.send({ type: "pingreq" });
        await dialogue.take("pingresp");
      }
      await dialogue.publish(topicName, "still there");
      expectEqual(await dialogue.message(), "still there", "message");
      await dialogue.disconnect();
      return "3.6 s with a Keep Alive of 2 s";
    },
  },
  {
    name: "silence for 1.5 times the Keep Alive: DISCONNECT 0x8D, close code 4141",
    cites: ["MQTT-3.1.2-22"],
    run: async (scene) => {
      const dialogue = await Dialogue.connect(scene.url("open"), { keepAlive: 1 });
      const startedMs = performance.now();
      await expectDisconnect(dialogue, 0x8d);
      return `after ${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
    },
  },
];

/** Whoever holds a connection with a Will is torn down, and the Will has to come. */
async function expectWill(scene: Scene, open: typeof openFrame): Promise<void> {
  const topicName = uniqueName("will");
  const watcher = await Dialogue.connect(scene.url("open"));
  await watcher.subscribe(topicName, 1);
  const holder = await open({ url: scene.url("open"), will: topicName });
  expectEqual(holder.word, "connected", "whoever has the Will");
  holder.tearDown();
  expectEqual(await watcher.message(), "gone", "Will");
  await watcher.disconnect();
}

const wills: readonly Check[] = [
  {
    name: "a frame is removed: its Will is published",
    cites: ["MQTT-3.1.2-8"],
    run: (scene) => expectWill(scene, openFrame),
  },
  {
    name: "a worker is terminated: its Will is published",
    cites: ["MQTT-3.1.2-8"],
    run: (scene) => expectWill(scene, openWorker),
  },
  {
    name: "a WebSocket is closed without DISCONNECT: its Will is published",
    cites: ["MQTT-3.1.2-8"],
    run: async (scene) => {
      const topicName = uniqueName("will");
      const watcher = await Dialogue.connect(scene.url("open"));
      await watcher.subscribe(topicName, 1);
      const holder = await Dialogue.connect(scene.url("open"), { will: { topicName, payload: "closed" } });
      holder.socket.close(1000);
      expectEqual(await watcher.message(), "closed", "Will");
      await watcher.disconnect();
    },
  },
  {
    name: "after a DISCONNECT there is no Will",
    cites: ["MQTT-3.14.4-3"],
    run: async (scene) => {
      const topicName = uniqueName("will");
      const watcher = await Dialogue.connect(scene.url("open"));
      await watcher.subscribe(topicName, 1);
      const holder = await Dialogue.connect(scene.url("open"), { will: { topicName, payload: "gone" } });
      await holder.disconnect();
      await watcher.publish(topicName, "nothing came before", 1);
      expectEqual(await watcher.message(), "nothing came before", "message");
      await watcher.disconnect();
    },
  },
];

export const connectionGroups: readonly CheckGroup[] = [
  { name: "Origins", checks: origins },
  { name: "Logins and refusals", checks: logins },
  { name: "Goodbyes", checks: goodbyes },
  { name: "Keep Alive", checks: silence },
  { name: "Wills", checks: wills },
];
