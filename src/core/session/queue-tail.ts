/**
 * The part of a session's queue that only the store has, behind everything that waits in memory: its bounds and its weight, and
 * what is known of it. It is read and written by delivery/tail.ts.
 *
 * Invariant: it is every message of the session behind `afterSequence`, up to `lastSequence`, that the store has as waiting.
 */
export class QueueTail {
  /** Messages in it; 0: only the answer to a request is still to come. */
  count = 0;
  /** What they weigh. */
  bytes = 0;
  afterSequence = 0;
  lastSequence = 0;
  /** No message in it expires before this moment. */
  nextExpiryMs = Number.POSITIVE_INFINITY;
  /** The request for a page of it; 0: none is under way. */
  request = 0;
  /** The page begins behind this place, and everything up to the other one is in the store when it is read. */
  pageAfter = 0;
  pageThrough = 0;
  /** Messages at its beginning that have given up their places since the page was asked for. */
  given = 0;
  /** The page is only searched for what has expired; no message that was found expires before that moment. */
  isSearch = false;
  foundExpiryMs = Number.POSITIVE_INFINITY;
  /** How many of the messages may have been sent before the broker was started. */
  repeatsLeft = 0;
  /** Rights may have shrunk since they were queued. */
  isUnchecked = false;
}
