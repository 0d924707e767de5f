/** DISCONNECT (MQTT 5.0 section 3.14), from either side. */
import type { PacketType } from "../core/codec/packet-type.ts";
import type { ClientOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { CLOSED, LOST, MqttError } from "./mqtt-error.ts";

export function createClose(engine: Engine, { expiry }: ClientOptions): undefined {
  const DISCONNECT: typeof PacketType.DISCONNECT = 14;
  engine.handlers[DISCONNECT] = ({ reasonCode, properties }) =>
    engine.lose(new MqttError(reasonCode || LOST, "disconnect", properties.reasonString));

  engine.close = async ({ reasonCode = 0, properties } = {}) => {
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
