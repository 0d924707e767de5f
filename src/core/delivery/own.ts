/** Copies what is kept, once per message: the only place where a borrowed message becomes an owned one. */
import { ApplicationMessage } from "../application-message.ts";
import { LOOP_COPY_BYTES_MAX } from "../codec/writer.ts";

function copyRange(source: Uint8Array, start: number, end: number, into: Uint8Array, at: number): void {
  if (end - start <= LOOP_COPY_BYTES_MAX) {
    for (let from = start; from < end; from++) into[at++] = source[from]!;
  } else {
    into.set(source.subarray(start, end), at);
  }
}

/** The message itself if it is owned, otherwise an owned copy. The Topic Name is shared, it never changes. */
export function own(message: ApplicationMessage): ApplicationMessage {
  if (message.owned) return message;
  const propertiesBytes = message.propertiesEnd - message.propertiesStart;
  const bytes = new Uint8Array(propertiesBytes + message.payloadBytes);
  copyRange(message.properties, message.propertiesStart, message.propertiesEnd, bytes, 0);
  copyRange(message.payload, message.payloadStart, message.payloadEnd, bytes, propertiesBytes);
  const copy = new ApplicationMessage();
  copy.topicName = message.topicName;
  copy.qos = message.qos;
  copy.retain = message.retain;
  copy.expiresAtMs = message.expiresAtMs;
  copy.properties = bytes;
  copy.propertiesEnd = propertiesBytes;
  copy.payload = bytes;
  copy.payloadStart = propertiesBytes;
  copy.payloadEnd = bytes.length;
  copy.publisherId = message.publisherId;
  copy.owned = true;
  return copy;
}
