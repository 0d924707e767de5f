/**
 * Counts the timers that are made while it watches and have neither fired nor been cleared: work that a plugin leaves behind.
 *
 * Invariant: `restore` puts back exactly what was there before.
 */

export interface TimerWatch {
  readonly open: number;
  restore(): void;
}

type Start = (callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => unknown;
type Stop = (timer?: unknown) => void;
interface Timers {
  setTimeout: Start;
  setInterval: Start;
  clearTimeout: Stop;
  clearInterval: Stop;
}

export function watchTimers(): TimerWatch {
  const place = globalThis as unknown as Timers;
  const { setTimeout, setInterval, clearTimeout, clearInterval } = place;
  const open = new Set<unknown>();
  const stop =
    (clear: Stop): Stop =>
    (timer) => {
      open.delete(timer);
      clear(timer);
    };
  place.setTimeout = (callback, ms, ...args) => {
    const fire = (...given: unknown[]): void => {
      open.delete(timer);
      callback(...given);
    };
    const timer = setTimeout(fire, ms, ...args);
    open.add(timer);
    return timer;
  };
  place.setInterval = (callback, ms, ...args) => {
    const timer = setInterval(callback, ms, ...args);
    open.add(timer);
    return timer;
  };
  place.clearTimeout = stop(clearTimeout);
  place.clearInterval = stop(clearInterval);
  return {
    get open() {
      return open.size;
    },
    restore: () => void Object.assign(place, { setTimeout, setInterval, clearTimeout, clearInterval }),
  };
}
