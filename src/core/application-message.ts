/**
 * The Application Message: what a publisher said, apart from how one hop carries it (MQTT 5.0 sections 1.2 and 3.3).
 *
 * A message is borrowed (its ranges are views over bytes that die when `receive` returns) or owned (delivery/own.ts
 * copied it, or its packet had memory of its own). Only owned messages are kept anywhere, and what is owned never changes.
 */

import type { QoS } from "./codec/packet.ts";
import type { PublishParts } from "./codec/publish-view.ts";

/** A Topic Name as bytes and, decoded when first asked for, as text. */
export interface TopicName {
  readonly bytes: Uint8Array;
  readonly text: string;
}

const NOTHING = new Uint8Array(0);
const NO_TOPIC: TopicName = { bytes: NOTHING, text: "" };

export class ApplicationMessage implements PublishParts {
  topicName: TopicName = NO_TOPIC;
  qos: QoS = 0;
  retain = false;
  /** Milliseconds since 1970; Infinity: never. */
  expiresAtMs = Number.POSITIVE_INFINITY;
  /** The end-to-end properties as they came, without their length. */
  properties: Uint8Array = NOTHING;
  propertiesStart = 0;
  propertiesEnd = 0;
  payload: Uint8Array = NOTHING;
  payloadStart = 0;
  payloadEnd = 0;
  /** Client Identifier of the publisher; "" for the broker's own messages. */
  publisherId = "";
  owned = false;

  get payloadBytes(): number {
    return this.payloadEnd - this.payloadStart;
  }

  /** What the message weighs in a bounded queue or store. */
  get sizeBytes(): number {
    return this.topicName.bytes.length + (this.propertiesEnd - this.propertiesStart) + this.payloadBytes;
  }
}
