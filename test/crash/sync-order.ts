/**
 * Whether what a traced broker told its clients was on disk before it told them.
 *
 * A packet is held against its cause: bytes that only this request can have brought into the store, or the moment at which the
 * broker read the packet that it answers. Between the cause and the packet there has to be a write to the store, and a sync of the
 * file it went to that began after the write and ended before the packet left.
 */
import type { StoreFiles, Sync } from "./store-files.ts";
import type { SystemCall } from "./system-calls.ts";
import { PUBLISH } from "./wire.ts";
import { decodePublish, type Packet, PacketCutter } from "./wire-reader.ts";

/** A packet that passed between the broker and one client. */
export interface TracedPacket {
  readonly clientPort: number;
  readonly type: number;
  /** 0 where the packet has none. */
  readonly packetId: number;
  /** Payload of a PUBLISH. */
  readonly payload: string;
  /** When the call with its first byte was entered, and the one with its last byte left. */
  readonly entered: number;
  readonly left: number;
}

export interface PacketName {
  readonly clientPort: number;
  readonly type: number;
  readonly packetId: number;
  /** Of a PUBLISH, whose Packet Identifier the broker chooses. */
  readonly payload?: string;
}

export interface Expectation {
  /** As the report calls it. */
  readonly name: string;
  /** The packet that the broker sends. */
  readonly packet: PacketName;
  /** Bytes in the store, or a packet that the broker has received. */
  readonly cause: { readonly marker: string } | { readonly received: PacketName };
}

export interface OrderVerdict {
  /** How many of each name were held against their cause. */
  readonly checked: ReadonlyMap<string, number>;
  readonly faults: readonly string[];
}

const SENDS = ["sendto", "sendmsg", "write", "writev"];
const RECEIVES = ["recvfrom", "recvmsg", "read"];

/** Packets that the broker sent to clients, or received from them. */
export function packetsOf(
  calls: readonly SystemCall[],
  brokerPort: number,
  direction: "sent" | "received",
): TracedPacket[] {
  const names = direction === "sent" ? SENDS : RECEIVES;
  const streams = new Map<number, { readonly cutter: PacketCutter; beganAt: number }>();
  const packets: TracedPacket[] = [];
  // By the order in which they were entered: of one connection that is the order of the bytes.
  for (const call of calls.filter(({ name }) => names.includes(name)).sort((a, b) => a.entered - b.entered)) {
    const ports = /^TCP(?:v6)?:\[.*:(\d+)->.*:(\d+)\]$/u.exec(call.target);
    if (ports === null || Number(ports[1]) !== brokerPort || call.result <= 0) continue;
    const clientPort = Number(ports[2]);
    const stream = streams.get(clientPort) ?? { cutter: new PacketCutter(), beganAt: 0 };
    streams.set(clientPort, stream);
    if (!stream.cutter.isInside) stream.beganAt = call.entered;
    for (const packet of stream.cutter.push(Buffer.concat(call.strings).subarray(0, call.result))) {
      packets.push({ clientPort, ...nameOf(packet), entered: stream.beganAt, left: call.left });
      stream.beganAt = call.entered;
    }
  }
  return packets;
}

function nameOf(packet: Packet): { readonly type: number; readonly packetId: number; readonly payload: string } {
  const { type, body } = packet;
  if (type === PUBLISH) {
    const { packetId, payload } = decodePublish(packet);
    return { type, packetId, payload: new TextDecoder().decode(payload) };
  }
  // PUBACK to UNSUBACK begin with a Packet Identifier.
  const hasPacketId = type > PUBLISH && type <= 0xb0 && body.length >= 2;
  return { type, packetId: hasPacketId ? (body[0]! << 8) | body[1]! : 0, payload: "" };
}

export function isNamed(packet: TracedPacket, name: PacketName): boolean {
  if (packet.clientPort !== name.clientPort || packet.type !== name.type) return false;
  return name.payload === undefined ? packet.packetId === name.packetId : packet.payload === name.payload;
}

export function judgeOrder(
  store: StoreFiles,
  sent: readonly TracedPacket[],
  received: readonly TracedPacket[],
  expectations: readonly Expectation[],
): OrderVerdict {
  const checked = new Map<string, number>();
  const faults: string[] = [];
  for (const expectation of expectations) {
    const complaint = complaintAbout(store, sent, received, expectation);
    if (complaint === null) checked.set(expectation.name, (checked.get(expectation.name) ?? 0) + 1);
    else faults.push(`${expectation.name}: ${complaint}`);
  }
  return { checked, faults };
}

function complaintAbout(
  store: StoreFiles,
  sent: readonly TracedPacket[],
  received: readonly TracedPacket[],
  { packet, cause }: Expectation,
): string | null {
  const answer = sent.find((candidate) => isNamed(candidate, packet));
  if (answer === undefined) return `no packet ${packet.packetId} to port ${packet.clientPort} in the trace`;
  const when = `it left at line ${answer.entered + 1}`;
  let writes = store.changes.filter(({ bytes }) => bytes.length > 0);
  if ("marker" in cause) {
    const marker = Buffer.from(cause.marker);
    writes = writes
      .filter(({ bytes }) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(marker))
      .slice(0, 1);
    if (writes.length === 0) return `${cause.marker} was never written to the store; ${when}`;
  } else {
    const request = received.find((candidate) => isNamed(candidate, cause.received));
    if (request === undefined) return `what it answers was never received; ${when}`;
    writes = writes.filter(({ entered }) => entered > request.left && entered < answer.entered);
    if (writes.length === 0) return `nothing was written between line ${request.left + 1} and it; ${when}`;
  }
  const syncs = writes.flatMap((write) =>
    store.syncs.filter((sync) => sync.path === write.path && sync.entered > write.left),
  );
  if (syncs.some(({ left }) => left < answer.entered)) return null;
  return `written at line ${writes[0]!.left + 1}, synced ${lineOf(syncs)}; ${when}`;
}

function lineOf(syncs: readonly Sync[]): string {
  return syncs.length === 0 ? "never" : `at line ${Math.min(...syncs.map(({ left }) => left)) + 1}`;
}
