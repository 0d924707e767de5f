/**
 * A promise that settles: by its answer, the caller's AbortSignal, its deadline, or the end of the client.
 */
import type { WaitOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { ABORTED, DEADLINE, MqttError } from "./mqtt-error.ts";

export interface Operation<T> {
  readonly promise: Promise<T>;
  /** The kind of packet that it waits to be answered. */
  readonly packet: string;
  readonly done: boolean;
  resolve(value: T): void;
  reject(error: MqttError): void;
}

/** `wait` says how long; otherwise it is as long as the client waits. */
export function operation<T>(engine: Engine, packet: string, { signal, deadlineMs }: WaitOptions = {}): Operation<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const settling =
    <V>(settle: (value: V) => void) =>
    (value: V): void => {
      self.done = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      settle(value);
    };
  const self = { promise, packet, done: false, resolve: settling(resolve), reject: settling<MqttError>(reject) };
  const abort = (): void => self.reject(new MqttError(ABORTED, packet, "", signal!.reason));
  const timer = setTimeout(() => self.reject(new MqttError(DEADLINE, packet)), deadlineMs ?? engine.deadlineMs);
  if (signal?.aborted) abort();
  else signal?.addEventListener("abort", abort);
  return self;
}
