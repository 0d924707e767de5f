/**
 * A client for one thing after the other: it sends a packet and waits for the one that answers it.
 *
 * Invariant: a wait ends, with the packet or with an error that says what was waited for.
 */
import { Connection } from "./connection.ts";
import {
  CONNACK,
  encodeAcknowledgement,
  encodeConnect,
  encodeEmpty,
  PINGREQ,
  PINGRESP,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  type Publish,
  SESSION_EXPIRY_INTERVAL,
  SUCCESS,
} from "./wire.ts";
import { decodeAcknowledgement, decodeConnack, decodePublish, type Packet } from "./wire-reader.ts";

const ANSWER_LIMIT_MS = 10_000;
const SESSION_EXPIRY_SECONDS = 3600;

interface Waiter {
  readonly fits: (packet: Packet) => boolean;
  readonly found: (packet: Packet) => void;
}

export class Dialogue {
  readonly clientId: string;
  sessionPresent = false;
  readonly #packets: Packet[] = [];
  readonly #waiters: Waiter[] = [];
  #connection: Connection | undefined;
  #isClosed = false;

  private constructor(clientId: string) {
    this.clientId = clientId;
  }

  static async open(port: number, clientId: string, cleanStart: boolean): Promise<Dialogue> {
    const dialogue = new Dialogue(clientId);
    dialogue.#connection = await Connection.open(port, {
      packet: ({ type, flags, body }) => dialogue.#take({ type, flags, body: body.slice() }),
      readEnd: () => {},
      unreadable: () => {},
      closed: () => {
        dialogue.#isClosed = true;
      },
    });
    const properties = [[SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_SECONDS]] as const;
    dialogue.send(encodeConnect({ clientId, cleanStart, properties }));
    const { sessionPresent, reasonCode } = decodeConnack((await dialogue.next(CONNACK)).body);
    if (reasonCode !== SUCCESS) throw new Error(`${clientId}: CONNACK with Reason Code ${reasonCode}`);
    dialogue.sessionPresent = sessionPresent;
    return dialogue;
  }

  get localPort(): number {
    return this.#connection!.localPort;
  }

  send(bytes: Uint8Array): void {
    this.#connection!.send(bytes);
  }

  /** The first packet of this type, and with this Packet Identifier, that nobody has taken yet. */
  async next(type: number, packetId: number | null = null): Promise<Packet> {
    const fits = (packet: Packet): boolean =>
      packet.type === type && (packetId === null || decodeAcknowledgement(packet.body).packetId === packetId);
    const at = this.#packets.findIndex(fits);
    if (at >= 0) return this.#packets.splice(at, 1)[0]!;
    const { promise, resolve, reject } = Promise.withResolvers<Packet>();
    const what = `a packet of type 0x${type.toString(16)}${packetId === null ? "" : ` for ${packetId}`}`;
    const late = (): void =>
      reject(new Error(`${this.clientId}: waited for ${what}${this.#isClosed ? ", but it was cut off" : ""}`));
    const timer = setTimeout(late, ANSWER_LIMIT_MS);
    this.#waiters.push({ fits, found: resolve });
    return promise.finally(() => clearTimeout(timer));
  }

  /** PUBACK with success, or PUBREC; throws for a Reason Code that says otherwise. */
  async acknowledged(type: number, packetId: number): Promise<void> {
    const { reasonCode } = decodeAcknowledgement((await this.next(type, packetId)).body);
    if (reasonCode >= 0x80) throw new Error(`${this.clientId}: Reason Code ${reasonCode} for ${packetId}`);
  }

  async ping(): Promise<void> {
    this.send(encodeEmpty(PINGREQ));
    await this.next(PINGRESP);
  }

  /** Every PUBLISH that has come, each acknowledged to the end of its exchange. */
  async takePublishes(): Promise<Publish[]> {
    const publishes: Publish[] = [];
    for (;;) {
      const at = this.#packets.findIndex(({ type }) => type === PUBLISH || type === PUBREL);
      if (at < 0) return publishes;
      const packet = this.#packets.splice(at, 1)[0]!;
      if (packet.type === PUBREL) {
        this.send(encodeAcknowledgement(PUBCOMP, decodeAcknowledgement(packet.body).packetId, SUCCESS));
        continue;
      }
      const publish = decodePublish(packet);
      publishes.push(publish);
      this.send(encodeAcknowledgement(publish.qos === 1 ? PUBACK : PUBREC, publish.packetId, SUCCESS));
    }
  }

  end(): void {
    this.#connection!.end();
  }

  #take(packet: Packet): void {
    const at = this.#waiters.findIndex(({ fits }) => fits(packet));
    if (at >= 0) this.#waiters.splice(at, 1)[0]!.found(packet);
    else this.#packets.push(packet);
  }
}
