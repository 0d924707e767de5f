/**
 * The life of a small client: one network connection after the other, and what is said on each before messages are.
 *
 * Nothing is heard of a connection that was ended here. A server that breaks the protocol is told why and not called again;
 * one that went away is.
 */
import type { ClientState } from "../client-options.ts";
import { DEADLINE, LOST, MqttError, refuse } from "../mqtt-error.ts";
import { encodePacket } from "../packet-encoder.ts";
import type { Transport, Wire } from "../transport.ts";
import { decodePacket, type Incoming } from "./decode.ts";
import { openWire } from "./network-wire.ts";
import type { NumberedProperties } from "./numbered-properties.ts";
import type { OpenClient, SmallOptions } from "./small-options.ts";

/**
 * `hello` writes CONNECT; `deliver` gets the packets that are for the other parts, `online` and `ended` tell them.
 * Answers with what sends while there is a connection, what ends it, and what begins the first.
 */
export function createConnection(
  client: OpenClient,
  transport: Transport,
  { retryMs = 1_000, retryMsMax = 30_000, cleanStart: isFresh = true, clientId = "" }: SmallOptions,
  deadlineMs: number,
  keepAlive: number,
  packetBytesMax: number,
  hello: (isFresh: boolean, clientId: string) => Uint8Array,
  deliver: (first: number, packet: Incoming) => void,
  online: () => void,
  ended: (error: MqttError) => void,
) {
  let wire: Wire;
  let hangUp: () => void;
  /** Ends an attempt, begins the next, or pings: one at a time. */
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Before the next attempt; 0 as long as there was no connection, and when there is to be no other. */
  let waitMs = 0;
  const become = async (state: ClientState, error?: MqttError): Promise<void> => {
    client.state = state;
    // Not within what is being done here: what the listener throws is not ours to catch.
    await 0;
    client.onstate?.(state, error);
  };
  const send = (bytes: Uint8Array): void => {
    if (client.state === "online") wire.send(bytes);
  };
  /** Ends the connection, after a DISCONNECT where there is something to say, and the client where it is no use. */
  const lose = (error: MqttError, goodbye?: number[]): void => {
    if (client.state === "closed") return;
    if (goodbye) send(encodePacket(0xe0, goodbye));
    clearTimeout(timer);
    hangUp();
    if (error.retriable && waitMs) {
      timer = setTimeout(open, (waitMs * (1 + Math.random())) / 2);
      waitMs = Math.min(retryMsMax, waitMs * 2);
      become("offline", error);
    } else {
      become("closed", error);
      ended(error);
    }
  };
  /** Whether a PINGREQ waits for its answer. */
  let pinged = false;
  const accept = (flags: number, properties: NumberedProperties): void => {
    if (flags > +!isFresh) refuse(0x82);
    clearTimeout(timer);
    isFresh = pinged = false;
    client.sessionPresent = flags > 0;
    client.isInDoubt = waitMs > retryMs * 2;
    waitMs = retryMs;
    client.properties = properties;
    client.clientId = clientId = properties[18] ?? clientId;
    become("online");
    const seconds = properties[19] ?? keepAlive;
    // Earlier than due: a hidden tab's timers are late.
    if (seconds)
      timer = setInterval(() => {
        if (pinged) lose(new MqttError(0x8d, "pingreq"), [0x8d]);
        else send(encodePacket(0xc0));
        pinged = true;
      }, seconds * 750);
    online();
  };
  const take = (first: number, body: Uint8Array): void => {
    const type = first >> 4;
    // One bit for each type: CONNACK, and then PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP and DISCONNECT.
    if (!(((client.state === "online" ? 0x6a18 : 0x4) >> type) & 1)) refuse(0x82);
    const packet = decodePacket(first, body);
    const [head, reasonCode, properties] = packet;
    if (type === 13) pinged = false;
    else if (type === 14) lose(new MqttError(reasonCode || LOST, "disconnect", properties[31]));
    else if (type > 2) deliver(first, packet);
    else if (reasonCode) lose(new MqttError(reasonCode, "connect", properties[31]));
    else accept(head, properties);
  };
  const open = (): void => {
    become("connecting");
    [wire, hangUp] = openWire(
      transport,
      packetBytesMax,
      () => wire.send(hello(isFresh, clientId)),
      take,
      (error) => {
        waitMs = 0;
        lose(error, [error.code]);
      },
      (reason) => lose(new MqttError(LOST, "connect", reason)),
    );
    timer = setTimeout(lose, Math.min(deadlineMs, 2e9), new MqttError(DEADLINE, "connect"));
  };
  return [send, lose, open] as const;
}
