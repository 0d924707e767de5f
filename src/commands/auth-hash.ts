/** `rqtt auth hash`: a password into what a user file holds. Only the hash goes to standard output. */
import { hashPassword, scramEntry } from "../../plugins/password/hash.ts";
import { readArguments, readSecret } from "./arguments.ts";
import { UsageError } from "./usage-error.ts";

const MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-512"] as const;

export const authHash = {
  usage: "rqtt auth hash [--scram SCRAM-SHA-256|SCRAM-SHA-512]   password from the terminal or standard input",
  async run(argv: readonly string[]): Promise<number> {
    const { words, flags } = readArguments(argv, ["--scram"]);
    if (words.length > 0) throw new UsageError("a password on the command line is seen by every user of this machine");
    const wanted = flags.get("--scram")?.at(-1);
    const mechanism = MECHANISMS.find((name) => name === wanted);
    if (wanted !== undefined && mechanism === undefined) {
      throw new UsageError(`--scram: expected ${MECHANISMS.join(" or ")}, found ${wanted}`);
    }
    const password = await readSecret("Password: ");
    if (password.length === 0) throw new UsageError("an empty password lets nobody in");
    if (mechanism === undefined) console.log(await hashPassword(password));
    else console.log(await scramEntry(new TextDecoder("utf-8", { fatal: true }).decode(password), mechanism));
    return 0;
  },
};
