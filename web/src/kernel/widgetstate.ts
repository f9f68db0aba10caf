// What the widgets of a notebook are, in the form in which notebooks keep it
// (internal/engine/widgets.go writes the same for runs): its page shows them so, and
// whoever opens it when its kernel is gone.
import type { Json, JsonObject } from "../notebook/types.ts";
import { namedModels, type Comms, type Model } from "./comms.ts";

export const widgetStateType = "application/vnd.jupyter.widget-state+json";

/** The most that is kept, in UTF-16 units of JSON. */
export const maxWidgetState = 4 << 20;

function record(v: Json | undefined): JsonObject {
  return typeof v === "object" && v !== null && !Array.isArray(v) ? v as JsonObject : {};
}

function base64(buffer: ArrayBuffer): string {
  const bytes = new Uint8Array(buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

function kept(m: Model): JsonObject {
  const text = (key: string) => m.state[key] ?? null;
  const buffers = m.paths.map((path, i) => ({ data: base64(m.buffers[i] ?? new ArrayBuffer(0)), encoding: "base64", path: path as Json }));
  return {
    model_name: text("_model_name"), model_module: text("_model_module"), model_module_version: text("_model_module_version"), state: m.state,
    ...(buffers.length > 0 ? { buffers } : {}),
  };
}

/**
 * The state of the widgets that outputs name, by the ids of their models. What the
 * kernel does not know is as the notebook has it already. Null when there is nothing
 * that the kernel knows.
 */
export function widgetState(comms: Comms, wanted: readonly string[], before: JsonObject): JsonObject | null {
  const all: Record<string, Json> = {};
  const stored = record(record(before[widgetStateType])["state"]);
  let known = false;
  for (const root of wanted) {
    const tree = comms.tree(root);
    if (tree) {
      known = true;
      for (const [id, model] of tree) all[id] = kept(model);
      continue;
    }
    for (const next = [root]; next.length > 0;) {
      const id = next.pop() as string;
      const model = stored[id];
      if (all[id] !== undefined || model === undefined) continue;
      all[id] = model;
      next.push(...namedModels(record(model)["state"]));
    }
  }
  return known ? { ...before, [widgetStateType]: { version_major: 2, version_minor: 0, state: all } } : null;
}

const maxStored = 5000;

/** A widget with all that it is made of, as a notebook's metadata has it; null when that is not all there. */
export function storedTree(metadata: JsonObject, root: string): ReadonlyMap<string, Model> | null {
  const stored = record(record(record(metadata["widgets"])[widgetStateType])["state"]);
  const all = new Map<string, Model>();
  for (const next = [root]; next.length > 0;) {
    const id = next.pop() as string;
    if (all.has(id)) continue;
    const entry = record(stored[id]), state = entry["state"];
    if (state === undefined || all.size >= maxStored) return null;
    const buffers = (Array.isArray(entry["buffers"]) ? entry["buffers"] as readonly Json[] : []).map(record);
    try {
      all.set(id, {
        state: record(state), paths: buffers.map((b) => (Array.isArray(b["path"]) ? b["path"] : []) as (string | number)[]),
        buffers: buffers.map((b) => Uint8Array.from(atob(String(b["data"])), (c) => c.charCodeAt(0)).buffer),
      });
    } catch {
      return null; // it is not base64
    }
    next.push(...namedModels(state));
  }
  return all;
}

/** Whether two values are the same in JSON, in whatever order their keys stand. */
export function sameJSON(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false;
  const x = a as JsonObject, y = b as JsonObject;
  const keys = Object.keys(x);
  return keys.length === Object.keys(y).length && keys.every((key) => key in y && sameJSON(x[key], y[key]));
}
