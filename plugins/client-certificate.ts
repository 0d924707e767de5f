/**
 * The certificate that the client presented is who it is. For mutual TLS: the listener has verified it against its CA.
 *
 *   [[auth.chain]]
 *   use = "client-certificate"
 *   identity = "alternative-name"          # or "common-name", "subject"
 *   prefix = "DNS:"                        # which alternative names
 *   allow = [{ on = "pub", filter = "door/${id}/#" }]
 *   [[auth.chain.rules]]                   # the first entry that fits replaces the lists above
 *   identity = "reader-*"                  # "*" stands for any characters; nothing else is special
 *   allow = [{ on = "sub", filter = "door/#" }]
 *
 * Refuses an identity that is not one: none or several where one is expected, empty, very long, with control characters or
 * in a form that looks like another one (Unicode other than NFC). A client without a certificate is the next provider's.
 * User name and password are not looked at; `${username}` is the identity too, whatever the client says. When the configuration is
 * loaded again, clients that are connected get the rights that their certificate has under the new rules.
 */
import {
  type AuthPlugin,
  EVIDENCE_BYTES_MAX,
  type PeerCertificate,
  type Permissions,
  type Provider,
  type Verdict,
} from "../src/core/gate/provider.ts";
import { rules } from "./rules/rule-setting.ts";
import { group, list, oneOf, optional, type SettingsOf, table, text } from "./settings.ts";

const IDENTITY_CHARACTERS_MAX = 512;

const settings = table({
  identity: oneOf("common-name", "subject", "alternative-name"),
  prefix: optional(text()),
  rules: optional(list(group({ identity: text(), ...rules() })), []),
  ...rules(),
});
type Settings = SettingsOf<typeof settings>;

/** What of a certificate can be an identity: kept as evidence, for rules that change while the client is connected. */
type Names = Pick<PeerCertificate, "subject" | "commonName" | "alternativeNames">;

/** The identity, or why there is none. Neither quotes the certificate: a peer wrote it. */
type Identity = { readonly id: string } | { readonly wrong: string };

function identityOf(certificate: Names, { identity, prefix = "" }: Settings): Identity {
  const { subject, commonName, alternativeNames } = certificate;
  if (identity === "subject") return usable(subject);
  if (identity === "common-name") {
    const count = subject.match(/(?:^|[,/+\n]\s*)CN\s*=/gu)?.length ?? 0;
    if (count > 1) return { wrong: `${count} common names` };
    return usable(commonName ?? "");
  }
  const names = alternativeNames.filter((name) => name.startsWith(prefix));
  if (names.length !== 1) return { wrong: `${names.length} alternative names that begin with ${prefix}` };
  // Some libraries quote a name that holds a separator; what is quoted was made to be misread.
  if (names[0]!.includes('"')) return { wrong: "an alternative name with a quotation mark" };
  return usable(names[0]!.slice(prefix.length));
}

function usable(id: string): Identity {
  if (id.trim() === "") return { wrong: "empty" };
  if (id.length > IDENTITY_CHARACTERS_MAX) return { wrong: `more than ${IDENTITY_CHARACTERS_MAX} characters` };
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(id)) return { wrong: "control characters" };
  return id === id.normalize("NFC") ? { id } : { wrong: "not in Unicode's normal form NFC" };
}

/** Whether `pattern` describes all of `id`; "*" stands for any characters. */
function fits(pattern: string, id: string): boolean {
  const [first = "", ...parts] = pattern.split("*");
  const last = parts.pop();
  if (last === undefined) return id === pattern;
  if (id.length < first.length + last.length || !id.startsWith(first) || !id.endsWith(last)) return false;
  let rest = id.slice(first.length, id.length - last.length);
  for (const part of parts) {
    const at = rest.indexOf(part);
    if (at === -1) return false;
    rest = rest.slice(at + part.length);
  }
  return true;
}

function create(config: Settings): Provider {
  const { identity, prefix } = config;
  if (identity === "alternative-name" && prefix === undefined) {
    throw new Error('prefix: expected which alternative names to use, such as "DNS:" or "URI:"');
  }
  if (identity !== "alternative-name" && prefix !== undefined) {
    throw new Error('prefix: is only for identity = "alternative-name"');
  }
  const permissionsOf = (id: string): Permissions => {
    const entry = config.rules.find((candidate) => fits(candidate.identity, id)) ?? config;
    return { allow: entry.allow, deny: entry.deny };
  };
  const judge = (names: Names): Verdict => {
    const found = identityOf(names, config);
    if ("wrong" in found) {
      return { do: "refuse", because: "not-authorized", log: `certificate without an identity: ${found.wrong}` };
    }
    const { id } = found;
    const principal = { id, username: id, permissions: permissionsOf(id), ...evidenceOf(names) };
    return { do: "accept", principal };
  };
  return {
    connect: ({ peer }) => (peer.certificate === undefined ? { do: "skip" } : judge(peer.certificate)),
    recheck({ principal }) {
      const names = namesIn(principal.evidence);
      if (names !== undefined) return judge(names);
      return { do: "refuse", because: "unavailable", log: "the names in the certificate are not known any more" };
    },
  };
}

/** None where the names are too long to be kept. */
function evidenceOf({ subject, commonName, alternativeNames }: Names): { readonly evidence?: string } {
  const evidence = JSON.stringify({ subject, commonName, alternativeNames } satisfies Names);
  return Buffer.byteLength(evidence) > EVIDENCE_BYTES_MAX ? {} : { evidence };
}

/** The names that were kept; `undefined` where they are not there, or not what this plugin has kept. */
function namesIn(evidence: string | undefined): Names | undefined {
  try {
    const { subject, commonName, alternativeNames } = JSON.parse(evidence ?? "{}") as Partial<Names>;
    const isText = (value: unknown): boolean => typeof value === "string";
    if (!isText(subject) || !Array.isArray(alternativeNames) || !alternativeNames.every(isText)) return undefined;
    if (commonName !== undefined && !isText(commonName)) return undefined;
    return { subject: subject!, commonName, alternativeNames };
  } catch {
    return undefined;
  }
}

export default {
  apiVersion: 1,
  name: "client-certificate",
  config: settings,
  create,
} satisfies AuthPlugin<Settings>;
