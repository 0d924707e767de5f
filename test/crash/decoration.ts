/**
 * Properties that some messages carry, made from their number, and the check that they arrived as they were sent.
 *
 * Message Expiry Interval is the one that may change under way: it counts down while a message waits (section 3.3.2.3.3).
 */
import type { Stream } from "./plan.ts";
import { CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY_INTERVAL, type Property, USER_PROPERTY } from "./wire.ts";

export interface DecoratedMark {
  readonly stream: Stream;
  readonly number: number;
}

const EXPIRY_SECONDS = 100_000;
const CONTENT = "text/plain; crash";

export function decorationOf({ stream, number }: DecoratedMark): Property[] {
  if (!stream.decorated) return [];
  return [
    [MESSAGE_EXPIRY_INTERVAL, EXPIRY_SECONDS],
    [CONTENT_TYPE, CONTENT],
    [CORRELATION_DATA, Uint8Array.of(0, number & 0xff, (number >> 8) & 0xff, 255)],
    [USER_PROPERTY, ["stream", `${stream.index}`]],
    [USER_PROPERTY, ["number", `${number}`]],
  ];
}

/** Null when all is well; `properties` are those of a PUBLISH but for its Subscription Identifiers. */
export function decorationComplaint(
  mark: DecoratedMark,
  properties: readonly Property[],
  ageSecondsMax: number,
): string | null {
  const sent = decorationOf(mark);
  for (const [identifier, value] of properties) {
    if (identifier !== MESSAGE_EXPIRY_INTERVAL) continue;
    const seconds = value as number;
    if (seconds > EXPIRY_SECONDS || seconds < EXPIRY_SECONDS - ageSecondsMax)
      return `Message Expiry Interval ${seconds}`;
  }
  const found = printed(properties);
  const expected = printed(sent);
  return found === expected ? null : `properties ${found}, sent with ${expected}`;
}

/** The order of properties has no meaning, save that of User Properties among themselves. */
function printed(properties: readonly Property[]): string {
  const stable = properties.map(([identifier, value]) => {
    return [
      identifier,
      identifier === MESSAGE_EXPIRY_INTERVAL ? "" : value instanceof Uint8Array ? [...value] : value,
    ] as const;
  });
  return JSON.stringify(stable.sort(([a], [b]) => a - b));
}
