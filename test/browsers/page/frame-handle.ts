/** Makes frames and workers that hold a connection, waits for their word, and tears them down. */
import { PATIENCE_MS } from "./dialogue.ts";

export interface FrameInit {
  /** Where the frame's own page is; of this page's origin without one. */
  readonly origin?: string;
  /** Whether the frame has an origin of its own that is called "null". */
  readonly isSandboxed?: boolean;
  readonly url: string;
  /** Topic of the Will. */
  readonly will?: string;
}

export interface FrameHandle {
  readonly word: string;
  tearDown(): void;
}

function addressOf({ origin = location.origin, url, will }: FrameInit, file: string): string {
  const values = new URLSearchParams({ url, ...(will === undefined ? {} : { will }) });
  return `${origin}/${file}?${values}`;
}

export async function openFrame(init: FrameInit): Promise<FrameHandle> {
  const frame = document.createElement("iframe");
  frame.hidden = true;
  if (init.isSandboxed === true) frame.setAttribute("sandbox", "allow-scripts");
  frame.src = addressOf(init, "frame.html");
  const word = firstWord((heard) => {
    window.addEventListener("message", ({ source, data }) => {
      if (source === frame.contentWindow) heard(String(data));
    });
  });
  document.body.append(frame);
  return { word: await word, tearDown: () => frame.remove() };
}

export async function openWorker(init: FrameInit): Promise<FrameHandle> {
  const worker = new Worker(addressOf(init, "frame.js"));
  const word = firstWord((heard) => {
    worker.onmessage = ({ data }) => heard(String(data));
    worker.onerror = ({ message }) => heard(`failed: ${message}`);
  });
  return { word: await word, tearDown: () => worker.terminate() };
}

function firstWord(listen: (heard: (word: string) => void) => void): Promise<string> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve("silent"), PATIENCE_MS);
    listen((word) => {
      clearTimeout(timer);
      resolve(word);
    });
  });
}
