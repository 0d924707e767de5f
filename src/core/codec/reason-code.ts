/**
 * Every reason code of MQTT 5.0 section 2.4, with the packets that may carry it. One table; names are the specification's.
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

export interface ReasonCodeDefinition {
  readonly code: number;
  readonly name: string;
  /** Packet types that may carry it, one bit each: 1 << PacketType. */
  readonly packets: number;
}

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

const DEFINITIONS: readonly (readonly [code: number, name: string, packets: number])[] = [
  [0x00, "Success", CONNACK | PUBLISHED | PUBREL | PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH],
  [0x01, "Granted QoS 1", SUBACK],
  [0x02, "Granted QoS 2", SUBACK],
  [0x04, "Disconnect with Will Message", DISCONNECT],
  [0x10, "No matching subscribers", PUBLISHED],
  [0x11, "No subscription existed", UNSUBACK],
  [0x18, "Continue authentication", AUTH],
  [0x19, "Re-authenticate", AUTH],
  [0x80, "Unspecified error", CONNACK | PUBLISHED | SUBACK | UNSUBACK | DISCONNECT],
  [0x81, "Malformed Packet", CONNACK | DISCONNECT],
  [0x82, "Protocol Error", CONNACK | DISCONNECT],
  [0x83, "Implementation specific error", CONNACK | PUBLISHED | SUBACK | UNSUBACK | DISCONNECT],
  [0x84, "Unsupported Protocol Version", CONNACK],
  [0x85, "Client Identifier not valid", CONNACK],
  [0x86, "Bad User Name or Password", CONNACK],
  [0x87, "Not authorized", CONNACK | PUBLISHED | SUBACK | UNSUBACK | DISCONNECT],
  [0x88, "Server unavailable", CONNACK],
  [0x89, "Server busy", CONNACK | DISCONNECT],
  [0x8a, "Banned", CONNACK],
  [0x8b, "Server shutting down", DISCONNECT],
  [0x8c, "Bad authentication method", CONNACK | DISCONNECT],
  [0x8d, "Keep Alive timeout", DISCONNECT],
  [0x8e, "Session taken over", DISCONNECT],
  [0x8f, "Topic Filter invalid", SUBACK | UNSUBACK | DISCONNECT],
  [0x90, "Topic Name invalid", CONNACK | PUBLISHED | DISCONNECT],
  [0x91, "Packet Identifier in use", PUBLISHED | SUBACK | UNSUBACK],
  [0x92, "Packet Identifier not found", PUBREL | PUBCOMP],
  [0x93, "Receive Maximum exceeded", DISCONNECT],
  [0x94, "Topic Alias invalid", DISCONNECT],
  [0x95, "Packet too large", CONNACK | DISCONNECT],
  [0x96, "Message rate too high", DISCONNECT],
  [0x97, "Quota exceeded", CONNACK | PUBLISHED | SUBACK | DISCONNECT],
  [0x98, "Administrative action", DISCONNECT],
  [0x99, "Payload format invalid", CONNACK | PUBLISHED | DISCONNECT],
  [0x9a, "Retain not supported", CONNACK | DISCONNECT],
  [0x9b, "QoS not supported", CONNACK | DISCONNECT],
  [0x9c, "Use another server", CONNACK | DISCONNECT],
  [0x9d, "Server moved", CONNACK | DISCONNECT],
  [0x9e, "Shared Subscriptions not supported", SUBACK | DISCONNECT],
  [0x9f, "Connection rate exceeded", CONNACK | DISCONNECT],
  [0xa0, "Maximum connect time", DISCONNECT],
  [0xa1, "Subscription Identifiers not supported", SUBACK | DISCONNECT],
  [0xa2, "Wildcard Subscriptions not supported", SUBACK | DISCONNECT],
];

/** The table, in ascending order of code. */
export const REASON_CODES: readonly ReasonCodeDefinition[] = DEFINITIONS.map(([code, name, packets]) => ({
  code,
  name,
  packets,
}));

const BY_CODE: readonly (ReasonCodeDefinition | undefined)[] = (() => {
  const table: (ReasonCodeDefinition | undefined)[] = new Array(256).fill(undefined);
  for (const definition of REASON_CODES) table[definition.code] = definition;
  return table;
})();

/** Whether a packet of this type may carry this reason code. */
export function isReasonCodeOf(packetType: number, reasonCode: number): boolean {
  const definition = BY_CODE[reasonCode];
  return definition !== undefined && (definition.packets & (1 << packetType)) !== 0;
}

/** The specification's name of a reason code, for logs and errors. */
export function reasonCodeName(reasonCode: number): string {
  return BY_CODE[reasonCode]?.name ?? `0x${reasonCode.toString(16)}`;
}
