/**
 * The seed's table: a wildcard subscription, a million QoS 1 messages, all acks; one row per broker and window.
 *
 * Its last three rows are historical: they come with the table from the design that rqtt began with, were measured years ago on
 * another machine with another client, by the clock, and are repeated here as they stand there.
 */
import type { Row } from "./report.ts";
import { brokerLabel } from "./report.ts";
import { markdownTable, megabytes, whole } from "./text-table.ts";

const TITLES = ["Broker", "PUBLISH processing time", "Average memory", "Peak memory", "Total time", "Messages/s"];

const HISTORICAL_MESSAGES = 1_000_000;
/** Times as the design gives them. */
const HISTORICAL = [
  {
    broker: "mosquitto 1.4.11",
    processing: "3m41.53s",
    memoryBytes: 2_417_095_749,
    total: "3m42.24s",
    seconds: 222.242,
  },
  { broker: "rumqttd", processing: "3m35.52s", memoryBytes: 2_318_325_979, total: "3m36.25s", seconds: 216.247 },
  { broker: "emqttd 2.1.2", processing: "5m21.98s", memoryBytes: 2_469_802_635, total: "5m27.80s", seconds: 327.802 },
];

/** Markdown, or null when `rows` hold nothing of the seed benchmark. */
export function seedTable(rows: readonly Row[]): string | null {
  const seed = rows.filter(({ scenario }) => scenario.name === "seed");
  if (seed.length === 0) return null;
  const counts = [...new Set(seed.map(({ messages }) => whole(messages)))].join(" or ");
  const title = `Subscribe to "#", publish ${counts} QoS 1 messages, wait for the acks and the deliveries`;
  const measured = seed.flatMap(({ window, measurements }) =>
    measurements.map((of) => [
      `${brokerLabel(of)}, window ${whole(window)}`,
      `${of.cpuMicrosPerMessage.toFixed(2)} µs CPU each`,
      megabytes(of.memoryAverageBytes),
      megabytes(of.memoryPeakBytes),
      `${of.seconds.toFixed(2)}s`,
      whole(of.messagesPerSecond),
    ]),
  );
  const historical = HISTORICAL.map(({ broker, processing, memoryBytes, total, seconds }) => [
    `${broker} (historical)`,
    `${processing} in all`,
    megabytes(memoryBytes),
    "not given",
    total,
    whole(HISTORICAL_MESSAGES / seconds),
  ]);
  const note =
    "Historical: from the design that rqtt began with, not measured here; another machine and client, 1,000,000 messages, " +
    "time by the clock.";
  return [title, "", ...markdownTable([TITLES, ...measured, ...historical]), "", note, ""].join("\n");
}
