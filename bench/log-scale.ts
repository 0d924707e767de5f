/**
 * Logarithmic axes: a domain that ends at round numbers, the place of a value on it, and where its ticks are.
 *
 * Round numbers are 1, 2 and 5 times a power of ten. Refuses what no such axis can show: nothing, zero and below.
 */

export interface LogScale {
  readonly min: number;
  readonly max: number;
  /** From 0 at `min` to 1 at `max`. */
  at(value: number): number;
}

export interface Tick {
  readonly value: number;
  /** The others are lines without a number. */
  readonly isLabelled: boolean;
}

const STEPS = [1, 2, 5];
/** An axis over fewer decades has numbers at 2 and 5 as well. */
const FEW_DECADES = 2.5;
/** Floating point makes 0.1 + 0.2 of round numbers too. */
const TOLERANCE = 1e-9;

/** An axis on which all values have a place. */
export function logScale(values: readonly number[]): LogScale {
  const wrong = values.find((value) => !(value > 0 && value < Number.POSITIVE_INFINITY));
  if (values.length === 0 || wrong !== undefined) throw new Error(`no logarithmic axis has a place for ${wrong}`);
  const min = roundDown(Math.min(...values));
  const max = roundUp(Math.max(...values));
  if (min === max) return between(min / 2, max * 2);
  return between(min, max);
}

function between(min: number, max: number): LogScale {
  const decades = Math.log10(max / min);
  return { min, max, at: (value) => Math.log10(value / min) / decades };
}

export function ticksOf({ min, max }: LogScale): Tick[] {
  const hasFewDecades = Math.log10(max / min) < FEW_DECADES;
  const ticks: Tick[] = [];
  for (let exponent = Math.floor(Math.log10(min)); exponent <= Math.ceil(Math.log10(max)); exponent++) {
    for (const step of STEPS) {
      const value = step * 10 ** exponent;
      if (value < min * (1 - TOLERANCE) || value > max * (1 + TOLERANCE)) continue;
      ticks.push({ value, isLabelled: hasFewDecades || step === 1 });
    }
  }
  return ticks;
}

function roundDown(value: number): number {
  const decade = 10 ** Math.floor(Math.log10(value) + TOLERANCE);
  const step = STEPS.toReversed().find((step) => step * decade <= value * (1 + TOLERANCE)) ?? 1;
  return step * decade;
}

function roundUp(value: number): number {
  const decade = 10 ** Math.floor(Math.log10(value) + TOLERANCE);
  const step = [...STEPS, 10].find((step) => step * decade >= value * (1 - TOLERANCE)) ?? 10;
  return step * decade;
}
