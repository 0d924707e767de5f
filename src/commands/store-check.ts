/**
 * `rqtt store check`: whether a store is as it was written: its pages, every row by its checksum, every reference to a
 * message. Changes nothing; a broker may be running on it.
 *
 * Exit codes: 0 all is well, 1 something is damaged, 2 not asked rightly or not to be read.
 */
import { auditStore } from "../bun/store/store-audit.ts";
import { StoreFault } from "../bun/store/store-fault.ts";
import { readStoreArguments } from "./store-folder-flag.ts";

export const storeCheck = {
  usage: "rqtt store check [--store FOLDER]   FOLDER: ./data",
  async run(argv: readonly string[]): Promise<number> {
    const { folder } = readStoreArguments(argv, 0, "expected no more words");
    try {
      const { problems, sessions, messages } = auditStore(folder);
      for (const problem of problems) console.log(problem);
      if (problems.length === 0) console.log(`${folder} is well: ${sessions} sessions, ${messages} queued messages`);
      return problems.length === 0 ? 0 : 1;
    } catch (error) {
      if (!(error instanceof StoreFault) || error.kind !== "corrupt") throw error;
      console.log(error.message);
      return 1;
    }
  },
};
