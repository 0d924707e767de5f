/**
 * A program with a broker inside that runs until its disk takes no more: to be started where files cannot become large. It says
 * what became of a client that is connected over a socket, of one in the same process, and of one that comes afterwards.
 */
import { connect } from "node:net";
import { createBroker } from "rqtt";
import { join } from "./in-process-client.ts";

const folder = Bun.argv[2]!;
const broker = await createBroker({ store: folder, listeners: ["mqtt://127.0.0.1:0"] });
const socket = connect(Number(new URL(broker.urls[0]!).port), "127.0.0.1");
const isCut = new Promise<void>((resolve) => socket.on("close", () => resolve()));
socket.on("error", () => {});
await new Promise<void>((resolve) => socket.once("connect", () => resolve()));

const properties = { sessionExpiryInterval: 1000 };
const client = join(broker, "kept", { cleanStart: false, properties });
await client.next();
let open = true;
const closed = client.closed.then((reasonCode) => {
  open = false;
  return reasonCode;
});
const payload = new Uint8Array(100_000).fill(120);
for (let at = 1; open && at < 1000; at++) {
  client.send({
    type: "publish",
    dup: false,
    qos: 1,
    retain: true,
    topicName: `t/${at}`,
    packetId: at,
    payload,
    properties: {},
  });
  await Promise.race([client.next(), closed]);
}
console.log(`in-process closed 0x${(await closed).toString(16)}`);
await isCut;
console.log("socket closed");
console.log(`afterwards closed 0x${(await join(broker, "late").closed).toString(16)}`);
await Promise.all([broker.close(), broker.close()]);
console.log("broker closed");
process.exit(0);
