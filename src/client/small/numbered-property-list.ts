/**
 * Properties of the small client as bytes (MQTT 5.0 section 2.2.2): the kind that belongs to a number says how.
 */
import { field, integer, variableByteInteger } from "../packet-encoder.ts";
import { type NumberedProperties, PROPERTY_KINDS } from "./numbered-properties.ts";

/** A list of properties, its length included. */
export function propertyList(properties: NumberedProperties = {}): number[] {
  const list = Object.entries(properties).flatMap(([id, value]) =>
    // Some hold a list of values, and a pair is one of strings.
    [value ?? []]
      .flat()
      .flatMap((item) => [
        +id,
        ...[item]
          .flat()
          .flatMap((part) =>
            typeof part !== "number"
              ? field(part)
              : +id === 11
                ? variableByteInteger(part)
                : integer(+PROPERTY_KINDS[+id]!, part),
          ),
      ]),
  );
  return [...variableByteInteger(list.length), ...list];
}
