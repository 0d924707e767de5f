/**
 * Why a user of a file is let in or not, check by check: who it is, whether it has to wait, whether the password fits.
 *
 * Invariant: neither the password nor a name that is not in the file is in any text: a secret may have been typed for it.
 */
import type { Check, ConnectRequest } from "../../src/core/gate/provider.ts";
import { rightsCheck } from "../rules/rights-check.ts";
import type { Account } from "./account-file.ts";
import type { Standing } from "./login-guard.ts";

export interface LoginInQuestion<S> {
  readonly request: ConnectRequest;
  readonly password: Uint8Array | undefined;
  /** As the settings name it. */
  readonly file: string;
  /** What becomes of a user who is not in the file. */
  readonly unknownUsers: "refuse" | "skip";
  find(username: string): Account<S> | undefined;
  standing(username: string): Readonly<Record<"user" | "address", Standing>>;
  /** Sort and cost of the secret that the password has to fit. */
  describe(account: Account<S>): Check;
  fits(account: Account<S>, password: Uint8Array): Promise<boolean>;
}

export async function loginChecks<S>(login: LoginInQuestion<S>): Promise<readonly Check[]> {
  const { request, password } = login;
  const { username } = request;
  if (username === undefined) {
    return [{ name: "username", ok: false, expected: "one", found: "none: left to the next provider" }];
  }
  const account = login.find(username);
  const checks = [userCheck(login, account), backOffCheck(login.standing(username))];
  const form = account === undefined ? undefined : login.describe(account);
  if (form !== undefined) checks.push(form);
  if (password === undefined || password.length === 0) {
    checks.push({ name: "password", ok: false, expected: "one", found: "none" });
  } else if (account !== undefined && form?.ok === true) {
    checks.push(passwordCheck(await login.fits(account, password)));
  }
  return account === undefined ? checks : [...checks, rightsCheck(account.permissions)];
}

function userCheck<S>({ file, unknownUsers }: LoginInQuestion<S>, account: Account<S> | undefined): Check {
  const shared = { name: "user", expected: `a name in ${file}` };
  if (account !== undefined) {
    const { name, groups } = account;
    const found = `${JSON.stringify(name)}${groups.length === 0 ? "" : `, in ${groups.join(", ")}`}`;
    return { ...shared, ok: true, found };
  }
  if (unknownUsers === "skip") return { ...shared, ok: false, found: "another one: left to the next provider" };
  return {
    ...shared,
    ok: false,
    found: "another one",
    hint: 'names are compared letter by letter; "rqtt auth hash" makes a line for a new one',
  };
}

function backOffCheck({ user, address }: Readonly<Record<"user" | "address", Standing>>): Check {
  const waitMs = Math.max(user.waitMs, address.waitMs);
  const failures = `failures in this process: ${user.failures} of the user, ${address.failures} of the address`;
  const found = waitMs === 0 ? `none; ${failures}` : `${Math.ceil(waitMs / 1000)} s; ${failures}`;
  return { name: "back-off", ok: waitMs === 0, expected: "no wait", found };
}

function passwordCheck(isRight: boolean): Check {
  const shared = { name: "password", ok: isRight, expected: "the one of the user" };
  if (isRight) return { ...shared, found: "it fits" };
  return { ...shared, found: "another one", hint: "every byte counts, blanks at the end too" };
}
