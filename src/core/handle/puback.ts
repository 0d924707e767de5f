/** PUBACK from a client (MQTT 5.0 sections 3.4 and 4.3.2): a QoS 1 delivery is over, whatever the reason code [MQTT-4.4.0-2]. */
import { decodePuback } from "../codec/puback.ts";
import type { Reader } from "../codec/reader.ts";
import type { Connection } from "../connection/connection.ts";
import { DeliveryState } from "../session/inflight.ts";
import type { BrokerState } from "../state.ts";

export function handlePuback(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  const { packetId } = decodePuback(reader, flags, connection.protocolLevel);
  finishQos1(state, connection, packetId);
}

/** An identifier that is not under way is ignored: it may be left over from an earlier connection. */
export function finishQos1(state: BrokerState, connection: Connection, packetId: number): void {
  const session = connection.session!;
  const delivery = session.inflight.get(packetId);
  if (delivery === null || delivery.state !== DeliveryState.AwaitPuback) return;
  state.outbound.finish(session, delivery);
  if (session.hasBacklog) state.outbound.pump(session, state.nowMs);
}
