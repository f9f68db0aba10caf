// Find and replace over all cells.
import type { Cell } from "./document.ts";

export interface FindQuery {
  readonly text: string;
  readonly caseSensitive: boolean;
  readonly word: boolean;
  readonly regexp: boolean;
}

export interface Match {
  readonly key: string;
  readonly from: number;
  readonly to: number;
}

/** How many matches are looked for at most. */
export const maxMatches = 10_000;

/** The expression of a query; null while it is empty or no expression. */
export function expression(q: FindQuery): RegExp | null {
  if (!q.text) return null;
  let source = q.regexp ? q.text : q.text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  if (q.word) source = `(?<![\\p{L}\\p{N}_])(?:${source})(?![\\p{L}\\p{N}_])`;
  try {
    return new RegExp(source, q.caseSensitive ? "gu" : "giu");
  } catch {
    return null;
  }
}

export function findAll(cells: readonly Cell[], q: FindQuery): Match[] {
  const re = expression(q);
  const found: Match[] = [];
  if (!re) return found;
  for (const cell of cells) {
    for (const m of cell.source.matchAll(re)) {
      if (m[0] === "") continue;
      found.push({ key: cell.key, from: m.index, to: m.index + m[0].length });
      if (found.length >= maxMatches) return found;
    }
  }
  return found;
}

/** The text with its matches replaced; $1 and the like work for expressions. */
export function replaceAll(source: string, q: FindQuery, by: string): string {
  const re = expression(q);
  if (!re) return source;
  return source.replace(re, q.regexp ? by : by.replace(/\$/g, "$$$$"));
}
