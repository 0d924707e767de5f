/**
 * SCRAM-SHA-256 and SCRAM-SHA-512: users in a file, whose passwords never travel and are not kept. The file's form and the
 * settings are told in password-file.md.
 *
 * Owns the two Authentication Methods. Invariant: a user who is not there, or has no keys for the method, gets the same
 * dialogue as one who is, with a salt that stays the same; it never ends well. Without a method in CONNECT this provider is
 * not asked. Sources: RFC 5802, RFC 7677, MQTT 5.0 section 4.12.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import type {
  AuthPlugin,
  Check,
  ConnectRequest,
  Exchange,
  Refusal,
  SecretReference,
  Verdict,
} from "../src/core/gate/provider.ts";
import type { Account as AccountOf } from "./password/account-file.ts";
import { deriveScramKeys } from "./password/hash.ts";
import { accountSettings, type LiveAccounts, openAccounts } from "./password/live-accounts.ts";
import { loginChecks } from "./password/login-checks.ts";
import { type Attempt, LoginGuard } from "./password/login-guard.ts";
import { createPrivateDigest, type PrivateDigest } from "./password/private-digest.ts";
import {
  isScramMechanism,
  SCRAM_DIGESTS,
  type ScramKeys,
  type ScramMechanism,
  scramKind,
} from "./password/scram-keys.ts";
import {
  type ClientFirst,
  formatServerFirst,
  readClientFinal,
  readClientFirst,
  ScramFault,
  verifyProof,
} from "./password/scram-message.ts";
import { optional, type SettingsOf, secret, table } from "./settings.ts";

const settings = table({
  ...accountSettings,
  /** Any long random text. Without it users who are not there have another salt after each start, which tells them apart. */
  fakeSaltKey: optional(secret()),
});
type Settings = SettingsOf<typeof settings>;
type Account = AccountOf<ScramKeys>;

interface Parts {
  readonly accounts: LiveAccounts<ScramKeys>;
  readonly guard: LoginGuard;
  readonly digest: PrivateDigest;
}

/** What has to be remembered between the server's first and the client's final message. */
interface Challenge {
  readonly first: ClientFirst;
  readonly serverFirst: string;
  readonly nonce: string;
  readonly keys: ScramKeys;
  readonly account: Account | undefined;
  readonly attempt: Attempt;
}

const SERVER_NONCE_BYTES = 18;
const FAKE_COST = { iterations: 15_000, saltBytes: 16 };
const FAKE_SALT_KEY_MIN = 16;
const EMPTY = new Uint8Array();

export default {
  apiVersion: 1,
  name: "scram-file",
  config: settings,
  async create(config, host) {
    const guard = new LoginGuard({
      failuresPerAddressMax: config.failuresPerAddressMax,
      failuresPerUserMax: config.failuresPerUserMax,
      backOffMsMax: config.backOffSecondsMax * 1_000,
      pendingPerAddressMax: Number.POSITIVE_INFINITY,
      nowMs: host.nowMs,
    });
    const digest = createPrivateDigest(await keyOf(config.fakeSaltKey, host.secret));
    const accounts = await openAccounts(host, config, scramKind);
    return {
      methods: Object.keys(SCRAM_DIGESTS),
      exchange: (request) => createExchange({ accounts, guard, digest }, request),
      recheck: accounts.recheck,
      explain: (request, data) => explain(config.file, { accounts, guard, digest }, request, data),
      close: accounts.close,
    };
  },
} satisfies AuthPlugin<Settings>;

async function keyOf(
  reference: SecretReference | undefined,
  read: (reference: SecretReference) => Promise<string>,
): Promise<string | Uint8Array> {
  if (reference === undefined) return randomBytes(32);
  const key = await read(reference);
  // What everybody can guess would tell everybody which salts are made up.
  if (key.length < FAKE_SALT_KEY_MIN) throw new Error(`fakeSaltKey: expected at least ${FAKE_SALT_KEY_MIN} characters`);
  return key;
}

/** A dialogue of two steps; a third one, or one after a refusal, has nothing left to be right. */
function createExchange(parts: Parts, request: ConnectRequest): Exchange {
  let challenge: Challenge | undefined;
  let isFresh = true;
  let wasInvited = false;
  const step = (data: Uint8Array | undefined): Verdict => {
    if (challenge !== undefined) {
      const asked = challenge;
      challenge = undefined;
      return finish(parts, asked, data ?? EMPTY);
    }
    if (!isFresh) return refuse("bad-credentials", "a step after the last one");
    if (data === undefined && !wasInvited) {
      // The client named the method and waits for the server's turn: its first message is invited, once.
      wasInvited = true;
      return { do: "continue" };
    }
    isFresh = false;
    const begun = begin(parts, request, data ?? EMPTY);
    if ("do" in begun) return begun;
    challenge = begun;
    return { do: "continue", data: new TextEncoder().encode(begun.serverFirst) };
  };
  return {
    step(data) {
      try {
        return step(data);
      } catch (error) {
        if (!(error instanceof ScramFault)) throw error;
        return refuse("bad-credentials", error.message);
      }
    },
    abort() {
      challenge = undefined;
      isFresh = false;
    },
  };
}

