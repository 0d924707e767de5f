/**
 * The demonstration: two clients in the page, the broker's core in a worker, and every packet between them to be seen.
 *
 * The worker's script is put in front of this one by the build, so that the whole is one file that needs no server.
 */
import type { Packet, QoS } from "../../../../src/core/codec/packet.ts";
import type { Publish } from "../../../../src/core/codec/publish.ts";
import { type ConnectInit, toText } from "../../page/packets.ts";
import { PortClient } from "../../page/port-client.ts";
import type { BrokerNews } from "./broker-worker.ts";

declare global {
  /** Text of the worker's script. */
  var brokerWorkerScript: string;
}

const TRACE_ROWS_MAX = 200;
const MESSAGE_ROWS_MAX = 50;
const SESSION_SECONDS = 3600;

interface ClientInit {
  readonly id: "sensor" | "phone";
  readonly title: string;
  readonly will?: { readonly topicName: string; readonly payload: string };
  readonly topicFilter: string;
  readonly topicName: string;
  readonly payload: string;
}

function element<T extends HTMLElement = HTMLElement>(selector: string, within: ParentNode = document): T {
  return within.querySelector<T>(selector)!;
}

function span(className: string, text: string): HTMLElement {
  const node = document.createElement("span");
  node.className = className;
  node.textContent = text;
  return node;
}

/** Puts a row in front, and lets the last ones go. */
function addRow(list: HTMLElement, rowsMax: number, ...cells: readonly Node[]): void {
  const row = document.createElement("li");
  row.append(...cells);
  list.prepend(row);
  while (list.childElementCount > rowsMax) list.lastElementChild!.remove();
}

/** What there is to say of a packet in a line. */
function detailOf(packet: Packet): string {
  switch (packet.type) {
    case "connect":
      return packet.cleanStart ? "Clean Start" : "resumes";
    case "connack":
      return packet.sessionPresent ? "Session Present" : "new session";
    case "publish":
      return [`QoS ${packet.qos}`, packet.dup ? "DUP" : "", packet.retain ? "RETAIN" : "", packet.topicName]
        .filter((part) => part !== "")
        .join(" ");
    case "subscribe":
      return packet.filters.map(({ topicFilter, qos }) => `${topicFilter} QoS ${qos}`).join(", ");
    case "suback":
      return packet.reasonCodes.map((code) => (code < 3 ? `QoS ${code}` : `0x${code.toString(16)}`)).join(", ");
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return `id ${packet.packetId}${packet.reasonCode === 0x10 ? ", nobody subscribed" : ""}`;
    default:
      return "";
  }
}

/** One client and its card. */
class ClientCard {
  readonly #card: HTMLElement;
  readonly #client: PortClient;
  readonly #init: ClientInit;

