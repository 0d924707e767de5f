/** The load generator's WebSocket: its frames are what RFC 6455 asks of a client, and it reads what a broker may send. */
import { describe, expect, test } from "bun:test";
import {
  FRAME_PAYLOAD_MAX,
  FrameReader,
  FrameWriter,
  handshakeProblem,
  handshakeRequest,
} from "../../bench/websocket-frames.ts";
import { openWire } from "../../bench/wire.ts";

function numbered(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, n) => (n * 7 + (n >> 8)) & 0xff);
}

/** One client frame, decoded as a server would. */
function decoded(frame: Uint8Array): { firstByte: number; mask: number; payload: Uint8Array } {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  expect(frame[1] & 0x80).toBe(0x80);
  const short = frame[1] & 0x7f;
  const maskAt = short === 126 ? 4 : 2;
  const length = short === 126 ? view.getUint16(2) : short;
  expect(frame.length).toBe(maskAt + 4 + length);
  const payload = frame.slice(maskAt + 4).map((byte, n) => byte ^ frame[maskAt + (n & 3)]);
  return { firstByte: frame[0], mask: view.getUint32(maskAt), payload };
}

function written(writer: FrameWriter): Uint8Array {
  const frame = writer.bytes.slice(writer.start, writer.end);
  writer.start = writer.end;
  return frame;
}

describe("frames out", () => {
  test.each([1, 2, 3, 4, 5, 125, 126, 127, 1000, FRAME_PAYLOAD_MAX])("a payload of %i bytes", (length) => {
    const writer = new FrameWriter();
    const source = numbered(length + 3);
    expect(writer.fill(source, 3, length)).toBe(length);
    expect(writer.isEmpty).toBe(false);
    const { firstByte, payload } = decoded(written(writer));
    expect(firstByte).toBe(0x82);
    expect(payload).toEqual(source.subarray(3));
    expect(writer.isEmpty).toBe(true);
  });

  test("what is longer than a frame is left for the next one", () => {
    const writer = new FrameWriter();
    expect(writer.fill(numbered(70_000), 0, 70_000)).toBe(FRAME_PAYLOAD_MAX);
  });

  test("every frame has a mask of its own, and never none", () => {
    const writer = new FrameWriter();
    const masks = Array.from({ length: 100 }, () => {
      writer.fill(numbered(10), 0, 10);
      return decoded(written(writer)).mask;
    });
    expect(new Set(masks).size).toBe(100);
    expect(masks).not.toContain(0);
  });
});

describe("frames in", () => {
  interface Heard {
    payload: number[];
    pings: number[][];
    codes: number[];
  }

  function heard(bytes: readonly number[], pieceBytes: number): Heard {
    const heard: Heard = { payload: [], pings: [], codes: [] };
    const reader = new FrameReader({
      payload: (bytes, start, end) => heard.payload.push(...bytes.subarray(start, end)),
      ping: (payload) => heard.pings.push([...payload]),
      closed: (code) => heard.codes.push(code),
    });
    const source = Uint8Array.from(bytes);
    for (let at = 0; at < source.length; at += pieceBytes) {
      reader.take(source, at, Math.min(at + pieceBytes, source.length));
    }
    return heard;
  }

  const middle = [...numbered(300)];
  const long = [...numbered(70_000)];
  const frames = [
    ...[0x82, 3, 1, 2, 3],
    ...[0x02, 1, 4],
    ...[0x89, 2, 77, 78],
    ...[0x80, 2, 5, 6],
    ...[0x82, 0],
    ...[0x89, 0],
    ...[0x82, 126, 1, 44, ...middle],
    ...[0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70, ...long],
    ...[0x88, 2, 0x0f, 0xa0],
  ];

  test.each([1, 2, 3, 7, 64, 1_000_000])("arrive in pieces of %i bytes", (pieceBytes) => {
    expect(heard(frames, pieceBytes)).toEqual({
      payload: [1, 2, 3, 4, 5, 6, ...middle, ...long],
      pings: [[77, 78], []],
      codes: [4000],
    });
  });

  test.each([
    ["masked", [0x82, 0x81, 0, 0, 0, 0, 1]],
    ["with reserved bits", [0xc2, 1, 1]],
    ["of text", [0x81, 1, 65]],
  ])("are refused when %s", (_, bytes) => {
    expect(() => heard(bytes, 100)).toThrow("the broker sent a");
  });
});

describe("the handshake", () => {
  // The example of RFC 6455, section 1.3.
  const key = "dGhlIHNhbXBsZSBub25jZQ==";
  const good = [
    "HTTP/1.1 101 Switching Protocols",
    "upgrade: websocket",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    "Sec-WebSocket-Protocol: mqtt",
    "\r\n",
  ];

  test("asks for mqtt", () => {
    expect(handshakeRequest(1883, key)).toMatch(
      /^GET \/mqtt HTTP\/1\.1\r\n[\s\S]*Sec-WebSocket-Protocol: mqtt\r\n\r\n$/,
    );
  });

  test("is judged by its answer", () => {
    expect(handshakeProblem(good.join("\r\n"), key)).toBeNull();
    expect(handshakeProblem(good.join("\r\n").replace("101 Switching", "400 Bad"), key)).toContain("400 Bad");
    expect(handshakeProblem(good.join("\r\n").replace("s3p", "s3q"), key)).toContain("accept key");
    expect(handshakeProblem(good.toSpliced(3, 1).join("\r\n"), key)).toContain("subprotocol");
  });
});

test("a megabyte through a real server comes back whole, however little the socket takes at once", async () => {
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, server) => {
      const headers = { "Sec-WebSocket-Protocol": "mqtt" };
      return server.upgrade(request, { headers }) ? undefined : new Response(null, { status: 400 });
    },
    websocket: { backpressureLimit: 16_777_216, message: (socket, message) => void socket.send(message) },
  });
  const source = numbered(1_000_000);
  const echo = new Uint8Array(source.length);
  let [sent, received] = [0, 0];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const pump = (): void => {
    sent += wire.write(source, sent, source.length - sent);
  };
  const wire = await openWire(
    { transport: "ws", port: server.port! },
    {
      received: (bytes, start, end) => {
        echo.set(bytes.subarray(start, end), received);
        received += end - start;
      },
      readEnd: () => received === source.length && resolve(),
      writable: () => pump(),
      fail: reject,
    },
  );
  pump();
  await promise;
  expect(echo).toEqual(source);
});
