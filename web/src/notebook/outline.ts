// The outline: headings of text cells, the parameters, and what failed.
import type { Cell } from "./document.ts";
import { tagsOf } from "./edits.ts";

export interface OutlineEntry {
  readonly key: string;
  readonly kind: "heading" | "parameters" | "error";
  /** 1 to 6; entries that are no headings are one below the heading before. */
  readonly level: number;
  readonly text: string;
}

export function outlineOf(cells: readonly Cell[]): OutlineEntry[] {
  const list: OutlineEntry[] = [];
  let level = 0;
  for (const cell of cells) {
    if (cell.type === "markdown") {
      for (const h of headings(cell.source)) {
        level = h.level;
        list.push({ key: cell.key, kind: "heading", level, text: h.text });
      }
      continue;
    }
    if (tagsOf(cell.metadata).includes("parameters")) list.push({ key: cell.key, kind: "parameters", level: Math.min(level + 1, 6), text: "Parameters" });
    const failure = cell.outputs.find((o) => o.output_type === "error");
    if (failure?.output_type === "error") list.push({ key: cell.key, kind: "error", level: Math.min(level + 1, 6), text: failure.ename || "Error" });
  }
  return list;
}

/** The headings of a Markdown text, outside of fences. */
export function headings(source: string): { level: number; text: string }[] {
  const found: { level: number; text: string }[] = [];
  let fence = "";
  for (const line of source.split("\n")) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence) {
      if (mark?.startsWith(fence)) fence = "";
      continue;
    }
    if (mark) {
      fence = mark;
      continue;
    }
    const h = /^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$/.exec(line);
    if (h?.[1] && h[2]) found.push({ level: h[1].length, text: plain(h[2]) });
  }
  return found;
}

function plain(text: string): string {
  return text.replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[*_`~]/g, "").trim();
}
