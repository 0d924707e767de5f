/**
 * Handshakes under way, of TLS and of what follows it: connections that the broker does not know yet.
 *
 * Owns their bound, their deadline and the one log line that a failed one gets. Invariant: each has one outcome, by success,
 * failure or deadline, and counts until it has succeeded or its socket is closed; there are never more than
 * `unauthenticatedMax` together with the broker's newcomers, nor more than `connectionsMax` together with the broker's connections.
 * A TLS client gets no further than here unless its handshake succeeded and its certificate was judged.
 */
import type { Socket, SocketHandler } from "bun";
import type { Broker } from "../core/broker.ts";
import type { PeerCertificate } from "../core/gate/provider.ts";
import type { Limits } from "../core/limits.ts";
import type { Log } from "../core/ports.ts";
import { judgePeer, type ListenerTls } from "./tls.ts";

/** One handshake; its first outcome counts. */
export interface Handshake {
  succeeded(): void;
  failed(why: string): void;
  /** The socket is closed, whatever came before. */
  closed(): void;
}

export class Handshakes {
  readonly #broker: Broker;
  readonly #limits: Limits;
  readonly #log: Log;
  #running = 0;

  constructor(broker: Broker, limits: Limits, log: Log) {
    this.#broker = broker;
    this.#limits = limits;
    this.#log = log;
  }

  /** Counts a new one, and calls `cut` if its time is up; `undefined` if it is one too many. `event` names its failure. */
  begin(
    { listener, remoteAddress }: Pick<SecureWire, "listener" | "remoteAddress">,
    event: "tls-handshake-failed" | "upgrade-failed",
    cut: () => void,
  ): Handshake | undefined {
    const { unauthenticatedMax, connectionsMax, connectDeadlineMs } = this.#limits;
    const newcomers = this.#running + this.#broker.unauthenticatedCount;
    if (newcomers >= unauthenticatedMax || this.#running + this.#broker.connectionCount >= connectionsMax) {
      this.#log.write("warn", "connection-limit", { remoteAddress });
      return undefined;
    }
    this.#running++;
    let [isOpen, isCounted] = [true, true];
    const end = (): boolean => {
      const isFirst = isOpen;
      isOpen = false;
      clearTimeout(timer);
      return isFirst;
    };
    const release = (): void => {
      if (isCounted) this.#running--;
      isCounted = false;
    };
    const failed = (why: string): void => {
      if (end()) this.#log.write("info", event, { listener, remoteAddress, why });
    };
    const succeeded = (): void => {
      end();
      release();
    };
    const closed = (): void => {
      failed("the client hung up");
      release();
    };
    const timer = setTimeout(() => {
      failed(`not finished within ${connectDeadlineMs} ms`);
      cut();
    }, connectDeadlineMs);
    return { succeeded, failed, closed };
  }
}

/** One end of a TLS connection that is being accepted. */
export interface SecureWire {
  readonly listener: string;
  readonly remoteAddress: string;
  /** Of TLS, until it has succeeded. */
  handshake: Handshake | undefined;
  /** The handshake has had its outcome: nothing that is said of this socket later can let it in. */
  judged: boolean;
  /** Says the last word and hangs up. */
  close(): void;
  destroy(): void;
}

/** What `Bun.listen` calls until a client of a TLS listener is admitted, or is not. */
export function secureOpening<W extends SecureWire>(
  handshakes: Handshakes,
  tls: ListenerTls,
  accept: (socket: Socket<W>) => W,
  admit: (wire: W, certificate: PeerCertificate | undefined) => void,
): SocketHandler<W> {
  return {
    open(socket) {
      const wire = accept(socket);
      wire.handshake = handshakes.begin(wire, "tls-handshake-failed", () => {
        wire.judged = true;
        wire.destroy();
      });
      if (wire.handshake === undefined) wire.destroy();
    },
    handshake(socket, success, error) {
      const wire = socket.data;
      const { handshake } = wire;
      if (handshake === undefined || wire.judged) return;
      wire.judged = true;
      const judgement = judgePeer(socket, success, error, tls.clientCertificate);
      if (!judgement.ok) {
        handshake.failed(judgement.why);
        wire.close();
        return;
      }
      handshake.succeeded();
      wire.handshake = undefined;
      admit(wire, judgement.certificate);
    },
  };
}
