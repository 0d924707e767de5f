/** Properties of the client as bytes (MQTT 5.0 section 2.2.2), by the table that the broker has too. */
import { PROPERTY_ROWS, type Properties } from "../core/codec/property-table.ts";
import type { Payload } from "./client-options.ts";
import { field, integer, variableByteInteger } from "./packet-encoder.ts";

/** The property list of MQTT 5.0, its length included; nothing before. */
export function propertyList(level: number, properties?: Properties): number[] {
  const list = (properties ? PROPERTY_ROWS : []).flatMap(([name, kind], id) => {
    const encode = (value: number | Payload): number[] =>
      typeof value !== "number" ? field(value) : kind === "v+" ? variableByteInteger(value) : integer(+kind[0]!, value);
    // Some hold a list of values, and a pair is one of strings.
    return [properties![name] ?? []].flat().flatMap((item) => [id, ...[item].flat().flatMap(encode)]);
  });
  return level === 5 ? [...variableByteInteger(list.length), ...list] : [];
}
