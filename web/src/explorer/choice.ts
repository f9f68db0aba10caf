// The choice of a chart, in the form in which nteract's data explorer keeps it in a
// notebook: internal/chart/choice.go reads it, draws it, and fills in what is left
// open. Both are held to testdata/choices.json.
import type { Json, JsonObject } from "../notebook/types.ts";
import type { Table } from "./table.ts";

export const forms = ["bar", "line", "area", "scatter", "histogram", "box", "heatmap", "treemap", "sunburst", "network", "parallel"] as const;
export type FormName = typeof forms[number];

export const formNames: Readonly<Record<FormName, string>> = {
  bar: "Bars", line: "Lines", area: "Stacked area", scatter: "Points", histogram: "Histogram", box: "Boxes", heatmap: "Heatmap",
  treemap: "Treemap", sunburst: "Sunburst", network: "Network", parallel: "Parallel coordinates",
};

export const sums = ["sum", "mean", "median", "min", "max", "count"] as const;

export interface Choice {
  readonly form: FormName;
  /** Along the x axis; the source of edges. */
  readonly x: string;
  /** Values: heights, sizes, weights. */
  readonly y: readonly string[];
  /** Colours, rows of a heatmap, target of edges. */
  readonly by: string;
  readonly size: string;
  readonly levels: readonly string[];
  readonly sum: string;
}

export const noChoice: Choice = { form: "bar", x: "", y: [], by: "", size: "", levels: [], sum: "" };

/** What a form asks for, in the words of its fields. */
export interface Field {
  readonly key: "x" | "y" | "by" | "size" | "levels" | "sum";
  readonly label: string;
  readonly many?: boolean;
  readonly numbers?: boolean;
}

export function fieldsOf(form: FormName): readonly Field[] {
  const x = (label: string): Field => ({ key: "x", label });
  const y = (label: string, many = false): Field => ({ key: "y", label, many, numbers: true });
  const by = (label: string): Field => ({ key: "by", label });
  const sum: Field = { key: "sum", label: "Rows together" };
  switch (form) {
    case "bar": return [x("Categories"), y("Height"), by("Colour"), sum];
    case "line": return [x("Along"), y("Values", true), by("Colour"), sum];
    case "area": return [x("Along"), y("Values"), by("Colour"), sum];
    case "scatter": return [{ ...x("Along"), numbers: true }, y("Up"), by("Colour"), { key: "size", label: "Size", numbers: true }];
    case "histogram": return [y("Values"), by("Colour")];
    case "box": return [x("Categories"), y("Values")];
    case "heatmap": return [x("Across"), by("Down"), y("Shade"), sum];
    case "treemap": case "sunburst": return [{ key: "levels", label: "Levels, outermost first", many: true }, y("Size")];
    case "network": return [x("From"), by("To"), y("Weight")];
    case "parallel": return [y("Axes", true), by("Colour")];
  }
}

const none = "none";

/** The choice as it stands in the notebook. */
export function toDX(c: Choice): JsonObject {
  const metric = (n: number) => c.y[n] || none;
  const chart: Record<string, string> = {};
  const dx: Record<string, Json> = {};
  const set = (view: string, values: Record<string, string>, more: Record<string, Json> = {}) => {
    dx["view"] = view;
    Object.assign(chart, values);
    Object.assign(dx, more);
  };
  const x = c.x || none, by = c.by || none;
  switch (c.form) {
    case "bar": set("bar", { dim1: x, dim2: by, metric1: metric(0) }); break;
    case "line": case "area":
      set("line", { timeseriesSort: c.x || "array-order", dim1: by, metric1: metric(0) }, { lineType: c.form === "line" ? "line" : "stackedarea", selectedMetrics: [...c.y] });
      break;
    case "scatter": set("scatter", { metric1: x, metric2: metric(0), metric3: c.size || none, dim1: by }); break;
    case "histogram": set("summary", { dim1: by, metric1: metric(0) }, { summaryType: "histogram" }); break;
    case "box": set("summary", { dim1: x, metric1: metric(0) }, { summaryType: "boxplot" }); break;
    case "heatmap": set("summary", { dim1: x, dim2: by, metric1: metric(0) }, { summaryType: "heatmap" }); break;
    case "treemap": case "sunburst": set("hierarchy", { metric1: metric(0) }, { hierarchyType: c.form, selectedDimensions: [...c.levels] }); break;
    case "network": set("network", { dim1: x, dim2: by, metric1: metric(0) }, { networkType: "force" }); break;
    case "parallel": set("parallel", { dim1: by }, { selectedMetrics: [...c.y] }); break;
  }
  return { ...dx, chart, ...(c.sum ? { quire: { sum: c.sum } } : {}) };
}

function texts(v: Json | undefined): string[] {
  return Array.isArray(v) ? (v as readonly Json[]).filter((s): s is string => typeof s === "string") : [];
}

/** Reads a choice; null when it asks for the table. */
export function fromDX(dx: JsonObject | undefined): Choice | null {
  if (!dx) return null;
  const chart = (typeof dx["chart"] === "object" && dx["chart"] !== null ? dx["chart"] : {}) as JsonObject;
  const pick = (key: string) => { const v = chart[key]; return typeof v === "string" && v !== none ? v : ""; };
  const some = (...keys: string[]) => [...new Set(keys.map(pick).filter(Boolean))];
  const quire = dx["quire"] as JsonObject | undefined;
  const sum = (sums as readonly string[]).find((s) => s === quire?.["sum"]) ?? "";
  const c: Choice = { ...noChoice, x: pick("dim1"), by: pick("dim2"), y: some("metric1"), sum };
  const metrics = texts(dx["selectedMetrics"]), dims = texts(dx["selectedDimensions"]);
  switch (dx["view"]) {
    case "bar": return { ...c, form: "bar" };
    case "line": {
      const along = pick("timeseriesSort");
      return { ...c, form: dx["lineType"] === "stackedarea" ? "area" : "line", x: along === "array-order" ? "" : along, by: pick("dim1"), y: metrics.length > 0 ? metrics : some("metric1") };
    }
    case "scatter": return { ...c, form: "scatter", x: pick("metric1"), y: some("metric2"), size: pick("metric3"), by: pick("dim1") };
    case "hexbin": return { ...c, form: "heatmap", x: pick("metric1"), by: pick("metric2"), y: some("metric3") };
    case "summary":
      if (dx["summaryType"] === "histogram") return { ...c, form: "histogram", by: pick("dim1") };
      return { ...c, form: dx["summaryType"] === "heatmap" ? "heatmap" : "box" };
    case "hierarchy":
      return { ...c, x: "", by: "", form: dx["hierarchyType"] === "sunburst" || dx["hierarchyType"] === "partition" ? "sunburst" : "treemap", levels: dims.length > 0 ? dims : some("dim1", "dim2", "dim3") };
    case "network": return { ...c, form: "network" };
    case "parallel": return { ...c, form: "parallel", x: "", by: pick("dim1"), y: metrics };
    default: return null;
  }
}

/** A first chart that fits a table. */
export function suggest(t: Table): Choice {
  const named = (kind: string) => t.columns.filter((c) => c.kind === kind && c.name !== "index").map((c) => c.name);
  const numbers = named("number"), times = named("time"), words = named("text");
  const y = numbers.slice(0, 1);
  if (times[0] && y.length > 0) return { ...noChoice, form: "line", x: times[0], y };
  if (words[0]) return { ...noChoice, form: "bar", x: words[0], y };
  if (numbers[0] && numbers[1]) return { ...noChoice, form: "scatter", x: numbers[0], y: [numbers[1]] };
  return { ...noChoice, form: "histogram", y };
}
