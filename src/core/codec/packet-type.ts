/** MQTT Control Packet types (MQTT 5.0 section 2.1.2): the high four bits of the first byte. */
export const CONNECT = 1;
export const CONNACK = 2;
export const PUBLISH = 3;
export const PUBACK = 4;
export const PUBREC = 5;
export const PUBREL = 6;
export const PUBCOMP = 7;
export const SUBSCRIBE = 8;
export const SUBACK = 9;
export const UNSUBSCRIBE = 10;
export const UNSUBACK = 11;
export const PINGREQ = 12;
export const PINGRESP = 13;
export const DISCONNECT = 14;
export const AUTH = 15;

export const PacketType = {
  CONNECT,
  CONNACK,
  PUBLISH,
  PUBACK,
  PUBREC,
  PUBREL,
  PUBCOMP,
  SUBSCRIBE,
  SUBACK,
  UNSUBSCRIBE,
  UNSUBACK,
  PINGREQ,
  PINGRESP,
  DISCONNECT,
  AUTH,
} as const;

/** Names in order of type, as `Packet` calls its types. */
export const PACKET_NAMES: readonly string[] =
  "reserved connect connack publish puback pubrec pubrel pubcomp subscribe suback unsubscribe unsuback pingreq pingresp disconnect auth".split(
    " ",
  );

/** The same for logs. */
export const PACKET_TYPE_NAMES: readonly string[] = /* @__PURE__ */ PACKET_NAMES.map((name, type) =>
  type ? name.toUpperCase() : "Reserved",
);
