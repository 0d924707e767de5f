/** DISCONNECT from the client (MQTT 5.0 section 3.14). */
import type { ClientOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { CLOSED, MqttError } from "./mqtt-error.ts";

export function createClose(engine: Engine, { expiry }: ClientOptions): undefined {
  engine.close = ({ reasonCode = 0, properties } = {}) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, 2_000);
    const gone = (): void => {
      clearTimeout(timer);
      resolve();
    };
    if (engine.state === "online") engine.gone = gone;
    else gone();
    engine.lose(new MqttError(CLOSED, "disconnect"), true, reasonCode, {
      ...(expiry === undefined && { sessionExpiryInterval: 0 }),
      ...properties,
    });
    return promise;
  };
}
