/** `rqtt plugin new NAME`: the template under a new name, with a test that passes. Overwrites nothing. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pluginFiles } from "../plugin-scaffold.ts";
import { readArguments } from "./arguments.ts";
import { UsageError } from "./usage-error.ts";

const TEMPLATE = join(import.meta.dir, "..", "..", "plugins", "template.ts");

export const pluginNew = {
  usage: "rqtt plugin new NAME [--folder FOLDER]",
  async run(argv: readonly string[]): Promise<number> {
    const { words, flags } = readArguments(argv, ["--folder"]);
    const [name, ...others] = words;
    if (name === undefined || others.length > 0) throw new UsageError("expected one name");
    const folder = flags.get("--folder")?.at(-1) ?? ".";
    const files = filesOf(name);
    const taken = files.find(({ path }) => existsSync(join(folder, path)));
    if (taken !== undefined) throw new UsageError(`${join(folder, taken.path)} exists; choose another name or folder`);
    mkdirSync(folder, { recursive: true });
    for (const { path, text } of files) {
      writeFileSync(join(folder, path), text);
      console.log(join(folder, path));
    }
    console.log(`\nTest it:  bun test ./${join(folder, files[1]!.path)}`);
    console.log(`Use it:   [[auth.chain]] with use = "./${files[0]!.path}", in the configuration file beside it`);
    return 0;
  },
};

function filesOf(name: string): ReturnType<typeof pluginFiles> {
  try {
    return pluginFiles(name, readFileSync(TEMPLATE, "utf8"));
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}
