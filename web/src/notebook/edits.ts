// What a person does to cells, as changes of the live document. Each is one
// transaction under one origin, so that it is one step to undo.
import * as Y from "yjs";
import type { NotebookDocument, YCell } from "./document.ts";
import { objectOf } from "./document.ts";
import type { CellType, Json, JsonObject } from "./types.ts";

/** The origin of edits of cells as wholes; those of text have their editor's. */
export const structure = { name: "structure" };

/** A cell as it is put into a notebook: from nothing, or from the clipboard. */
export interface NewCell {
  readonly type: CellType;
  readonly source: string;
  readonly metadata?: JsonObject;
  readonly outputs?: readonly JsonObject[];
  readonly attachments?: JsonObject | null;
  readonly count?: number | null;
  readonly id?: string;
}

/** An id as nbformat 4.5 wants it. */
export function newID(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function make(cell: NewCell): YCell {
  const y: YCell = new Y.Map();
  y.set("id", cell.id ?? newID());
  y.set("cell_type", cell.type);
  y.set("source", new Y.Text(cell.source));
  const metadata = new Y.Map<unknown>();
  for (const [key, value] of Object.entries(cell.metadata ?? {})) metadata.set(key, value);
  y.set("metadata", metadata);
  if (cell.type === "code") {
    const outputs = new Y.Array<unknown>();
    outputs.push((cell.outputs ?? []).map(makeOutput));
    y.set("outputs", outputs);
    y.set("execution_count", cell.count ?? null);
    y.set("execution_state", "idle");
  } else if (cell.attachments) {
    y.set("attachments", cell.attachments);
  }
  return y;
}

function makeOutput(o: JsonObject): Y.Map<unknown> {
  const y = new Y.Map<unknown>();
  for (const [key, value] of Object.entries(o)) {
    y.set(key, key === "text" && o["output_type"] === "stream" ? new Y.Text(String(value)) : value);
  }
  return y;
}

/** Reads a cell so that it can be put in again. */
export function readCell(nb: NotebookDocument, key: string): NewCell | null {
  const y = nb.ycell(key);
  const view = nb.cell(key);
  if (!y || !view) return null;
  return {
    type: view.type, source: view.source, metadata: view.metadata, attachments: view.attachments, count: view.count,
    outputs: view.outputs as unknown as readonly JsonObject[],
  };
}

export function insertCells(nb: NotebookDocument, at: number, cells: readonly NewCell[]): string[] {
  const made = cells.map((cell) => ({ ...cell, id: cell.id ?? newID() }));
  nb.doc.transact(() => nb.cells.insert(at, made.map(make)), structure);
  return made.map((cell) => cell.id);
}

export function deleteCells(nb: NotebookDocument, keys: readonly string[]): void {
  const at = keys.map((key) => nb.indexOf(key)).filter((i) => i >= 0).sort((a, b) => b - a);
  nb.doc.transact(() => {
    for (const i of at) nb.cells.delete(i, 1);
    if (nb.cells.length === 0) nb.cells.insert(0, [make({ type: "code", source: "" })]);
  }, structure);
}

/** Moves cells that stand together so that the first is at index to, counted without them. */
export function moveCells(nb: NotebookDocument, keys: readonly string[], to: number): void {
  const at = keys.map((key) => nb.indexOf(key)).filter((i) => i >= 0).sort((a, b) => a - b);
  const first = at[0];
  if (first === undefined || (first === to && at.every((i, n) => i === first + n))) return;
  nb.doc.transact(() => {
    const clones = at.map((i) => nb.cells.get(i).clone());
    for (const i of [...at].reverse()) nb.cells.delete(i, 1);
    nb.cells.insert(Math.min(to, nb.cells.length), clones);
  }, structure);
}

/** Makes cells of another type, with the same id, text and place. */
export function convertCells(nb: NotebookDocument, keys: readonly string[], type: CellType, text?: (source: string) => string): void {
  nb.doc.transact(() => {
    for (const key of keys) {
      const i = nb.indexOf(key);
      const cell = readCell(nb, key);
      const id = nb.cell(key)?.id;
      if (i < 0 || !cell || id === undefined) continue;
      const source = text ? text(cell.source) : cell.source;
      if (cell.type === type && source === cell.source) continue;
      nb.cells.delete(i, 1);
      nb.cells.insert(i, [make({ type, source, id, metadata: cell.metadata ?? {}, attachments: cell.attachments ?? null })]);
    }
  }, structure);
}

/** Splits a cell's text at a place into two cells; returns the key of the second. */
export function splitCell(nb: NotebookDocument, key: string, at: number): string | null {
  const i = nb.indexOf(key);
  const cell = readCell(nb, key);
  const text = nb.text(key);
  if (i < 0 || !cell || !text) return null;
  const id = newID();
  const rest = cell.source.slice(at).replace(/^\n/, "");
  const kept = cell.source.slice(0, at).replace(/\n$/, "");
  nb.doc.transact(() => {
    text.delete(kept.length, cell.source.length - kept.length);
    nb.cells.insert(i + 1, [make({ type: cell.type, source: rest, id, metadata: cell.metadata ?? {} })]);
  }, structure);
  return id;
}

/** Puts the texts of cells that follow each other into the first of them. */
export function mergeCells(nb: NotebookDocument, keys: readonly string[]): void {
  const sorted = [...keys].sort((a, b) => nb.indexOf(a) - nb.indexOf(b));
  const first = sorted[0];
  const text = first === undefined ? null : nb.text(first);
  if (!text || sorted.length < 2) return;
  const rest = sorted.slice(1);
  const more = rest.map((key) => nb.cell(key)?.source ?? "");
  nb.doc.transact(() => {
    text.insert(text.length, "\n\n" + more.join("\n\n"));
    for (const key of [...rest].reverse()) {
      const i = nb.indexOf(key);
      if (i >= 0) nb.cells.delete(i, 1);
    }
  }, structure);
}

/** Sets one key of a cell's metadata; undefined removes it. */
export function setMetadata(nb: NotebookDocument, key: string, name: string, value: Json | undefined, origin: unknown = structure): void {
  const y = nb.ycell(key);
  if (!y) return;
  nb.doc.transact(() => {
    let md = y.get("metadata");
    if (!(md instanceof Y.Map)) {
      const fresh = new Y.Map<unknown>();
      for (const [k, v] of Object.entries(objectOf(md))) fresh.set(k, v);
      y.set("metadata", fresh);
      md = fresh;
    }
    const map = md as Y.Map<unknown>;
    if (value === undefined) map.delete(name);
    else map.set(name, value);
  }, origin);
}

/** Sets one key of the notebook's own metadata. */
export function setNotebookMetadata(nb: NotebookDocument, name: string, value: Json): void {
  nb.doc.transact(() => {
    let md = nb.meta.get("metadata");
    if (!(md instanceof Y.Map)) {
      md = new Y.Map<unknown>(Object.entries(objectOf(md)));
      nb.meta.set("metadata", md);
    }
    (md as Y.Map<unknown>).set(name, value);
  });
}

/** Sets one key of metadata.jupyter, which is removed when it holds nothing. */
export function setJupyter(nb: NotebookDocument, key: string, name: string, on: boolean): void {
  const before = objectOf(nb.cell(key)?.metadata["jupyter"]);
  const rest = Object.fromEntries(Object.entries(before).filter(([k]) => k !== name));
  const after = on ? { ...rest, [name]: true } : rest;
  setMetadata(nb, key, "jupyter", Object.keys(after).length > 0 ? (after as Json) : undefined);
}

export function tagsOf(metadata: JsonObject): readonly string[] {
  const tags = metadata["tags"];
  return Array.isArray(tags) ? tags.filter((t): t is string => typeof t === "string") : [];
}

/** Gives a cell a tag, or takes it away. */
export function toggleTag(nb: NotebookDocument, key: string, tag: string): boolean {
  const cell = nb.cell(key);
  if (!cell) return false;
  const tags = tagsOf(cell.metadata);
  const on = !tags.includes(tag);
  const after = on ? [...tags, tag] : tags.filter((t) => t !== tag);
  setMetadata(nb, key, "tags", after.length > 0 ? after : undefined);
  return on;
}

/** Removes the outputs of cells. */
export function clearOutputs(nb: NotebookDocument, keys: readonly string[]): void {
  nb.doc.transact(() => {
    for (const key of keys) {
      const y = nb.ycell(key);
      const outputs = y?.get("outputs");
      if (!y || !(outputs instanceof Y.Array)) continue;
      if (outputs.length > 0) outputs.delete(0, outputs.length);
      if (y.get("execution_count") != null) y.set("execution_count", null);
    }
  }, structure);
}

/** Replaces a text by another with as small a change as one span can be. */
export function replaceText(text: Y.Text, next: string, origin: unknown): void {
  const before = text.toJSON();
  if (before === next) return;
  let from = 0;
  while (from < before.length && from < next.length && before[from] === next[from]) from++;
  let end = 0;
  while (end < before.length - from && end < next.length - from && before[before.length - 1 - end] === next[next.length - 1 - end]) end++;
  text.doc?.transact(() => {
    if (before.length - end > from) text.delete(from, before.length - end - from);
    if (next.length - end > from) text.insert(from, next.slice(from, next.length - end));
  }, origin);
}
