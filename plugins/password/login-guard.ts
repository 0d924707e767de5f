/**
 * Who has to wait before another password is looked at: failures counted per address and per user, hashes under way per address.
 *
 * Invariant: every table is bounded; asking costs no hash; a client that came in from its address before is judged by its own
 * failures alone there, so that nobody locks it out by failing in its name or beside it.
 */

export interface LoginGuardOptions {
  readonly failuresPerAddressMax: number;
  readonly failuresPerUserMax: number;
  readonly backOffMsMax: number;
  /** Passwords of one address that may be looked at or wait for it at the same time. */
  readonly pendingPerAddressMax: number;
  readonly nowMs: () => number;
}

/** One login, by whom it counts for. `user` is whatever stands for the name, of bounded length. */
export interface Attempt {
  readonly address: string;
  readonly user: string;
  readonly pair: string;
}

interface Failures {
  count: number;
  lastMs: number;
  blockedUntilMs: number;
}

/** How a key stands in a table of failures. */
export interface Standing {
  readonly failures: number;
  /** 0: no wait. */
  readonly waitMs: number;
}

const ENTRIES_MAX = 10_000;
const FIRST_WAIT_MS = 1_000;
/** Failures are forgotten when the longest wait and then this long have passed without another one. */
const FORGET_MS = 15 * 60_000;

/** Failures by key; the one that was longest without news gives way. */
class FailureTable {
  readonly #failuresMax: number;
  readonly #waitMsMax: number;
  readonly #entries = new Map<string, Failures>();

  constructor(failuresMax: number, waitMsMax: number) {
    this.#failuresMax = failuresMax;
    this.#waitMsMax = waitMsMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  isBlocked(key: string, nowMs: number): boolean {
    return (this.#entries.get(key)?.blockedUntilMs ?? 0) > nowMs;
  }

  /** What counts against this key now. */
  standing(key: string, nowMs: number): Standing {
    const failures = this.#recent(key, nowMs);
    return { failures: failures?.count ?? 0, waitMs: Math.max(0, (failures?.blockedUntilMs ?? 0) - nowMs) };
  }

  failed(key: string, nowMs: number): void {
    if (this.#failuresMax === 0) return;
    const failures = this.#recent(key, nowMs) ?? { count: 0, lastMs: nowMs, blockedUntilMs: 0 };
    failures.count++;
    failures.lastMs = nowMs;
    const over = failures.count - this.#failuresMax;
    if (over >= 0) failures.blockedUntilMs = nowMs + Math.min(this.#waitMsMax, FIRST_WAIT_MS * 2 ** Math.min(over, 30));
    setNewest(this.#entries, key, failures);
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }

  #recent(key: string, nowMs: number): Failures | undefined {
    const failures = this.#entries.get(key);
    return failures !== undefined && nowMs - failures.lastMs < this.#waitMsMax + FORGET_MS ? failures : undefined;
  }
}

/** Keeps a Map in order of news and within its bound. */
function setNewest<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= ENTRIES_MAX) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}

export class LoginGuard {
  readonly #options: LoginGuardOptions;
  readonly #addresses: FailureTable;
  readonly #users: FailureTable;
  readonly #pairs: FailureTable;
  /** User and address pairs that came in, with a dummy value. */
  readonly #proven = new Map<string, true>();
  readonly #pending = new Map<string, number>();

  constructor(options: LoginGuardOptions) {
    this.#options = options;
    this.#addresses = new FailureTable(options.failuresPerAddressMax, options.backOffMsMax);
    this.#users = new FailureTable(options.failuresPerUserMax, options.backOffMsMax);
    this.#pairs = new FailureTable(options.failuresPerUserMax, options.backOffMsMax);
  }

  /** Entries of the largest table, for tests of the bound. */
  get entries(): number {
    return Math.max(this.#addresses.size, this.#users.size, this.#pairs.size, this.#proven.size, this.#pending.size);
  }

  attempt(address: string, user: string): Attempt {
    const network = networkOf(address);
    return { address: network, user, pair: `${network} ${user}` };
  }

  isBlocked({ address, user, pair }: Attempt): boolean {
    const nowMs = this.#options.nowMs();
    if (this.#proven.has(pair)) return this.#pairs.isBlocked(pair, nowMs);
    return this.#addresses.isBlocked(address, nowMs) || this.#users.isBlocked(user, nowMs);
  }

  /** The same in numbers, for whoever wants to know why. */
  standing({ address, user, pair }: Attempt): Readonly<Record<"user" | "address", Standing>> {
    const nowMs = this.#options.nowMs();
    if (this.#proven.has(pair)) return { user: this.#pairs.standing(pair, nowMs), address: { failures: 0, waitMs: 0 } };
    return { user: this.#users.standing(user, nowMs), address: this.#addresses.standing(address, nowMs) };
  }

  /** Answers false if this address has enough passwords under way; otherwise `end` has to follow. */
  begin({ address }: Attempt): boolean {
    const { failuresPerAddressMax, pendingPerAddressMax } = this.#options;
    const pending = this.#pending.get(address) ?? 0;
    if (failuresPerAddressMax > 0 && pending >= pendingPerAddressMax) return false;
    this.#pending.set(address, pending + 1);
    return true;
  }

  end({ address }: Attempt): void {
    const pending = (this.#pending.get(address) ?? 0) - 1;
    if (pending > 0) this.#pending.set(address, pending);
    else this.#pending.delete(address);
  }

  failed({ address, user, pair }: Attempt): void {
    const nowMs = this.#options.nowMs();
    if (this.#proven.has(pair)) return this.#pairs.failed(pair, nowMs);
    this.#addresses.failed(address, nowMs);
    this.#users.failed(user, nowMs);
  }

  /** The address keeps its failures: whoever owns one password must not wipe out the tries for others. */
  succeeded({ user, pair }: Attempt): void {
    if (!this.#proven.has(pair)) this.#users.forget(user);
    this.#pairs.forget(pair);
    setNewest(this.#proven, pair, true);
  }
}

/** What one party has at its disposal: an IPv4 address, or a network of 64 bits of IPv6. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/iu.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!/^[\da-f:.]+(?:%.*)?$/iu.test(address) || !address.includes(":")) return address.slice(0, 64);
  const [head = "", tail] = address.replace(/%.*$/u, "").split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => "0");
  const groups = [...left, ...zeros, ...right].slice(0, 4);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/64`;
}
