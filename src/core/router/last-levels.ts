/**
 * Retained messages by the last level of their Topic Names: for a filter such as "a/+/b" often far fewer than there are places
 * for the "+".
 *
 * A message costs some 20 bytes in a list that many share, and 60 where no other has its last level. A list is in the order in
 * which the topics got a message, numbered, and keeps it, so that a search knows its place by a number and holds nothing. What is
 * taken out leaves its number behind; when such numbers are more than half of a list, they are cleared away.
 */
import type { RetainedEntry } from "./retained-entry.ts";

/** Two entries or more, or there have been. */
class Alike {
  /** By rising numbers: an entry, or the number of one that is gone. */
  list: (RetainedEntry | number)[];
  goneCount = 0;

  constructor(list: RetainedEntry[]) {
    this.list = list;
  }
}

function numberOf(place: RetainedEntry | number): number {
  return typeof place === "number" ? place : place.number;
}

/** The first place of this number or a higher one. */
function placeOf(list: readonly (RetainedEntry | number)[], number: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numberOf(list[middle]!) < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class LastLevels {
  readonly #byLevel = new Map<string, RetainedEntry | Alike>();

  /** Adds an entry with a higher number than all others. */
  add(level: string, entry: RetainedEntry): void {
    const known = this.#byLevel.get(level);
    if (known === undefined) this.#byLevel.set(level, entry);
    else if (known instanceof Alike) known.list.push(entry);
    else this.#byLevel.set(level, new Alike([known, entry]));
  }

  remove(level: string, entry: RetainedEntry): void {
    const known = this.#byLevel.get(level);
    if (!(known instanceof Alike)) {
      this.#byLevel.delete(level);
      return;
    }
    known.list[placeOf(known.list, entry.number)] = entry.number;
    known.goneCount++;
    if (known.goneCount * 2 <= known.list.length) return;
    known.list = known.list.filter((place) => typeof place !== "number");
    known.goneCount = 0;
    if (known.list.length === 0) this.#byLevel.delete(level);
  }

  /** How many entries have this last level. */
  countOf(level: string): number {
    const known = this.#byLevel.get(level);
    if (known === undefined) return 0;
    return known instanceof Alike ? known.list.length - known.goneCount : 1;
  }

  /** The entry with this last level that has the next number after this one. */
  after(level: string, number: number): RetainedEntry | undefined {
    const known = this.#byLevel.get(level);
    if (known === undefined) return undefined;
    if (!(known instanceof Alike)) return known.number > number ? known : undefined;
    for (let at = placeOf(known.list, number + 1); at < known.list.length; at++) {
      const place = known.list[at]!;
      if (typeof place !== "number") return place;
    }
    return undefined;
  }
}
