/**
 * The one error of the client: what went wrong with which packet, and whether trying again makes sense.
 *
 * `code` is a reason code of MQTT 5.0 section 2.4 where there is one (a server's, or the one that a misbehaving server was
 * sent), and below zero for what the protocol has no code for.
 */

/** The caller's AbortSignal; its reason is the `cause`. */
export const ABORTED = -1;
/** No answer in time. */
export const DEADLINE = -2;
/** The client was closed. */
export const CLOSED = -3;
/** The connection, or with it the session, is lost. */
export const LOST = -4;

export class MqttError extends Error {
  declare readonly code: number;
  /** The kind of packet it is about: `connect`, `publish`, `subscribe`, `unsubscribe`, `auth`, `disconnect`, or what the server sent wrongly. */
  declare readonly packet: string;
  /** The server's own words, or what was found wrong. */
  declare readonly reasonString: string;
  /** Whether the same may succeed later, unchanged. */
  declare readonly retriable: boolean;

  constructor(code: number, packet: string, reasonString = "", cause?: unknown) {
    // DEADLINE and LOST; then from 0x80 on: unspecified, implementation, unavailable, busy, shutting down, keep alive,
    // Receive Maximum, message rate, quota, administrative, connection rate, connect time.
    const retriable = /-[24]|128|13[1679]|141|147|15[0129]|160/.test(`${code}`);
    super(`${packet} ${code} ${reasonString}`, { cause });
    Object.assign(this, { name: "MqttError", code, packet, reasonString, retriable });
  }
}

/** Whatever was thrown, as an MqttError about `packet`; `code` is for what has none of its own. */
export function mqttError(error: unknown, code: number, packet: string): MqttError {
  if (!(error instanceof MqttError)) return new MqttError(code, packet, `${error}`, error);
  return error.packet ? error : new MqttError(error.code, packet, error.reasonString, error);
}

/** Throws what a server is told that broke the protocol; the packet is filled in where it is known. */
export function refuse(code: number, found?: string): never {
  throw new MqttError(code, "", found);
}
