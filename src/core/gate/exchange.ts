/**
 * One run of an enhanced authentication (MQTT 5.0 section 4.12), at CONNECT or on a live connection.
 *
 * Whose turn it is: after a request left for the authority, "authority"; after AUTH 0x18 was sent, "client". An AUTH that
 * arrives when it is not the client's turn, or names another method, is a Protocol Error. There is one exchange per
 * connection at a time, with a bounded number of rounds; its deadline is the connection's.
 */
import { protocolError } from "../codec/peer-error.ts";
import type { Connection } from "../connection/connection.ts";
import { Deadline } from "../deadlines.ts";

export class Exchange {
  /** Names the exchange to the authority. */
  readonly id: number;
  /** The Authentication Method; undefined for a CONNECT without one. */
  readonly method: string | undefined;
  readonly phase: "connect" | "reauthenticate";
  /** The request whose verdict is awaited. */
  requestId = 0;
  turn: "authority" | "client" = "authority";
  /** AUTH packets the client has sent in it. */
  rounds = 0;
  /** Of a re-authentication; a CONNECT has the connection's deadline. */
  readonly deadline: Deadline<Connection>;

  constructor(id: number, method: string | undefined, phase: "connect" | "reauthenticate", connection: Connection) {
    this.id = id;
    this.method = method;
    this.phase = phase;
    this.deadline = new Deadline<Connection>("exchange", connection);
  }

  /** Takes an AUTH 0x18 of the client. */
  clientContinues(method: string | undefined): void {
    if (method !== this.method) throw protocolError("MQTT-4.12.0-5", "another Authentication Method than in CONNECT");
    if (this.turn !== "client") throw protocolError("MQTT-4.12.0-3", "AUTH out of turn");
    this.turn = "authority";
    this.rounds++;
  }
}
