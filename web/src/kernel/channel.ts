// A kernel's WebSocket: status, completion, inspection, widgets. It speaks
// Jupyter's default protocol, and comes back by itself.
import type { Json, JsonObject } from "../notebook/types.ts";
import { randomID } from "../notebook/id.ts";
import { Value } from "../notebook/value.ts";
import { Comms } from "./comms.ts";
import type { Channel, Hidden, KernelMessage, KernelPort, KernelState } from "./port.ts";

interface Wire {
  readonly channel: Channel;
  readonly header: KernelMessage["header"];
  readonly parent_header: KernelMessage["parent_header"];
  readonly metadata: JsonObject;
  readonly content: Readonly<Record<string, Json>>;
}

interface Waiting {
  readonly messages: KernelMessage[];
  readonly done: (reply: Readonly<Record<string, Json>>) => void;
  readonly hidden: boolean;
  reply?: Readonly<Record<string, Json>>;
  idle?: boolean;
}

export class KernelChannel implements KernelPort {
  readonly id: string;
  readonly status = new Value<KernelState>("starting");
  /** Why it is dead, in the server's words. */
  readonly reason = new Value<string>("");

  /** The widgets of this kernel. */
  readonly comms: Comms;

  readonly #url: (query: Record<string, string>) => string;
  readonly #session = randomID();
  readonly #heard = new Set<(m: KernelMessage) => void>();
  readonly #waiting = new Map<string, Waiting>();
  #socket: WebSocket | null = null;
  #queue: (string | ArrayBuffer)[] = [];
  #tries = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  /** The message that came last: its frame, or its id. */
  #last = "";

  constructor(id: string, url: (query: Record<string, string>) => string, state: KernelState) {
    this.id = id;
    this.#url = url;
    this.status.set(state);
    this.comms = new Comms(this, this.#session);
  }

  start(): void {
    if (this.#stopped) return;
    const socket = new WebSocket(this.#url({ session_id: this.#session, last_seen: idOf(this.#last) }));
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      this.#tries = 0;
      const waiting = this.#queue;
      this.#queue = [];
      for (const frame of waiting) socket.send(frame);
      this.send("shell", "kernel_info_request", {});
    };
    socket.onmessage = (e: MessageEvent<string | ArrayBuffer>) => this.#receive(e.data);
    socket.onclose = () => {
      if (this.#stopped || socket !== this.#socket) return;
      this.#socket = null;
      if (this.status.now !== "dead") this.status.set("lost");
      this.#retry = setTimeout(() => this.start(), Math.min(500 * 2 ** this.#tries++, 8000));
    };
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retry);
    this.#socket?.close();
    this.#socket = null;
  }

  state(): KernelState {
    return this.status.now;
  }

  listen(heard: (m: KernelMessage) => void): () => void {
    this.#heard.add(heard);
    return () => this.#heard.delete(heard);
  }

  send(channel: "shell" | "control" | "stdin", type: string, content: JsonObject, more: { id?: string; metadata?: JsonObject; buffers?: readonly ArrayBuffer[] } = {}): string {
    const id = more.id ?? randomID();
    const text = JSON.stringify({
      channel,
      header: { msg_id: id, msg_type: type, session: this.#session, username: "editor", date: new Date().toISOString(), version: "5.3" },
      parent_header: {}, metadata: more.metadata ?? {}, content,
    });
    const frame = more.buffers?.length ? packBuffers(text, more.buffers) : text;
    if (this.#socket?.readyState === 1) this.#socket.send(frame);
    else if (this.#queue.length < 100) this.#queue.push(frame);
    return id;
  }

  request(type: string, content: JsonObject, timeoutMs: number): Promise<Readonly<Record<string, Json>>> {
    return this.#ask(type, content, timeoutMs, false).then((h) => h.reply);
  }

  run(code: string, timeoutMs: number, expressions: Readonly<Record<string, string>> = {}): Promise<Hidden> {
    return this.#ask("execute_request", {
      code, silent: true, store_history: false, user_expressions: expressions, allow_stdin: false, stop_on_error: false,
    }, timeoutMs, true);
  }

  #ask(type: string, content: JsonObject, timeoutMs: number, hidden: boolean): Promise<Hidden> {
    return new Promise((resolve, reject) => {
      if (this.status.now === "dead") {
        reject(new Error("the kernel is dead"));
        return;
      }
      const id = this.send("shell", type, content);
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error("the kernel did not answer in time"));
      }, timeoutMs);
      const messages: KernelMessage[] = [];
      this.#waiting.set(id, {
        messages, hidden,
        done: (reply) => {
          clearTimeout(timer);
          this.#waiting.delete(id);
          resolve({ messages, reply });
        },
      });
    });
  }

  #receive(data: string | ArrayBuffer): void {
    if (typeof data === "string") this.#last = data;
    // What cells print comes with the document; here it is only in the way.
    if (typeof data === "string" && this.#waiting.size === 0 && this.#heard.size === 0 && !this.comms.captures && data.endsWith('"msg_type":"stream"}')) return;
    const m = typeof data === "string" ? ({ ...(JSON.parse(data) as Wire), buffers: [] } as KernelMessage) : unpackBuffers(data);
    if (typeof data !== "string") this.#last = m.header.msg_id;
    if (m.header.msg_type === "status") this.#status(m);
    const waiting = this.#waiting.get(m.parent_header.msg_id ?? "");
    if (waiting) this.#answer(waiting, m);
    this.comms.hear(m);
    for (const hear of [...this.#heard]) hear(m);
  }

  #status(m: KernelMessage): void {
    const state = stateOf(m);
    if (!state) return;
    if (state === "starting" || state === "restarting" || state === "dead") this.comms.reset();
    this.reason.set(state === "dead" ? String(m.content["reason"] ?? "") : "");
    this.status.set(state);
  }

  #answer(w: Waiting, m: KernelMessage): void {
    if (m.channel === "shell") w.reply = m.content;
    else if (m.header.msg_type === "status") w.idle = w.idle || m.content["execution_state"] === "idle";
    else w.messages.push(m);
    if (w.reply && (w.idle || !w.hidden)) w.done(w.reply);
  }
}

