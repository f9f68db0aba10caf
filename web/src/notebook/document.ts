// The live notebook as plain values: what the page shows, cell by cell, and when
// to show it again. The truth is the Yjs document; this only reads it.
import * as Y from "yjs";
import type { CellOutput, CellType, JsonObject, MimeBundle } from "./types.ts";
import { Value } from "./value.ts";

export type YCell = Y.Map<unknown>;

/** A cell as it is at one moment. A change makes a new one. */
export interface Cell {
  /** Unique in the notebook, also where the file has one id twice. */
  readonly key: string;
  readonly id: string;
  readonly type: CellType;
  readonly source: string;
  readonly metadata: JsonObject;
  readonly outputs: readonly CellOutput[];
  readonly count: number | null;
  /** Whether the server runs it or is about to. */
  readonly running: boolean;
  readonly attachments: JsonObject | null;
}

/** What the server says of what runs: not part of the file. */
export interface RoomState {
  /** When the cell that runs now began, by the cell's id. */
  readonly running: Readonly<Record<string, string>>;
  /** The question that a cell asks, if one does. */
  readonly input: { readonly cell: string; readonly prompt: string; readonly password: boolean; readonly kernel: string } | null;
  readonly path: string | null;
}

export class NotebookDocument {
  readonly doc: Y.Doc;
  readonly cells: Y.Array<YCell>;
  readonly meta: Y.Map<unknown>;
  readonly state: Y.Map<unknown>;
  /** The keys of the cells, in their order. */
  readonly order = new Value<readonly string[]>([]);
  readonly metadata = new Value<JsonObject>({});
  readonly room = new Value<RoomState>({ running: {}, input: null, path: null });

  readonly #byKey = new Map<string, YCell>();
  readonly #keyOf = new Map<YCell, string>();
  readonly #views = new Map<string, Cell>();
  readonly #outputs = new WeakMap<object, CellOutput>();
  readonly #heard = new Map<string, Set<() => void>>();
  readonly #any = new Set<() => void>();

