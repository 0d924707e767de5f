/**
 * A page within the page, or a worker: opens one connection, says so, and stays until it is torn down.
 *
 * What it has to do is in its own URL. Whoever made it hears one word: "connected", "refused" or "failed".
 */
import { Dialogue } from "./dialogue.ts";

const isPage = typeof document !== "undefined";

function tell(word: string): void {
  // A frame of another origin does not know its parent's; what it says is no secret.
  if (isPage) window.parent.postMessage(word, "*");
  else self.postMessage(word);
}

async function run(): Promise<void> {
  const values = new URL(self.location.href).searchParams;
  const url = values.get("url");
  if (url === null) return;
  const topicName = values.get("will");
  const dialogue = new Dialogue(url);
  const opened = new Promise<boolean>((resolve) => {
    dialogue.socket.addEventListener("open", () => resolve(true));
    dialogue.socket.addEventListener("close", () => resolve(false));
  });
  if (!(await opened)) return tell("refused");
  await dialogue.login(topicName === null ? {} : { will: { topicName, payload: "gone" } });
  tell("connected");
}

run().catch(() => tell("failed"));
