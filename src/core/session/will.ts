/** The Will Message of a session (MQTT 5.0 sections 3.1.2.5 and 3.1.3.2): what is published, and how long after the close. */
import type { ApplicationMessage } from "../application-message.ts";

export interface Will {
  /** Owned; its `expiresAtMs` is set when it is published. */
  readonly message: ApplicationMessage;
  /** Message Expiry Interval in seconds, counted from publication; -1: none. */
  readonly messageExpiryInterval: number;
  /** Seconds. */
  readonly delayInterval: number;
}
