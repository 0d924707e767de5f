/**
 * TLS handshakes under way: connections that the broker does not know yet.
 *
 * Owns their bound, their deadline and the one log line that a failed one gets. Invariant: each has one outcome, by success,
 * failure or deadline, and counts until it has succeeded or its socket is closed; there are never more than
 * `unauthenticatedMax` together with the broker's newcomers, nor more than `connectionsMax` together with the broker's connections.
 */
import type { Broker } from "../core/broker.ts";
import type { Limits } from "../core/limits.ts";
import type { Log } from "../core/ports.ts";

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

  /** Counts a new one, and calls `cut` if its time is up; `undefined` if it is one too many. */
  begin(listener: string, remoteAddress: string, cut: () => void): Handshake | undefined {
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
      if (end()) this.#log.write("info", "tls-handshake-failed", { listener, remoteAddress, why });
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
