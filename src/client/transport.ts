/** What carries the bytes of one network connection: a WebSocket in a page, a socket in Bun, a broker in this process. */

export interface Wire {
  /** `bytes` are given away. */
  send(bytes: Uint8Array): void;
  /** What was sent still goes out. */
  close(): void;
}

/**
 * Opens a connection, again for each attempt, and calls nothing before it has returned. What is received is given away;
 * `closed` is called once, and nothing after it.
 */
export type Transport = (
  opened: () => void,
  received: (bytes: Uint8Array) => void,
  closed: (reason: string) => void,
) => Wire;
