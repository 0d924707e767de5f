/**
 * Users with passwords in a file: argon2id hashes, groups, rules. How it is set up is told in password-file.md.
 *
 * The order of a login: failures of address and user, verified a moment ago, a place in the queue, the hash. Invariant: no hash
 * is spent on a client that has to wait, at most `hashesRunningMax` run at once, and a user who is not there costs what one
 * who is there costs. Refuses a username with a wrong, an empty or no password; skips a client without a username.
 */
import { availableParallelism } from "node:os";
import type {
  AbortSignalLike,
  AuthPlugin,
  Check,
  PluginHostServices,
  Provider,
  Refusal,
  Verdict,
} from "../src/core/gate/provider.ts";
import type { Account as AccountOf } from "./password/account-file.ts";
import {
  ARGON2ID,
  argon2Kind,
  DEFAULT_COST,
  fitsPassword,
  type PasswordHash,
  unmatchedHash,
} from "./password/argon2-hash.ts";
import { accountSettings, type LiveAccounts, openAccounts } from "./password/live-accounts.ts";
import { loginChecks } from "./password/login-checks.ts";
import { type Attempt, LoginGuard } from "./password/login-guard.ts";
import { createPrivateDigest } from "./password/private-digest.ts";
import { VerifiedLogins } from "./password/verified-logins.ts";
import { oneOf, optional, type SettingsOf, table, whole } from "./settings.ts";

const settings = table({
  ...accountSettings,
  /** How long a password that was right is known without hashing it again; 0: not at all. */
  cacheSeconds: optional(whole(0, 3_600, "seconds"), 30),
  /** A user who is not in the file: keep out, or leave to the next provider. */
  unknownUsers: optional(oneOf("refuse", "skip"), "refuse"),
  /** Hashes at once. Default: one less than the machine has cores, at least one. */
  hashesRunningMax: optional(whole(1, 256)),
  /** Logins waiting for one; a further one is told to come again. */
  hashesWaitingMax: optional(whole(1, 10_000), 64),
});
type Settings = SettingsOf<typeof settings>;
type Account = AccountOf<PasswordHash>;

/** One CONNECT with a username and a password. */
interface Login {
  readonly account: Account | undefined;
  readonly username: string;
  readonly password: Uint8Array;
  readonly attempt: Attempt;
  /** Names this user with this hash and this password. */
  readonly key: string;
  readonly signal: AbortSignalLike;
}

const SKIP: Verdict = { do: "skip" };
const TOO_MANY = "too many failures; the client has to wait";

export default {
  apiVersion: 1,
  name: "password-file",
  config: settings,
  create: async (config, host) => createProvider(config, host, await openAccounts(host, config, argon2Kind)),
} satisfies AuthPlugin<Settings>;

type Outcome = "right" | "wrong" | "blocked" | "gone";

function createProvider(config: Settings, host: PluginHostServices, accounts: LiveAccounts<PasswordHash>): Provider {
  const coresLeft = Math.max(1, availableParallelism() - 1);
  const limited = host.limiter(config.hashesRunningMax ?? coresLeft, config.hashesWaitingMax);
  const guard = new LoginGuard({
    failuresPerAddressMax: config.failuresPerAddressMax,
    failuresPerUserMax: config.failuresPerUserMax,
    backOffMsMax: config.backOffSecondsMax * 1_000,
    pendingPerAddressMax: Math.ceil(config.hashesWaitingMax / 4),
    nowMs: host.nowMs,
  });
  const verified = new VerifiedLogins(config.cacheSeconds * 1_000, host.nowMs);
  const digest = createPrivateDigest();
  const find = (username: string): Account | undefined => accounts.current().byName.get(username);
  const leaves = (account: Account | undefined): boolean => config.unknownUsers === "skip" && account === undefined;

  const hashOnce = async (login: Login): Promise<Outcome> => {
    const { account, username, password, attempt, key, signal } = login;
    // What changed while this login waited: the same one was found right, others failed, the client went away.
    if (verified.has(key)) return "right";
    if (guard.isBlocked(attempt)) return "blocked";
    if (signal.aborted) return "gone";
    const like = digest.pick(accounts.current().all, username)?.secrets.get(ARGON2ID) ?? DEFAULT_COST;
    const isRight = await fitsPassword(account?.secrets.get(ARGON2ID) ?? unmatchedHash(like), password);
    if (!isRight || account === undefined) return "wrong";
    verified.add(key);
    return "right";
  };

  const decide = async (login: Login): Promise<Verdict> => {
    const { username, attempt, key } = login;
    if (!verified.has(key)) {
      if (!guard.begin(attempt)) return refuse("busy", "too many logins of this address at once");
      try {
        const outcome = await limited(() => hashOnce(login));
        if (outcome === "gone") return refuse("unavailable", "the client is gone");
        if (outcome !== "right" && leaves(login.account)) return SKIP;
        if (outcome === "blocked") return refuse("banned", TOO_MANY);
        if (outcome === "wrong") {
          guard.failed(attempt);
          return refuse("bad-credentials", login.account === undefined ? "unknown user" : "wrong password");
        }
      } catch (error) {
        if (!(error instanceof Error) || error.name !== "BusyError") throw error;
        return refuse("busy", "too many logins at once");
      } finally {
        guard.end(attempt);
      }
    }
    const account = find(username);
    if (account === undefined || account.secretText !== login.account?.secretText) {
      return refuse("bad-credentials", "the user file changed during the login");
    }
    guard.succeeded(attempt);
    return { do: "accept", principal: accounts.principalOf(account) };
  };

  return {
    connect({ username, password, peer }, signal) {
      if (username === undefined) return SKIP;
      const account = find(username);
      if (password === undefined || password.length === 0) {
        return leaves(account) ? SKIP : refuse("bad-credentials", "no password");
      }
      const attempt = guard.attempt(peer.address, digest.text("user", username));
      if (guard.isBlocked(attempt)) return leaves(account) ? SKIP : refuse("banned", TOO_MANY);
      const key = digest.text("verified", username, account?.secretText ?? "", password);
      return decide({ account, username, password, attempt, key, signal });
    },
    recheck: accounts.recheck,
    explain: (request) =>
      loginChecks<PasswordHash>({
        request,
        password: request.password,
        file: config.file,
        unknownUsers: config.unknownUsers,
        find,
        standing: (username) => guard.standing(guard.attempt(request.peer.address, digest.text("user", username))),
        describe: hashCheck,
        fits: (account, password) => limited(() => fitsPassword(account.secrets.get(ARGON2ID)!, password)),
      }),
    close: accounts.close,
  };
}

function hashCheck(account: Account): Check {
  const { memoryKiB, passes, lanes } = account.secrets.get(ARGON2ID)!;
  const found = `argon2id m=${memoryKiB} t=${passes} p=${lanes}`;
  const { memoryKiB: usualKiB, passes: usualPasses } = DEFAULT_COST;
  const isWeak = memoryKiB * passes < usualKiB * usualPasses;
  const hint = `cheaper to guess than m=${usualKiB} t=${usualPasses}, which "rqtt auth hash" makes`;
  return { name: "hash", ok: true, expected: "an argon2id hash", found, ...(isWeak ? { hint } : {}) };
}

function refuse(because: Refusal, log: string): Verdict {
  return { do: "refuse", because, log };
}
