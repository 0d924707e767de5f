/** The flags of the fixed header (MQTT 5.0 section 2.1.3). */
import type { ProtocolLevel } from "./packet.ts";
import { PACKET_TYPE_NAMES } from "./packet-type.ts";
import { malformed } from "./peer-error.ts";

const DUP = 0x08;

/** Throws unless the flags are the ones reserved for the packet type [MQTT-2.1.3-1]; `statement` is the packet's own id. */
export function checkFlags(packetType: number, flags: number, expected: number, statement: string): void {
  if (flags !== expected) {
    throw malformed(statement, `flags ${flags} in ${PACKET_TYPE_NAMES[packetType]}, expected ${expected}`);
  }
}

/** As `checkFlags`, for the packets that MQTT 3.1 let clients repeat with DUP. */
export function checkRepeatableFlags(
  packetType: number,
  flags: number,
  expected: number,
  statement: string,
  level: ProtocolLevel,
): void {
  checkFlags(packetType, level === 3 ? flags & ~DUP : flags, expected, statement);
}
