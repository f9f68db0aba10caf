// The widgets of a kernel: what their models are now, from the messages that the
// kernel sends about them. What shows a widget is told the same messages. An Output
// widget is played here: what the kernel prints while it is in force goes into it.
import type { Json, JsonObject } from "../notebook/types.ts";
import { Value } from "../notebook/value.ts";
import type { KernelMessage, KernelPort } from "./port.ts";

export type BufferPath = readonly (string | number)[];

export interface Model {
  readonly state: JsonObject;
  /** Where in the state the buffers belong. */
  readonly paths: readonly BufferPath[];
  readonly buffers: readonly ArrayBuffer[];
}

export type CommEvent =
  | { readonly kind: "open"; readonly comm: string; readonly model: Model }
  | { readonly kind: "message"; readonly comm: string; readonly data: JsonObject; readonly buffers: readonly ArrayBuffer[]; readonly parent: string }
  | { readonly kind: "close"; readonly comm: string }
  | { readonly kind: "idle"; readonly message: string };

const target = "jupyter.widget";
const maxModels = 5000;
const maxOutputs = 1000;

/** A message of a widget, bounded: what a frame sends is not trusted. */
export interface FrameMessage {
  readonly comm: string;
  readonly message: string;
  readonly data: JsonObject;
  readonly buffers: readonly ArrayBuffer[];
}

export function frameMessage(m: Readonly<Record<string, unknown>>): FrameMessage | null {
  const { comm, message, data, buffers } = m;
  if (typeof comm !== "string" || typeof message !== "string" || !/^[0-9a-f]{32}$/.test(message)) return null;
  if (typeof data !== "object" || data === null || Array.isArray(data)) return null;
  const list: unknown[] = Array.isArray(buffers) ? buffers : [];
  if (list.length > 1000 || !list.every((b) => b instanceof ArrayBuffer)) return null;
  return { comm, message, data: data as JsonObject, buffers: list as ArrayBuffer[] };
}

function record(v: Json | undefined): JsonObject {
  return typeof v === "object" && v !== null && !Array.isArray(v) ? v as JsonObject : {};
}

const bytes = (views: readonly DataView[]) => views.map((v) => v.buffer.slice(v.byteOffset, v.byteOffset + v.byteLength) as ArrayBuffer);

function named(v: Json | undefined, found: Set<string>): void {
  if (typeof v === "string") {
    if (v.startsWith("IPY_MODEL_")) found.add(v.slice(10));
  } else if (Array.isArray(v)) {
    for (const one of v as readonly Json[]) named(one, found);
  } else if (typeof v === "object" && v !== null) {
    for (const [key, one] of Object.entries(v as JsonObject)) {
      if (key === "model_id" && typeof one === "string") found.add(one);
      else named(one, found);
    }
  }
}

/** The models that a state names. */
export function namedModels(state: Json | undefined): ReadonlySet<string> {
  const found = new Set<string>();
  named(state, found);
  return found;
}

export class Comms {
  /** Counts models that came or went. */
  readonly changed = new Value(0);
  /** Counts what was said about any of them, from either side. */
  readonly told = new Value(0);

  readonly #port: KernelPort;
  readonly #session: string;
  readonly #models = new Map<string, Model>();
  readonly #heard = new Set<(e: CommEvent) => void>();
  readonly #asked = new Set<string>();
  /** Messages of frames that the kernel has not done with. */
  readonly #sent = new Set<string>();
  /** Output widgets by the id of the message whose output is theirs. */
  readonly #outputs = new Map<string, string>();
  readonly #clearNext = new Set<string>();
  readonly #unsaved = new Map<string, Set<string>>();

  constructor(port: KernelPort, session: string) {
    this.#port = port;
    this.#session = session;
  }

  listen(hear: (e: CommEvent) => void): () => void {
    this.#heard.add(hear);
    return () => this.#heard.delete(hear);
  }

  /** Whether output of the kernel may belong to a widget now. */
  get captures(): boolean {
    return this.#outputs.size > 0;
  }

  /** A model with all that it is made of; null while some of that is not known. */
  tree(id: string): ReadonlyMap<string, Model> | null {
    const all = new Map<string, Model>();
    for (const next = [id]; next.length > 0;) {
      const at = next.pop() as string;
      if (all.has(at)) continue;
      const model = this.#models.get(at);
      if (!model) return null;
      all.set(at, model);
      next.push(...namedModels(model.state));
    }
    return all;
  }

