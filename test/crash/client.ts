/**
 * A client with a session that outlives its connections: it comes back by itself, and knows whether its session must be there.
 *
 * Owns connecting, and the judgement of Session Present: 1 once a CONNACK for this session was received, 0 for a session never begun,
 * either while only a CONNECT was sent. Publishers and subscribers are what listens to it.
 */
import type { Random } from "../fuzz/random.ts";
import { Connection } from "./connection.ts";
import type { Journal } from "./journal.ts";
import type { KillPoints, Point } from "./kill-points.ts";
import {
  CONNACK,
  DISCONNECT,
  encodeConnect,
  encodeEmpty,
  PINGREQ,
  PINGRESP,
  RECEIVE_MAXIMUM,
  SESSION_EXPIRY_INTERVAL,
  SUCCESS,
} from "./wire.ts";
import { decodeConnack, numberOf, type Packet } from "./wire-reader.ts";

/** What everybody in a run shares. */
export interface Run {
  readonly random: Random;
  readonly journal: Journal;
  readonly points: KillPoints;
  /** Where the broker listens, or will again. */
  port(): number;
}

export interface ClientEvents {
  /** The session goes on, or a new one has begun. `receiveMaximum` is the broker's. */
  connected(sessionPresent: boolean, receiveMaximum: number): void;
  packet(packet: Packet): void;
  readEnd(): void;
  /** The connection is gone; the session is not. */
  lost(): void;
}

const SESSION_EXPIRY_SECONDS = 3600;
const RETRY_MS_MIN = 2;
const RETRY_MS_MAX = 20;

export class Client {
  readonly clientId: string;
  isOnline = false;
  readonly #run: Run;
  readonly #events: ClientEvents;
  #connection: Connection | null = null;
  /** Whoever has an older number has been replaced. */
  #attempt = 0;
  #wanted = false;
  #session: "never" | "maybe" | "yes" = "never";
  #cleanStart = false;
  /** What the CONNACK has to say; null: either. */
  #presentExpected: boolean | null = null;
  #isConnecting = false;
  #pongs: (() => void)[] = [];

  constructor(run: Run, clientId: string, events: ClientEvents) {
    this.#run = run;
    this.clientId = clientId;
    this.#events = events;
  }

  /** Connects, and again whenever the connection is lost, until `leave` or `cut`. */
  come(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    void this.#connect(++this.#attempt);
  }

  /** Discards the session: the next connection begins a new one. */
  renew(): void {
    this.cut();
    this.#cleanStart = true;
    this.come();
  }

  /** DISCONNECT; the session stays. */
  leave(): void {
    this.send(encodeEmpty(DISCONNECT));
    this.#end((connection) => connection.end());
  }

  cut(): void {
    this.#end((connection) => connection.cut());
  }

  send(bytes: Uint8Array): void {
    this.#connection?.send(bytes);
  }

  /** Resolves when everything that the broker sent before its PINGRESP was handled; never when the connection is lost. */
  ping(): Promise<void> {
    return new Promise((resolve) => {
      this.#pongs.push(resolve);
      this.send(encodeEmpty(PINGREQ));
    });
  }

  /** Whether a CONNECT waits for its CONNACK. */
  get standing(): Point[] {
    return this.#isConnecting && this.#connection !== null ? ["CONNECT >"] : [];
  }

  #end(how: (connection: Connection) => void): void {
    this.#wanted = false;
    this.#attempt++;
    const connection = this.#connection;
    this.#gone();
    if (connection !== null) how(connection);
  }

  #gone(): void {
    const wasOnline = this.isOnline;
    this.isOnline = false;
    this.#isConnecting = false;
    this.#connection = null;
    this.#pongs = [];
    if (wasOnline) this.#events.lost();
  }

  async #connect(attempt: number): Promise<void> {
    const isCurrent = (): boolean => attempt === this.#attempt;
    try {
      const connection = await Connection.open(this.#run.port(), {
        packet: (packet) => isCurrent() && this.#packet(packet),
        readEnd: () => isCurrent() && this.#events.readEnd(),
        unreadable: (error) => isCurrent() && this.#fault("protocol", error.message),
        closed: () => isCurrent() && this.#retry(),
      });
      if (!isCurrent()) return connection.cut();
      this.#connection = connection;
      this.#sendConnect();
    } catch {
      // Nobody listens: the broker is down.
      if (isCurrent()) this.#retry();
    }
  }

  #retry(): void {
    this.#gone();
    const attempt = ++this.#attempt;
    const delayMs = this.#run.random.between(RETRY_MS_MIN, RETRY_MS_MAX);
    setTimeout(() => attempt === this.#attempt && void this.#connect(attempt), delayMs);
  }

  #sendConnect(): void {
    this.#isConnecting = true;
    const properties = [
      [SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_SECONDS],
      [RECEIVE_MAXIMUM, this.#run.random.between(8, 64)],
    ] as const;
    this.#run.journal.write(`${this.clientId} CONNECT${this.#cleanStart ? " Clean Start" : ""}`);
    this.send(encodeConnect({ clientId: this.clientId, cleanStart: this.#cleanStart, properties }));
    this.#presentExpected =
      this.#cleanStart || this.#session === "never" ? false : this.#session === "yes" ? true : null;
    // Whether the broker sees this CONNECT is not known before it answers.
    if (this.#presentExpected === false) this.#session = "maybe";
    this.#run.points.passed("CONNECT >");
  }

  #packet(packet: Packet): void {
    if (this.#isConnecting) this.#connack(packet);
    else if (packet.type === PINGRESP) this.#pongs.shift()?.();
    else if (packet.type === DISCONNECT) this.#fault("refused", `DISCONNECT with Reason Code ${packet.body[0] ?? 0}`);
    else this.#events.packet(packet);
  }

  #connack(packet: Packet): void {
    if (packet.type !== CONNACK) return this.#fault("protocol", `a packet of type ${packet.type} before CONNACK`);
    const { sessionPresent, reasonCode, properties } = decodeConnack(packet.body);
    if (reasonCode !== SUCCESS) return this.#fault("refused", `CONNACK with Reason Code ${reasonCode}`);
    this.#run.journal.write(`${this.clientId} CONNACK, Session Present ${sessionPresent ? 1 : 0}`);
    this.#judge(sessionPresent);
    this.#isConnecting = false;
    this.#session = "yes";
    this.#cleanStart = false;
    this.isOnline = true;
    this.#events.connected(sessionPresent, numberOf(properties, RECEIVE_MAXIMUM, 65_535));
    this.#run.points.passed("< CONNACK");
  }

  #judge(sessionPresent: boolean): void {
    if (this.#presentExpected === null || this.#presentExpected === sessionPresent) return;
    const why = sessionPresent
      ? "Session Present is 1 for a new session"
      : "Session Present is 0, though a CONNACK had confirmed the session";
    this.#fault("session", why);
  }

  #fault(fault: Parameters<Journal["fault"]>[0], text: string): void {
    this.#run.journal.fault(fault, `${this.clientId}: ${text}`);
  }
}
