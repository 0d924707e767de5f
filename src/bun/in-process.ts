/**
 * A client inside the broker's own process: MQTT bytes both ways, no port, no socket.
 *
 * What the broker sends is delivered after its turn has ended, so that the client may answer at once.
 */
import type { Broker } from "../core/broker.ts";
import { ReasonCode } from "../core/codec/reason-code.ts";
import type { Connection } from "../core/connection/connection.ts";
import type { Wire } from "../core/ports.ts";
import { nowMs, type Turn } from "./turn.ts";

/** The client's end. Bytes given to `onreceive` are the client's to keep. */
export interface InProcessConnection {
  send(bytes: Uint8Array): void;
  close(): void;
  onreceive: ((bytes: Uint8Array) => void) | null;
  /** The broker has closed; `reasonCode` tells why, 0 after the client's own DISCONNECT. */
  onclose: ((reasonCode: number) => void) | null;
}

class InProcessWire implements Wire {
  readonly remoteAddress = "in-process";
  readonly listener = "in-process:";
  onreceive: ((bytes: Uint8Array) => void) | null = null;
  onclose: ((reasonCode: number) => void) | null = null;
  readonly #broker: Broker;
  readonly #turn: Turn;
  readonly #connection: Connection;
  readonly #ended: () => void;
  #inbound: Uint8Array[] = [];
  #outbound: Uint8Array[] = [];
  #outboundBytes = 0;
  #paused = false;
  #closeReason = -1;
  #open = true;
  #delivering = false;

  constructor(broker: Broker, turn: Turn, ended: () => void) {
    this.#broker = broker;
    this.#turn = turn;
    this.#ended = ended;
    this.#connection = broker.open(this, nowMs());
    turn.schedule();
  }

  send(bytes: Uint8Array): number {
    this.#outbound.push(new Uint8Array(bytes));
    this.#outboundBytes += bytes.length;
    this.#scheduleDelivery();
    return this.#outboundBytes;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    if (this.#inbound.length > 0) setImmediate(() => this.#feed());
  }

  close(reasonCode = 0): void {
    this.#closeReason = reasonCode;
    this.#scheduleDelivery();
  }

  /** Bytes from the client. */
  receive(bytes: Uint8Array): void {
    if (!this.#open) return;
    this.#inbound.push(new Uint8Array(bytes));
    if (!this.#paused) this.#feed();
  }

  /** The broker cannot go on, and says nothing any more. */
  cut(reasonCode: number): void {
    if (!this.#open) return;
    this.#outbound = [];
    this.close(reasonCode);
  }

  /** The client hangs up. */
  hangUp(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#ended();
    this.#broker.closed(this.#connection, nowMs());
    this.#turn.schedule();
  }

  #feed(): void {
    while (this.#inbound.length > 0 && !this.#paused && this.#open) {
      this.#broker.receive(this.#connection, this.#inbound.shift()!, nowMs());
    }
    this.#turn.schedule();
  }

  #scheduleDelivery(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    this.#delivering = false;
    const chunks = this.#outbound;
    this.#outbound = [];
    this.#outboundBytes = 0;
    for (const chunk of chunks) if (this.#open) this.onreceive?.(chunk);
    if (this.#closeReason !== -1 && this.#open) {
      this.hangUp();
      this.onclose?.(this.#closeReason);
      return;
    }
    if (!this.#open) return;
    this.#broker.drained(this.#connection, 0, nowMs());
    this.#turn.schedule();
  }
}

/** The clients of one broker that are in its own process. */
export class InProcessClients {
  readonly #broker: Broker;
  readonly #turn: Turn;
  readonly #open = new Set<InProcessWire>();

  constructor(broker: Broker, turn: Turn) {
    this.#broker = broker;
    this.#turn = turn;
  }

  connect(): InProcessConnection {
    const wire = new InProcessWire(this.#broker, this.#turn, () => this.#open.delete(wire));
    this.#open.add(wire);
    return clientEnd(wire);
  }

  /** Ends all of them at once. */
  cutAll(): void {
    for (const wire of this.#open) wire.cut(ReasonCode.ServerUnavailable);
  }
}

function clientEnd(wire: InProcessWire): InProcessConnection {
  return {
    send: (bytes) => wire.receive(bytes),
    close: () => wire.hangUp(),
    get onreceive() {
      return wire.onreceive;
    },
    set onreceive(handler) {
      wire.onreceive = handler;
    },
    get onclose() {
      return wire.onclose;
    },
    set onclose(handler) {
      wire.onclose = handler;
    },
  };
}
