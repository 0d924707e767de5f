/**
 * The real process among peers that send rubbish: nothing they do reaches the event loop.
 *
 * The process logs `crash` or `uncaught-exception` on `uncaughtException`, `unhandled-rejection`, and logs `bug` for an error of ours that was
 * caught: "exit 0 and no such line" counts all three and expects none. A well-behaved client is served all the while.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { fuzzPacket } from "../fuzz/packet-fuzzer.ts";
import { Random } from "../fuzz/random.ts";
import { type BrokerProcess, brokerUnderTest, startBroker } from "../support/broker-process.ts";
import { RawClient } from "../support/raw-client.ts";

setDefaultTimeout(60_000);

const SEED = Number(process.env["FUZZ_SEED"] ?? Math.floor(Date.now() / 1000));
const PINGREQ = [0xc0, 0x00];

/** Connects, sends, and is gone. */
async function provoke(broker: BrokerProcess, chunks: readonly Uint8Array[]): Promise<void> {
  const client = await RawClient.connect(broker.tcpPort);
  for (const chunk of chunks) client.send(chunk);
  client.end();
  await client.closed;
}

test.skipIf(brokerUnderTest !== "rqtt")(`ten rounds of two hundred broken clients, seed ${SEED}`, async () => {
  const broker = await startBroker();
  const random = new Random(SEED);
  const witness = await RawClient.connect(broker.tcpPort);
  witness.sendConnect(5, "witness");
  expect((await witness.packet())[0]).toBe(0x20);
  for (let round = 0; round < 10; round++) {
    const clients = Array.from({ length: 200 }, () => {
      const first =
        random.below(4) === 0 ? [] : [RawClient.connectBytes(random.below(2) === 0 ? 4 : 5, `f${random.below(50)}`)];
      const rest = Array.from({ length: random.below(6) }, () => fuzzPacket(random).bytes);
      return provoke(broker, [...first, ...rest]);
    });
    await Promise.all(clients);
    witness.send(PINGREQ);
    expect(await witness.packet()).toEqual([0xd0, 0x00]);
  }
  expect(await broker.stop()).toBe(0);
  expect(broker.stderr()).toContain("peer-error");
  expect(broker.stderr()).not.toMatch(/ (?:bug|crash|uncaught-exception|unhandled-rejection) /u);
});
