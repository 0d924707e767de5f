/** What is kept of a borrowed message: a copy of its content and no more. */
import { expect, test } from "bun:test";
import { ApplicationMessage } from "../../src/core/application-message.ts";
import { own } from "../../src/core/delivery/own.ts";
import { toBytes } from "../support/world.ts";

interface Layout {
  readonly before: number;
  readonly properties: number;
  readonly payload: number;
  /** Properties in memory of their own. */
  readonly apart?: boolean;
}

/** A message within a packet of which every byte is different from its neighbours. */
function borrowed({ before, properties, payload, apart = false }: Layout): ApplicationMessage {
  const bytes = Uint8Array.from({ length: before + properties + payload }, (_, at) => at % 251);
  const message = new ApplicationMessage();
  message.topicName = { bytes: toBytes("a"), text: "a" };
  message.qos = 1;
  message.retain = true;
  message.expiresAtMs = 5;
  message.publisherId = "publisher";
  message.payload = bytes;
  message.payloadStart = before + properties;
  message.payloadEnd = bytes.length;
  message.properties = apart ? bytes.slice(before, before + properties) : bytes;
  message.propertiesStart = apart ? 0 : before;
  message.propertiesEnd = message.propertiesStart + properties;
  return message;
}

function content(message: ApplicationMessage): unknown {
  const { topicName, qos, retain, expiresAtMs, publisherId, sizeBytes } = message;
  const properties = message.properties.slice(message.propertiesStart, message.propertiesEnd);
  const payload = message.payload.slice(message.payloadStart, message.payloadEnd);
  return { topicName, qos, retain, expiresAtMs, publisherId, sizeBytes, properties, payload };
}

/** Memory that the message keeps alive, its Topic Name apart. */
function heldBytes(message: ApplicationMessage): number {
  const buffers = new Set([message.properties.buffer, message.payload.buffer]);
  return [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
}

const LAYOUTS: Layout[] = [
  { before: 0, properties: 0, payload: 0 },
  { before: 5, properties: 0, payload: 3 },
  { before: 5, properties: 7, payload: 20 },
  { before: 5, properties: 7, payload: 5_000 },
  { before: 5, properties: 700, payload: 0 },
  { before: 5, properties: 7, payload: 5_000, apart: true },
  { before: 5, properties: 7, payload: 20, apart: true },
];

test.each(LAYOUTS)("is a copy of what is worth it, whatever happens to the packet: %j", (layout) => {
  const message = borrowed(layout);
  const before = content(message);
  const owned = own(message);
  expect([owned.owned, message.owned]).toEqual([true, false]);
  expect(heldBytes(owned)).toBe(layout.properties + layout.payload);
  (message.payload.buffer as ArrayBuffer).transfer(0);
  expect(content(owned)).toEqual(before);
});

test("is a copy too of an array whose `slice` is a view", () => {
  const message = borrowed({ before: 5, properties: 7, payload: 5_000 });
  message.payload = message.properties = Buffer.from(message.payload.buffer);
  const before = content(borrowed({ before: 5, properties: 7, payload: 5_000 }));
  const owned = own(message);
  message.payload.fill(0);
  expect(content(owned)).toEqual(before);
});

test("is made once", () => {
  const owned = own(borrowed({ before: 5, properties: 7, payload: 50 }));
  expect(own(owned)).toBe(owned);
});
