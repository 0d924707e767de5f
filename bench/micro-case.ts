/**
 * One micro-benchmark in a process of its own, so that none inherits another's heap or compiled code:
 *
 *   bun bench/micro-case.ts NAME
 *
 * prints its result as one line of JSON. Under `bun --cpu-prof` it tells where the time of that one goes.
 */

import { benchmarksNamed } from "./micro.ts";
import { measure } from "./micro-measure.ts";

for (const benchmark of benchmarksNamed(process.argv.slice(2))) {
  process.stdout.write(`${JSON.stringify(measure(benchmark))}\n`);
}
