/** A sink that takes every record and does nothing: the rest of one that wants some of them. */
import type { RecordSink } from "./store-record.ts";

export const ignoredRecords: RecordSink = {
  time() {},
  sessionPut() {},
  sessionAway() {},
  sessionDelete() {},
  subscriptionPut() {},
  subscriptionDelete() {},
  queuePut() {},
  messagePut() {},
  queueRef() {},
  queueProgress() {},
  queueDelete() {},
  queueDropOldest() {},
  queueTail() {},
  inboundPut() {},
  inboundDelete() {},
  retainedPut() {},
  retainedDelete() {},
  willPut() {},
  willDue() {},
  willDelete() {},
};
