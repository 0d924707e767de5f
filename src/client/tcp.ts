/**
 * MQTT over TCP and TLS in Bun: `mqtt://host:1883` and `mqtts://host:8883`. Nothing that a page loads imports it.
 *
 * What the socket does not take at once waits here, in order.
 */
import type { Transport } from "./transport.ts";

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
  return ({ opened, received, closed }) => {
    let waiting: Uint8Array[] = [];
    let socket: Bun.Socket | undefined;
    let closing = false;
    const flush = (): void => {
      while (waiting.length > 0) {
        const [first] = waiting as [Uint8Array];
        const written = socket!.write(first);
        if (written < first.length) {
          waiting[0] = first.subarray(Math.max(written, 0));
          return;
        }
        waiting.shift();
      }
      if (closing) socket!.end();
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
        waiting.push(new Uint8Array(bytes));
        if (waiting.length === 1) flush();
      },
      close: () => {
        closing = true;
        if (socket && waiting.length === 0) socket.end();
      },
    };
  };
}
