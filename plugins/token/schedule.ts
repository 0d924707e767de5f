/** Time for what fetches in the background: the hour, and a call later. A test moves it by hand. */

export interface Schedule {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** Calls `job` once; answers how to call it off. What waits here keeps no process alive. */
  later(ms: number, job: () => void): () => void;
}

export function realSchedule(nowMs: () => number): Schedule {
  return {
    nowMs,
    later(ms, job) {
      const timer = setTimeout(job, ms);
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
}

/** The promise, or a rejection once the signal is aborted; what is waited for goes on for others. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortLike): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => {});
    return Promise.reject(new Error("aborted"));
  }
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new Error("aborted"));
    signal.addEventListener("abort", stop);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

interface AbortLike {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}
