/** PINGREQ in the silence that would otherwise end a connection, and its end where nobody answers (MQTT 5.0 section 3.12). */
import { PINGREQ, PINGRESP } from "../core/codec/packet-type.ts";
import { type Engine, lose } from "./engine.ts";
import { MqttError } from "./mqtt-error.ts";
import { encodePacket } from "./packet-encoder.ts";

export function keepAlive(engine: Engine): void {
  let pings: ReturnType<typeof setInterval> | undefined;
  let pinged = false;
  engine.handlers[PINGRESP] = () => {
    pinged = false;
  };
  engine.parts.push((state) => {
    clearInterval(pings);
    pinged = false;
    const seconds = engine.properties.serverKeepAlive ?? engine.options().keepAlive ?? 60;
    if (state !== "online" || !seconds) return;
    // Earlier than due: a hidden tab's timers are late.
    pings = setInterval(() => {
      if (pinged) lose(engine, new MqttError(0x8d, "pingreq"), false, 0x8d);
      else engine.wire?.send(encodePacket(PINGREQ << 4));
      pinged = true;
    }, seconds * 750);
  });
}