  constructor(doc: Y.Doc = new Y.Doc()) {
    this.doc = doc;
    this.cells = doc.getArray<YCell>("cells");
    this.meta = doc.getMap("meta");
    this.state = doc.getMap("state");
    this.cells.observeDeep((events) => this.#changed(events));
    this.meta.observeDeep(() => this.metadata.set(plainMap(this.meta.get("metadata"))));
    this.state.observeDeep(() => this.room.set(this.#readRoom()));
    this.#reorder();
    this.metadata.set(plainMap(this.meta.get("metadata")));
    this.room.set(this.#readRoom());
  }

  /** The kernel's language, in lower case. */
  get language(): string {
    const md = this.metadata.now;
    for (const [a, b] of [["language_info", "name"], ["kernelspec", "language"]] as const) {
      const name = objectOf(md[a])[b];
      if (typeof name === "string" && name) return name.toLowerCase();
    }
    return "python";
  }

  ycell(key: string): YCell | null {
    return this.#byKey.get(key) ?? null;
  }

  text(key: string): Y.Text | null {
    const text = this.#byKey.get(key)?.get("source");
    return text instanceof Y.Text ? text : null;
  }

  keyOfId(id: string): string | null {
    if (this.#byKey.get(id)?.get("id") === id) return id;
    for (const [key, cell] of this.#byKey) if (cell.get("id") === id) return key;
    return null;
  }

  indexOf(key: string): number {
    return this.order.now.indexOf(key);
  }

  /** The cell as it is now; null when it is gone. */
  cell(key: string): Cell | null {
    const known = this.#views.get(key);
    if (known) return known;
    const ycell = this.#byKey.get(key);
    if (!ycell) return null;
    const view = this.#read(key, ycell);
    this.#views.set(key, view);
    return view;
  }

  all(): Cell[] {
    return this.order.now.flatMap((key) => this.cell(key) ?? []);
  }

  /** Calls back when that cell changes; returns how to stop it. */
  listen(key: string, hear: () => void): () => void {
    let set = this.#heard.get(key);
    if (!set) this.#heard.set(key, (set = new Set()));
    set.add(hear);
    return () => {
      set.delete(hear);
      if (set.size === 0) this.#heard.delete(key);
    };
  }

  /** Calls back when anything in the cells changes. */
  listenAny(hear: () => void): () => void {
    this.#any.add(hear);
    return () => this.#any.delete(hear);
  }

  #changed(events: readonly Y.YEvent<Y.AbstractType<unknown>>[]): void {
    const touched = new Set<string>();
    let moved = false;
    for (const event of events) {
      if (event.path.length === 0) {
        moved = true;
        continue;
      }
      const ycell = this.cells.get(event.path[0] as number) as YCell | undefined;
      const key = ycell && this.#keyOf.get(ycell);
      if (key) touched.add(key);
      if (event.path.length === 1 && event.keys.has("id")) moved = true;
    }
    if (moved) this.#reorder();
    for (const key of touched) this.#views.delete(key);
    for (const key of touched) for (const hear of [...(this.#heard.get(key) ?? [])]) hear();
    for (const hear of [...this.#any]) hear();
  }

  #reorder(): void {
    const order: string[] = [];
    const seen = new Set<string>();
    const before = new Map(this.#byKey);
    this.#byKey.clear();
    this.#keyOf.clear();
    for (const ycell of this.cells.toArray()) {
      if (!(ycell instanceof Y.Map)) continue;
      const id = String(ycell.get("id") ?? "cell");
      let key = id;
      for (let n = 2; seen.has(key); n++) key = `${id}~${n}`;
      seen.add(key);
      order.push(key);
      this.#byKey.set(key, ycell);
      this.#keyOf.set(ycell, key);
    }
    // A cell that was moved is another item under the same key.
    for (const [key, ycell] of before) if (this.#byKey.get(key) !== ycell) this.#views.delete(key);
    const same = order.length === this.order.now.length && order.every((key, i) => key === this.order.now[i]);
    if (!same) this.order.set(order);
    for (const [key, ycell] of this.#byKey) {
      if (before.has(key) && before.get(key) !== ycell) for (const hear of [...(this.#heard.get(key) ?? [])]) hear();
    }
  }

  #read(key: string, ycell: YCell): Cell {
    const type = ycell.get("cell_type");
    const outputs = ycell.get("outputs");
    const count = ycell.get("execution_count");
    const attachments = ycell.get("attachments");
    const state = ycell.get("execution_state");
    return {
      key,
      id: String(ycell.get("id") ?? key),
      type: type === "markdown" || type === "raw" ? type : "code",
      source: textOf(ycell.get("source")),
      metadata: plainMap(ycell.get("metadata")),
      outputs: outputs instanceof Y.Array ? outputs.toArray().map((o) => this.#output(o as unknown)) : [],
      count: typeof count === "number" ? count : null,
      running: state === "running" || state === "busy",
      attachments: attachments && typeof attachments === "object" ? plainMap(attachments) : null,
    };
  }

  /** An output as plain data; the same object as long as nothing in it changes. */
  #output(o: unknown): CellOutput {
    if (!(o instanceof Y.Map)) return readOutput(o && typeof o === "object" ? (o as Record<string, unknown>) : {});
    const fresh = readOutput(Object.fromEntries([...o.entries()]));
    const known = this.#outputs.get(o);
    if (known && sameOutput(known, fresh)) return known;
    this.#outputs.set(o, fresh);
    return fresh;
  }

  #readRoom(): RoomState {
    const input = plainMap(this.state.get("quire_input"));
    const path = this.state.get("path");
    return {
      running: plainMap(this.state.get("quire_running")) as Record<string, string>,
      input: typeof input["cell"] === "string"
        ? { cell: input["cell"], prompt: String(input["prompt"] ?? ""), password: input["password"] === true, kernel: String(input["kernel"] ?? "") }
        : null,
      path: typeof path === "string" ? path : null,
    };
  }
}

export function objectOf(v: unknown): JsonObject {
  return v && typeof v === "object" && !Array.isArray(v) ? (v as JsonObject) : {};
}

function plainMap(v: unknown): JsonObject {
  return v instanceof Y.Map ? (v.toJSON() as JsonObject) : objectOf(v);
}

function textOf(v: unknown): string {
  // toJSON of a text is its text.
  return v instanceof Y.Text ? v.toJSON() : typeof v === "string" ? v : Array.isArray(v) ? v.join("") : "";
}

function sameOutput(a: CellOutput, b: CellOutput): boolean {
  if (a.output_type !== b.output_type) return false;
  if (a.output_type === "stream") return b.output_type === "stream" && a.text === b.text && a.name === b.name;
  if (a.output_type === "error") return b.output_type === "error" && a.traceback === b.traceback && a.evalue === b.evalue;
  return "data" in b && a.data === b.data && a.metadata === b.metadata;
}

function readOutput(o: Readonly<Record<string, unknown>>): CellOutput {
  switch (o["output_type"]) {
    case "stream":
      return { output_type: "stream", name: o["name"] === "stderr" ? "stderr" : "stdout", text: textOf(o["text"]) };
    case "error":
      return {
        output_type: "error", ename: String(o["ename"] ?? ""), evalue: String(o["evalue"] ?? ""),
        traceback: Array.isArray(o["traceback"]) ? (o["traceback"] as string[]) : [],
      };
    default:
      return {
        output_type: o["output_type"] === "execute_result" ? "execute_result" : "display_data",
        data: (o["data"] instanceof Y.Map ? plainMap(o["data"]) : objectOf(o["data"])) as MimeBundle,
        metadata: plainMap(o["metadata"]),
        execution_count: typeof o["execution_count"] === "number" ? o["execution_count"] : null,
      };
  }
}
