/**
 * The Log port on standard error: one line per event, as text or as JSON.
 *
 * Owns: levels, the form of a line, and the bound on lines that the reader of standard error has not taken.
 * Invariant: an event is one line whatever a peer put into its values, with a bound on values and their number; what a
 * slow reader leaves behind is bounded, and what is dropped for it is counted and told. Nothing here throws: a broker
 * does not stop because nobody reads its log.
 */
import type { Log, LogFields, LogLevel } from "../core/ports.ts";
import { escapeControls, quote, shorten } from "../printable.ts";

/** Takes finished lines. `done` is called once the line has left, or is lost. */
export type LogSink = (line: string, done: () => void) => void;

export interface LogOptions {
  /** Least level written. */
  readonly level: LogLevel;
  readonly format: "text" | "json";
  readonly nowMs: () => number;
  readonly sink: LogSink;
  /** Characters handed to the sink and not done yet. Over it: lines are dropped. */
  readonly pendingCharactersMax?: number;
}

const VALUE_CHARACTERS_MAX = 512;
const FIELDS_MAX = 32;
const PENDING_CHARACTERS_MAX = 1024 * 1024;

const RANKS: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

export function createLog(options: LogOptions): Log {
  const { nowMs, sink, pendingCharactersMax = PENDING_CHARACTERS_MAX } = options;
  const least = RANKS[options.level];
  const formatLine = options.format === "json" ? jsonLine : textLine;
  let pending = 0;
  let dropped = 0;

  const hand = (level: LogLevel, event: string, fields: LogFields): boolean => {
    let taken = 0;
    const done = () => {
      pending -= taken;
      taken = 0;
    };
    try {
      const line = formatLine(nowMs(), level, event, fields);
      taken = line.length;
      pending += taken;
      sink(line, done);
      return true;
    } catch {
      done();
      return false;
    }
  };

  return {
    write(level, event, fields) {
      if (RANKS[level] < least) return;
      if (pending >= pendingCharactersMax) {
        dropped++;
        return;
      }
      if (dropped > 0 && hand("warn", "log-lines-dropped", { lines: dropped })) dropped = 0;
      if (!hand(level, event, fields)) dropped++;
    },
  };
}

/** Lines to standard error, without waiting for its reader and without minding its end. */
export function stderrSink(): LogSink {
  // A reader that has gone (EPIPE) comes as an error event, which would end the process if nobody listened.
  process.stderr.on("error", () => {});
  return (line, done) => {
    process.stderr.write(line, () => done());
  };
}

function textLine(nowMs: number, level: LogLevel, event: string, fields: LogFields): string {
  let line = `${new Date(nowMs).toISOString()} ${level} ${bare(event)}`;
  for (const [key, value] of Object.entries(fields).slice(0, FIELDS_MAX))
    line += ` ${bare(key)}=${bare(String(value))}`;
  return `${line}\n`;
}

/** As it is where that can be read back, quoted otherwise. */
function bare(value: string): string {
  return /^[\w.:/@+,$#*%()[\]-]+$/u.test(value) && value.length <= VALUE_CHARACTERS_MAX
    ? value
    : quote(value, VALUE_CHARACTERS_MAX);
}

function jsonLine(nowMs: number, level: LogLevel, event: string, fields: LogFields): string {
  const line: Record<string, string | number | boolean> = {
    time: new Date(nowMs).toISOString(),
    level,
    event: shorten(event, VALUE_CHARACTERS_MAX),
  };
  for (const [key, value] of Object.entries(fields).slice(0, FIELDS_MAX)) {
    // A field never replaces one of the first three.
    const name = Object.hasOwn(line, key) ? `${key}_` : shorten(key, VALUE_CHARACTERS_MAX);
    line[name] = typeof value === "string" ? shorten(value, VALUE_CHARACTERS_MAX) : value;
  }
  return `${escapeControls(JSON.stringify(line))}\n`;
}
