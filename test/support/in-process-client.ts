/** A client of an embedded broker in the same process: packets of MQTT 5.0 in and out, and a wait for the next one. */
import type { RunningBroker } from "rqtt";
import { Framer } from "../../src/core/codec/framer.ts";
import { decodePacket, encodePacket, type Packet } from "../../src/core/codec/packet.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { type ConnectInit, connectPacket } from "./world.ts";

export interface InProcessClient {
  send(packet: Packet): void;
  next(): Promise<Packet>;
  /** The reason code with which the broker has closed the connection. */
  readonly closed: Promise<number>;
  close(): void;
}

/** Sends CONNECT; the CONNACK is still to be taken. */
export function join(broker: RunningBroker, clientId: string, init: ConnectInit = {}): InProcessClient {
  const connection = broker.connect();
  const framer = new Framer(Number.MAX_SAFE_INTEGER);
  const packets: Packet[] = [];
  const closed = Promise.withResolvers<number>();
  let arrived = Promise.withResolvers<void>();
  connection.onreceive = (bytes) => {
    framer.feed(bytes);
    while (framer.next()) {
      const { bytes: packet, packetStart, bodyStart, bodyEnd } = framer;
      packets.push(decodePacket(packet[packetStart]!, new Reader(packet.slice(bodyStart, bodyEnd)), 5));
    }
    arrived.resolve();
    arrived = Promise.withResolvers<void>();
  };
  connection.onclose = (reasonCode) => closed.resolve(reasonCode);
  const send = (packet: Packet): void => {
    const writer = new Writer();
    encodePacket(writer, packet, 5);
    connection.send(writer.view());
  };
  const next = async (): Promise<Packet> => {
    while (packets.length === 0) await arrived.promise;
    return packets.shift()!;
  };
  send(connectPacket(clientId, init));
  return { send, next, closed: closed.promise, close: () => connection.close() };
}
