/**
 * The byte table: for every packet type and protocol level what its packets look like and which bytes are refused.
 *
 * Feeds the codec's tests in both directions and the fuzzer. Names are unique; a row is found by its name.
 */
import type { PacketRow, RefusedRow } from "./packet-row.ts";
import { ACKNOWLEDGEMENT_PACKETS, ACKNOWLEDGEMENT_REFUSED } from "./table-acknowledgement.ts";
import { CONNACK_PACKETS, CONNACK_REFUSED } from "./table-connack.ts";
import { CONNECT_PACKETS, CONNECT_REFUSED } from "./table-connect.ts";
import { CONNECTION_PACKETS, CONNECTION_REFUSED } from "./table-connection.ts";
import { PROPERTY_PACKETS, PROPERTY_REFUSED } from "./table-properties.ts";
import { PUBLISH_PACKETS, PUBLISH_REFUSED } from "./table-publish.ts";
import { REASON_CODE_PACKETS, REASON_CODE_REFUSED } from "./table-reason-codes.ts";
import { SUBSCRIBE_PACKETS, SUBSCRIBE_REFUSED } from "./table-subscribe.ts";

export const PACKET_ROWS: readonly PacketRow[] = [
  ...CONNECT_PACKETS,
  ...CONNACK_PACKETS,
  ...PUBLISH_PACKETS,
  ...ACKNOWLEDGEMENT_PACKETS,
  ...SUBSCRIBE_PACKETS,
  ...CONNECTION_PACKETS,
  ...PROPERTY_PACKETS,
  ...REASON_CODE_PACKETS,
];

export const REFUSED_ROWS: readonly RefusedRow[] = [
  ...CONNECT_REFUSED,
  ...CONNACK_REFUSED,
  ...PUBLISH_REFUSED,
  ...ACKNOWLEDGEMENT_REFUSED,
  ...SUBSCRIBE_REFUSED,
  ...CONNECTION_REFUSED,
  ...PROPERTY_REFUSED,
  ...REASON_CODE_REFUSED,
];

/** The rows that a peer may send. */
export const DECODED_ROWS: readonly PacketRow[] = PACKET_ROWS.filter(({ only }) => only !== "encode");

/** The rows that the encoder writes. */
export const ENCODED_ROWS: readonly PacketRow[] = PACKET_ROWS.filter(({ only }) => only !== "decode");
