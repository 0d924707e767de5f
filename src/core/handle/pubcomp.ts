/** PUBCOMP from a client (MQTT 5.0 sections 3.7 and 4.3.3): a QoS 2 delivery is over. */
import { decodePubcomp } from "../codec/pubcomp.ts";
import type { Reader } from "../codec/reader.ts";
import type { Connection } from "../connection/connection.ts";
import { DeliveryState } from "../session/inflight.ts";
import type { BrokerState } from "../state.ts";

export function handlePubcomp(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  const { packetId } = decodePubcomp(reader, flags, connection.protocolLevel);
  const session = connection.session!;
  const delivery = session.inflight.get(packetId);
  if (delivery === null || delivery.state !== DeliveryState.AwaitPubcomp) return;
  state.outbound.finish(session, delivery);
  if (session.hasBacklog) state.outbound.pump(session, state.nowMs);
}
