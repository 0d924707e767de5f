/**
 * One network connection of the small client: what arrives is cut into packets until either side has ended it.
 *
 * Nothing is heard of a connection that was closed here, and nothing that a packet does is thrown at who carries the bytes.
 */
import type { MqttError } from "../mqtt-error.ts";
import { packetCutter } from "../packet-cutter.ts";
import type { Transport, Wire } from "../transport.ts";

/** Answers with what closes it; `broken` hears what the server got wrong, `lost` that the connection is gone. */
export function openWire(
  transport: Transport,
  packetBytesMax: number,
  opened: () => void,
  take: (first: number, body: Uint8Array) => void,
  broken: (error: MqttError) => void,
  lost: (reason: string) => void,
): [wire: Wire, hangUp: () => void] {
  let isOpen = true;
  const live =
    <T>(act: (value: T) => void) =>
    (value: T): void => {
      try {
        if (isOpen) act(value);
      } catch (error) {
        broken(error as MqttError);
      }
    };
  const wire = transport(
    live(opened) as () => void,
    live(
      packetCutter(packetBytesMax, (first, body) => {
        take(first, body);
        return isOpen;
      }),
    ),
    live(lost),
  );
  const hangUp = (): void => {
    if (!isOpen) return;
    isOpen = false;
    wire.close();
  };
  return [wire, hangUp];
}
