/**
 * Results that are kept: one JSON document per command, or per curve, in a folder, its plots beside it, and a page over all
 * that lies there. A command replaces what an earlier one of its kind left, and nothing else.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Circumstances } from "./circumstances.ts";
import { curvePlots, type PlotFile } from "./curve-report.ts";
import type { CurveResult } from "./curves.ts";
import { type PartResult, partPlots } from "./figure.ts";
import type { Row } from "./report.ts";
import { resultsPage } from "./results-page.ts";
import { scenarioPlot } from "./scenario-plot.ts";

export interface ScenarioDocument extends Circumstances {
  readonly kind: "scenarios";
  readonly rows: readonly Row[];
}

/** Figures by parts: of what a broker holds, or of what waits for the disk. */
export interface FigureDocument extends Circumstances {
  readonly kind: "capacity" | "durable";
  readonly results: readonly PartResult[];
}

export interface CurveDocument extends Circumstances {
  readonly kind: "curve";
  readonly curve: CurveResult;
}

export type ResultDocument = ScenarioDocument | FigureDocument | CurveDocument;

export function saveResult(folder: string, document: ResultDocument): void {
  mkdirSync(folder, { recursive: true });
  const name = document.kind === "curve" ? `curve-${document.curve.name}` : document.kind;
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(document, null, 2)}\n`);
  for (const { name, svg } of plotsOf(document)) writeFileSync(join(folder, name), svg);
  writeFileSync(join(folder, "README.md"), resultsPage(readResults(folder)));
}

export function plotsOf(document: ResultDocument): PlotFile[] {
  if (document.kind === "curve") return curvePlots(document.curve);
  if (document.kind === "scenarios") return [scenarioPlot(document.rows)].filter((plot) => plot !== null);
  return document.results.flatMap(partPlots);
}

function readResults(folder: string): ResultDocument[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return names.sort().map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as ResultDocument);
}
