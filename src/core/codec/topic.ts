/**
 * Topic Names and Topic Filters (MQTT 5.0 sections 4.7 and 4.8.2): syntax, matching, coverage.
 *
 * Works on strings; the router matches bytes with the same rules (a property-based test holds them together).
 */
import { PeerError } from "./peer-error.ts";

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;

/**
 * Throws unless bytes[start, end) may be a Topic Name: not empty, no wildcards, not too many levels.
 * The UTF-8 rules are checked where the string is decoded.
 */
export function checkTopicNameBytes(bytes: Uint8Array, start: number, end: number, levelsMax: number): void {
  if (start === end) throw new PeerError(0x90, "MQTT-4.7.3-1", "empty Topic Name");
  let levels = 1;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte > SLASH) continue;
    if (byte === SLASH) levels++;
    else if (byte === PLUS || byte === HASH) throw new PeerError(0x90, "MQTT-3.3.2-2", "wildcard in a Topic Name");
  }
  if (levels > levelsMax) throw new PeerError(0x90, "4.7.3", `${levels} levels in a Topic Name, at most ${levelsMax}`);
}

/** Throws unless `topicName` may be a Topic Name; see `checkTopicNameBytes`. */
export function checkTopicName(topicName: string, levelsMax: number, statement: string): void {
  if (topicName.length === 0) throw new PeerError(0x90, "MQTT-4.7.3-1", "empty Topic Name");
  if (topicName.includes("+") || topicName.includes("#"))
    throw new PeerError(0x90, statement, "wildcard in a Topic Name");
  if (levelCount(topicName) > levelsMax) {
    throw new PeerError(0x90, "4.7.3", `more than ${levelsMax} levels in a Topic Name`);
  }
}

function levelCount(text: string): number {
  let levels = 1;
  for (let at = text.indexOf("/"); at !== -1; at = text.indexOf("/", at + 1)) levels++;
  return levels;
}

/** A Topic Filter taken apart. */
export interface ParsedFilter {
  /** Share name of a Shared Subscription, or "" for an ordinary one. */
  readonly shareName: string;
  /** The filter that topics are matched with, without `$share/` and the share name. */
  readonly topicFilter: string;
  readonly hasWildcard: boolean;
}

/** Takes a Topic Filter of a SUBSCRIBE apart; `undefined` where its syntax is wrong. */
export function parseTopicFilter(filter: string, levelsMax: number): ParsedFilter | undefined {
  let shareName = "";
  let topicFilter = filter;
  if (filter.startsWith("$share/")) {
    // [MQTT-4.8.2-1] [MQTT-4.8.2-2]: a share name of at least one character without wildcards, "/" and a filter.
    const end = filter.indexOf("/", 7);
    if (end <= 7) return undefined;
    shareName = filter.slice(7, end);
    if (shareName.includes("+") || shareName.includes("#")) return undefined;
    topicFilter = filter.slice(end + 1);
  } else if (filter === "$share") {
    return undefined; // a Shared Subscription cut short: nobody could ever publish to this name
  }
  if (topicFilter.length === 0) return undefined; // [MQTT-4.7.3-1]
  const hasWildcard = topicFilter.includes("+") || topicFilter.includes("#");
  if (hasWildcard) {
    const levels = topicFilter.split("/");
    for (let i = 0; i < levels.length; i++) {
      const level = levels[i]!;
      // [MQTT-4.7.1-1] "#" fills the last level; [MQTT-4.7.1-2] "+" fills a whole level.
      if (level.includes("#") && (level !== "#" || i !== levels.length - 1)) return undefined;
      if (level.includes("+") && level !== "+") return undefined;
    }
  }
  if (levelCount(topicFilter) > levelsMax) return undefined;
  return { shareName, topicFilter, hasWildcard };
}

/** Whether a Topic Name matches a valid Topic Filter (without `$share/`). */
export function topicMatches(topicFilter: string, topicName: string): boolean {
  const filter = topicFilter.split("/");
  const name = topicName.split("/");
  // [MQTT-4.7.2-1]
  if (/^[+#]/.test(topicFilter) && topicName[0] === "$") return false;
  const hasRest = filter.at(-1) === "#";
  return (
    (hasRest || filter.length === name.length) &&
    filter.every((level, i) => level === "#" || level === name[i] || (level === "+" && i < name.length))
  );
}

/** Whether every topic that `requested` matches is matched by `allowed` too; both without `$share/`. */
export function filterCovers(allowed: string, requested: string): boolean {
  const outer = allowed.split("/");
  const inner = requested.split("/");
  if ((outer[0] === "+" || outer[0] === "#") && requested.startsWith("$")) return false;
  for (let i = 0; ; i++) {
    const a = outer[i];
    const r = inner[i];
    if (a === "#") return true;
    if (a === undefined || r === undefined) return a === r;
    if (r === "#") {
      // "#" matches its parent level too, "+/#" does not: they are equal only where the parent would be an empty name.
      const parentIsEmpty = i === 0 || (i === 1 && inner[0] === "");
      return parentIsEmpty && a === "+" && outer.length === i + 2 && outer[i + 1] === "#";
    }
    if (a !== "+" && a !== r) return false;
  }
}

/** Whether some topic matches both filters; both without `$share/`. */
export function filtersOverlap(first: string, second: string): boolean {
  const a = first.split("/");
  const b = second.split("/");
  if ((a[0] === "+" || a[0] === "#") && second.startsWith("$")) return false;
  if ((b[0] === "+" || b[0] === "#") && first.startsWith("$")) return false;
  for (let i = 0; ; i++) {
    const x = a[i];
    const y = b[i];
    if (x === "#" || y === "#") {
      // Where the other filter ends here, "#" has to match its parent level, which may be an empty name: nobody's.
      const other = x === "#" ? y : x;
      return other !== undefined || i !== 1 || (a[0] !== "" && b[0] !== "");
    }
    if (x === undefined || y === undefined) return x === y;
    if (x !== "+" && y !== "+" && x !== y) return false;
  }
}
