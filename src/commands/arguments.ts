/** What commands read: flags with values, and a secret from a terminal or from standard input. */
import { UsageError } from "./usage-error.ts";

export interface Arguments {
  readonly words: readonly string[];
  /** Values of each flag, in the order given. */
  readonly flags: ReadonlyMap<string, readonly string[]>;
}

/** Takes words and flags apart; every flag has a value, unknown ones are errors. */
export function readArguments(argv: readonly string[], known: readonly string[]): Arguments {
  const words: string[] = [];
  const flags = new Map<string, string[]>();
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (!word.startsWith("--")) {
      words.push(word);
      continue;
    }
    const [flag = "", inline] = word.split("=", 2);
    if (!known.includes(flag)) throw new UsageError(`unknown flag ${flag}; expected one of ${known.join(", ")}`);
    const value = inline ?? argv[++at];
    if (value === undefined) throw new UsageError(`${flag}: expected a value`);
    flags.set(flag, [...(flags.get(flag) ?? []), value]);
  }
  return { words, flags };
}

/** Asks on a terminal without showing what is typed; reads standard input to its end otherwise. */
export async function readSecret(question: string): Promise<Uint8Array> {
  if (!process.stdin.isTTY) return withoutLineBreak(await Bun.stdin.bytes());
  process.stderr.write(question);
  process.stdin.setRawMode(true);
  try {
    return await readTyped();
  } finally {
    process.stdin.setRawMode(false);
    process.stderr.write("\n");
  }
}

function withoutLineBreak(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  if (bytes[end - 1] === 0x0a) end--;
  if (bytes[end - 1] === 0x0d) end--;
  return bytes.subarray(0, end);
}

const CONTROL_C = 3;
const BACKSPACE = [8, 127];
const ENTER = [10, 13];

async function readTyped(): Promise<Uint8Array> {
  const typed: number[] = [];
  for await (const chunk of process.stdin) {
    for (const byte of chunk as Uint8Array) {
      if (byte === CONTROL_C) throw new UsageError("given up");
      if (ENTER.includes(byte)) return Uint8Array.from(typed);
      if (BACKSPACE.includes(byte)) typed.pop();
      else typed.push(byte);
    }
  }
  return Uint8Array.from(typed);
}
