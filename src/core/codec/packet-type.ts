/** MQTT Control Packet types (MQTT 5.0 section 2.1.2): the high four bits of the first byte. */
export const PacketType = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const;

/** Names in order of type, for logs. */
export const PACKET_TYPE_NAMES: readonly string[] = ["Reserved", ...Object.keys(PacketType)];
