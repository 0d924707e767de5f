/**
 * Runs every scenario with every target (protocol version and transport) of one client against one broker process.
 *
 * Invariant: a scenario depends on nothing an earlier one left behind; the broker goes away with the suite and must exit with 0.
 */
import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type BrokerProcess, brokerUnderTest, sameOrNewBroker } from "../support/broker-process.ts";

/** Long enough for a slow shared machine; a test never waits for it unless it fails. */
export const TEST_MS = 120_000;

export interface Scenario<Target> {
  readonly name: string;
  readonly run: (broker: BrokerProcess, target: Target) => Promise<void>;
  /** What mosquitto 2.0.11 does otherwise; left out when the suite runs against it. */
  readonly mosquitto?: string;
  /** Left out for targets that cannot do it. */
  readonly where?: (target: Target) => boolean;
}

export interface Suite<Target> {
  readonly client: string;
  readonly targets: readonly Target[];
  readonly scenarios: readonly Scenario<Target>[];
  /** Why nothing can run here: the client is not installed. */
  readonly missing?: string;
  readonly afterEachTest?: () => Promise<void>;
}

export function runSuite<Target extends { readonly name: string }>(suite: Suite<Target>): void {
  if (suite.missing !== undefined) {
    test.skip(`${suite.client}: ${suite.missing}`, () => {});
    return;
  }
  describe(suite.client, () => {
    let broker: BrokerProcess | undefined;
    beforeEach(async () => {
      broker = await sameOrNewBroker(broker);
    }, TEST_MS);
    afterEach(async () => {
      await suite.afterEachTest?.();
    }, TEST_MS);
    afterAll(async () => {
      if (broker !== undefined) expect(await broker.stop()).toBe(0);
    }, TEST_MS);
    for (const target of suite.targets) {
      describe(target.name, () => {
        for (const scenario of suite.scenarios) {
          if (scenario.where?.(target) === false) continue;
          test.skipIf(brokerUnderTest === "mosquitto" && scenario.mosquitto !== undefined)(
            scenario.name,
            () => scenario.run(broker!, target),
            TEST_MS,
          );
        }
      });
    }
  });
}

let namesGiven = 0;

/** A name nobody else in this run uses, for topics and client ids: retained messages of one test stay out of the next. */
export function uniqueName(purpose: string): string {
  namesGiven += 1;
  return `${purpose}-${namesGiven}`;
}
