/** The repository as a whole: what lies at its top, what package.json promises, and whether the documents tell the truth. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { filesUnder, ROOT, readText } from "./support/repository.ts";

const TOP = [
  ".ci",
  ".gitignore",
  "CHANGELOG.md",
  "LICENSE",
  "README.md",
  "bench",
  "bun.lock",
  "bunfig.toml",
  "package.json",
  "plugins",
  "src",
  "test",
  "tsconfig.json",
];
/** What git keeps for itself and what .gitignore names. */
const NOT_OURS = /^(?:\.git|node_modules|data|\.DS_Store|.*\.log)$/u;

const RUNTIME_DEPENDENCIES = ["@node-rs/argon2", "jose", "oauth4webapi"];
/** What a part of the package needs that not everybody uses: the test issuer of the plugin kit. */
const OPTIONAL_PEERS = ["oidc-provider"];

interface PackageJson {
  readonly version: string;
  readonly license: string;
  readonly type: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
}

const packageJson = JSON.parse(readText("package.json")) as PackageJson;

test("the top level holds what it should and nothing else", () => {
  expect(
    readdirSync(ROOT)
      .filter((name) => !NOT_OURS.test(name))
      .sort(),
  ).toEqual(TOP);
});

describe("package.json", () => {
  test("every version is exact", () => {
    const versions = { ...packageJson.dependencies, ...packageJson.devDependencies };
    const loose = Object.entries(versions).filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/u.test(version));
    expect(loose).toEqual([]);
    expect(packageJson.version).toMatch(/^\d+\.\d+\.\d+$/u);
  });

  test("it depends at run time on nothing but what was agreed", () => {
    expect(Object.keys(packageJson.dependencies).filter((name) => !RUNTIME_DEPENDENCIES.includes(name))).toEqual([]);
    for (const kind of ["optionalDependencies", "bundledDependencies"]) {
      expect(packageJson).not.toHaveProperty(kind);
    }
  });

  test("what only users of the plugin kit need is optional, and of the version that the tests run with", () => {
    const { peerDependencies, peerDependenciesMeta, devDependencies } = packageJson;
    expect(Object.keys(peerDependencies)).toEqual(OPTIONAL_PEERS);
    expect(peerDependenciesMeta).toEqual(Object.fromEntries(OPTIONAL_PEERS.map((name) => [name, { optional: true }])));
    for (const [name, version] of Object.entries(peerDependencies)) expect(devDependencies[name]).toBe(version);
  });

  test("every exported path and every command is a file of its own", () => {
    const paths = [...Object.values(packageJson.exports), ...Object.values(packageJson.bin)];
    expect(paths.filter((path) => !isFile(path))).toEqual([]);
    expect(paths.length).toBeGreaterThan(3);
  });

  test("files named by scripts exist", () => {
    const named = Object.values(packageJson.scripts).flatMap(
      (script) => script.match(/[\w./-]+\.(?:ts|json)\b/gu) ?? [],
    );
    expect(named.filter((path) => !isFile(path))).toEqual([]);
  });

  test("the commands of README and CI exist", () => {
    for (const name of ["start", "test", "check"]) expect(packageJson.scripts).toHaveProperty(name);
  });

  test("check is made of the steps that CI runs one by one", () => {
    const steps = ["lint", "types", "test"];
    expect(packageJson.scripts["check"]).toBe(steps.map((step) => `bun run ${step}`).join(" && "));
    for (const step of steps) expect(readText(".ci/run")).toContain(`\nnpx bun run ${step} `);
    expect(readText(".ci/run")).toContain(`bun@${packageJson.devDependencies["bun"]} install --frozen-lockfile\n`);
    expect(statSync(join(ROOT, ".ci", "run")).mode & 0o111).not.toBe(0);
  });

  test("licence and module form", () => {
    expect([packageJson.license, packageJson.type]).toEqual(["MIT", "module"]);
    expect(readText("LICENSE")).toStartWith("MIT License");
  });
});

describe("README.md", () => {
  test("names the commands with the version of Bun that package.json has", () => {
    const readme = readText("README.md");
    const install = `npx bun@${packageJson.devDependencies["bun"]} install`;
    expect(readme).toContain(`${install} && npx bun run start`);
    expect(readme).toContain(`${install} && npx bun run test`);
  });
});

const documents = filesUnder("**/*.md");

test.each(documents)("links and paths of %s lead somewhere", (path) => {
  expect(documentComplaints(path, readText(path))).toEqual([]);
});

/** Relative links with their anchors, and paths in backquotes that begin at the top of the repository. */
function documentComplaints(path: string, text: string): string[] {
  const complaints: string[] = [];
  const prose = text.replace(/^```[\s\S]*?^```/gmu, "");
  for (const [, link = ""] of prose.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/gu)) {
    if (/^[a-z][a-z0-9+.-]*:/iu.test(link)) continue;
    const [target = "", anchor] = link.split("#");
    const file = target === "" ? path : normalize(join(dirname(path), decodeURIComponent(target)));
    if (file !== path && !existsSync(join(ROOT, file))) complaints.push(`${path}: ${link} leads nowhere`);
    else if (anchor !== undefined && !anchorsOf(file === path ? text : readText(file)).includes(anchor)) {
      complaints.push(`${path}: ${link} has no such heading`);
    }
  }
  for (const [, named = ""] of prose.matchAll(/`((?:src|test|plugins|bench|\.ci)\/[\w./-]*)`/gu)) {
    if (!existsSync(join(ROOT, named))) complaints.push(`${path}: there is no ${named}`);
  }
  return complaints;
}

/** Anchors as GitHub makes them from headings. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#{1,6}\s+(.*?)\s*#*$/gmu)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

function isFile(path: string): boolean {
  return statSync(join(ROOT, path), { throwIfNoEntry: false })?.isFile() ?? false;
}

test("the rule about documents finds what is wrong", () => {
  const good =
    '# One: `two`, 3\n[a](LICENSE) [b](src/core) [c](#one-two-3) [d](https://example.org/x) `src/core/limits.ts` [e](<LICENSE> "t")';
  expect(documentComplaints("README.md", good)).toEqual([]);
  expect(documentComplaints("README.md", "```\n[a](gone)\n```\n`gone/x.ts` `src` ")).toEqual([]);
  expect(documentComplaints("README.md", "[a](gone.md) [b](#gone) `src/gone.ts`")).toEqual([
    "README.md: gone.md leads nowhere",
    "README.md: #gone has no such heading",
    "README.md: there is no src/gone.ts",
  ]);
  expect(documentComplaints("src/README.md", "[a](../LICENSE) [b](core/limits.ts) [c](LICENSE)")).toEqual([
    "src/README.md: LICENSE leads nowhere",
  ]);
});
