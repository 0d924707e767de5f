/**
 * Counts what arrays are put through while something runs: elements iterated or spread, searched, filtered and sliced.
 *
 * For tests that a thing costs what it should without a clock. Not counted: index loops, typed arrays, maps and sets.
 */

const COUNTED = ["find", "findIndex", "filter", "some", "slice", "concat", "indexOf"] as const;

/** Elements of arrays that `run` looked at through methods and iterators; those a search may stop before are counted too. */
export function arrayWork(run: () => void): number {
  const prototype = Array.prototype as unknown as Record<PropertyKey, unknown>;
  const names: readonly PropertyKey[] = [...COUNTED, Symbol.iterator];
  const originals = names.map((name) => [name, prototype[name]] as const);
  let elements = 0;
  const counting = (original: unknown) =>
    function (this: unknown[], ...given: unknown[]): unknown {
      elements += this.length;
      return Reflect.apply(original as () => unknown, this, given);
    };
  const put = (name: PropertyKey, value: unknown): void => {
    Object.defineProperty(prototype, name, { value, writable: true, enumerable: false, configurable: true });
  };
  for (let at = 0; at < originals.length; at++) put(originals[at]![0], counting(originals[at]![1]));
  try {
    run();
  } finally {
    for (let at = 0; at < originals.length; at++) put(originals[at]![0], originals[at]![1]);
  }
  return elements;
}
