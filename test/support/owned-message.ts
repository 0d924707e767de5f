/** Application Messages made by hand, for tests of stores and queues that never see a packet. */
import { ApplicationMessage } from "../../src/core/application-message.ts";
import { toBytes } from "./world.ts";

export function ownedMessage(topicName: string, payload: string | Uint8Array = ""): ApplicationMessage {
  const message = new ApplicationMessage();
  message.topicName = { bytes: toBytes(topicName), text: topicName };
  message.payload = toBytes(payload);
  message.payloadEnd = message.payload.length;
  message.owned = true;
  return message;
}
