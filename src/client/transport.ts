/** What carries the bytes of one network connection: a WebSocket in a page, a socket in Bun, a broker in this process. */

export interface Wire {
  /** `bytes` are given away. */
  send(bytes: Uint8Array): void;
  /** What was sent still goes out. */
  close(): void;
}

/** What a wire tells; `closed` once, and nothing after it. `received` gives bytes away. */
export interface WireEvents {
  opened(): void;
  received(bytes: Uint8Array): void;
  closed(reason: string): void;
}

/** Opens a connection, again for each attempt. Calls nothing of `events` before it has returned. */
export type Transport = (events: WireEvents) => Wire;
