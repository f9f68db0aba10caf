// Comments on cells: in the cell's metadata, so that they go where the notebook
// goes and the viewer shows them.
import { objectOf } from "../notebook/document.ts";
import type { Json, JsonObject } from "../notebook/types.ts";

export interface Comment {
  readonly id: string;
  readonly author: string;
  readonly at: string;
  readonly text: string;
  readonly resolved: boolean;
}

/** The name in a cell's metadata. */
export const commentsName = "quire_comments";

export function commentsOf(metadata: JsonObject): Comment[] {
  const list = metadata[commentsName];
  if (!Array.isArray(list)) return [];
  return list.map((c: Json) => objectOf(c)).filter((c) => typeof c["text"] === "string").map((c) => ({
    id: String(c["id"] ?? ""), author: String(c["author"] ?? "Somebody"), at: String(c["at"] ?? ""), text: String(c["text"]), resolved: c["resolved"] === true,
  }));
}

export function openComments(metadata: JsonObject): number {
  return commentsOf(metadata).filter((c) => !c.resolved).length;
}

export function writeComments(list: readonly Comment[]): Json | undefined {
  return list.length === 0 ? undefined : list.map((c) => ({ id: c.id, author: c.author, at: c.at, text: c.text, ...(c.resolved ? { resolved: true } : {}) }));
}
