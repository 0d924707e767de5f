/**
 * One subscribing client: checks and acknowledges what arrives, all answers of one read in one write.
 *
 * For the latency scenario it compares the arrival of a read with the moment at which each message in it was due.
 */
import type { DeliveryLedger } from "./delivery-ledger.ts";
import type { LatencyRecord } from "./latency.ts";
import { type Link, type PacketSink, PUBACK, PUBCOMP, PUBREC, PUBREL } from "./link.ts";
import type { Qos } from "./packet-bytes.ts";

export class Subscriber implements PacketSink {
  onProgress: () => void = nothing;
  latency: LatencyRecord | null = null;
  readonly link: Link;
  readonly ledger: DeliveryLedger;
  private readonly qos: Qos;
  private readonly hasProperties: boolean;
  private readMs = 0;

  constructor(link: Link, ledger: DeliveryLedger, qos: Qos) {
    this.link = link;
    this.ledger = ledger;
    this.qos = qos;
    this.hasProperties = link.protocolLevel === 5;
    link.sink = this;
  }

  publish(bytes: Uint8Array, firstByte: number, start: number, end: number): void {
    let at = start + 2 + ((bytes[start] << 8) | bytes[start + 1]);
    const qos = (firstByte >> 1) & 3;
    if (qos !== this.qos) this.ledger.countCorrupt();
    if (qos > 0) {
      this.link.answer(qos === 1 ? PUBACK : PUBREC, (bytes[at] << 8) | bytes[at + 1]);
      at += 2;
    }
    if (this.hasProperties) at = afterProperties(bytes, at);
    const sequence = this.ledger.take(bytes, at, end);
    if (this.latency !== null) this.recordDelay(this.latency, sequence);
  }

  acknowledged(packetType: number, packetId: number): void {
    if (packetType === PUBREL) this.link.answer(PUBCOMP, packetId);
    else this.link.fail(new Error(`a subscriber received a packet of type 0x${packetType.toString(16)}`));
  }

  readEnd(): void {
    this.readMs = 0;
    this.link.flush();
    this.onProgress();
  }

  private recordDelay(latency: LatencyRecord, sequence: number): void {
    if (this.readMs === 0) this.readMs = performance.now();
    const index = sequence - latency.sequenceFirst;
    if (index >= 0) latency.delaysMs[index] = this.readMs - latency.dueMs[index];
  }
}

function afterProperties(bytes: Uint8Array, at: number): number {
  let length = 0;
  let shift = 0;
  for (;;) {
    const byte = bytes[at++];
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) return at + length;
    shift += 7;
  }
}

function nothing(): void {}
