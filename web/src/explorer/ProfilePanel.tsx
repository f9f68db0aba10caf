import { useMemo } from "preact/hooks";
import { profile, shortNumber, type Profile } from "./profile.ts";
import type { Table } from "./table.ts";

const shownColumns = 100;

/** Each column in numbers and with a picture of its values. */
export function ProfilePanel({ table, rows }: { table: Table; rows: readonly number[] }) {
  const all = useMemo(() => table.columns.slice(0, shownColumns).map((_, n) => profile(table, n, rows)), [table, rows]);
  return <>
    <table class="x-grid">
      <thead><tr>{["Column", "Type", "None", "Distinct", "Least", "Median", "Mean", "Greatest", "Values"].map((h, n) =>
        <th key={h} scope="col" class={n > 1 && n < 8 ? "x-num" : ""}>{h}</th>)}</tr></thead>
      <tbody>{all.map((p) => <tr key={p.column.name}>
        <th scope="row">{p.column.name}</th><td>{p.column.kind}</td>
        <td class="x-num">{p.rows > 0 ? `${(p.none / p.rows * 100).toLocaleString("en-US", { maximumSignificantDigits: 3 })} %` : ""}</td>
        <td class="x-num">{p.distinct.toLocaleString("en-US")}</td>
        <td class="x-num">{p.min.slice(0, 40)}</td>
        <td class="x-num">{p.median === null ? "" : shortNumber(p.median)}</td><td class="x-num">{p.mean === null ? "" : shortNumber(p.mean)}</td>
        <td class="x-num">{p.max.slice(0, 40)}</td>
        <td><Spark p={p} /></td>
      </tr>)}</tbody>
    </table>
    {table.columns.length > shownColumns && <p class="q-more">The first {shownColumns} of {table.columns.length} columns.</p>}
  </>;
}

/** How the values of a column are spread. */
function Spark({ p }: { p: Profile }) {
  const most = Math.max(...p.bins.map((b) => b.count), 1);
  const wide = 120 / Math.max(p.bins.length, 1);
  const common = p.column.kind === "text" ? `Most common: ${p.bins.slice(0, 3).map((b) => `${b.name.slice(0, 40)} (${String(b.count)})`).join(", ")}` : `Histogram of ${p.column.name}`;
  return <svg class="x-spark" viewBox="0 0 120 28" role="img" aria-label={p.bins.length > 0 ? common : "no values"}>
    {p.bins.map((b, n) => <rect key={n} x={n * wide} y={28 - 26 * b.count / most} width={Math.max(wide - 1, 1)} height={26 * b.count / most}><title>{`${b.name.slice(0, 80)}: ${String(b.count)}`}</title></rect>)}
  </svg>;
}
