/** PINGREQ in the silence that would otherwise end a connection, and its end where nobody answers (MQTT 5.0 section 3.12). */
import type { PacketType } from "../core/codec/packet-type.ts";
import type { ClientOptions, StateListener } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { MqttError } from "./mqtt-error.ts";
import { encodePacket } from "./packet-encoder.ts";

export function createKeepAlive(engine: Engine, { keepAlive = 60 }: ClientOptions): StateListener {
  const PINGRESP: typeof PacketType.PINGRESP = 13;
  const PINGREQ = 0xc0;
  let pings: ReturnType<typeof setInterval> | undefined;
  let pinged = false;
  engine.handlers[PINGRESP] = () => {
    pinged = false;
  };
  return (state) => {
    clearInterval(pings);
    pinged = false;
    const seconds = engine.properties.serverKeepAlive ?? keepAlive;
    if (state !== "online" || !seconds) return;
    // Earlier than due: a hidden tab's timers are late.
    pings = setInterval(() => {
      if (pinged) engine.lose(new MqttError(0x8d, "pingreq"), false, 0x8d);
      else engine.send(encodePacket(PINGREQ));
      pinged = true;
    }, seconds * 750);
  };
}
