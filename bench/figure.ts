/**
 * One figure: its median, the runs behind it, and the bound that it is held against.
 *
 * A bound that is missed is told and is no failure: on a busy machine it may be the machine. A failure is a broker that did
 * not do what was measured: it let in whom it should have kept out, kept out whom it should have let in, or lost a message.
 */
import type { PlotFile } from "./curve-report.ts";
import { median } from "./measurement.ts";
import { type DotPlot, dotPlot } from "./plot.ts";
import { aligned } from "./text-table.ts";

export interface Bound {
  readonly atMost?: number;
  readonly atLeast?: number;
}

export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly runs: readonly number[];
  readonly bound: Bound | null;
  readonly isMet: boolean | null;
}

export interface PartResult {
  readonly part: string;
  readonly figures: readonly Figure[];
  /** Who could not take part, and why. */
  readonly notes?: readonly string[];
  readonly failures: readonly string[];
  /** Whatever else was measured, run by run. */
  readonly detail: unknown;
  readonly plot?: DotPlot & { readonly name: string };
}

export function figure(name: string, unit: string, runs: readonly number[], bound: Bound | null = null): Figure {
  const value = median(runs);
  const { atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY } = bound ?? {};
  return { name, unit, value, runs, bound, isMet: bound === null ? null : value <= atMost && value >= atLeast };
}

/** With a failure nothing is met: a broker that turns clients away is quick about it. */
export function judged(result: PartResult): PartResult {
  if (result.failures.length === 0) return result;
  const figures = result.figures.map((one) => ({ ...one, isMet: one.isMet === null ? null : false }));
  return { ...result, figures };
}

export function reportPart({ part, figures, notes = [], failures }: PartResult): string {
  const rows = figures.map(({ name, unit, value, runs, bound, isMet }) => {
    const range = `${number(Math.min(...runs))} to ${number(Math.max(...runs))}`;
    const verdict = isMet === null ? "" : `${boundText(bound!)} ${isMet ? "met" : "MISSED"}`;
    return [`${name}, ${unit}`, number(value), runs.length > 1 ? range : "", verdict];
  });
  const failed = failures.map((failure) => `FAILED ${failure}`);
  const told = notes.map((note) => `note: ${note}`);
  const titles = [part, "median", "lowest to highest", "wanted"];
  return [...aligned([titles, ...rows]), ...told, ...failed, ""].join("\n");
}

export function partPlots({ plot }: PartResult): PlotFile[] {
  return plot === undefined ? [] : [{ name: `${plot.name}.svg`, title: plot.title, svg: dotPlot(plot) }];
}

export function boundText({ atMost, atLeast }: Bound): string {
  return atMost === undefined ? `≥ ${number(atLeast ?? 0)}` : `≤ ${number(atMost)}`;
}

function number(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 2 : value < 1000 ? 1 : 0 });
}