/** What a kernel is asked while somebody types, and when a page connects to it. */
const questions: ReadonlySet<string> = new Set(["complete_request", "inspect_request", "is_complete_request", "kernel_info_request", "comm_info_request"]);

/**
 * The state that a status message tells; null when it tells none. A kernel that
 * looks something up is not busy with code: the next letter may ask it again.
 */
export function stateOf(m: Pick<KernelMessage, "content" | "parent_header">): KernelState | null {
  const state = m.content["execution_state"];
  if (state === "busy") return questions.has(m.parent_header.msg_type ?? "") ? null : "busy";
  return state === "idle" || state === "restarting" || state === "starting" || state === "dead" ? state : null;
}

/** A message with buffers: their number and offsets, 32 bits big-endian, then the parts. */
export function packBuffers(text: string, buffers: readonly ArrayBuffer[]): ArrayBuffer {
  const parts = [new TextEncoder().encode(text), ...buffers.map((b) => new Uint8Array(b))];
  const head = 4 * (parts.length + 1);
  const out = new Uint8Array(head + parts.reduce((n, p) => n + p.length, 0));
  const view = new DataView(out.buffer);
  view.setUint32(0, parts.length);
  let at = head;
  parts.forEach((part, i) => {
    view.setUint32(4 * (i + 1), at);
    out.set(part, at);
    at += part.length;
  });
  return out.buffer;
}

export function unpackBuffers(frame: ArrayBuffer): KernelMessage {
  const view = new DataView(frame);
  const count = view.getUint32(0);
  const at = (i: number) => (i < count ? view.getUint32(4 * (i + 1)) : frame.byteLength);
  const text = new TextDecoder().decode(new Uint8Array(frame, at(0), at(1) - at(0)));
  const buffers = Array.from({ length: count - 1 }, (_, i) => new DataView(frame, at(i + 1), at(i + 2) - at(i + 1)));
  return { ...(JSON.parse(text) as Wire), buffers };
}

/** The msg_id of a text frame, which ends with it in this server's framing; an id is its own. */
export function idOf(last: string): string {
  if (!last.endsWith("}")) return last;
  return /"msg_id":"([^"\\]{1,200})","msg_type":"[^"\\]*"\}$/.exec(last.slice(-500))?.[1] ?? "";
}
