/** Cached routes (MQTT 5.0 section 3.3.4) are bounded, those of topics included that a stored message still names. */
import { expect, test } from "bun:test";
import type { Topic } from "../../src/core/router/topic-table.ts";
import { World } from "../support/world.ts";

test("the topics of messages that wait keep no more than a million receivers alive", () => {
  const world = new World({ limits: { queueMessagesMax: 100_000 } });
  const away = world.connect({ clientId: "away", properties: { sessionExpiryInterval: 100 } });
  away.subscribe("t/#", { qos: 1 });
  const session = away.connection.session!;
  away.drop();
  for (let at = 0; at < 100; at++) {
    const client = world.connect();
    client.subscribe(["t/#", "+/+"], { qos: 0 });
    client.stall();
    client.connection.congested = true;
  }
  const publisher = world.connect();
  for (let at = 0; at < 60_000; at++) publisher.sendPublish(`t/${at}`, "", { qos: 1, packetId: 1 });
  const kept = session.queue!.extract(() => true).map(({ message }) => message.topicName as Topic);
  const receivers = kept.reduce((sum, { route }) => sum + (route?.receivers.length ?? 0), 0);
  expect(kept.length).toBe(60_000);
  expect(receivers).toBeLessThanOrEqual(1_000_000);
}, 30_000);
