/**
 * A program that opens connections and holds them: silent clients, each with as many subscriptions as its plan says. It says
 * when all stand, and then does nothing until it is ended. It fails when the broker ends one of them.
 */
import { filterText } from "./filter-set.ts";
import { Link } from "./link.ts";
import { printLine, readPlan } from "./program.ts";
import type { Endpoint } from "./wire.ts";

export interface HoldPlan {
  readonly endpoint: Endpoint;
  /** Number of the first client; its filters are numbered on from there. */
  readonly clientFirst: number;
  readonly clients: number;
  readonly subscriptionsEach: number;
}

export interface Held {
  readonly clients: number;
  readonly subscriptions: number;
}

const OPENING_MAX = 50;
const FILTERS_PER_PACKET = 200;
const PROTOCOL_LEVEL = 4;

async function open(plan: HoldPlan, client: number): Promise<Link> {
  const link = await Link.connect(plan.endpoint, `bench-held-${client}`, PROTOCOL_LEVEL);
  const first = client * plan.subscriptionsEach;
  const end = first + plan.subscriptionsEach;
  for (let at = first; at < end; at += FILTERS_PER_PACKET) {
    const count = Math.min(FILTERS_PER_PACKET, end - at);
    const filters = Array.from({ length: count }, (_, n) => filterText(at + n));
    await link.subscribe(filters, 0);
  }
  return link;
}

async function main(): Promise<void> {
  const plan = await readPlan<HoldPlan>();
  const links: Link[] = [];
  let next = plan.clientFirst;
  async function openSome(): Promise<void> {
    while (next < plan.clientFirst + plan.clients) links.push(await open(plan, next++));
  }
  await Promise.all(Array.from({ length: OPENING_MAX }, openSome));
  printLine({ clients: links.length, subscriptions: links.length * plan.subscriptionsEach } satisfies Held);
}

process.on("uncaughtException", (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
await main();
