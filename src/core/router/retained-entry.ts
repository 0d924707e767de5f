/** One retained message, when it expires, and how a Topic Filter is compared with its Topic Name. */
import type { ApplicationMessage } from "../application-message.ts";
import { Deadline } from "../deadlines.ts";

export class RetainedEntry {
  message: ApplicationMessage;
  /** Order of storing: higher is later. */
  sequence = 0;
  /** Order of the topics' first messages: kept when one is stored in place of another. */
  readonly number: number;
  weightBytes = 0;
  readonly deadline: Deadline<RetainedEntry>;

  constructor(message: ApplicationMessage, number: number) {
    this.message = message;
    this.number = number;
    this.deadline = new Deadline<RetainedEntry>("retained", this);
  }

  get topicName(): string {
    return this.message.topicName.text;
  }

  /** Whether the levels of a Topic Filter (without `$share/`) match. Makes no strings: a search may ask a million entries. */
  matches(filter: readonly string[]): boolean {
    const { topicName } = this;
    // [MQTT-4.7.2-1]
    if (topicName.startsWith("$") && (filter[0] === "+" || filter[0] === "#")) return false;
    let start = 0;
    for (let at = 0; at < filter.length; at++) {
      const level = filter[at]!;
      if (level === "#") return true;
      // Behind the last level stands no "/".
      if (start > topicName.length) return false;
      const slash = topicName.indexOf("/", start);
      const end = slash === -1 ? topicName.length : slash;
      if (level !== "+" && !(level.length === end - start && topicName.startsWith(level, start))) return false;
      start = end + 1;
    }
    return start > topicName.length;
  }
}
