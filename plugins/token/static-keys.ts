/**
 * Keys from a file or a secret, read at start and again when the file changes.
 *
 * Invariant: a change that cannot be read keeps the keys that are in force; at start it refuses the start.
 */
import type { PluginHostServices, SecretReference } from "../../src/core/gate/provider.ts";
import { checkAlgorithms, type KeySet, keyOfPem, keyOfSecret, keySetOf } from "./key-set.ts";
import { messageOf } from "./remote-keys.ts";
import type { KeySource } from "./verify-token.ts";

export interface StaticKeysOptions {
  readonly name: string;
  readonly from: { readonly file: string } | { readonly secret: SecretReference };
  readonly algorithms: readonly string[];
  readonly host: Pick<PluginHostServices, "log" | "readFile" | "secret" | "watchFile">;
}

export async function staticKeys(options: StaticKeysOptions): Promise<KeySource> {
  const { name, from, algorithms, host } = options;
  checkAlgorithms(algorithms, "secret" in from);
  let set = await read(options);
  const reread = (): void => {
    read(options).then(
      (next) => {
        set = next;
        host.log("info", "issuer-keys-loaded", { issuer: name, keys: next.count });
      },
      (error) => host.log("warn", "issuer-keys-kept", { issuer: name, error: messageOf(error) }),
    );
  };
  const path = "file" in from ? from.file : "file" in from.secret ? from.secret.file : undefined;
  const stop = path === undefined ? () => {} : host.watchFile(path, reread);
  return { find: (header) => set.find(header), close: stop };
}

async function read({ from, algorithms, host }: StaticKeysOptions): Promise<KeySet> {
  if ("secret" in from) return keyOfSecret(await host.secret(from.secret), algorithms);
  const text = new TextDecoder().decode(await host.readFile(from.file));
  return text.trimStart().startsWith("{") ? keySetOf(text, true) : keyOfPem(text, algorithms);
}
