/**
 * What fuzzing holds the codec to: of any bytes come packets or one PeerError and nothing else, in whatever chunks the
 * bytes arrive; and a packet that was read can be written and read again.
 */
import { Framer } from "../../src/core/codec/framer.ts";
import { decodePacket, type Packet, type ProtocolLevel } from "../../src/core/codec/packet.ts";
import { PacketType } from "../../src/core/codec/packet-type.ts";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import { copyEndToEndProperties, decodePublishView, PublishView } from "../../src/core/codec/publish-view.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { decodeBytes, encodeBytes } from "../codec/one-packet.ts";
import { concatenate } from "../codec/packet-row.ts";
import { fuzzPacket } from "./packet-fuzzer.ts";
import { Random } from "./random.ts";

const PACKET_BYTES_MAX = 4096;

interface Outcome {
  readonly packets: Packet[];
  /** Reason code and statement, where the bytes were refused. */
  readonly refusal: string | undefined;
}

/** A view takes a PUBLISH as the decoder does, but for what only the decoder looks at: the Topic Name. */
function checkView(framer: Framer, level: ProtocolLevel, packet: Packet | undefined): void {
  const { bytes, packetStart, bodyStart, bodyEnd } = framer;
  if (bytes[packetStart]! >> 4 !== PacketType.PUBLISH) return;
  const view = new PublishView();
  try {
    decodePublishView(view, bytes[packetStart]!, bytes, bodyStart, bodyEnd, level);
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
    if (packet !== undefined) throw new Error(`a view refused what the decoder read: ${error.statement}`);
    return;
  }
  const { topicStart, topicEnd, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = view;
  const cursors = [bodyStart, topicStart, topicEnd, propertiesStart, propertiesEnd, payloadStart, payloadEnd, bodyEnd];
  if (cursors.some((cursor, index) => index > 0 && cursor < cursors[index - 1]!)) {
    throw new Error(`cursors of a view out of order: ${cursors.join(" ")}`);
  }
  if (copyEndToEndProperties(view).length > propertiesEnd - propertiesStart) throw new Error("properties grew");
}

function readAll(chunks: readonly Uint8Array[], level: ProtocolLevel): Outcome {
  const framer = new Framer(PACKET_BYTES_MAX);
  const packets: Packet[] = [];
  try {
    for (const chunk of chunks) {
      framer.feed(chunk);
      while (framer.next()) {
        const { bytes, packetStart, bodyStart, bodyEnd } = framer;
        // A copy, since what is read holds views and the chunks of one run are those of the other.
        const body = bytes.slice(bodyStart, bodyEnd);
        let packet: Packet | undefined;
        try {
          packet = decodePacket(bytes[packetStart]!, new Reader(body), level);
        } finally {
          checkView(framer, level, packet);
        }
        packets.push(packet);
      }
      if (framer.heldBytes > PACKET_BYTES_MAX) throw new Error(`${framer.heldBytes} bytes held`);
    }
  } catch (error) {
    if (error instanceof PeerError)
      return { packets, refusal: `0x${error.reasonCode.toString(16)} ${error.statement}` };
    throw error;
  }
  return { packets, refusal: undefined };
}

function randomChunks(random: Random, bytes: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(at + random.between(1, random.oneIn(2) ? 3 : 40), bytes.length);
    chunks.push(bytes.slice(at, end));
    at = end;
  }
  return chunks;
}

/** One case: a few packets made from `seed`. Throws where the codec does what it must not. */
export function fuzzCodec(seed: number): void {
  const random = new Random(seed);
  const first = fuzzPacket(random);
  const rest = Array.from({ length: random.below(3) }, () => fuzzPacket(random).bytes);
  const stream = concatenate(first.bytes, ...rest);
  try {
    const whole = readAll([stream], first.level);
    const pieces = readAll(randomChunks(random, stream), first.level);
    if (!Bun.deepEquals(whole, pieces, true)) {
      throw new Error(`read otherwise in chunks: ${Bun.inspect(whole)} and ${Bun.inspect(pieces)}`);
    }
    for (const packet of whole.packets) {
      const again = decodeBytes(encodeBytes(packet, first.level), first.level);
      if (!Bun.deepEquals(again, packet, true)) {
        throw new Error(`written and read again: ${Bun.inspect(packet)} became ${Bun.inspect(again)}`);
      }
    }
  } catch (error) {
    throw new Error(`level ${first.level}, bytes ${Buffer.from(stream).toString("hex")}`, { cause: error });
  }
}
