/**
 * A promise that settles: by its answer, the caller's AbortSignal, its deadline, or the end of the client.
 */
import { ABORTED, DEADLINE, MqttError } from "./mqtt-error.ts";

export interface Operation<T> {
  readonly promise: Promise<T>;
  /** The kind of packet that it waits to be answered. */
  readonly packet: string;
  done: boolean;
  resolve(value: T): void;
  reject(error: MqttError): void;
}

/** `given up` is called when the signal or the deadline ended it, before anybody else learns of it. */
export function operation<T>(
  packet: string,
  deadlineMs: number,
  signal: AbortSignal | undefined,
  givenUp?: () => void,
): Operation<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const finish = (): void => {
    self.done = true;
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };
  const giveUp = (error: MqttError): void => {
    self.reject(error);
    givenUp?.();
  };
  const abort = (): void => giveUp(new MqttError(ABORTED, packet, "aborted", signal!.reason));
  const timer = setTimeout(() => giveUp(new MqttError(DEADLINE, packet, `no answer in ${deadlineMs} ms`)), deadlineMs);
  const self: Operation<T> = {
    promise,
    packet,
    done: false,
    resolve: (value) => {
      finish();
      resolve(value);
    },
    reject: (error) => {
      finish();
      reject(error);
    },
  };
  if (signal?.aborted) abort();
  else signal?.addEventListener("abort", abort);
  return self;
}
