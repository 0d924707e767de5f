/**
 * Every reason code of MQTT 5.0 section 2.4, with the packets that may carry it. Their names for people are in
 * reason-code-name.ts.
 */
import { PacketType } from "./packet-type.ts";

export const ReasonCode = {
  Success: 0x00,
  GrantedQos1: 0x01,
  GrantedQos2: 0x02,
  DisconnectWithWillMessage: 0x04,
  NoMatchingSubscribers: 0x10,
  NoSubscriptionExisted: 0x11,
  ContinueAuthentication: 0x18,
  ReAuthenticate: 0x19,
  UnspecifiedError: 0x80,
  MalformedPacket: 0x81,
  ProtocolError: 0x82,
  ImplementationSpecificError: 0x83,
  UnsupportedProtocolVersion: 0x84,
  ClientIdentifierNotValid: 0x85,
  BadUserNameOrPassword: 0x86,
  NotAuthorized: 0x87,
  ServerUnavailable: 0x88,
  ServerBusy: 0x89,
  Banned: 0x8a,
  ServerShuttingDown: 0x8b,
  BadAuthenticationMethod: 0x8c,
  KeepAliveTimeout: 0x8d,
  SessionTakenOver: 0x8e,
  TopicFilterInvalid: 0x8f,
  TopicNameInvalid: 0x90,
  PacketIdentifierInUse: 0x91,
  PacketIdentifierNotFound: 0x92,
  ReceiveMaximumExceeded: 0x93,
  TopicAliasInvalid: 0x94,
  PacketTooLarge: 0x95,
  MessageRateTooHigh: 0x96,
  QuotaExceeded: 0x97,
  AdministrativeAction: 0x98,
  PayloadFormatInvalid: 0x99,
  RetainNotSupported: 0x9a,
  QosNotSupported: 0x9b,
  UseAnotherServer: 0x9c,
  ServerMoved: 0x9d,
  SharedSubscriptionsNotSupported: 0x9e,
  ConnectionRateExceeded: 0x9f,
  MaximumConnectTime: 0xa0,
  SubscriptionIdentifiersNotSupported: 0xa1,
  WildcardSubscriptionsNotSupported: 0xa2,
} as const;

const CONNACK = 1 << PacketType.CONNACK;
const PUBACK = 1 << PacketType.PUBACK;
const PUBREC = 1 << PacketType.PUBREC;
const PUBREL = 1 << PacketType.PUBREL;
const PUBCOMP = 1 << PacketType.PUBCOMP;
const SUBACK = 1 << PacketType.SUBACK;
const UNSUBACK = 1 << PacketType.UNSUBACK;
const DISCONNECT = 1 << PacketType.DISCONNECT;
const AUTH = 1 << PacketType.AUTH;
const PUBLISHED = PUBACK | PUBREC;

/** Packet types that may carry each code, one bit each: 1 << PacketType. */
const PACKETS: Readonly<Record<number, number>> = {
  0: CONNACK | PUBLISHED | PUBREL | PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH,
  1: SUBACK,
  2: SUBACK,
  4: DISCONNECT,
  16: PUBLISHED,
  17: UNSUBACK,
  24: AUTH,
  25: AUTH,
  128: CONNACK | PUBLISHED | SUBACK | UNSUBACK | DISCONNECT,
  129: CONNACK | DISCONNECT,
  130: CONNACK | DISCONNECT,
  131: CONNACK | PUBLISHED | SUBACK | UNSUBACK | DISCONNECT,
  132: CONNACK,
  133: CONNACK,
  134: CONNACK,
  135: CONNACK | PUBLISHED | SUBACK | UNSUBACK | DISCONNECT,
  136: CONNACK,
  137: CONNACK | DISCONNECT,
  138: CONNACK,
  139: DISCONNECT,
  140: CONNACK | DISCONNECT,
  141: DISCONNECT,
  142: DISCONNECT,
  143: SUBACK | UNSUBACK | DISCONNECT,
  144: CONNACK | PUBLISHED | DISCONNECT,
  145: PUBLISHED | SUBACK | UNSUBACK,
  146: PUBREL | PUBCOMP,
  147: DISCONNECT,
  148: DISCONNECT,
  149: CONNACK | DISCONNECT,
  150: DISCONNECT,
  151: CONNACK | PUBLISHED | SUBACK | DISCONNECT,
  152: DISCONNECT,
  153: CONNACK | PUBLISHED | DISCONNECT,
  154: CONNACK | DISCONNECT,
  155: CONNACK | DISCONNECT,
  156: CONNACK | DISCONNECT,
  157: CONNACK | DISCONNECT,
  158: SUBACK | DISCONNECT,
  159: CONNACK | DISCONNECT,
  160: DISCONNECT,
  161: SUBACK | DISCONNECT,
  162: SUBACK | DISCONNECT,
};

/** Whether a packet of this type may carry this reason code. */
export function isReasonCodeOf(packetType: number, reasonCode: number): boolean {
  return ((PACKETS[reasonCode] ?? 0) & (1 << packetType)) !== 0;
}

/** The packet types that may carry a reason code, one bit each: 1 << PacketType. */
export function packetsOf(reasonCode: number): number {
  return PACKETS[reasonCode] ?? 0;
}
