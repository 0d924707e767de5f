/**
 * Serves the page, gives it what its checks ask for, and takes its report.
 *
 * Two origins: the page's own, and a foreign one that has the frame only. What a page asks for in a wrong way is answered with
 * 400 and a line that says why; nothing it asks for is without a bound (`stage.ts`).
 */
import { readFileSync } from "node:fs";
import { networkInterfaces, hostname as ownName } from "node:os";
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { bundlePage, type PageScripts } from "./page-bundle.ts";
import { type Environment, type Report, readReport } from "./report.ts";
import { Stage } from "./stage.ts";

const REPORT_BYTES_MAX = 1024 * 1024;
const PAGE = join(import.meta.dir, "page");

export interface PageServerOptions {
  /** Address to bind; 127.0.0.1 without one. */
  readonly host?: string;
  readonly tls?: { readonly certificate: string; readonly key: string };
  readonly onReport?: (report: Report, run: string) => void;
}

export interface PageServer {
  /** The page, under every name that this machine has for itself where it listens on all addresses. */
  readonly urls: readonly string[];
  /** All ports that a browser will meet. */
  readonly ports: readonly number[];
  readonly stage: Stage;
  close(): Promise<void>;
}

type Server = ReturnType<typeof Bun.serve>;

export async function startPageServer(options: PageServerOptions = {}): Promise<PageServer> {
  const { host = "127.0.0.1", tls, onReport } = options;
  const scripts = await bundlePage();
  const scheme = tls === undefined ? "http" : "https";
  const bind = { hostname: host, port: 0, ...(tls === undefined ? {} : { tls: tlsOptions(tls) }) };
  // The page needs the ports of the brokers, and they need the page's origin: it is served once both are known.
  let answer: (request: Request) => Promise<Response> = async () => new Response(null, { status: 503 });
  const page = Bun.serve({ ...bind, maxRequestBodySize: REPORT_BYTES_MAX, fetch: (request) => answer(request) });
  const foreign = Bun.serve({ ...bind, fetch: (request) => staticAnswer(request, frameFiles(scripts)) });
  const origins = namesOf(host).map((name) => `${scheme}://${name}:${page.port}`);
  let stage: Stage;
  try {
    stage = await Stage.open({ host, origins, tls });
  } catch (error) {
    await Promise.all([page.stop(true), foreign.stop(true)]);
    throw error;
  }
  const environment: Environment = {
    broker: `rqtt ${packageJson.version}`,
    transport: tls === undefined ? "ws" : "wss",
    ports: { ...stage.ports, foreignPage: foreign.port! },
    packetBytesMax: stage.packetBytesMax,
  };
  const files = { ...pageFiles(scripts), ...frameFiles(scripts), "/environment.json": json(environment) };
  const takeReport = (text: string, run: string): void => {
    const report = readReport(text);
    onReport?.(report, run);
  };
  answer = (request) =>
    request.method === "POST" ? controlAnswer(request, stage, takeReport) : staticAnswer(request, files);
  return {
    urls: origins.map((origin) => `${origin}/`),
    ports: [page.port!, foreign.port!, ...stage.allPorts],
    stage,
    close: () => closeAll([page, foreign], stage),
  };
}

async function closeAll(servers: readonly Server[], stage: Stage): Promise<void> {
  await Promise.all(servers.map((server) => server.stop(true)));
  await stage.close();
}

function tlsOptions({ certificate, key }: { certificate: string; key: string }) {
  return { cert: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8") };
}

/** What browsers may call this machine. */
function namesOf(host: string): string[] {
  if (host !== "0.0.0.0" && host !== "::") return [host.includes(":") ? `[${host}]` : host];
  const addresses = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  const outside = addresses.filter(({ family, internal }) => family === "IPv4" && !internal);
  const name = ownName().toLowerCase();
  return [...outside.map(({ address }) => address), "localhost", "127.0.0.1", name, `${name}.local`];
}

interface StaticFile {
  readonly type: string;
  readonly text: string;
}

function json(value: unknown): StaticFile {
  return { type: "application/json", text: JSON.stringify(value) };
}

function script(text: string): StaticFile {
  return { type: "text/javascript; charset=utf-8", text };
}

function pageText(name: string): string {
  return readFileSync(join(PAGE, name), "utf8");
}

function pageFiles({ conformance, brokerWorker, mqttjs }: PageScripts): Record<string, StaticFile> {
  return {
    "/": { type: "text/html; charset=utf-8", text: pageText("conformance.html") },
    "/conformance.css": { type: "text/css; charset=utf-8", text: pageText("ground.css") + pageText("conformance.css") },
    "/conformance.js": script(conformance),
    "/broker-worker.js": script(brokerWorker),
    "/mqttjs.js": script(mqttjs),
  };
}

function frameFiles({ frame }: PageScripts): Record<string, StaticFile> {
  const html = '<!doctype html><meta charset="utf-8"><title>A frame of the conformance page</title>';
  return {
    "/frame.html": { type: "text/html; charset=utf-8", text: `${html}<script src="/frame.js" defer></script>\n` },
    "/frame.js": script(frame),
  };
}

async function staticAnswer(request: Request, files: Readonly<Record<string, StaticFile>>): Promise<Response> {
  const file = files[new URL(request.url).pathname];
  if (file === undefined) return new Response("not here\n", { status: 404 });
  return new Response(file.text, { headers: { "Content-Type": file.type, "Cache-Control": "no-store" } });
}

/** What checks ask the stage for. */
async function controlAnswer(
  request: Request,
  stage: Stage,
  takeReport: (text: string, run: string) => void,
): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  const text = (name: string) => searchParams.get(name) ?? "";
  const done = new Response(null, { status: 204 });
  try {
    switch (pathname) {
      case "/report":
        takeReport(await request.text(), text("run"));
        return done;
      case "/login": {
        const cookie = `rqtt_session=${stage.newCookie()}; HttpOnly; SameSite=Strict; Path=/`;
        return new Response(null, { status: 204, headers: { "Set-Cookie": cookie } });
      }
      case "/ticket":
        return Response.json(stage.newTicket());
      case "/token":
        return Response.json(await stage.newToken(text("subject"), Number(text("seconds"))));
      case "/flood": {
        const qos = text("qos") === "1" ? 1 : 0;
        const [count, payloadBytes] = [Number(text("count")), Number(text("payloadBytes"))];
        await stage.flood({ topicName: text("topicName"), count, payloadBytes, qos });
        return done;
      }
      case "/spare":
        return Response.json(await stage.openSpare());
      case "/spare/stop":
        await stage.stopSpare(text("name"));
        return done;
      case "/spare/start":
        await stage.startSpare(text("name"));
        return done;
      case "/spare/end":
        await stage.endSpare(text("name"));
        return done;
      default:
        return new Response("not here\n", { status: 404 });
    }
  } catch (error) {
    return new Response(`${error instanceof Error ? error.message : error}\n`, { status: 400 });
  }
}
