/**
 * The table of every property of MQTT 5.0 section 2.2.2.2, which the broker's codec and the client's read alike.
 *
 * A row says name, kind and packets; its line is the identifier, so an empty one is none. Kinds: `1`, `2` and `4` are integers of so many
 * bytes, `v` is a Variable Byte Integer; one byte says 0 or 1, and `+` forbids 0. `s` is a UTF-8 string, `b` binary data,
 * `p` a pair of strings. Packets are one bit each, 1 << PacketType; bit 0 stands for the Will Properties.
 */
const TABLE = `
payloadFormatIndicator 1 9
messageExpiryInterval 4 9
contentType s 9




responseTopic s 9
correlationData b 9

subscriptionIdentifiers v+ 264





sessionExpiryInterval 4 16390
assignedClientIdentifier s 4
serverKeepAlive 2 4

authenticationMethod s 32774
authenticationData b 32774
requestProblemInformation 1 2
willDelayInterval 4 1
requestResponseInformation 1 2
responseInformation s 4

serverReference s 16388


reasonString s 51956

receiveMaximum 2+ 6
topicAliasMaximum 2 6
topicAlias 2+ 8
maximumQos 1 4
retainAvailable 1 4
userProperties p 53247
maximumPacketSize 4+ 6
wildcardSubscriptionAvailable 1 4
subscriptionIdentifiersAvailable 1 4
sharedSubscriptionAvailable 1 4`;

/** The properties of one packet, by the specification's names. Absent means absent, not the default. */
export interface Properties {
  payloadFormatIndicator?: number;
  messageExpiryInterval?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  /** Subscription Identifiers; several only in a PUBLISH from the server. */
  subscriptionIdentifiers?: number[];
  sessionExpiryInterval?: number;
  assignedClientIdentifier?: string;
  serverKeepAlive?: number;
  authenticationMethod?: string;
  authenticationData?: Uint8Array;
  requestProblemInformation?: number;
  willDelayInterval?: number;
  requestResponseInformation?: number;
  responseInformation?: string;
  serverReference?: string;
  reasonString?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumQos?: number;
  retainAvailable?: number;
  userProperties?: [string, string][];
  maximumPacketSize?: number;
  wildcardSubscriptionAvailable?: number;
  subscriptionIdentifiersAvailable?: number;
  sharedSubscriptionAvailable?: number;
}

export type PropertyKind = "1" | "2" | "2+" | "4" | "4+" | "v+" | "s" | "b" | "p";

/** Packets are one bit each, 1 << PacketType; bit 0 is the Will Properties. An identifier that is none has an empty name. */
export type PropertyRow = readonly [name: keyof Properties, kind: PropertyKind, packets: string];

/** The table by identifier. */
export const PROPERTY_ROWS = TABLE.split("\n").map((row) => row.split(" ")) as unknown as readonly PropertyRow[];