  /** Asks the kernel for the models that it has, when one of them is not known. */
  find(id: string): void {
    if (this.#asked.has(id)) return;
    this.#asked.add(id);
    this.#port.request("comm_info_request", { target_name: target }, 120_000).then((reply) => {
      for (const comm of Object.keys(record(reply["comms"])).slice(0, maxModels)) {
        if (!this.#models.has(comm)) this.#port.send("shell", "comm_msg", { comm_id: comm, data: { method: "request_state" } });
      }
    }, () => this.#asked.delete(id));
  }

  /** Sends what a frame asks for, to a widget and to nothing else. */
  send(m: FrameMessage): void {
    if (!this.#models.has(m.comm)) return;
    this.#sent.add(m.message);
    const method = m.data["method"];
    if (method === "update") this.#merge(m.comm, m.data, m.buffers);
    this.#port.send("shell", "comm_msg", { comm_id: m.comm, data: m.data }, { id: m.message, buffers: m.buffers });
  }

  /** The kernel is another one now. */
  reset(): void {
    const known = [...this.#models.keys()];
    this.#models.clear();
    this.#outputs.clear();
    this.#asked.clear();
    this.#unsaved.clear();
    this.#clearNext.clear();
    for (const comm of known) this.#tell({ kind: "close", comm });
    this.changed.set(this.changed.now + 1);
  }

  hear(m: KernelMessage): void {
    const parent = m.parent_header.msg_id ?? "";
    switch (m.header.msg_type) {
      case "comm_open":
        if (m.content["target_name"] === target) this.#open(String(m.content["comm_id"]), record(m.content["data"]), bytes(m.buffers));
        return;
      case "comm_msg":
        this.#message(String(m.content["comm_id"]), record(m.content["data"]), bytes(m.buffers), parent);
        return;
      case "comm_close":
        this.#close(String(m.content["comm_id"]));
        return;
      case "status":
        if (m.content["execution_state"] === "idle") this.#idle(parent);
        return;
      case "stream": case "display_data": case "execute_result": case "error": case "clear_output":
        if (m.channel === "iopub") this.#capture(m, parent);
    }
  }

  #tell(e: CommEvent): void {
    for (const hear of [...this.#heard]) hear(e);
  }

  #open(comm: string, data: JsonObject, buffers: readonly ArrayBuffer[]): void {
    if (this.#models.size >= maxModels && !this.#models.has(comm)) return;
    const model = { state: record(data["state"]), paths: (data["buffer_paths"] ?? []) as unknown as BufferPath[], buffers };
    this.#models.set(comm, model);
    this.#hook(comm, model.state);
    this.told.set(this.told.now + 1);
    this.#tell({ kind: "open", comm, model });
    this.changed.set(this.changed.now + 1);
  }

  #message(comm: string, data: JsonObject, buffers: readonly ArrayBuffer[], parent: string): void {
    const update = data["method"] === "update" || data["method"] === "echo_update";
    if (!this.#models.has(comm)) {
      // The answer of a kernel that was asked.
      if (update && typeof record(data["state"])["_model_name"] === "string") this.#open(comm, data, buffers);
      return;
    }
    if (update) this.#merge(comm, data, buffers);
    this.#tell({ kind: "message", comm, data, buffers, parent });
  }

  #merge(comm: string, data: JsonObject, buffers: readonly ArrayBuffer[]): void {
    const before = this.#models.get(comm);
    if (!before) return;
    const state = record(data["state"]);
    const paths = (data["buffer_paths"] ?? []) as unknown as BufferPath[];
    const kept = before.paths.map((path, i) => ({ path, buffer: before.buffers[i] })).filter(({ path }) => !(String(path[0]) in state) && !paths.some((p) => p[0] === path[0]));
    this.#models.set(comm, {
      state: { ...before.state, ...state },
      paths: [...kept.map((k) => k.path), ...paths],
      buffers: [...kept.map((k) => k.buffer ?? new ArrayBuffer(0)), ...buffers.slice(0, paths.length)],
    });
    this.told.set(this.told.now + 1);
    this.#hook(comm, state);
  }

  #close(comm: string): void {
    if (!this.#models.delete(comm)) return;
    this.#tell({ kind: "close", comm });
    this.changed.set(this.changed.now + 1);
  }

  #idle(parent: string): void {
    if (this.#sent.delete(parent)) this.#tell({ kind: "idle", message: parent });
    const unsaved = this.#unsaved.get(parent);
    this.#unsaved.delete(parent);
    for (const comm of unsaved ?? []) {
      const outputs = this.#models.get(comm)?.state["outputs"];
      if (outputs !== undefined) this.#port.send("shell", "comm_msg", { comm_id: comm, data: { method: "update", state: { outputs }, buffer_paths: [] } });
    }
  }

  /** Follows the message that an Output widget takes the output of. */
  #hook(comm: string, state: JsonObject): void {
    const of = state["msg_id"];
    if (typeof of !== "string" || this.#models.get(comm)?.state["_model_module"] !== "@jupyter-widgets/output") return;
    for (const [parent, one] of [...this.#outputs]) if (one === comm) this.#outputs.delete(parent);
    if (of) this.#outputs.set(of, comm);
  }

  #capture(m: KernelMessage, parent: string): void {
    const comm = this.#outputs.get(parent);
    const model = comm === undefined ? undefined : this.#models.get(comm);
    if (comm === undefined || !model) return;
    let outputs = Array.isArray(model.state["outputs"]) ? [...model.state["outputs"] as readonly Json[]] : [];
    if (m.header.msg_type === "clear_output") {
      if (m.content["wait"] === true) {
        this.#clearNext.add(comm);
        return;
      }
      outputs = [];
    } else {
      if (this.#clearNext.delete(comm)) outputs = [];
      const last = record(outputs.at(-1));
      if (m.header.msg_type === "stream" && last["output_type"] === "stream" && last["name"] === m.content["name"]) {
        outputs[outputs.length - 1] = { ...last, text: String(last["text"]) + String(m.content["text"]) };
      } else if (outputs.length < maxOutputs) {
        const output: Record<string, Json> = { ...m.content, output_type: m.header.msg_type };
        delete output["transient"];
        outputs.push(output);
      }
    }
    const data = { method: "update", state: { outputs }, buffer_paths: [] };
    this.#merge(comm, data, []);
    this.#tell({ kind: "message", comm, data, buffers: [], parent });
    // Who asked tells the kernel; of what the server runs, the server does.
    if (m.parent_header.session !== this.#session) return;
    const unsaved = this.#unsaved.get(parent) ?? new Set();
    this.#unsaved.set(parent, unsaved.add(comm));
  }
}
