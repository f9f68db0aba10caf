import { useEffect, useState } from "preact/hooks";
import type { Json } from "../notebook/types.ts";
import { parseFilter, shownValue, type Filter, type Order, type Table } from "./table.ts";

interface GridProps {
  readonly table: Table;
  /** The rows in their order, by index. */
  readonly rows: readonly number[];
  readonly order: Order | null;
  readonly setOrder: (o: Order | null) => void;
  readonly filters: readonly Filter[];
  readonly setFilters: (f: readonly Filter[]) => void;
  readonly filtering: boolean;
}

const pageRows = 50;

/** The rows, a page at a time, as a table that sorts and filters. */
export function Grid({ table, rows, order, setOrder, filters, setFilters, filtering }: GridProps) {
  const [page, setPage] = useState(0);
  useEffect(() => { setPage(0); }, [rows]);
  const first = page * pageRows;
  const here = rows.slice(first, first + pageRows);
  const sort = (column: number) => {
    if (order?.column !== column) setOrder({ column, down: false });
    else setOrder(order.down ? null : { column, down: true });
  };
  return <>
    <table class="x-grid">
      <thead>
        <tr>{table.columns.map((c, n) => {
          const by = order?.column === n ? order : null;
          return <th key={n} scope="col" class={c.kind === "number" ? "x-num" : ""} aria-sort={by ? by.down ? "descending" : "ascending" : "none"}>
            <button type="button" class="x-sort" onClick={() => { sort(n); }}>{c.name}{by && <span class="x-arrow" aria-hidden="true"> {by.down ? "▼" : "▲"}</span>}
              <span class="x-kind">{c.kind}</span></button></th>;
        })}</tr>
        {filtering && <tr class="x-filters">{table.columns.map((c, n) => {
          const text = filters.find((f) => f.column === n)?.text ?? "";
          const bad = parseFilter(text, c.kind) === "invalid";
          return <th key={n} scope="col"><input value={text} aria-label={`Filter ${c.name}`} aria-invalid={bad} placeholder={c.kind === "number" ? "> 5, 1..9" : "contains"}
            title={bad ? `${c.name} holds numbers: type a number after the sign` : "Text that is in the value, or = != < <= > >= and a value"}
            onInput={(e) => { setFilters([...filters.filter((f) => f.column !== n), { column: n, text: e.currentTarget.value }]); }} /></th>;
        })}</tr>}
      </thead>
      <tbody>{here.map((r) => <tr key={r}>{table.columns.map((c, n) => <Cell key={n} value={table.rows[r]?.[n]} number={c.kind === "number"} />)}</tr>)}</tbody>
    </table>
    {rows.length === 0 && <p class="q-notice">No row passes the filters.</p>}
    {rows.length > pageRows && <p class="x-bar">
      <button type="button" class="q-button" disabled={page === 0} onClick={() => { setPage(page - 1); }}>Previous</button>
      <span role="status">{`${(first + 1).toLocaleString("en-US")}–${(first + here.length).toLocaleString("en-US")} of ${rows.length.toLocaleString("en-US")}`}</span>
      <button type="button" class="q-button" disabled={first + pageRows >= rows.length} onClick={() => { setPage(page + 1); }}>Next</button>
    </p>}
  </>;
}

function Cell({ value, number }: { value: Json | undefined; number: boolean }) {
  if (value === null || value === undefined) return <td class={number ? "x-num x-none" : "x-none"}>none</td>;
  const text = shownValue(value);
  return <td class={number ? "x-num" : ""} {...(text.length > 60 ? { title: text.slice(0, 1000) } : {})}>{text.slice(0, 500)}</td>;
}