  constructor(worker: Worker, init: ClientInit) {
    this.#init = init;
    this.#client = new PortClient(worker, init.id);
    this.#card = element(`#${init.id}`);
    this.#card.append(element<HTMLTemplateElement>("template#client").content.cloneNode(true));
    element(".name", this.#card).textContent = init.title;
    this.#input("subscribe", "topicFilter").value = init.topicFilter;
    this.#input("publish", "topicName").value = init.topicName;
    this.#input("publish", "payload").value = init.payload;
    this.#client.ontrace = (direction, packet, bytes) => this.#trace(direction, packet, bytes);
    this.#client.onpublish = (packet) => this.#show(packet);
    this.#client.onclose = (reasonCode) =>
      this.#setState("offline", reasonCode < 0 ? "the line is cut" : "disconnected");
    this.#listen();
    this.#setState("offline", "not connected");
  }

  async connect(): Promise<void> {
    const { id, will } = this.#init;
    const properties = { sessionExpiryInterval: SESSION_SECONDS };
    const connect: ConnectInit = {
      clientId: id,
      cleanStart: false,
      properties,
      ...(will === undefined ? {} : { will }),
    };
    const isResumed = await this.#client.connect(connect);
    this.#setState("online", isResumed ? "connected, session resumed" : "connected");
  }

  async subscribe(): Promise<void> {
    const qos = Number(this.#select("subscribe").value) as QoS;
    await this.#client.subscribe(this.#input("subscribe", "topicFilter").value, qos);
  }

  async publish(): Promise<void> {
    const qos = Number(this.#select("publish").value) as QoS;
    const [topicName, payload] = [this.#input("publish", "topicName").value, this.#input("publish", "payload").value];
    await this.#client.publish(topicName, payload, qos, this.#input("publish", "retain").checked);
  }

  /** Publishes what is not in its form. */
  async say(topicName: string, payload: string, qos: QoS, retain: boolean): Promise<void> {
    await this.#client.publish(topicName, payload, qos, retain);
  }

  #input(form: string, name: string): HTMLInputElement {
    return element<HTMLInputElement>(`.${form} input[name="${name}"]`, this.#card);
  }

  #select(form: string): HTMLSelectElement {
    return element<HTMLSelectElement>(`.${form} select`, this.#card);
  }

  #listen(): void {
    const on = (selector: string, event: "click" | "submit", act: () => unknown) => {
      element(selector, this.#card).addEventListener(event, (happened) => {
        happened.preventDefault();
        Promise.resolve(act()).catch((error: Error) =>
          this.#setState(this.#client.isOpen ? "online" : "offline", error.message),
        );
      });
    };
    on(".connect", "click", () => this.connect());
    on(".disconnect", "click", () => this.#client.disconnect());
    on(".cut", "click", () => this.#client.cut());
    on("form.subscribe", "submit", () => this.subscribe());
    on("form.publish", "submit", () => this.publish());
  }

  #setState(state: "online" | "offline", text: string): void {
    this.#card.dataset["state"] = state;
    element(".state", this.#card).textContent = text;
    const isOnline = state === "online";
    for (const button of this.#card.querySelectorAll("button")) {
      button.disabled = button.classList.contains("connect") === isOnline;
    }
  }

  #trace(direction: "sent" | "received", packet: Packet, bytes: number): void {
    const who = span(this.#init.id, direction === "sent" ? `${this.#init.id} →` : `→ ${this.#init.id}`);
    const detail = span("quiet", [detailOf(packet), `${bytes} bytes`].filter((part) => part !== "").join(" · "));
    addRow(element("#trace"), TRACE_ROWS_MAX, who, span("", packet.type.toUpperCase()), detail);
  }

  #show({ topicName, payload, qos, retain }: Publish): void {
    const value = document.createElement("strong");
    value.textContent = toText(payload);
    const detail = span("quiet", `QoS ${qos}${retain ? ", retained" : ""}`);
    addRow(
      element(".messages", this.#card),
      MESSAGE_ROWS_MAX,
      value,
      span("", ""),
      detail,
      span("quiet wide", topicName),
    );
  }
}

async function main(): Promise<void> {
  const script = new Blob([brokerWorkerScript], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(script));
  worker.onmessage = ({ data }: MessageEvent<BrokerNews>) => {
    element("#connections").textContent = String(data.connections);
    element("#sessions").textContent = String(data.sessions);
    element("#received").textContent = String(data.messagesReceived);
    element("#sent").textContent = String(data.messagesSent);
  };
  element("#news").textContent = `${Math.round(brokerWorkerScript.length / 1000)} KB of script in a worker`;
  element("#clear").onclick = () => element("#trace").replaceChildren();
  const sensor = new ClientCard(worker, {
    id: "sensor",
    title: "Sensor",
    will: { topicName: "home/sensor/state", payload: "offline (its Will)" },
    topicFilter: "home/sensor/command",
    topicName: "home/kitchen/temperature",
    payload: "21.5 °C",
  });
  const phone = new ClientCard(worker, {
    id: "phone",
    title: "Phone",
    topicFilter: "home/#",
    topicName: "home/sensor/command",
    payload: "measure now",
  });
  await Promise.all([sensor.connect(), phone.connect()]);
  await Promise.all([sensor.subscribe(), phone.subscribe()]);
  await sensor.say("home/sensor/state", "online", 1, true);
  await sensor.publish();
  await phone.publish();
  await sensor.say("home/door", "open", 2, false);
  document.body.dataset["state"] = "ready";
}

main().catch((error) => {
  element("#news").textContent = `The page could not start: ${error}`;
});
