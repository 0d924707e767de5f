/**
 * A process that writes into a store and says on standard output what was acknowledged: `acked N` stands for the message with
 * sequence N and all before it. It goes on from where another one ended, until it is killed or has written enough.
 *
 *   bun store-writer.ts FOLDER fsync|written WINDOW [MESSAGES]
 *
 * WINDOW messages are unacknowledged at most; each is a commit of its own. The queue keeps the last KEPT.
 */
import { writeSync } from "node:fs";
import { openStore } from "../../src/bun/store/sqlite-store.ts";
import { IGNORING_SINK } from "../../src/core/store/store-record.ts";
import { aMessage, aPlace, aSession, batchOf } from "./store-snapshot.ts";

const [folder = "", durability = "fsync", window = "1", messages = "Infinity"] = process.argv.slice(2);
/** More than are under way at a time, so that none comes and goes within one transaction. */
const KEPT = 130;

let acked = 0;
let more = (): void => {};
const store = await openStore({
  folder,
  events: {
    committed(ticket) {
      acked = ticket;
      // At once, and in one call: whoever watches the calls looks for it.
      writeSync(1, `acked ${ticket}\n`);
      more();
    },
    paged() {},
    space() {},
    failed(fault) {
      console.error(`${fault.kind}: ${fault.message}`);
      process.exit(1);
    },
  },
});

let sequence = 0;
await store.load({ ...IGNORING_SINK, queueTail: ({ lastSequence }) => void (sequence = lastSequence) });
const first = sequence;
acked = sequence;
let isDone = false;
await new Promise<void>((done) => {
  more = () => {
    while (sequence - acked < Number(window) && sequence - first < Number(messages)) {
      sequence++;
      const records = batchOf((writer) => {
        if (sequence === 1) writer.sessionPut(aSession(1));
        writer.queuePut(aPlace(1, sequence), aMessage("t", `message ${sequence};${"m".repeat(sequence % 400)}`));
        if (sequence > KEPT) writer.queueDelete(1, sequence - KEPT);
      });
      store.commit(records, sequence, durability === "fsync" ? "fsync" : "written");
    }
    if (isDone || acked - first < Number(messages)) return;
    isDone = true;
    done();
  };
  more();
});
await store.close();
