/**
 * The table of every property of MQTT 5.0 section 2.2.2.2, which the broker's codec and the client's read alike.
 *
 * A row says identifier, name, kind and packets. Kinds: `1`, `2` and `4` are integers of so many
 * bytes, `v` is a Variable Byte Integer; one byte says 0 or 1, and `+` forbids 0. `s` is a UTF-8 string, `b` binary data,
 * `p` a pair of strings. Packets are one bit each, 1 << PacketType; bit 0 stands for the Will Properties.
 */
const TABLE = `1 payloadFormatIndicator 1 9
2 messageExpiryInterval 4 9
3 contentType s 9
8 responseTopic s 9
9 correlationData b 9
11 subscriptionIdentifiers v+ 264
17 sessionExpiryInterval 4 16390
18 assignedClientIdentifier s 4
19 serverKeepAlive 2 4
21 authenticationMethod s 32774
22 authenticationData b 32774
23 requestProblemInformation 1 2
24 willDelayInterval 4 1
25 requestResponseInformation 1 2
26 responseInformation s 4
28 serverReference s 16388
31 reasonString s 51956
33 receiveMaximum 2+ 6
34 topicAliasMaximum 2 6
35 topicAlias 2+ 8
36 maximumQos 1 4
37 retainAvailable 1 4
38 userProperties p 53247
39 maximumPacketSize 4+ 6
40 wildcardSubscriptionAvailable 1 4
41 subscriptionIdentifiersAvailable 1 4
42 sharedSubscriptionAvailable 1 4`;

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

export interface PropertyRow {
  readonly id: number;
  readonly name: keyof Properties;
  readonly kind: PropertyKind;
  /** Packet types that may carry it, one bit each: 1 << PacketType; bit 0 is the Will Properties. */
  readonly packets: number;
}

/** The table, in ascending order of id. */
export const PROPERTY_ROWS: readonly PropertyRow[] = TABLE.split("\n").map((row) => {
  const [id, name, kind, packets] = row.split(" ") as [string, keyof Properties, PropertyKind, string];
  return { id: +id, name, kind, packets: +packets };
});
