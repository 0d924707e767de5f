/**
 * A promise that settles: by its answer, the caller's AbortSignal, its deadline, or the end of the client.
 */
import type { WaitOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { ABORTED, CLOSED, DEADLINE, MqttError } from "./mqtt-error.ts";

export interface Operation<T> {
  readonly promise: Promise<T>;
  readonly done: boolean;
  /** Resolves, or rejects with an Error; the first time only. */
  settle(answer: T | Error): void;
}

/** `wait` says how long; otherwise it is as long as the client waits. */
export function operation<T>(
  engine: Engine,
  packet: string,
  { signal, deadlineMs }: WaitOptions,
  ended?: () => void,
): Operation<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const self = {
    promise,
    done: false,
    settle(answer: T | Error): void {
      self.done = true;
      engine.operations.delete(self);
      ended?.();
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      (answer instanceof Error ? reject : resolve)(answer as T);
    },
  };
  const fail = (code: number, cause?: unknown): void => self.settle(new MqttError(code, packet, "", cause));
  const abort = (): void => fail(ABORTED, signal!.reason);
  // First what throws where it is no signal.
  signal?.addEventListener("abort", abort);
  const timer = setTimeout(fail, Math.min(deadlineMs ?? engine.deadlineMs, 2e9), DEADLINE);
  engine.operations.add(self);
  if (signal?.aborted) abort();
  if (engine.state === "closed") fail(CLOSED);
  return self;
}
