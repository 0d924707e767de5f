/** QoS 2 in both directions (MQTT 5.0 section 4.3.3): what PUBREC, PUBREL and PUBCOMP do. */
import { PUBCOMP, PUBREC, PUBREL } from "../core/codec/packet-type.ts";
import type { Engine } from "./engine.ts";
import type { Inbound } from "./inbound.ts";
import { LOST, MqttError } from "./mqtt-error.ts";
import { type Outbound, SUCCESS } from "./outbound.ts";
import { acknowledgement } from "./packet-encoder.ts";

export function qos2(engine: Engine, { pending, settle }: Outbound, inbound: Inbound): void {
  engine.qosMax = 2;
  engine.handlers[PUBCOMP] = settle;

  engine.handlers[PUBREC] = (answer) => {
    const { packetId, reasonCode } = answer;
    const item = pending.get(packetId);
    if (item?.awaits === PUBREC) {
      if (reasonCode > 0x7f) {
        settle(answer);
        return;
      }
      item.awaits = PUBCOMP;
      // From here on PUBREL is what is said again.
      item.encode = () => acknowledgement(engine, PUBREL, packetId);
    }
    // 0x92: Packet Identifier not found.
    engine.wire?.send(acknowledgement(engine, PUBREL, packetId, item?.awaits === PUBCOMP ? 0 : 0x92));
  };

  engine.handlers[PUBREL] = ({ packetId }) =>
    engine.wire?.send(acknowledgement(engine, PUBCOMP, packetId, inbound.release(packetId) ? 0 : 0x92));

  // Before `pending` is said again.
  engine.parts.unshift((state) => {
    if (state !== "online" || engine.sessionPresent) return;
    for (const item of pending.values()) {
      if (item.awaits === PUBCOMP) item.resolve(SUCCESS);
      // Once more could be once too often.
      if (item.awaits === PUBREC) item.reject(new MqttError(LOST, "publish"));
    }
  });
}
