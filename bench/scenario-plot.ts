/** All scenarios of one command in one plot: what a message or delivery costs each broker. */
import type { PlotFile } from "./curve-report.ts";
import { dotPlot } from "./plot.ts";
import { brokerLabel, type Row } from "./report.ts";
import { deliveriesPerMessage } from "./scenarios.ts";
import { whole } from "./text-table.ts";

/** Null when no broker has a result without a fault. */
export function scenarioPlot(rows: readonly Row[]): PlotFile | null {
  const title = "CPU per message or delivery";
  const plotted = rows
    .map(({ scenario, window, measurements }) => {
      const isPerDelivery = deliveriesPerMessage(scenario) > 1;
      const own = measurements.filter(({ transport }) => transport === scenario.transport);
      const dots = own
        .filter(({ failures }) => failures.length === 0)
        .map((of) => ({
          series: brokerLabel(of),
          value: isPerDelivery ? of.cpuMicrosPerDelivery : of.cpuMicrosPerMessage,
        }));
      return { name: `${scenario.name}, window ${whole(window)}`, dots };
    })
    .filter(({ dots }) => dots.length > 0);
  if (plotted.length === 0) return null;
  const subtitle = "of the broker's process, all threads, user and system; less is better";
  const svg = dotPlot({ title, subtitle, xLabel: "CPU µs", rows: plotted });
  return { name: "scenarios.svg", title, svg };
}
