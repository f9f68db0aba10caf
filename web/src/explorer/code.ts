// What was done to a table by hand, as code that does the same.
import type { Choice } from "./choice.ts";
import { parseFilter, type Filter, type Order, type Table } from "./table.ts";

const py = (s: string) => JSON.stringify(s);

/** Pandas for the filters, the order and the chart; df is the data frame. */
export function pythonCode(t: Table, filters: readonly Filter[], order: Order | null, choice: Choice | null): string {
  const lines: string[] = [];
  const tests: string[] = [];
  for (const f of filters) {
    const column = t.columns[f.column];
    const test = column ? parseFilter(f.text, column.kind) : null;
    if (!column || test === null || test === "invalid") continue;
    const at = `df[${py(column.name)}]`;
    const value = column.kind === "number" ? test.value : py(test.value);
    if (test.op === "has") tests.push(`${at}.astype(str).str.contains(${py(test.value)}, case=False, regex=False)`);
    else if (test.op === "in") tests.push(`${at}.between(${test.value}, ${test.to})`);
    else if (test.value === "") tests.push(test.op === "=" ? `${at}.isna()` : `${at}.notna()`);
    else tests.push(`${at} ${test.op === "=" ? "==" : test.op} ${value}`);
  }
  let expr = "df";
  if (tests.length > 0) expr += tests.length === 1 ? `[${tests.join("")}]` : `[${tests.map((s) => `(${s})`).join(" & ")}]`;
  const sorted = order ? t.columns[order.column] : undefined;
  if (order && sorted) expr += `.sort_values(${py(sorted.name)}${order.down ? ", ascending=False" : ""})`;
  if (expr !== "df") lines.push(`view = ${expr}`);
  const name = expr === "df" ? "df" : "view";
  if (choice) lines.push(plotCode(name, choice));
  return (lines.length > 0 ? lines.join("\n") : "df") + "\n";
}

function plotCode(df: string, c: Choice): string {
  const y = c.y[0] ?? "", list = (names: readonly string[]) => `[${names.map(py).join(", ")}]`;
  const sum = c.sum || "sum";
  switch (c.form) {
    case "bar": {
      const keys = c.by ? list([c.x, c.by]) : py(c.x);
      const value = y ? `[${py(y)}].${sum}()` : ".size()";
      return `${df}.groupby(${keys})${value}${c.by ? ".unstack()" : ""}.plot.bar(${c.by ? "stacked=True" : ""})`;
    }
    case "line": case "area": {
      const kind = c.form === "line" ? "line" : "area";
      if (c.by) return `${df}.pivot_table(index=${py(c.x)}, columns=${py(c.by)}, values=${py(y)}, aggfunc=${py(c.sum || "mean")}).plot.${kind}()`;
      return c.x ? `${df}.plot.${kind}(x=${py(c.x)}, y=${list(c.y)})` : `${df}[${list(c.y)}].plot.${kind}()`;
    }
    case "scatter": return `${df}.plot.scatter(x=${py(c.x)}, y=${py(y)}${c.size ? `, s=${py(c.size)}` : ""})`;
    case "histogram": return `${df}[${py(y)}].plot.hist(bins=30)`;
    case "box": return `${df}.boxplot(column=${py(y)}${c.x ? `, by=${py(c.x)}` : ""})`;
    case "heatmap": return `${df}.pivot_table(index=${py(c.by)}, columns=${py(c.x)}${y ? `, values=${py(y)}, aggfunc=${py(c.sum || "mean")}` : `, aggfunc="size"`}).style.background_gradient()`;
    case "treemap": case "sunburst": return `${df}.groupby(${list(c.levels)})${y ? `[${py(y)}].sum()` : ".size()"}`;
    case "network": return `${df}.groupby(${list([c.x, c.by])})${y ? `[${py(y)}].sum()` : ".size()"}`;
    case "parallel": return `from pandas.plotting import parallel_coordinates\nparallel_coordinates(${df}[${list(c.by ? [...c.y, c.by] : c.y)}], ${c.by ? py(c.by) : py(c.y[0] ?? "")})`;
  }
}
