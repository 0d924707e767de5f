/** MQTT straight into an embedded broker: `connect("in-process", ...)` without a port. */
import type { Transport } from "./transport.ts";

/** What `connect()` of an embedded broker answers. */
interface InProcessConnection {
  send(bytes: Uint8Array): void;
  close(): void;
  onreceive: ((bytes: Uint8Array) => void) | null;
  onclose: ((reasonCode: number) => void) | null;
}

export function inProcess(broker: { connect(): InProcessConnection }): Transport {
  return (opened, received, closed) => {
    const connection = broker.connect();
    connection.onreceive = received;
    connection.onclose = (reasonCode) => closed(`the broker closed: 0x${reasonCode.toString(16)}`);
    queueMicrotask(opened);
    return {
      send: (bytes) => connection.send(bytes),
      close: () => {
        connection.close();
        queueMicrotask(() => closed("closed"));
      },
    };
  };
}
