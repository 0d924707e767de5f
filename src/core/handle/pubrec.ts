/** PUBREC from a client (MQTT 5.0 sections 3.5 and 4.3.3): the second step of a QoS 2 delivery. */
import { decodePubrec } from "../codec/pubrec.ts";
import { encodePubrel, writePubrel } from "../codec/pubrel.ts";
import type { Reader } from "../codec/reader.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import type { Connection } from "../connection/connection.ts";
import { DeliveryState } from "../session/inflight.ts";
import type { BrokerState } from "../state.ts";

export function handlePubrec(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  const { packetId, reasonCode } = decodePubrec(reader, flags, connection.protocolLevel);
  const session = connection.session!;
  const delivery = session.inflight.get(packetId);
  if (delivery === null || delivery.state === DeliveryState.AwaitPuback) {
    if (connection.protocolLevel === 5 && reasonCode < 0x80) {
      const notFound = { packetId, reasonCode: ReasonCode.PacketIdentifierNotFound };
      encodePubrel(state.outboxes.writer(connection), notFound, 5);
    }
    return;
  }
  if (reasonCode >= 0x80) {
    // [MQTT-4.4.0-2]: the message is not sent again, to nobody [MQTT-4.8.2-6].
    state.outbound.finish(session, delivery);
    state.outbound.pump(session, state.nowMs);
    return;
  }
  delivery.state = DeliveryState.AwaitPubcomp;
  state.journal.progress(session, delivery);
  writePubrel(state.outboxes.writer(connection), packetId); // [MQTT-4.3.3-4]
}
