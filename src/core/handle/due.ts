/** What happens when a deadline has come (MQTT 5.0 sections 3.1.2.10, 3.1.2.11.2, 3.1.3.2.2, 4.12). */
import { ReasonCode } from "../codec/reason-code.ts";
import { type Connection, ConnectionState } from "../connection/connection.ts";
import type { Deadline } from "../deadlines.ts";
import type { RetainedEntry } from "../router/retained-entry.ts";
import type { Session } from "../session/session.ts";
import type { BrokerState } from "../state.ts";
import { disconnect, refuse } from "./answer.ts";
import { endSession, publishWill } from "./closed.ts";
import { publishStatistics } from "./sys.ts";

/** What is done at once of what is due: a hundred thousand sessions may expire in one moment, and everybody else would wait. */
const AT_ONCE = 500;

/** Does what is due, or the first part of it: what is left is due in the next turn, which comes at once. */
export function handleSomeDue(state: BrokerState): void {
  for (let count = 0; count < AT_ONCE && handleNextDue(state); count++);
}

/** Does everything that is due. */
export function handleAllDue(state: BrokerState): void {
  while (handleNextDue(state));
}

/** Answers false where nothing is due. */
function handleNextDue(state: BrokerState): boolean {
  const due = state.deadlines.popDue(state.nowMs);
  if (due === undefined) return false;
  try {
    handleDue(state, due);
  } catch (error) {
    state.ports.log.write("error", "bug", { where: due.kind, error: String(error) });
  }
  return true;
}

function handleDue(state: BrokerState, deadline: Deadline): void {
  switch (deadline.kind) {
    case "connection":
      return connectionDue(state, deadline.target as Connection);
    case "exchange":
      return disconnect(
        state,
        deadline.target as Connection,
        ReasonCode.NotAuthorized,
        "re-authentication took too long",
      );
    case "principal":
      return principalDue(state, deadline.target as Connection);
    case "session":
      return endSession(state, deadline.target as Session);
    case "will":
      return publishWill(state, deadline.target as Session);
    case "retained": {
      const { message } = deadline.target as RetainedEntry;
      state.retained.delete(message.topicName.text);
      state.journal.retainedGone(message);
      state.statistics.dropped.expired++;
      return;
    }
    case "sys":
      return publishStatistics(state);
  }
}

/** The connect deadline of a newcomer, the keep alive of a client [MQTT-3.1.2-22]. */
function connectionDue(state: BrokerState, connection: Connection): void {
  if (connection.state !== ConnectionState.Connected) {
    state.ports.log.write("info", "connect-timeout", { remoteAddress: connection.wire.remoteAddress });
    refuse(state, connection, ReasonCode.NotAuthorized, "no successful CONNECT in time");
    return;
  }
  // Not read from on account of the store, and PINGREQ with it: it is not the client that is silent.
  const waitsForStore = connection.congested && connection.withheld !== null;
  if (waitsForStore || state.awaitingStore.has(connection)) connection.lastReceivedMs = state.nowMs;
  const dueAtMs = connection.lastReceivedMs + connection.keepAliveMs;
  // Moved only now: a packet is received far more often than a deadline comes.
  if (dueAtMs > state.nowMs) state.deadlines.set(connection.deadline, dueAtMs);
  else disconnect(state, connection, ReasonCode.KeepAliveTimeout, "nothing received for 1.5 times the keep alive");
}

/** Credentials have expired. A re-authentication that has begun may end in its own time; there is no other grace. */
function principalDue(state: BrokerState, connection: Connection): void {
  const { exchange, principalDeadline } = connection;
  const isRenewing = exchange !== null && exchange.deadline.atMs > state.nowMs;
  if (isRenewing && principalDeadline !== null) state.deadlines.set(principalDeadline, exchange.deadline.atMs);
  else disconnect(state, connection, ReasonCode.NotAuthorized, "credentials have expired");
}
