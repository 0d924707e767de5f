/** What the broker knows of one client, for whoever runs it: who it is, what it may do, what it was refused last. */
import type { Rule } from "./gate/provider.ts";
import type { Session } from "./session/session.ts";

export interface ClientReport {
  readonly clientId: string;
  readonly connected: boolean;
  /** Of the present connection; undefined while the client is away. */
  readonly connection:
    | {
        readonly protocolLevel: number;
        readonly remoteAddress: string;
        readonly listener: string;
        readonly principal: string;
        readonly provider: string;
        /** Milliseconds since 1970. */
        readonly expiresAtMs: number | undefined;
      }
    | undefined;
  readonly allow: readonly Rule[] | "everything";
  readonly deny: readonly Rule[];
  readonly subscriptions: readonly string[];
  readonly queuedMessages: number;
  readonly inflightMessages: number;
  readonly droppedMessages: number;
  /** What the gate refused last, and the rule that would decide about it now. */
  readonly lastRefusal: { readonly what: string; readonly on: string; readonly because: string } | undefined;
}

/** Subscriptions listed at most. */
const SUBSCRIPTIONS_SHOWN_MAX = 1000;

export function reportClient(session: Session): ClientReport {
  const { connection, grant } = session;
  const { allow, deny } = grant.rules;
  const principal = connection?.principal;
  return {
    clientId: session.clientId,
    connected: connection !== null,
    connection:
      connection === null
        ? undefined
        : {
            protocolLevel: connection.protocolLevel,
            remoteAddress: connection.wire.remoteAddress,
            listener: connection.wire.listener,
            principal: principal?.id ?? "",
            provider: principal?.provider ?? "",
            expiresAtMs: principal?.expiresAtMs,
          },
    allow,
    deny,
    subscriptions: [...(session.subscriptions?.keys() ?? [])].slice(0, SUBSCRIPTIONS_SHOWN_MAX),
    queuedMessages: session.queueLength,
    inflightMessages: session.inflight.count,
    droppedMessages: session.droppedMessages,
    lastRefusal: lastRefusal(session),
  };
}

function lastRefusal({ lastRefusal: refused, grant }: Session): ClientReport["lastRefusal"] {
  if (refused === null) return undefined;
  if (refused.what === "publish") {
    const { topicName, qos, retain } = refused;
    const because = topicName.startsWith("$")
      ? "refused: topics beginning with $ are the server's"
      : grant.explainPublish(topicName, qos, retain);
    return { what: `PUBLISH, QoS ${qos}${retain ? ", retained" : ""}`, on: topicName, because };
  }
  const { topicFilter, shareName } = refused;
  const on = shareName === "" ? topicFilter : `$share/${shareName}/${topicFilter}`;
  return { what: "SUBSCRIBE", on, because: grant.explainSubscribe(topicFilter, shareName) };
}
