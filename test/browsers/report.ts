/** What a page says of a run, what it has to know before one, and how both are written down. No platform: pages use it too. */

export type CheckStatus = "passed" | "failed";

export interface CheckResult {
  /** Statements or sections that the check is about, such as "MQTT-6.0.0-2" or "MQTT 5.0, 3.2.2". */
  readonly cites: readonly string[];
  readonly group: string;
  readonly name: string;
  readonly status: CheckStatus;
  readonly milliseconds: number;
  /** Why it failed; what was seen, where that is worth knowing. */
  readonly detail: string;
}

export interface Report {
  readonly userAgent: string;
  readonly transport: "ws" | "wss";
  /** ISO 8601. */
  readonly startedAt: string;
  readonly milliseconds: number;
  readonly checks: readonly CheckResult[];
}

/** Where a page finds what it plays with; all of it is on the host the page came from. */
export interface Environment {
  readonly broker: string;
  readonly transport: "ws" | "wss";
  readonly ports: {
    /** Lets everybody in. */
    readonly open: number;
    /** Lets everybody in, for handshakes that fail: some engines make whoever failed at a port wait there. */
    readonly refusing: number;
    /** Takes pages of the first page's origin only. */
    readonly listed: number;
    /** Asks for a cookie, a ticket or a token. */
    readonly login: number;
    /** Another origin on the same host. */
    readonly foreignPage: number;
  };
  readonly packetBytesMax: number;
}

export function failures(report: Report): string[] {
  return report.checks
    .filter(({ status }) => status === "failed")
    .map(({ cites, name, detail }) => `[${cites.join("] [")}] ${name}: ${detail}`);
}

/** Reads what a page has posted; throws with what is wrong about it. */
export function readReport(text: string): Report {
  const report = JSON.parse(text) as Partial<Report> | null;
  const isReport =
    typeof report?.userAgent === "string" &&
    (report.transport === "ws" || report.transport === "wss") &&
    Array.isArray(report.checks) &&
    report.checks.every((check: Partial<CheckResult> | null) => isCheck(check));
  if (!isReport) throw new Error("expected a report with userAgent, transport and checks");
  return report as Report;
}

function isCheck(check: Partial<CheckResult> | null): boolean {
  return (
    typeof check?.name === "string" &&
    typeof check.detail === "string" &&
    Array.isArray(check.cites) &&
    (check.status === "passed" || check.status === "failed")
  );
}
