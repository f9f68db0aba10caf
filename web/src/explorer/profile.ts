// What a column holds, in numbers.
import type { Json } from "../notebook/types.ts";
import { shownValue, type Column, type Table } from "./table.ts";

export interface Profile {
  readonly column: Column;
  readonly rows: number;
  readonly none: number;
  readonly distinct: number;
  readonly min: string;
  readonly max: string;
  /** Of numbers; null otherwise. */
  readonly mean: number | null;
  readonly median: number | null;
  /** How many rows are in each step of the values, or have each of the commonest ones. */
  readonly bins: readonly { readonly name: string; readonly count: number }[];
}

const steps = 20;

export function profile(table: Table, index: number, rows: readonly number[]): Profile {
  const column = table.columns[index] ?? { name: "", kind: "text" };
  const counts = new Map<string, number>();
  const numbers: number[] = [];
  let none = 0;
  for (const i of rows) {
    const v: Json | undefined = table.rows[i]?.[index];
    if (v === null || v === undefined || v === "") {
      none++;
      continue;
    }
    const text = shownValue(v);
    counts.set(text, (counts.get(text) ?? 0) + 1);
    if (column.kind === "number") numbers.push(Number(v));
    else if (column.kind === "time") numbers.push(Date.parse(text.replace(" ", "T")));
  }
  const common = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const shared = { column, rows: rows.length, none, distinct: counts.size };
  if (column.kind === "text" || numbers.length === 0) {
    const sorted = [...counts.keys()].sort();
    return { ...shared, min: sorted[0] ?? "", max: sorted.at(-1) ?? "", mean: null, median: null, bins: common.slice(0, 8).map(([name, count]) => ({ name, count })) };
  }
  numbers.sort((a, b) => a - b);
  const lo = numbers[0] ?? 0, hi = numbers.at(-1) ?? 0;
  const say = (n: number) => column.kind === "time" ? new Date(n).toISOString().replace("T00:00:00.000Z", "") : shortNumber(n);
  return {
    ...shared, min: say(lo), max: say(hi),
    mean: column.kind === "number" ? numbers.reduce((a, b) => a + b, 0) / numbers.length : null,
    median: column.kind === "number" ? middle(numbers) : null,
    bins: histogram(numbers, lo, hi).map((count, n, all) => {
      const step = (hi - lo) / all.length;
      return { name: `${say(lo + step * n)} to ${say(lo + step * (n + 1))}`, count };
    }),
  };
}

function middle(sorted: readonly number[]): number {
  const at = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(at)] ?? 0) + (sorted[Math.ceil(at)] ?? 0)) / 2;
}

function histogram(sorted: readonly number[], lo: number, hi: number): number[] {
  if (lo === hi) return [sorted.length];
  const counts = new Array<number>(Math.min(steps, Math.max(sorted.length, 1))).fill(0);
  for (const v of sorted) {
    const n = Math.min(Math.floor((v - lo) / (hi - lo) * counts.length), counts.length - 1);
    counts[n] = (counts[n] ?? 0) + 1;
  }
  return counts;
}

export function shortNumber(n: number): string {
  if (Number.isInteger(n)) return n.toLocaleString("en-US");
  const a = Math.abs(n);
  return a !== 0 && (a < 1e-4 || a >= 1e12) ? n.toExponential(3) : n.toLocaleString("en-US", { maximumSignificantDigits: 6 });
}
