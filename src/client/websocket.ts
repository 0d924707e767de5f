/** MQTT over the platform's WebSocket (MQTT 5.0 section 6): binary messages, subprotocol `mqtt`. */
import type { Transport, Wire } from "./transport.ts";

export function webSocket(url: string | URL): Transport {
  return (opened, received, closed) => {
    const socket = new WebSocket(url, "mqtt");
    socket.binaryType = "arraybuffer";
    socket.onopen = opened;
    // A text message is none of MQTT's [MQTT-6.0.0-1]: it closes the connection.
    socket.onmessage = ({ data }) => (data instanceof ArrayBuffer ? received(new Uint8Array(data)) : socket.close());
    socket.onclose = ({ code, reason }) => closed(`WebSocket ${code} ${reason}`);
    return socket as Wire;
  };
}