function begin({ accounts, guard, digest }: Parts, request: ConnectRequest, data: Uint8Array): Verdict | Challenge {
  const { authenticationMethod: mechanism, username, current, peer } = request;
  if (!isScramMechanism(mechanism)) return refuse("bad-method", "another method");
  const first = readClientFirst(data);
  const name = first.username;
  if (first.authorizationId !== undefined && first.authorizationId !== name) {
    return refuse("not-authorized", "acting for another user");
  }
  if (username !== undefined && username !== name) return refuse("bad-credentials", "CONNECT names another user");
  if (current !== undefined && current.username !== name) return refuse("not-authorized", "another user than before");
  const attempt = guard.attempt(peer.address, digest.text("user", name));
  if (guard.isBlocked(attempt)) return refuse("banned", "too many failures; the client has to wait");
  const account = accounts.current().byName.get(name);
  const real = account?.secrets.get(mechanism);
  const keys = real ?? fakeKeys(mechanism, name, accounts.current().all, digest);
  const nonce = first.nonce + randomBytes(SERVER_NONCE_BYTES).toString("base64");
  const serverFirst = formatServerFirst(nonce, keys.salt, keys.iterations);
  return { first, serverFirst, nonce, keys, account: real === undefined ? undefined : account, attempt };
}

function finish({ accounts, guard }: Parts, challenge: Challenge, data: Uint8Array): Verdict {
  const { first, serverFirst, nonce, keys, account, attempt } = challenge;
  const final = readClientFinal(data, first.header, nonce, keys.storedKey.length);
  // Others may have failed in this name, and the file may have changed, since the challenge was sent.
  if (guard.isBlocked(attempt)) return refuse("banned", "too many failures; the client has to wait");
  const { isRight, serverFinal } = verifyProof(keys, first.bare, serverFirst, final);
  const now = accounts.current().byName.get(first.username);
  if (!isRight || account === undefined || now?.secretText !== account.secretText) {
    guard.failed(attempt);
    return refuse("bad-credentials", account === undefined ? "unknown user" : "wrong password");
  }
  guard.succeeded(attempt);
  return { do: "accept", principal: accounts.principalOf(now), data: new TextEncoder().encode(serverFinal) };
}

/** `data` is the password itself, which no message of a client has in it. */
async function explain(
  file: string,
  { accounts, guard, digest }: Parts,
  request: ConnectRequest,
  data: Uint8Array | undefined,
): Promise<readonly Check[]> {
  const mechanism = request.authenticationMethod;
  if (!isScramMechanism(mechanism)) {
    const expected = Object.keys(SCRAM_DIGESTS).join(" or ");
    return [{ name: "method", ok: false, expected, found: "another one, or none" }];
  }
  return loginChecks<ScramKeys>({
    request,
    password: data ?? request.password,
    file,
    unknownUsers: "refuse",
    find: (username) => accounts.current().byName.get(username),
    standing: (username) => guard.standing(guard.attempt(request.peer.address, digest.text("user", username))),
    describe: (account) => keysCheck(account, mechanism),
    fits: (account, password) => fitsKeys(account.secrets.get(mechanism)!, password),
  });
}

function keysCheck({ secrets }: Account, mechanism: ScramMechanism): Check {
  const shared = { name: "keys", expected: `keys for ${mechanism}` };
  const keys = secrets.get(mechanism);
  if (keys !== undefined) return { ...shared, ok: true, found: `${mechanism}, ${keys.iterations} iterations` };
  const hint = `"rqtt auth hash --scram ${mechanism}" makes them`;
  return { ...shared, ok: false, found: `only ${[...secrets.keys()].join(", ")}`, hint };
}

async function fitsKeys({ mechanism, iterations, salt, storedKey }: ScramKeys, password: Uint8Array): Promise<boolean> {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(password);
    const derived = await deriveScramKeys(text, mechanism, iterations, salt);
    return timingSafeEqual(derived.storedKey, storedKey);
  } catch {
    // No text, or one that SASLprep forbids: no client could have made keys of it.
    return false;
  }
}

/** Keys that no password fits. Salt and iterations look like those of some user, always the same for one name. */
function fakeKeys(mechanism: ScramMechanism, name: string, all: readonly Account[], digest: PrivateDigest): ScramKeys {
  const like = digest.pick(all, name)?.secrets.get(mechanism);
  const saltBytes = like?.salt.length ?? FAKE_COST.saltBytes;
  const salt = new Uint8Array(saltBytes);
  for (let at = 0; at < saltBytes; at += 32) {
    salt.set(digest.bytes("salt", mechanism, name, String(at)).subarray(0, saltBytes - at), at);
  }
  const { keyBytes } = SCRAM_DIGESTS[mechanism];
  const iterations = like?.iterations ?? FAKE_COST.iterations;
  return { mechanism, iterations, salt, storedKey: randomBytes(keyBytes), serverKey: randomBytes(keyBytes) };
}

function refuse(because: Refusal, log: string): Verdict {
  return { do: "refuse", because, log };
}
