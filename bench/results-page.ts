/** The page over kept results, as Markdown: each with its machine, commit and command, its tables and its plots. */
import type { Circumstances } from "./circumstances.ts";
import { curveNotes, curveOf, curvePlots, curveTable } from "./curve-report.ts";
import { CURVES } from "./curves.ts";
import { boundText, type PartResult, partPlots } from "./figure.ts";
import { scenarioNotes, scenarioTable } from "./report.ts";
import type { CurveDocument, FigureDocument, ResultDocument, ScenarioDocument } from "./results.ts";
import { scenarioPlot } from "./scenario-plot.ts";
import { seedTable } from "./seed-table.ts";
import { markdownTable } from "./text-table.ts";

export function resultsPage(documents: readonly ResultDocument[]): string {
  const scenarios = documents.filter((document) => document.kind === "scenarios");
  const isOfFigures = (document: ResultDocument): document is FigureDocument =>
    document.kind === "capacity" || document.kind === "durable";
  const figures = documents.filter(isOfFigures);
  const place = ({ curve }: CurveDocument) => CURVES.findIndex(({ name }) => name === curve.name);
  const curves = documents.filter((document) => document.kind === "curve").toSorted((a, b) => place(a) - place(b));
  const sections = [
    "# Results",
    "Written by `bun run bench` with `--results`, from the JSON files beside it; not to be edited. How to read it: [the benchmarks](../README.md).",
    ...scenarios.flatMap(scenarioSections),
    ...figures.flatMap(figureSections),
    ...(curves.length === 0 ? [] : ["## How cost grows"]),
    ...curves.flatMap(curveSections),
  ];
  return `${sections.join("\n\n")}\n`;
}

function scenarioSections(document: ScenarioDocument): string[] {
  const { rows } = document;
  const table = seedTable(rows);
  const plot = scenarioPlot(rows);
  return [
    ...(table === null ? [] : ["## The seed's table", table.trimEnd()]),
    "## Every shape of load",
    circumstancesText(document),
    ...(plot === null ? [] : [`![${plot.title}](${plot.name})`]),
    ...rows.flatMap((row) => {
      const { title, cells } = scenarioTable(row);
      return [`**${row.scenario.name}**: ${title}`, markdownTable(cells).join("\n"), ...list(scenarioNotes(row))];
    }),
  ];
}

const TITLES = { capacity: "What a broker holds", durable: "Acknowledgements that wait for the disk" };

function figureSections(document: FigureDocument): string[] {
  return [`## ${TITLES[document.kind]}`, circumstancesText(document), ...document.results.flatMap(partSections)];
}

function partSections(result: PartResult): string[] {
  const { part, figures, notes = [], failures } = result;
  const rows = figures.map(({ name, unit, value, bound, isMet }) => [
    name,
    `${value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 1 : 0 })} ${unit}`,
    bound === null ? "" : `${boundText(bound)} ${isMet ? "met" : "missed"}`,
  ]);
  const told = [...failures.map((failure) => `FAILED ${failure}`), ...notes];
  return [
    `**${part}**`,
    ...partPlots(result).map(({ name, title }) => `![${title}](${name})`),
    markdownTable([["", "found", "wanted"], ...rows]).join("\n"),
    ...list(told),
  ];
}

function curveSections(document: CurveDocument): string[] {
  const { curve: result } = document;
  const curve = curveOf(result);
  const size = result.quick ? "A quick look: fewer points and short runs. " : "";
  return [
    `### ${curve.title}`,
    `${size}${curve.load[0].toUpperCase()}${curve.load.slice(1)}. ${circumstancesText(document)}`,
    ...curvePlots(result).map(({ name, title }) => `![${title}](${name})`),
    ...(curve.name === "rate" ? ["Percentiles p50 / p90 / p99 / p99.9:"] : []),
    markdownTable(curveTable(result)).join("\n"),
    ...list(curveNotes(result)),
  ];
}

function circumstancesText({ machine, commit, command, date }: Circumstances): string {
  const memory = `${Math.round(machine.memoryBytes / 2 ** 30)} GB`;
  const where = `${machine.cpu}, ${machine.cores} cores, ${memory}, ${machine.platform}, Bun ${machine.bun}`;
  return `\`${command}\` on ${date.slice(0, 10)}, commit ${commit ?? "unknown"}; ${where}.`;
}

function list(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [lines.map((line) => `- ${line.replaceAll("\n", " ")}`).join("\n")];
}
