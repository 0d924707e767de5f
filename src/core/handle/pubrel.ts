/** PUBREL from a client (MQTT 5.0 sections 3.6 and 4.3.3): its QoS 2 Packet Identifier is free again [MQTT-4.3.3-11]. */
import { encodePubcomp, writePubcomp } from "../codec/pubcomp.ts";
import { decodePubrel } from "../codec/pubrel.ts";
import type { Reader } from "../codec/reader.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import type { Connection } from "../connection/connection.ts";
import type { Session } from "../session/session.ts";
import type { BrokerState } from "../state.ts";

export function handlePubrel(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  const { packetId } = decodePubrel(reader, flags, connection.protocolLevel);
  const session = connection.session!;
  const known = releaseQos2(session, packetId);
  // PUBCOMP waits for it: an identifier that is still known would make the next message look like a repetition.
  if (known) state.journal.inboundGone(session, packetId);
  const writer = state.outboxes.writer(connection);
  if (known || connection.protocolLevel !== 5) writePubcomp(writer, packetId);
  else encodePubcomp(writer, { packetId, reasonCode: ReasonCode.PacketIdentifierNotFound }, 5);
}

function releaseQos2(session: Session, packetId: number): boolean {
  const open = session.inboundQos2;
  const connectionNumber = open?.get(packetId);
  if (connectionNumber === undefined) return false;
  open!.delete(packetId);
  if (open!.size === 0) session.inboundQos2 = null;
  if (connectionNumber === session.connectionNumber) session.inboundQos2Count--;
  return true;
}
