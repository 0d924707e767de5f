/** PUBLISH encoded once per layout and copied: byte for byte what encoding it for each receiver gives. */
import { expect, test } from "bun:test";
import { publishFirstByte } from "../../src/core/codec/publish.ts";
import { type HopProperties, writePublish } from "../../src/core/codec/publish-view.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { Frames } from "../../src/core/delivery/frames.ts";
import { Random } from "../fuzz/random.ts";
import { ownedMessage } from "../support/owned-message.ts";
import { fromHex } from "../support/world.ts";

const SEEDS = Array.from({ length: 20 }, (_, at) => at + 1);
const UNBOUNDED = Number.POSITIVE_INFINITY;

test.each(SEEDS)("random messages for receivers of random layouts: seed %d", (seed) => {
  const random = new Random(seed);
  const frames = new Frames();
  for (let round = 0; round < 20; round++) {
    const payload = new Uint8Array(random.pick([0, 1, 100, 127, 128, 300, 20_000])).fill(random.below(256));
    const message = ownedMessage("t".repeat(random.between(1, 200)), payload);
    if (random.oneIn(2)) {
      message.properties = fromHex("03 00 01 78"); // Content Type "x"
      message.propertiesEnd = message.properties.length;
    }
    const messageExpiryInterval = random.oneIn(2) ? random.below(1000) : -1;
    frames.open();
    for (let receiver = 0; receiver < 12; receiver++) {
      const qos = random.below(3) as 0 | 1 | 2;
      const firstByte = publishFirstByte(qos, false, random.oneIn(2));
      const packetId = qos === 0 ? 0 : random.between(1, 65_535);
      const hop: HopProperties | null = random.oneIn(2)
        ? null
        : { messageExpiryInterval, topicAlias: 0, subscriptionIdentifiers: null };
      const [copied, encoded] = [new Writer(16), new Writer(16)];
      // Whatever stands in front of it stays.
      for (const writer of [copied, encoded]) writer.u16(0xabcd);
      const bytesMax = random.oneIn(5) ? random.below(400) : UNBOUNDED;
      const isCopied = frames.write(copied, firstByte, packetId, message, hop, bytesMax);
      const topicBytes = message.topicName.bytes;
      expect(writePublish(encoded, firstByte, packetId, topicBytes, message, hop, bytesMax)).toBe(isCopied);
      expect(Buffer.compare(copied.view(), encoded.view())).toBe(0);
    }
    frames.close();
  }
});

test("closed, it has forgotten the message: the next one is encoded anew", () => {
  const frames = new Frames();
  const texts: string[] = [];
  for (const payload of ["first", "second"]) {
    frames.open();
    expect(frames.isOpen).toBe(true);
    const writer = new Writer();
    frames.write(writer, publishFirstByte(0, false, false), 0, ownedMessage("a", payload), null, UNBOUNDED);
    texts.push(new TextDecoder().decode(writer.view().subarray(5)));
    frames.close();
    expect(frames.isOpen).toBe(false);
  }
  expect(texts).toEqual(["first", "second"]);
});

test("a layout that comes later does not disturb the ones there are, however large it is", () => {
  const frames = new Frames();
  const message = ownedMessage("a", new Uint8Array(5000).fill(7));
  const hop: HopProperties = { messageExpiryInterval: 5, topicAlias: 0, subscriptionIdentifiers: null };
  frames.open();
  const image = (qos: 0 | 1 | 2, withHop: boolean): Buffer => {
    const writer = new Writer();
    frames.write(writer, publishFirstByte(qos, false, false), 1, message, withHop ? hop : null, UNBOUNDED);
    return Buffer.from(writer.view());
  };
  const layouts = [0, 1, 2].flatMap((qos) => [[qos, false] as const, [qos, true] as const]);
  const first = layouts.map(([qos, withHop]) => image(qos as 0 | 1 | 2, withHop));
  const again = layouts.map(([qos, withHop]) => image(qos as 0 | 1 | 2, withHop));
  expect(again).toEqual(first);
  frames.close();
});
