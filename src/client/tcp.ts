/**
 * MQTT over TCP and TLS in Bun: `mqtt://host:1883` and `mqtts://host:8883`. Nothing that a page loads imports it.
 *
 * Packets of one turn leave in one write. What the socket does not take at once waits here, in order.
 */
import type { Transport } from "./transport.ts";

/** Packets are put together until they have this size. */
const WRITE_BYTES = 64 * 1024;

export interface TlsOptions {
  /** PEM text: who may sign the server's certificate, and the client's own certificate and key. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name that is asked for and checked. Default: the host. */
  readonly serverName?: string;
}

export function tcp(url: string | URL, tls: TlsOptions = {}): Transport {
  const { protocol, hostname, port } = new URL(url);
  const secure = protocol === "mqtts:";
  if (!secure && protocol !== "mqtt:") throw new TypeError(`${protocol} in a URL, expected mqtt: or mqtts:`);
  return (opened, received, closed) => {
    let waiting: Uint8Array[] = [];
    let socket: Bun.Socket | undefined;
    let closing = false;
    let [scheduled, blocked] = [false, false];
    const flush = (): void => {
      scheduled = blocked = false;
      while (waiting.length > 0) {
        let [count, length] = [0, 0];
        while (count < waiting.length && length < WRITE_BYTES) length += waiting[count++]!.length;
        const bytes = count === 1 ? waiting[0]! : Buffer.concat(waiting.slice(0, count));
        const rest = bytes.subarray(Math.max(socket!.write(bytes), 0));
        blocked = rest.length > 0;
        waiting.splice(0, count, ...(blocked ? [rest] : []));
        if (blocked) return;
      }
      if (closing) socket!.end();
    };
    const schedule = (): void => {
      if (scheduled || blocked || !socket) return;
      scheduled = true;
      queueMicrotask(flush);
    };
    const gone = (reason: string): void => {
      waiting = [];
      closed(reason);
    };
    const open = (from: Bun.Socket): void => {
      socket = from;
      if (closing) from.end();
      else opened();
    };
    const host = hostname.replace(/^\[|\]$/gu, "");
    void Bun.connect({
      hostname: host,
      port: Number(port || (secure ? 8883 : 1883)),
      ...(secure ? { tls: { ...tls, serverName: tls.serverName ?? host } } : {}),
      socket: {
        open: (from) => (secure ? undefined : open(from)),
        handshake: (from, authorized, error) => {
          if (authorized) open(from);
          else {
            from.end();
            gone(`the server's certificate was not accepted: ${error?.message ?? "no reason given"}`);
          }
        },
        data: (_, bytes) => received(new Uint8Array(bytes)),
        drain: flush,
        close: (_, error) => gone(error?.message ?? "the connection was closed"),
        error: (_, error) => gone(error.message),
      },
    }).catch((error: Error) => gone(error.message));
    return {
      send: (bytes) => {
        waiting.push(bytes);
        schedule();
      },
      close: () => {
        closing = true;
        schedule();
      },
    };
  };
}
