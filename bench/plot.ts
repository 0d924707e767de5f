/**
 * Plots as SVG: lines over two logarithmic axes, and dots by row over one. Written by hand, without a library; colours change
 * with the reader's light or dark scheme, and every series has a marker of its own besides its colour.
 */
import { type LogScale, logScale, type Tick, ticksOf } from "./log-scale.ts";

export interface Series {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface LinePlot {
  readonly title: string;
  readonly subtitle: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  readonly formatX?: (value: number) => string;
  /** Instead of round numbers to the base of ten. */
  readonly ticksX?: readonly number[];
}

export interface DotPlot {
  readonly title: string;
  readonly subtitle: string;
  readonly xLabel: string;
  readonly rows: readonly { readonly name: string; readonly dots: readonly { series: string; value: number }[] }[];
}

const WIDTH = 760;
const LINE_HEIGHT = 440;
const ROW_HEIGHT = 30;
const RIGHT = 30;
const BOTTOM = 56;
const LEGEND_Y = 72;
const LEGEND_ROW = 20;
/** Of text of 12 pixels, generously: the reader's font is not known here. */
const CHARACTER_WIDTH = 6.9;

/** Each with enough contrast on its ground; the first is rqtt's. */
const LIGHT = ["#1d4ed8", "#c2410c", "#15803d", "#a21caf", "#0f766e", "#b91c1c", "#57534e"];
const DARK = ["#7aa2ff", "#fb923c", "#4ade80", "#e879f9", "#2dd4bf", "#f87171", "#d6d3d1"];

const MARKERS: readonly ((x: number, y: number) => string)[] = [
  (x, y) => `<circle cx="${x}" cy="${y}" r="4"/>`,
  (x, y) => `<rect x="${num(x - 3.5)}" y="${num(y - 3.5)}" width="7" height="7"/>`,
  (x, y) => polygon(x, y, [0, -4.8, 4.5, 3.4, -4.5, 3.4]),
  (x, y) => polygon(x, y, [0, -5, 5, 0, 0, 5, -5, 0]),
  (x, y) => polygon(x, y, [0, 4.8, 4.5, -3.4, -4.5, -3.4]),
  (x, y) => polygon(x, y, [-5, -2, -2, -5, 5, 2, 2, 5]),
  (x, y) => polygon(x, y, [5, -2, 2, -5, -5, 2, -2, 5]),
];

/** Where data is drawn. */
interface Frame {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export function linePlot(plot: LinePlot): string {
  const points = plot.series.flatMap((series) => series.points);
  const x = logScale(points.map((point) => point.x));
  const y = logScale(points.map((point) => point.y));
  const names = plot.series.map(({ name }) => name);
  const legend = legendOf(names);
  const frame = { left: 72, top: legend.bottom + 14, right: WIDTH - RIGHT, bottom: LINE_HEIGHT - BOTTOM };
  const placeX = (value: number) => num(frame.left + x.at(value) * (frame.right - frame.left));
  const placeY = (value: number) => num(frame.bottom - y.at(value) * (frame.bottom - frame.top));
  const lines = plot.series.map((series, n) => {
    const sorted = series.points.toSorted((a, b) => a.x - b.x);
    const path = sorted.map((point) => `${placeX(point.x)},${placeY(point.y)}`).join(" ");
    const markers = sorted.map((point) => marker(n, placeX(point.x), placeY(point.y))).join("");
    return `<g class="s${n % LIGHT.length}"><polyline points="${path}"/>${markers}</g>`;
  });
  return document(LINE_HEIGHT, plot, names.length, [
    ...legend.elements,
    ...horizontalAxis(frame, x, plot, LINE_HEIGHT),
    ...verticalAxis(frame, y, plot.yLabel),
    // rqtt last, so that it lies on top.
    ...lines.toReversed(),
  ]);
}

export function dotPlot(plot: DotPlot): string {
  const names = [...new Set(plot.rows.flatMap(({ dots }) => dots.map(({ series }) => series)))];
  const legend = legendOf(names);
  const longest = Math.max(...plot.rows.map(({ name }) => name.length));
  const top = legend.bottom + 10;
  const bottom = top + plot.rows.length * ROW_HEIGHT;
  const height = bottom + BOTTOM;
  const frame = { left: Math.round(24 + longest * CHARACTER_WIDTH), top, right: WIDTH - RIGHT, bottom };
  const x = logScale(plot.rows.flatMap(({ dots }) => dots.map(({ value }) => value)));
  const placeX = (value: number) => num(frame.left + x.at(value) * (frame.right - frame.left));
  const rows = plot.rows.flatMap(({ name, dots }, row) => {
    const y = frame.top + (row + 0.5) * ROW_HEIGHT;
    const places = dots.map(({ value }) => placeX(value));
    const range = `<line class="range" x1="${Math.min(...places)}" y1="${y}" x2="${Math.max(...places)}" y2="${y}"/>`;
    const marks = dots.map(({ series, value }) => {
      const n = names.indexOf(series);
      return `<g class="s${n % LIGHT.length}">${marker(n, placeX(value), y)}</g>`;
    });
    return [
      `<text class="row" x="${frame.left - 12}" y="${y + 4}">${escaped(name)}</text>`,
      range,
      ...marks.toReversed(),
    ];
  });
  return document(height, plot, names.length, [...legend.elements, ...horizontalAxis(frame, x, plot, height), ...rows]);
}

function document(
  height: number,
  { title, subtitle }: { readonly title: string; readonly subtitle: string },
  seriesCount: number,
  elements: readonly string[],
): string {
  const size = `width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${escaped(`${title}. ${subtitle}`)}">`,
    `<style>${style(seriesCount)}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}" rx="6"/>`,
    `<text class="title" x="20" y="30">${escaped(title)}</text>`,
    `<text class="subtitle" x="20" y="50">${escaped(subtitle)}</text>`,
    ...elements,
    "</svg>",
    "",
  ].join("\n");
}

function style(seriesCount: number): string {
  const count = Math.min(seriesCount, LIGHT.length);
  const colours = (palette: readonly string[]) =>
    palette.slice(0, count).map((colour, n) => `.s${n}{fill:${colour};stroke:${colour}}`);
  const light = [".ground{fill:#ffffff}", "text{fill:#1f2328}", ".subtitle,.tick,.label{fill:#59636e}"];
  const dark = [".ground{fill:#0d1117}", "text{fill:#e6edf3}", ".subtitle,.tick,.label{fill:#9198a1}"];
  return [
    "text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;stroke:none}",
    ".title{font-size:16px;font-weight:600}.tick{font-size:11px}",
    ".row,.y{text-anchor:end}.x,.label{text-anchor:middle}",
    "polyline{fill:none;stroke-width:2;stroke-linejoin:round}",
    ".grid{stroke:#d1d9e0}.fine{stroke:#eff2f5}.range{stroke:#d1d9e0;stroke-width:2}",
    ...light,
    ...colours(LIGHT),
    "@media(prefers-color-scheme:dark){",
    ".grid{stroke:#3d444d}.fine{stroke:#21262d}.range{stroke:#3d444d}",
    ...dark,
    ...colours(DARK),
    "}",
  ].join("");
}

/** Names with their markers, in as many rows as they need. */
function legendOf(names: readonly string[]): { readonly elements: string[]; readonly bottom: number } {
  let x = 26;
  let y = LEGEND_Y;
  const elements = names.map((name, n) => {
    const width = 34 + name.length * CHARACTER_WIDTH;
    if (x > 26 && x + width > WIDTH - RIGHT) {
      x = 26;
      y += LEGEND_ROW;
    }
    const entry = `<g class="s${n % LIGHT.length}">${marker(n, x, y)}</g><text x="${num(x + 11)}" y="${y + 4}">${escaped(name)}</text>`;
    x += width;
    return entry;
  });
  return { elements, bottom: y + 8 };
}

function horizontalAxis(
  frame: Frame,
  scale: LogScale,
  axis: Pick<LinePlot, "xLabel" | "formatX" | "ticksX">,
  height: number,
): string[] {
  const { xLabel, formatX = formatNumber, ticksX } = axis;
  const ticks = ticksX === undefined ? ticksOf(scale) : ticksX.map((value) => ({ value, isLabelled: true }));
  const place = (value: number) => num(frame.left + scale.at(value) * (frame.right - frame.left));
  const lines = ticks.flatMap((tick) => {
    const x = place(tick.value);
    const line = `<line class="${gridClass(tick)}" x1="${x}" y1="${frame.top}" x2="${x}" y2="${frame.bottom}"/>`;
    const text = `<text class="tick x" x="${x}" y="${frame.bottom + 18}">${escaped(formatX(tick.value))}</text>`;
    return tick.isLabelled ? [line, text] : [line];
  });
  const middle = (frame.left + frame.right) / 2;
  return [...lines, `<text class="label" x="${middle}" y="${height - 16}">${escaped(xLabel)}</text>`];
}

function verticalAxis(frame: Frame, scale: LogScale, label: string): string[] {
  const place = (value: number) => num(frame.bottom - scale.at(value) * (frame.bottom - frame.top));
  const lines = ticksOf(scale).flatMap((tick) => {
    const y = place(tick.value);
    const line = `<line class="${gridClass(tick)}" x1="${frame.left}" y1="${y}" x2="${frame.right}" y2="${y}"/>`;
    const text = `<text class="tick y" x="${frame.left - 8}" y="${num(y + 4)}">${formatNumber(tick.value)}</text>`;
    return tick.isLabelled ? [line, text] : [line];
  });
  const middle = (frame.top + frame.bottom) / 2;
  const turned = `transform="translate(18 ${middle}) rotate(-90)"`;
  return [...lines, `<text class="label" ${turned}>${escaped(label)}</text>`];
}

function gridClass({ isLabelled }: Tick): string {
  return isLabelled ? "grid" : "fine";
}

function marker(n: number, x: number, y: number): string {
  return MARKERS[n % MARKERS.length](x, y);
}

function polygon(x: number, y: number, offsets: readonly number[]): string {
  const points: string[] = [];
  for (let n = 0; n < offsets.length; n += 2) points.push(`${num(x + offsets[n])},${num(y + offsets[n + 1])}`);
  return `<polygon points="${points.join(" ")}"/>`;
}

/** 0.05, 1, 20, 1k, 1M. */
export function formatNumber(value: number): string {
  if (value >= 1e6) return `${shortest(value / 1e6)}M`;
  if (value >= 1e3) return `${shortest(value / 1e3)}k`;
  return shortest(value);
}

/** 16 B, 1 KB, 64 KB, 1 MB, in powers of 1,024. */
export function formatBytes(value: number): string {
  if (value >= 2 ** 20) return `${shortest(value / 2 ** 20)} MB`;
  if (value >= 2 ** 10) return `${shortest(value / 2 ** 10)} KB`;
  return `${shortest(value)} B`;
}

function shortest(value: number): string {
  return String(Number(value.toPrecision(3)));
}

function num(value: number): number {
  return Math.round(value * 100) / 100;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
