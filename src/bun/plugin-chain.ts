/**
 * Providers, from what the configuration names to a chain that can be asked: load, check, create, close.
 *
 * A chain is complete or it is not there: if one provider cannot be created, the ones before it are closed again and the
 * error says which setting is wrong.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { AuthPlugin, Principal, Provider } from "../core/gate/provider.ts";
import type { Log } from "../core/ports.ts";
import { ProviderMeter } from "./plugin-meter.ts";
import { createServices, type Services } from "./plugin-services.ts";

export interface PluginUse {
  // Each plugin knows its own settings; the host has checked them with its schema.
  // biome-ignore lint/suspicious/noExplicitAny: a plugin of any settings is a plugin
  readonly plugin: AuthPlugin<any>;
  readonly config?: unknown;
}

/** What the providers of a chain share. */
export interface ChainOptions {
  readonly log: Log;
  /** Where relative paths of settings begin. Default: the working directory. */
  readonly folder?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Ends connections; see `PluginHostServices.drop`. */
  readonly drop?: (provider: string, where: (principal: Principal, clientId: string) => boolean, why: string) => number;
}

/** A provider as the chain has it. */
export interface ChainLink {
  readonly name: string;
  /** The same number in all links of a chain, and a larger one than in any chain before. */
  readonly generation: number;
  readonly provider: Provider;
  readonly services: Services;
  readonly meter: ProviderMeter;
}

/** Folder of the plugins that come with rqtt. */
const OWN_PLUGINS = new URL("../../plugins/", import.meta.url);
const OWN_NAME = /^[a-z][a-z0-9-]*$/u;

/** A plugin by its name (`jwt`), by path (`./my-plugin.ts`, from `folder`) or by package. Rejects with a readable text. */
export async function loadPlugin(use: string, folder: string, path: string): Promise<AuthPlugin> {
  const isPath = use.startsWith("./") || use.startsWith("../") || use.startsWith("/");
  const own = new URL(`${use}.ts`, OWN_PLUGINS);
  const isOwn = OWN_NAME.test(use) && (await Bun.file(own).exists());
  let module: { default?: unknown };
  try {
    const specifier = isOwn
      ? own.href
      : isPath
        ? pathToFileURL(resolve(folder, use)).href
        : Bun.resolveSync(use, resolve(folder));
    module = (await import(specifier)) as { default?: unknown };
  } catch (error) {
    throw new Error(`${path}.use: cannot load plugin ${JSON.stringify(use)}: ${firstLine(error)}`);
  }
  const plugin = module.default as Partial<AuthPlugin> | undefined;
  if (typeof plugin?.name !== "string" || typeof plugin.create !== "function") {
    throw new Error(`${path}.use: ${JSON.stringify(use)} has no plugin as its default export (name and create)`);
  }
  return plugin as AuthPlugin;
}

/** What one plugin may take of everybody's start and stop. */
const CREATE_MS_MAX = 30_000;
const CLOSE_MS_MAX = 5_000;

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`not done within ${ms} ms`)), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0]!;
}

let lastGeneration = 0;

/** Creates the providers of a chain, in order. */
export async function createChain(uses: readonly PluginUse[], options: ChainOptions): Promise<ChainLink[]> {
  const chain: ChainLink[] = [];
  const generation = ++lastGeneration;
  try {
    for (const [at, use] of uses.entries()) chain.push(await createLink(use, at, chain, generation, options));
    return chain;
  } catch (error) {
    await closeChain(chain, options.log);
    throw error;
  }
}

async function createLink(
  { plugin, config }: PluginUse,
  at: number,
  chain: readonly ChainLink[],
  generation: number,
  options: ChainOptions,
): Promise<ChainLink> {
  const path = `auth.chain[${at}]`;
  const { name } = plugin;
  const apiVersion: number = plugin.apiVersion;
  if (apiVersion !== 1) throw new Error(`${path}: plugin ${name} has apiVersion ${apiVersion}, expected 1`);
  const settings: unknown = await checkSettings(plugin, config, path);
  const services = createServices({
    plugin: name,
    log: options.log,
    folder: options.folder ?? ".",
    env: options.env ?? process.env,
    drop(where, why) {
      // Whom a later chain has judged is not this one's to drop: its files may be others by now.
      const isOurs = (principal: Principal): boolean => (principal.generation ?? 0) <= generation;
      return options.drop?.(name, (principal, clientId) => isOurs(principal) && where(principal, clientId), why) ?? 0;
    },
  });
  let provider: Provider | undefined;
  try {
    provider = await within(Promise.resolve(plugin.create(settings, services)), CREATE_MS_MAX);
    checkProvider(chain, path, name, provider);
    return { name, generation, provider, services, meter: new ProviderMeter(name) };
  } catch (error) {
    services.close();
    await provider?.close?.();
    const text = firstLine(error);
    throw new Error(text.startsWith("auth.chain[") ? text : `${path}: plugin ${name}: ${text}`);
  }
}

/** Checks a plugin's settings with its own schema; the error names the path of what is wrong. */
async function checkSettings(plugin: AuthPlugin, config: unknown, path: string): Promise<unknown> {
  if (plugin.config === undefined) return config;
  const result = await plugin.config["~standard"].validate(config ?? {});
  if (result.issues === undefined) return result.value;
  const [issue] = result.issues;
  const keys = (issue?.path ?? []).map((key) => String(typeof key === "object" ? key.key : key));
  throw new Error(`${[path, ...keys].join(".")}: ${issue?.message ?? "not a valid setting"} (plugin ${plugin.name})`);
}

function checkProvider(chain: readonly ChainLink[], path: string, name: string, provider: Provider): void {
  if (typeof provider !== "object" || provider === null) throw new Error(`${path}: plugin ${name} created no provider`);
  const { methods = [] } = provider;
  if (methods.length > 0 && provider.exchange === undefined) {
    throw new Error(`${path}: plugin ${name} lists Authentication Methods but has no exchange`);
  }
  if (provider.connect === undefined && methods.length === 0) {
    throw new Error(`${path}: plugin ${name} has neither connect nor methods: it could let nobody in`);
  }
  for (const link of chain) {
    if (link.name === name) throw new Error(`${path}: plugin ${name} stands in the chain twice`);
    const method = methods.find((candidate) => link.provider.methods?.includes(candidate) === true);
    if (method !== undefined) {
      throw new Error(`${path}: plugins ${link.name} and ${name} both want Authentication Method ${method}`);
    }
  }
}

/** Closes every provider, whatever one of them does. */
export async function closeChain(chain: readonly ChainLink[], log: Log): Promise<void> {
  for (const { name, provider, services } of chain) {
    try {
      // What was changed by now takes effect: a user that is gone from the file goes with the old chain at the latest.
      await within(services.lastLook(), CLOSE_MS_MAX);
      services.close();
      await within(Promise.resolve(provider.close?.()), CLOSE_MS_MAX);
    } catch (error) {
      services.close();
      log.write("warn", "plugin-close-failed", {
        plugin: name,
        error: error instanceof Error ? error.name : "not an Error",
      });
    }
  }
}
