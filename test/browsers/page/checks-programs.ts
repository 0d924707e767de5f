/** Other people's client in this page, and the broker's own core in a worker of it. */
import type { Check, CheckGroup, Scene } from "./check.ts";
import { expectEqual, expectTrue } from "./check.ts";
import { uniqueName } from "./packets.ts";
import { PortClient } from "./port-client.ts";

async function loadScript(path: string): Promise<void> {
  const script = document.createElement("script");
  script.src = path;
  await new Promise<void>((resolve, reject) => {
    script.onload = () => resolve();
    script.onerror = () => reject(new Error(`${path} did not load`));
    document.head.append(script);
  });
}

let mqttjsLoaded: Promise<void> | undefined;

async function mqttjs(scene: Scene, protocolVersion: 4 | 5): Promise<string> {
  await (mqttjsLoaded ??= loadScript("/mqttjs.js"));
  const connect = globalThis.mqttjsConnect!;
  const client = await connect(scene.url("open"), {
    protocolVersion,
    reconnectPeriod: 0,
    clientId: uniqueName("mqttjs"),
  });
  const topicName = uniqueName("mqttjs");
  const arrived: string[] = [];
  const all = new Promise<void>((resolve) => {
    client.on("message", (_, payload) => {
      if (arrived.push(payload.toString()) === 30) resolve();
    });
  });
  await client.subscribeAsync(`${topicName}/+`, { qos: 2 });
  const expected: string[] = [];
  for (let index = 0; index < 30; index++) {
    expected.push(`${index}`);
    await client.publishAsync(`${topicName}/a`, `${index}`, { qos: (index % 3) as 0 | 1 | 2 });
  }
  await all;
  await client.endAsync();
  // Order is promised within one QoS.
  for (const qos of [0, 1, 2]) {
    const ofQos = (texts: readonly string[]) => texts.filter((text) => Number(text) % 3 === qos);
    expectEqual(ofQos(arrived), ofQos(expected), `messages of QoS ${qos}`);
  }
  return "30 messages at QoS 0, 1 and 2";
}

const otherClients: readonly Check[] = [
  {
    name: "MQTT.js speaks MQTT 5.0 from this page",
    cites: ["MQTT-6.0.0-2", "MQTT-4.6.0-5"],
    run: (scene) => mqttjs(scene, 5),
  },
  {
    name: "MQTT.js speaks MQTT 3.1.1 from this page",
    cites: ["MQTT311-6.0.0-2", "MQTT311-4.6.0-6"],
    run: (scene) => mqttjs(scene, 4),
  },
];

const core: readonly Check[] = [
  {
    name: "the broker core runs in a worker, and two clients talk to each other over MessagePorts",
    cites: ["MQTT-4.2-1", "MQTT-4.3.3-8"],
    run: async () => {
      const worker = new Worker("/broker-worker.js");
      try {
        const [one, two] = [new PortClient(worker, "one"), new PortClient(worker, "two")];
        await Promise.all([one.connect({ keepAlive: 0 }), two.connect({ keepAlive: 0 })]);
        await two.subscribe("talk/#", 2);
        for (const qos of [0, 1, 2] as const) await one.publish("talk/a", `at QoS ${qos}`, qos);
        const messages = [await two.message(), await two.message(), await two.message()];
        expectEqual(messages, ["at QoS 0", "at QoS 1", "at QoS 2"], "messages");
        expectTrue(one.isOpen && two.isOpen, "a connection has ended");
      } finally {
        worker.terminate();
      }
    },
  },
];

export const programGroups: readonly CheckGroup[] = [
  { name: "Other clients", checks: otherClients },
  { name: "The core in a tab", checks: core },
];
