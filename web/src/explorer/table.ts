// Tables of outputs as plain data: kinds of columns, sorting, filters.
import type { DataOutput, Json, JsonObject } from "../notebook/types.ts";

export type Kind = "number" | "time" | "text";

export interface Column {
  readonly name: string;
  readonly kind: Kind;
}

export interface Table {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Json[])[];
  /** How many rows the author's table had, when this one has fewer; 0 otherwise. */
  readonly whole: number;
}

export const maxColumns = 200;
export const maxRows = 100_000;

const timeForm = /^\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?)?$/;

export function isTime(v: Json | undefined): v is string {
  return typeof v === "string" && v.length >= 7 && v.length <= 35 && timeForm.test(v) && !Number.isNaN(Date.parse(v.replace(" ", "T")));
}

/** What a column holds, by its values. */
export function kindOf(rows: readonly (readonly Json[])[], column: number): Kind {
  let numbers = 0, times = 0;
  for (const row of rows) {
    const v = row[column];
    if (v === null || v === undefined || v === "") continue;
    if (typeof v === "number" || typeof v === "boolean") numbers++;
    else if (isTime(v)) times++;
    else return "text";
  }
  if (numbers > 0 && times > 0) return "text";
  return numbers > 0 ? "number" : times > 0 ? "time" : "text";
}

export function makeTable(names: readonly string[], rows: readonly (readonly Json[])[], whole = 0): Table {
  return { columns: names.map((name, n) => ({ name, kind: kindOf(rows, n) })), rows, whole };
}

function record(v: Json | undefined): JsonObject | undefined {
  return typeof v === "object" && v !== null && !Array.isArray(v) ? v as JsonObject : undefined;
}

/** Reads a data resource; undefined when the output is none. HTML is read by the server. */
export function resourceTable(output: DataOutput): Table | undefined {
  let data = output.data["application/vnd.dataresource+json"];
  if (typeof data === "string") {
    try {
      data = JSON.parse(data) as Json;
    } catch {
      return undefined;
    }
  }
  const resource = record(data);
  const list = resource?.["data"];
  if (!resource || !Array.isArray(list)) return undefined;
  const all = list as readonly Json[];
  const fields = record(resource["schema"])?.["fields"];
  let names = Array.isArray(fields) ? (fields as readonly Json[]).map((f) => String(record(f)?.["name"] ?? "")) : [];
  if (names.length === 0) names = Object.keys(record(all[0]) ?? {}).sort();
  names = names.slice(0, maxColumns);
  if (names.length === 0) return undefined;
  const rows = all.slice(0, maxRows).map((r) => {
    const row = record(r) ?? {};
    return names.map((name) => row[name] ?? null);
  });
  return makeTable(names, rows, all.length > rows.length ? all.length : 0);
}

/** Rows as an output that holds a table. */
export function tableOutput(names: readonly string[], rows: readonly (readonly Json[])[], whole: number): DataOutput {
  const data = rows.map((row) => Object.fromEntries(names.map((n, i) => [n, row[i] ?? null])));
  return {
    output_type: "display_data", metadata: { whole },
    data: { "application/vnd.dataresource+json": { schema: { fields: names.map((n) => ({ name: n })) }, data } },
  };
}

/** What a person reads of a value. */
export function shownValue(v: Json | undefined): string {
  if (v === null || v === undefined) return "";
  return typeof v === "string" ? v : typeof v === "object" ? JSON.stringify(v) : String(v);
}

export interface Order {
  readonly column: number;
  readonly down: boolean;
}

/** Compares two values of a column; what is missing comes last in either direction. */
export function compare(a: Json | undefined, b: Json | undefined, kind: Kind): number {
  if (kind === "number") return Number(a) - Number(b);
  const x = shownValue(a), y = shownValue(b);
  return x < y ? -1 : x > y ? 1 : 0;
}

const missing = (v: Json | undefined) => v === null || v === undefined || v === "";

export function sortRows(table: Table, rows: readonly number[], order: Order | null): readonly number[] {
  if (!order) return rows;
  const kind = table.columns[order.column]?.kind ?? "text";
  const sign = order.down ? -1 : 1;
  return [...rows].sort((i, j) => {
    const a = table.rows[i]?.[order.column], b = table.rows[j]?.[order.column];
    if (missing(a) || missing(b)) return Number(missing(a)) - Number(missing(b)) || i - j;
    return sign * compare(a, b, kind) || i - j;
  });
}

export interface Filter {
  readonly column: number;
  /** As it was typed: "> 5", "<= 2018-05-01", "= x", "!= x", "5..10", or text that is in the value. */
  readonly text: string;
}

export interface Test {
  readonly op: "<" | "<=" | ">" | ">=" | "=" | "!=" | "has" | "in";
  readonly value: string;
  readonly to: string;
}

/** Reads what was typed; null for nothing, "invalid" for what a column of numbers cannot be held against. */
export function parseFilter(text: string, kind: Kind): Test | null | "invalid" {
  const t = text.trim();
  if (t === "") return null;
  const range = /^(-?[\d.eE+-]+)\s*\.\.\s*(-?[\d.eE+-]+)$/.exec(t);
  if (range && kind === "number") return { op: "in", value: range[1] ?? "", to: range[2] ?? "" };
  const m = /^(<=|>=|!=|<|>|=)\s*(.*)$/.exec(t);
  if (m) {
    const value = m[2] ?? "";
    if (kind === "number" && value !== "" && Number.isNaN(Number(value))) return "invalid";
    return { op: m[1] as Test["op"], value, to: "" };
  }
  return { op: "has", value: t, to: "" };
}

export function passes(v: Json | undefined, test: Test, kind: Kind): boolean {
  const text = shownValue(v);
  if (test.op === "has") return text.toLowerCase().includes(test.value.toLowerCase());
  if (test.value === "") return (test.op === "=") === missing(v); // "=" asks for what is missing, "!=" for the rest
  if (missing(v)) return test.op === "!=";
  const n = Number(v), at = Number(test.value);
  if (test.op === "in") return n >= at && n <= Number(test.to);
  const c = kind === "number" ? n - at : text < test.value ? -1 : text > test.value ? 1 : 0;
  switch (test.op) {
    case "<": return c < 0;
    case "<=": return c <= 0;
    case ">": return c > 0;
    case ">=": return c >= 0;
    case "=": return c === 0;
    case "!=": return c !== 0;
  }
}

/** The rows that every filter lets through, by their index. */
export function filterRows(table: Table, filters: readonly Filter[]): readonly number[] {
  const tests: { column: number; kind: Kind; test: Test }[] = [];
  for (const f of filters) {
    const kind = table.columns[f.column]?.kind ?? "text";
    const test = parseFilter(f.text, kind);
    if (test !== null && test !== "invalid") tests.push({ column: f.column, kind, test });
  }
  const rows: number[] = [];
  table.rows.forEach((row, i) => {
    if (tests.every(({ column, kind, test }) => passes(row[column], test, kind))) rows.push(i);
  });
  return rows;
}
