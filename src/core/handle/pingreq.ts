/** PINGREQ (MQTT 5.0 section 3.12): answered with PINGRESP [MQTT-3.12.4-1]. */
import { decodePingreq } from "../codec/pingreq.ts";
import { encodePingresp } from "../codec/pingresp.ts";
import type { Reader } from "../codec/reader.ts";
import type { Connection } from "../connection/connection.ts";
import type { BrokerState } from "../state.ts";

export function handlePingreq(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  decodePingreq(reader, flags);
  encodePingresp(state.outboxes.writer(connection));
}
