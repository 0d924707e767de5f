/**
 * Bytes read as MQTT 5.0 packets, for the programs that judge a broker from outside; wire.ts makes them.
 *
 * Refuses, by throwing `WireError`, what sections 1.5, 2 and 3 of the specification call malformed, as far as a judge can meet it.
 */
import {
  type Answers,
  type Connect,
  type Filter,
  PROPERTY_FORMS,
  type Property,
  type PropertyValue,
  type Publish,
  type Qos,
  SUCCESS,
  WireError,
} from "./wire.ts";

const decoder = new TextDecoder("utf-8", { fatal: true });

export interface Packet {
  /** The upper four bits of the first byte, as in the constants above. */
  readonly type: number;
  readonly flags: number;
  /** Everything after the fixed header. */
  readonly body: Uint8Array;
}

/** Reads a body from front to back. */
class BodyReader {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.at;
  }

  byte(): number {
    if (this.left < 1) throw new WireError("a packet ends before its last field");
    return this.#bytes[this.at++]!;
  }

  two(): number {
    return (this.byte() << 8) | this.byte();
  }

  four(): number {
    return this.two() * 0x10000 + this.two();
  }

  variable(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new WireError("a Variable Byte Integer of more than four bytes");
  }

  take(length: number): Uint8Array {
    if (this.left < length) throw new WireError("a packet ends before its last field");
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  text(): string {
    const bytes = this.take(this.two());
    try {
      return decoder.decode(bytes);
    } catch {
      throw new WireError("a string that is not UTF-8");
    }
  }

  rest(): Uint8Array {
    return this.take(this.left);
  }

  properties(): Property[] {
    const end = this.variable() + this.at;
    const found: Property[] = [];
    while (this.at < end) {
      const identifier = this.variable();
      found.push([identifier, this.#value(identifier)]);
    }
    if (this.at !== end) throw new WireError("properties that do not end where their length says");
    return found;
  }

  #value(identifier: number): PropertyValue {
    switch (PROPERTY_FORMS.get(identifier)) {
      case "byte":
        return this.byte();
      case "two":
        return this.two();
      case "four":
        return this.four();
      case "variable":
        return this.variable();
      case "text":
        return this.text();
      case "bytes":
        return this.take(this.two()).slice();
      case "pair":
        return [this.text(), this.text()];
      default:
        throw new WireError(`no property has the identifier 0x${identifier.toString(16)}`);
    }
  }
}

export function decodeConnect(body: Uint8Array): Connect {
  const reader = new BodyReader(body);
  if (reader.text() !== "MQTT" || reader.byte() !== 5) throw new WireError("CONNECT is not one of MQTT 5.0");
  const flags = reader.byte();
  if ((flags & ~2) !== 0) throw new WireError("CONNECT with a Will or a login is not for this reader");
  reader.two();
  const properties = reader.properties();
  return { clientId: reader.text(), cleanStart: (flags & 2) !== 0, properties };
}

export interface Connack {
  readonly sessionPresent: boolean;
  readonly reasonCode: number;
  readonly properties: readonly Property[];
}

export function decodeConnack(body: Uint8Array): Connack {
  const reader = new BodyReader(body);
  const flags = reader.byte();
  if (flags > 1) throw new WireError("CONNACK with a reserved flag");
  return { sessionPresent: flags === 1, reasonCode: reader.byte(), properties: reader.properties() };
}

export function decodePublish({ flags, body }: Packet): Publish {
  const reader = new BodyReader(body);
  const qos = ((flags >> 1) & 3) as Qos;
  if ((flags & 6) === 6) throw new WireError("PUBLISH at QoS 3");
  const topicName = reader.text();
  const packetId = qos === 0 ? 0 : reader.two();
  if (qos > 0 && packetId === 0) throw new WireError("PUBLISH with Packet Identifier 0");
  const properties = reader.properties();
  return {
    topicName,
    qos,
    dup: (flags & 8) !== 0,
    retain: (flags & 1) !== 0,
    packetId,
    properties,
    payload: reader.rest(),
  };
}

export interface Acknowledgement {
  readonly packetId: number;
  readonly reasonCode: number;
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP; the Reason Code may be left out when it is 0. */
export function decodeAcknowledgement(body: Uint8Array): Acknowledgement {
  const reader = new BodyReader(body);
  const packetId = reader.two();
  return { packetId, reasonCode: reader.left > 0 ? reader.byte() : SUCCESS };
}

/** SUBACK or UNSUBACK. */
export function decodeAnswers(body: Uint8Array): Answers {
  const reader = new BodyReader(body);
  const packetId = reader.two();
  reader.properties();
  return { packetId, reasonCodes: [...reader.rest()] };
}

export interface Subscribe {
  readonly packetId: number;
  readonly properties: readonly Property[];
  readonly filters: readonly Filter[];
}

export function decodeSubscribe(body: Uint8Array): Subscribe {
  const reader = new BodyReader(body);
  const packetId = reader.two();
  const properties = reader.properties();
  const filters: Filter[] = [];
  while (reader.left > 0) {
    const filter = reader.text();
    const options = reader.byte();
    filters.push({ filter, qos: (options & 3) as Qos, retainHandling: ((options >> 4) & 3) as 0 | 1 | 2 });
  }
  return { packetId, properties, filters };
}

export function decodeUnsubscribe(body: Uint8Array): {
  readonly packetId: number;
  readonly filters: readonly string[];
} {
  const reader = new BodyReader(body);
  const packetId = reader.two();
  reader.properties();
  const filters: string[] = [];
  while (reader.left > 0) filters.push(reader.text());
  return { packetId, filters };
}

/** The first value of a property, or what holds without it. */
export function numberOf(properties: readonly Property[], identifier: number, otherwise: number): number {
  const found = properties.find(([known]) => known === identifier);
  return found === undefined ? otherwise : (found[1] as number);
}

/** Cuts a byte stream into packets, wherever reads have divided it. A packet's body is valid until the next `push`. */
export class PacketCutter {
  #rest = new Uint8Array();

  /** Whether a packet has begun and not ended. */
  get isInside(): boolean {
    return this.#rest.length > 0;
  }

  *push(chunk: Uint8Array): Generator<Packet> {
    let bytes = chunk;
    if (this.#rest.length > 0) {
      bytes = new Uint8Array(this.#rest.length + chunk.length);
      bytes.set(this.#rest);
      bytes.set(chunk, this.#rest.length);
    }
    // Kept before the first packet is handed out: who takes the packets may stop half way, and what is left then is nobody's.
    this.#rest = new Uint8Array();
    let at = 0;
    for (;;) {
      const header = headerOf(bytes, at);
      if (header === null || header.end > bytes.length) break;
      const first = bytes[at]!;
      yield { type: first & 0xf0, flags: first & 0x0f, body: bytes.subarray(header.bodyAt, header.end) };
      at = header.end;
    }
    this.#rest = bytes.slice(at);
  }
}

function headerOf(bytes: Uint8Array, at: number): { readonly bodyAt: number; readonly end: number } | null {
  let length = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[at + 1 + i];
    if (byte === undefined) return null;
    length |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return { bodyAt: at + 2 + i, end: at + 2 + i + length };
  }
  throw new WireError("a Remaining Length of more than four bytes");
}
