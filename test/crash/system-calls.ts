/**
 * The system calls of a traced broker, read from what `strace -f -yy -xx` wrote: who wrote what where, and in which order.
 *
 * The order is that of the lines, which is the order in which one tracer saw the calls begin and end. A call that another thread's call
 * interrupts has two lines; `entered` and `left` are their numbers, and one number for a call of one line. If one call was the
 * cause of another, the first one has left before the second is entered.
 */

export interface SystemCall {
  readonly name: string;
  /** Line numbers. */
  readonly entered: number;
  readonly left: number;
  /** The file or socket of the first argument: a path, or `TCP:[local->remote]`. */
  readonly target: string;
  /** The descriptor itself, or -1. */
  readonly descriptor: number;
  /** The strings among the arguments: paths, or what was written or received, in one piece or several. */
  readonly strings: readonly Uint8Array[];
  /** The arguments after the last string, or all of them where there is none, as they are printed. */
  readonly rest: readonly string[];
  /** What the call answered; negative: an error. */
  readonly result: number;
  /** Of a call that answers a descriptor, what that is. */
  readonly resultTarget: string;
}

export const TRACED = [
  ...["write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "fdatasync", "fsync"],
  ...["recvfrom", "recvmsg", "read", "openat", "lseek", "ftruncate", "fallocate", "rename", "renameat", "renameat2"],
  ...["unlink", "unlinkat"],
] as const;

/** Longer strings would be cut off in the trace. */
export const STRING_BYTES_MAX = 1 << 20;

const WHOLE = /^(\d+)\s+(\w+)\((.*)\)\s+= (-?\d+)(.*)$/su;
const BEGUN = /^(\d+)\s+(\w+)\((.*?)\s*<unfinished \.\.\.>$/su;
const RESUMED = /^(\d+)\s+<\.\.\. (\w+) resumed>(.*)\)\s+= (-?\d+)(.*)$/su;
const STRING = /"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/gu;
const ESCAPE = /(?:\\x[0-9a-f]{2})+/gu;

export class TraceError extends Error {}

/** Calls in the order in which they left; one that never did is not among them. */
export function readTrace(text: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const begun = new Map<string, { readonly at: number; readonly name: string; readonly args: string }>();
  for (const [at, line] of text.split("\n").entries()) {
    const start = BEGUN.exec(line);
    if (start !== null) {
      begun.set(start[1]!, { at, name: start[2]!, args: start[3]! });
      continue;
    }
    const end = RESUMED.exec(line);
    if (end !== null) {
      const before = begun.get(end[1]!);
      begun.delete(end[1]!);
      if (before?.name === end[2])
        calls.push(callOf(before.name, before.args + end[3]!, before.at, at, end[4]!, end[5]!));
      continue;
    }
    const whole = WHOLE.exec(line);
    if (whole !== null) calls.push(callOf(whole[2]!, whole[3]!, at, at, whole[4]!, whole[5]!));
  }
  return calls;
}

function callOf(name: string, args: string, entered: number, left: number, result: string, after: string): SystemCall {
  const first = /^(\d+)<(.*?)>(?:,|$)/su.exec(args);
  const strings: Uint8Array[] = [];
  let restAt = 0;
  for (const match of args.matchAll(STRING)) {
    if (match[2] !== undefined)
      throw new TraceError(`line ${entered + 1}: a string of more than ${STRING_BYTES_MAX} bytes`);
    strings.push(Buffer.from(match[1]!.replaceAll("\\x", ""), "hex"));
    restAt = match.index + match[0].length;
  }
  const rest = args.slice(restAt);
  return {
    name,
    entered,
    left,
    target: first === null ? "" : unescaped(first[2]!),
    descriptor: first === null ? -1 : Number(first[1]),
    strings,
    rest: rest.split(",").flatMap((part) => (part.trim() === "" ? [] : [part.trim()])),
    result: Number(result),
    resultTarget: unescaped(/^<(.*)>/su.exec(after)?.[1] ?? ""),
  };
}

function unescaped(text: string): string {
  return text.replace(ESCAPE, (bytes) => Buffer.from(bytes.replaceAll("\\x", ""), "hex").toString());
}
