/** One retained message, when it expires, and how a Topic Filter is compared with its Topic Name. */
import type { ApplicationMessage } from "../application-message.ts";
import { Deadline } from "../deadlines.ts";

const SLASH = 0x2f;

export class RetainedEntry {
  readonly topicName: string;
  message: ApplicationMessage;
  /** Order of storing: higher is later. */
  sequence = 0;
  /** Order of the topics' first messages: kept when one is stored in place of another. */
  readonly number: number;
  weightBytes = 0;
  readonly deadline: Deadline<RetainedEntry>;

  constructor(message: ApplicationMessage, number: number) {
    this.topicName = message.topicName.text;
    this.message = message;
    this.number = number;
    this.deadline = new Deadline<RetainedEntry>("retained", this);
  }

  /** Whether a Topic Filter (without `$share/`) matches, by its levels. Makes no strings: a search may ask a million entries. */
  matches(filter: readonly string[]): boolean {
    // [MQTT-4.7.2-1]
    const isPassedOver = this.topicName.startsWith("$") && (filter[0] === "+" || filter[0] === "#");
    return !isPassedOver && this.matchesFrom(filter, 0, 0);
  }

  /** The same for the levels of the filter from `at` on and the name from `start` on, where what stands before is known to match. */
  matchesFrom(filter: readonly string[], at: number, start: number): boolean {
    const { topicName } = this;
    for (; at < filter.length; at++) {
      const level = filter[at]!;
      if (level === "#") return true;
      // Behind the last level stands no "/".
      if (start > topicName.length) return false;
      if (level === "+") {
        const slash = topicName.indexOf("/", start);
        start = slash === -1 ? topicName.length + 1 : slash + 1;
      } else {
        if (!isLevelAt(topicName, start, level)) return false;
        start += level.length + 1;
      }
    }
    return start > topicName.length;
  }
}

/** By characters: for levels as short as they are, several times cheaper than `startsWith`. */
function isLevelAt(topicName: string, start: number, level: string): boolean {
  const end = start + level.length;
  if (end > topicName.length || (end < topicName.length && topicName.charCodeAt(end) !== SLASH)) return false;
  for (let at = 0; at < level.length; at++) {
    if (topicName.charCodeAt(start + at) !== level.charCodeAt(at)) return false;
  }
  return true;
}
