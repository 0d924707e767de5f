/** What a person sees of the run: every check in its group, the counts, and at the end the report to keep. */
import type { CheckResult, Environment, Report } from "../report.ts";
import type { Check, CheckGroup } from "./check.ts";

const MARKS = { waiting: "·", running: "›", passed: "✓", failed: "✗" } as const;

function element(id: string): HTMLElement {
  return document.getElementById(id)!;
}

function made(tag: string, className: string, text: string): HTMLElement {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

export class Presentation {
  readonly #rows = new Map<Check, HTMLLIElement>();
  readonly #total: number;
  #passed = 0;
  #failed = 0;

  constructor(groups: readonly CheckGroup[], environment: Environment, engine: string) {
    element("engine").textContent = engine;
    element("broker").textContent = environment.broker;
    element("transport").textContent = environment.transport === "wss" ? "wss, self-signed certificate" : "ws";
    element("agent").textContent = navigator.userAgent;
    element("groups").replaceChildren(...groups.map((group) => this.#section(group)));
    element("again").onclick = () => location.reload();
    this.#total = this.#rows.size;
    this.#count();
  }

  started(check: Check): void {
    this.#mark(check, "running");
  }

  ended(check: Check, { status, milliseconds, detail }: CheckResult): void {
    const row = this.#mark(check, status);
    row.querySelector(".time")!.textContent =
      milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
    if (detail !== "") row.append(made("span", "detail", detail));
    if (status === "passed") this.#passed++;
    else this.#failed++;
    this.#count();
  }

  done(report: Report): void {
    const summary = element("summary");
    summary.dataset["state"] = this.#failed === 0 ? "passed" : "failed";
    element("verdict").textContent =
      this.#failed === 0 ? "All checks passed" : `${this.#failed} of ${this.#total} checks failed`;
    element("counts").textContent =
      `${this.#passed} passed, ${this.#failed} failed in ${(report.milliseconds / 1000).toFixed(1)} s`;
    element("progress").hidden = true;
    element("actions").hidden = false;
    const download = element("download") as HTMLAnchorElement;
    download.href = URL.createObjectURL(new Blob([JSON.stringify(report, null, 2)], { type: "application/json" }));
    download.download = `rqtt-${report.transport}-${report.startedAt.slice(0, 19).replaceAll(":", "")}.json`;
  }

  #section({ name, checks }: CheckGroup): HTMLElement {
    const section = document.createElement("section");
    const heading = made("h2", "", name);
    heading.append(made("small", "", `${checks.length}`));
    const list = document.createElement("ul");
    for (const check of checks) {
      const row = document.createElement("li");
      row.append(made("span", "mark", MARKS.waiting), made("span", "name", check.name), made("span", "time", ""));
      row.append(made("span", "cites", check.cites.join(" · ")));
      this.#rows.set(check, row);
      list.append(row);
    }
    section.append(heading, list);
    return section;
  }

  #mark(check: Check, status: keyof typeof MARKS): HTMLLIElement {
    const row = this.#rows.get(check)!;
    row.dataset["status"] = status;
    row.querySelector(".mark")!.textContent = MARKS[status];
    return row;
  }

  #count(): void {
    const done = this.#passed + this.#failed;
    element("verdict").textContent = "Running";
    element("counts").textContent = `${done} of ${this.#total}`;
    const progress = element("progress") as HTMLProgressElement;
    progress.max = this.#total;
    progress.value = done;
  }
}
