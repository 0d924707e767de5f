/**
 * A user file in force: read at start, read again when it changes.
 *
 * Invariant: the users in force are those of the last file that was understood completely. A new file that is not keeps the
 * old one and is told in the log; one that takes a user, a password or a right away ends the connections that had it.
 */
import type {
  PluginHostServices,
  PrincipalInit,
  RecheckRequest,
  Refusal,
  Rule,
  Verdict,
} from "../../src/core/gate/provider.ts";
import { optional, text, whole } from "../settings.ts";
import { type Account, type Accounts, readAccounts, type SecretKind } from "./account-file.ts";
import { processDigest } from "./private-digest.ts";

/** Settings of every provider that keeps its users in a file and counts failures. */
export const accountSettings = {
  /** The user file, beside the configuration file where the path is relative. */
  file: text(),
  /** Goes before the user's name in the principal's id; keeps apart users of two files that share names. */
  realm: optional(text()),
  /** Wrong passwords from one address before it has to wait; 0: no such count, for listeners behind a proxy. */
  failuresPerAddressMax: optional(whole(0, 1_000_000), 20),
  /** Wrong passwords for one user before that user has to wait; 0: no such count. */
  failuresPerUserMax: optional(whole(0, 1_000_000), 10),
  /** The wait begins at one second and doubles up to this. */
  backOffSecondsMax: optional(whole(1, 86_400, "seconds"), 60),
};

export interface LiveAccounts<S> {
  current(): Accounts<S>;
  principalOf(account: Account<S>): PrincipalInit;
  /** Whether a user who came in under an earlier chain is still here, with the same password, and with which rights. */
  recheck(request: RecheckRequest): Verdict;
  /** Ends the watching; a reading that is under way has no effect any more. */
  close(): void;
}

const FILE_BYTES_MAX = 16 * 1024 * 1024;
const WRITABLE_BY_OTHERS = 0o002;
const OPEN_TO_OTHERS = 0o077;

/** Rejects with an Error that names the file, and the line where there is one. */
export async function openAccounts<S>(
  host: PluginHostServices,
  { file, realm }: { readonly file: string; readonly realm: string | undefined },
  kind: SecretKind<S>,
): Promise<LiveAccounts<S>> {
  let isOpen = true;
  let pending: Promise<void> = Promise.resolve();
  let current: Accounts<S> | undefined;
  let bytesInForce: Uint8Array = new Uint8Array();
  const idOf = (name: string): string => (realm === undefined ? name : `${realm}:${name}`);
  const principalOf = (account: Account<S>): PrincipalInit => {
    const { name, permissions } = account;
    return { id: idOf(name), username: name, permissions, evidence: evidenceOf(account) };
  };

  const load = async (): Promise<void> => {
    const bytes = await readChecked(host, file);
    if (!isOpen || (current !== undefined && Buffer.compare(bytes, bytesInForce) === 0)) return;
    const next = readAccounts(decode(bytes, file), file, kind);
    await checkMode(host, file);
    if (!isOpen) return;
    const previous = current;
    current = next;
    bytesInForce = bytes;
    for (const warning of next.warnings) host.log("warn", "user-file-warning", { warning });
    host.log("info", "user-file-loaded", { file, users: next.byName.size, rules: next.ruleCount });
    if (previous !== undefined) dropLosers(host, previous, next, idOf);
  };
  const reload = async (): Promise<void> => {
    try {
      if (isOpen) await load();
    } catch (error) {
      host.log("warn", "user-file-refused", { error: messageOf(error), consequence: "the users before stay in force" });
    }
  };
  // Watched before it is read: a change in between is not lost.
  const stop = host.watchFile(file, () => {
    pending = pending.then(reload);
    return pending;
  });
  const close = (): void => {
    isOpen = false;
    stop();
  };
  try {
    // A change reported during the first reading waits for its end.
    const first = load();
    pending = first.catch(() => {});
    await first;
  } catch (error) {
    close();
    throw error;
  }
  return {
    current: () => current!,
    principalOf,
    recheck: ({ principal }) => {
      const account = current!.byName.get(principal.username ?? "");
      if (account === undefined) return refuse("not-authorized", "not in the user file any more");
      const again = principalOf(account);
      if (again.evidence !== principal.evidence) return refuse("bad-credentials", "the password was changed");
      return { do: "accept", principal: again };
    },
    close,
  };
}

/** Tells whether the secret is the same as at the login, and nothing of what it is. */
function evidenceOf<S>({ name, secretText }: Account<S>): string {
  return processDigest.text("user file", name, secretText);
}

function refuse(because: Refusal, log: string): Verdict {
  return { do: "refuse", because, log };
}

async function readChecked(host: PluginHostServices, file: string): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await host.readFile(file);
  } catch (error) {
    throw new Error(`${file}: expected a readable file: ${messageOf(error)}`);
  }
  if (bytes.length > FILE_BYTES_MAX) throw new Error(`${file}: expected at most ${FILE_BYTES_MAX} bytes`);
  return bytes;
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${file}: expected UTF-8`);
  }
}

/**
 * Who can write the file can let itself in: refused. Who can only read it can try passwords at leisure: warned of, since
 * secrets mounted into containers are often readable by others.
 */
async function checkMode(host: PluginHostServices, file: string): Promise<void> {
  const mode = await host.fileMode(file);
  if (mode === undefined) return;
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  if ((mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new Error(`${file}: expected a file that others cannot write, found mode ${octal}; chmod 600 it`);
  }
  if ((mode & OPEN_TO_OTHERS) !== 0) {
    host.log("warn", "user-file-open-to-others", { file, mode: octal, better: "0600" });
  }
}

function dropLosers<S>(
  host: PluginHostServices,
  previous: Accounts<S>,
  next: Accounts<S>,
  idOf: (name: string) => string,
): void {
  const losers = new Set<string>();
  for (const [name, before] of previous.byName) {
    const after = next.byName.get(name);
    if (after === undefined || after.secretText !== before.secretText || hasLost(before, after)) losers.add(idOf(name));
  }
  if (losers.size === 0) return;
  host.drop((principal) => losers.has(principal.id), "user file changed");
}

/** Whether a right went away. One that was only added is there at the next login, and is no reason to disturb anybody. */
function hasLost<S>({ permissions: before }: Account<S>, { permissions: after }: Account<S>): boolean {
  const lacks = (rules: readonly Rule[], wanted: readonly Rule[]): boolean => {
    const texts = new Set(rules.map((rule) => JSON.stringify(rule)));
    return wanted.some((rule) => !texts.has(JSON.stringify(rule)));
  };
  return lacks(after.allow, before.allow) || lacks(before.deny ?? [], after.deny ?? []);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "not an Error";
}
