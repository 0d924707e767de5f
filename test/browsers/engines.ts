/**
 * The browsers of Debian's packages: where each is, which version, and how it is started on a page with a fresh profile.
 *
 * A browser is a tree of processes in a group of its own. `end` ends all of it, whatever became of its parents: every process of
 * it has the name of its profile in its environment. No driver: the page says by itself what it has seen.
 */
import { createHash, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MARK = "RQTT_BROWSER_PROFILE";
const END_ROUNDS_MAX = 1_000;

/** What a browser has to know of a server whose certificate nobody has signed. */
export interface TrustedServer {
  /** Path of its PEM. */
  readonly certificate: string;
  readonly host: string;
  readonly ports: readonly number[];
}

export interface Engine {
  readonly name: "Chromium" | "Firefox" | "WebKitGTK";
  /** Debian's packages. */
  readonly packages: readonly string[];
  /** The programs it needs; undefined where one is missing. */
  find(): EnginePrograms | undefined;
}

interface EnginePrograms {
  version(): string;
  command(profile: string, url: string, trusted: TrustedServer | undefined): readonly string[];
  /** A display server that has to run first. */
  readonly display?: string;
}

export interface RunningBrowser {
  readonly pid: number;
  /** What it wrote, for when it says nothing else. */
  stderr(): string;
  /** SIGKILL to all of it; resolves when it is gone, and its profile with it. */
  end(): Promise<void>;
}

export function installLine(engine: Engine): string {
  return `apt-get install --no-install-recommends ${engine.packages.join(" ")}`;
}

/** Nothing where processes cannot be found by their environment: what cannot be ended is not started. */
function firstProgram(...names: readonly string[]): string | undefined {
  if (!existsSync("/proc/self/environ")) return undefined;
  return names.map((name) => Bun.which(name)).find((path) => path !== null) ?? undefined;
}

/** The version in what a program answers to a question about it. */
function versionIn(command: readonly string[]): string {
  const { stdout } = Bun.spawnSync([...command], { stderr: "ignore" });
  return /\d+(?:\.\d+)+\w*/u.exec(stdout.toString())?.[0] ?? "of unknown version";
}

const chromium: Engine = {
  name: "Chromium",
  packages: ["chromium"],
  find() {
    const program = firstProgram("chromium", "chromium-browser", "google-chrome");
    if (program === undefined) return undefined;
    return {
      version: () => versionIn([program, "--version"]),
      command: (profile, url, trusted) => [
        program,
        "--headless",
        // Its sandbox is for pages of strangers, and refuses to be started by root.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        `--user-data-dir=${profile}`,
        // Without it a headless browser ends when the page has loaded.
        "--remote-debugging-port=0",
        ...(trusted === undefined ? [] : [`--ignore-certificate-errors-spki-list=${publicKeyDigest(trusted)}`]),
        url,
      ],
    };
  },
};

function certificateOf({ certificate }: TrustedServer): X509Certificate {
  return new X509Certificate(readFileSync(certificate));
}

function publicKeyDigest(trusted: TrustedServer): string {
  const key = certificateOf(trusted).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(key).digest("base64");
}

/** Everything that would go out into the net by itself, switched off or sent nowhere. */
const FIREFOX_SETTINGS: Readonly<Record<string, string | number | boolean>> = {
  "app.normandy.enabled": false,
  "app.update.enabled": false,
  "browser.aboutwelcome.enabled": false,
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "captivedetect.canonicalURL": "",
  "datareporting.healthreport.uploadEnabled": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "dom.push.connection.enabled": false,
  "extensions.systemAddon.update.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "http://127.0.0.1:1/",
  "toolkit.telemetry.reportingpolicy.firstRun": false,
};

const firefox: Engine = {
  name: "Firefox",
  packages: ["firefox-esr"],
  find() {
    const program = firstProgram("firefox-esr", "firefox");
    if (program === undefined) return undefined;
    return {
      version: () => versionIn([program, "--version"]),
      command: (profile, url, trusted) => {
        const settings = Object.entries(FIREFOX_SETTINGS);
        const lines = settings.map(
          ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
        );
        writeFileSync(join(profile, "user.js"), lines.join(""));
        if (trusted !== undefined) writeFileSync(join(profile, "cert_override.txt"), certificateExceptions(trusted));
        return [program, "--headless", "--no-remote", "--profile", profile, url];
      },
    };
  },
};

/** What Firefox writes into a profile when a person accepts a certificate, one line for each port. */
function certificateExceptions(trusted: TrustedServer): string {
  const digest = certificateOf(trusted).fingerprint256;
  const lines = trusted.ports.map((port) => `${trusted.host}:${port}:\tOID.2.16.840.1.101.3.4.2.1\t${digest}\t\n`);
  return `# PSM Certificate Override Settings file\n${lines.join("")}`;
}

const webkit: Engine = {
  name: "WebKitGTK",
  packages: ["webkit2gtk-driver", "xvfb"],
  find() {
    const program = miniBrowser();
    const display = firstProgram("Xvfb");
    if (program === undefined || display === undefined) return undefined;
    return {
      display,
      version: () => versionIn(["dpkg-query", "--show", "--showformat=${Version}", "libwebkit2gtk-4.1-0"]),
      command: (_profile, url, trusted) => [
        program,
        "--private",
        ...(trusted === undefined ? [] : ["--ignore-tls-errors"]),
        url,
      ],
    };
  },
};

/** Where Debian keeps WebKitGTK's own small browser: /usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser. */
function miniBrowser(): string | undefined {
  const top = "/usr/lib";
  if (!existsSync(top)) return undefined;
  const paths = readdirSync(top).map((machine) => join(top, machine, "webkit2gtk-4.1", "MiniBrowser"));
  return paths.find((path) => existsSync(path));
}

export const ENGINES: readonly Engine[] = [chromium, firefox, webkit];

/** Starts a browser on a page. Rejects where its display does not come up. */
export async function startBrowser(
  programs: EnginePrograms,
  url: string,
  trusted: TrustedServer | undefined,
): Promise<RunningBrowser> {
  const folder = mkdtempSync(join(tmpdir(), "rqtt-browser-"));
  const profile = join(folder, "profile");
  mkdirSync(profile);
  const home = { HOME: folder, XDG_RUNTIME_DIR: folder, XDG_CONFIG_HOME: folder, XDG_CACHE_HOME: folder };
  const env = {
    ...process.env,
    ...home,
    [MARK]: folder,
    NO_AT_BRIDGE: "1",
    WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
  };
  const end = async (): Promise<void> => {
    await endAllOf(folder);
    rmSync(folder, { recursive: true, force: true });
  };
  const endNow = (): void => void killAllOf(folder);
  process.once("exit", endNow);
  const errors = join(folder, "stderr");
  try {
    const display = programs.display === undefined ? {} : { DISPLAY: await startDisplay(programs.display, env) };
    const child = Bun.spawn([...programs.command(profile, url, trusted)], {
      cwd: folder,
      env: { ...env, ...display },
      stdin: "ignore",
      stdout: "ignore",
      stderr: Bun.file(errors),
      detached: true,
    });
    return {
      pid: child.pid,
      stderr: () => readFileSync(errors, "utf8").slice(-2_000),
      end: () => end().finally(() => process.off("exit", endNow)),
    };
  } catch (error) {
    await end();
    process.off("exit", endNow);
    throw error;
  }
}

/** Starts an X server that chooses its own number, and answers the name of its display. */
async function startDisplay(program: string, env: Record<string, string | undefined>): Promise<string> {
  const command = [program, "-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp"];
  const child = Bun.spawn(command, { env, stdin: "ignore", stdout: "pipe", stderr: "ignore", detached: true });
  const reader = child.stdout.getReader();
  let text = "";
  // Not let go of before its line is whole: the server ends when nobody reads what it writes.
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    text += new TextDecoder().decode(read.value);
    const number = /^(\d+)\n/u.exec(text)?.[1];
    if (number !== undefined) return `:${number}`;
  }
  throw new Error(`${program} ended with ${await child.exited} and gave no display`);
}

/** Processes that were started with this folder in their environment. */
function pidsOf(folder: string): number[] {
  const mark = `${MARK}=${folder}\0`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/u.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes(mark);
      } catch {
        // It has ended meanwhile, or is somebody else's.
        return false;
      }
    })
    .map(Number);
}

function killAllOf(folder: string): number[] {
  const pids = pidsOf(folder);
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // Gone already.
    }
  }
  return pids;
}

/** Not there, or only its exit code is. One whose first thread has ended may still have others that write files. */
function isGone(pid: number): boolean {
  try {
    const isDead = readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
    return isDead && readdirSync(`/proc/${pid}/task`).length <= 1;
  } catch {
    return true;
  }
}

/** Until there is none: a process that is killed may just have started another one. */
async function endAllOf(folder: string): Promise<void> {
  const killed = new Set<number>();
  for (let round = 0; round < END_ROUNDS_MAX; round++) {
    const found = killAllOf(folder);
    for (const pid of found) killed.add(pid);
    if (found.length === 0 && [...killed].every(isGone)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`processes of ${folder} do not end`);
}
