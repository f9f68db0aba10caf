// Looks at a table: as the author shows it, as rows to sort and filter, as a chart,
// and column by column. In the editor what is chosen is kept in the notebook; on other
// pages it is who reads who looks, and nothing is kept.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useState } from "preact/hooks";
import type { RenderRequest } from "../api/render.ts";
import { useName } from "../components/name.ts";
import type { DataOutput, Json, JsonObject } from "../notebook/types.ts";
import { chosen, useRendered, type Place } from "../outputs/rendered.tsx";
import { ChartPanel } from "./ChartPanel.tsx";
import { fromDX, suggest, toDX, type Choice } from "./choice.ts";
import { pythonCode } from "./code.ts";
import { Grid } from "./Grid.tsx";
import { ProfilePanel } from "./ProfilePanel.tsx";
import "./explorer.css";
import { filterRows, makeTable, resourceTable, sortRows, type Filter, type Order, type Table } from "./table.ts";

/** A table that was read when it was first asked for, and the chart that its author chose. */
export interface Found {
  readonly output: DataOutput;
  readonly table: Table;
  readonly choice: Choice | null;
}

interface ExplorerProps {
  readonly output: DataOutput;
  readonly index: number;
  readonly cell: Place;
  /** What it is called; "Table of cell N" when it is not given. */
  readonly label?: string;
  /** The output as its author shows it. */
  readonly shown: ComponentChildren;
  /** Reads the table where the output does not hold it; without it, the server reads it out of the output. */
  readonly read?: () => Promise<Found>;
}

type Tab = "shown" | "table" | "chart" | "profile";
const tabNames: Readonly<Record<Tab, string>> = { shown: "As shown", table: "Table", chart: "Chart", profile: "Profile" };

export function Explorer({ output, index, cell, label, shown, read }: ExplorerProps) {
  const own = useMemo(() => resourceTable(output), [output]);
  const dx = chosen(output, index, cell.metadata);
  const stored = useMemo(() => fromDX(dx), [JSON.stringify(dx)]);
  const tabs: readonly Tab[] = own ? ["table", "chart", "profile"] : ["shown", "table", "chart", "profile"];
  const [tab, setTab] = useState<Tab | null>(null);
  const now: Tab = tab ?? (read ? "shown" : stored ? "chart" : own ? "table" : "shown");
  const id = useName();
  const keep = (choice: Choice | null) => {
    const before = cell.metadata["dx"];
    const all: Record<string, Json> = typeof before === "object" && before !== null && !Array.isArray(before) ? { ...(before as JsonObject) } : {};
    if (choice) all[String(index)] = toDX(choice);
    else all[String(index)] = { ...(dx ?? {}), view: "grid" };
    cell.setMetadata("dx", all);
  };
  const select = (to: Tab) => {
    setTab(to);
    if ((to === "table" || to === "shown") && stored) keep(null);
  };
  return <section class="x-box" aria-label={label ?? `Table of cell ${String(cell.number)}`}>
    <Body {...{ output, cell, own, now, stored, keep, shown, read, id }}
      tabs={<Tabs id={id} tabs={tabs} now={now} select={select} />} />
  </section>;
}

function Tabs({ id, tabs, now, select }: { id: string; tabs: readonly Tab[]; now: Tab; select: (t: Tab) => void }) {
  const move = (e: KeyboardEvent) => {
    const by = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
    if (by === 0) return;
    e.preventDefault();
    e.stopPropagation();
    const next = tabs[(tabs.indexOf(now) + by + tabs.length) % tabs.length] ?? now;
    select(next);
    document.getElementById(`${id}-${next}`)?.focus();
  };
  return <div class="x-tabs" role="tablist" aria-label="View of the table" onKeyDown={move}>
    {tabs.map((t) => <button key={t} type="button" role="tab" id={`${id}-${t}`} aria-selected={t === now} aria-controls={`${id}-panel`}
      tabIndex={t === now ? 0 : -1} onClick={() => { select(t); }}>{tabNames[t]}</button>)}
  </div>;
}

interface BodyProps {
  readonly output: DataOutput;
  readonly cell: Place;
  readonly own: Table | undefined;
  readonly now: Tab;
  readonly stored: Choice | null;
  readonly keep: (c: Choice | null) => void;
  readonly shown: ComponentChildren;
  readonly read: (() => Promise<Found>) | undefined;
  readonly id: string;
  readonly tabs: ComponentChildren;
}

function Body({ output, cell, own, now, stored, keep, shown, read, id, tabs }: BodyProps) {
  if (now === "shown") {
    return <><div class="x-bar">{tabs}</div><div class={read ? "x-panel x-shown" : "x-panel"} id={`${id}-panel`} role="tabpanel" aria-labelledby={`${id}-shown`} tabIndex={0}>{shown}</div></>;
  }
  if (own) return <Views {...{ output, cell, now, stored, keep, id, tabs }} table={own} />;
  if (read) return <Fetched {...{ output, cell, now, stored, keep, id, tabs }} read={read} />;
  return <Read {...{ output, cell, now, stored, keep, id, tabs }} />;
}

type ReadProps = Omit<BodyProps, "own" | "shown" | "read">;

/** Has the server read the table out of HTML. */
function Read(props: ReadProps) {
  const request = useMemo((): RenderRequest => ({ output: props.output, part: "table" }), [props.output]);
  const { rendered, failed, retry } = useRendered(props.cell, request);
  const read = rendered?.table;
  const table = useMemo(() => read ? makeTable(read.names, read.rows, read.whole) : null, [read]);
  if (table) return <Views {...props} table={table} />;
  return <Waits {...props} why={failed || rendered?.error || ""} retry={retry} />;
}

/** Reads the table from where it is. */
function Fetched({ read, ...props }: ReadProps & { read: () => Promise<Found> }) {
  const [found, setFound] = useState<Found | null>(null);
  const [why, setWhy] = useState("");
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let current = true;
    read().then(
      (f) => { if (current) setFound(f); },
      (err: unknown) => { if (current) setWhy(err instanceof Error ? err.message : String(err)); },
    );
    return () => { current = false; };
  }, [read, tries]);
  if (found) return <Views {...props} output={found.output} table={found.table} stored={props.stored ?? found.choice} />;
  return <Waits {...props} why={why} retry={() => { setWhy(""); setTries((n) => n + 1); }} />;
}

function Waits({ id, now, tabs, why, retry }: Pick<ReadProps, "id" | "now" | "tabs"> & { why: string; retry: () => void }) {
  return <><div class="x-bar">{tabs}</div><div class="x-panel" id={`${id}-panel`} role="tabpanel" aria-labelledby={`${id}-${now}`} tabIndex={0}>
    {why ? <p class="q-notice" role="alert">The table could not be read: {why}. <button type="button" class="x-plain" onClick={retry}>Try again</button></p> : <p class="q-notice" role="status">Reading the table…</p>}
  </div></>;
}

function Views({ output, cell, now, stored, keep, id, tabs, table }: ReadProps & { table: Table }) {
  const [filters, setFilters] = useState<readonly Filter[]>([]);
  const [order, setOrder] = useState<Order | null>(null);
  const [filtering, setFiltering] = useState(false);
  const [choice, setChoice] = useState<Choice>(stored ?? suggest(table));
  // Before anybody can choose: a later effect would put this choice in the place of theirs.
  useLayoutEffect(() => { if (stored) setChoice(stored); }, [JSON.stringify(stored)]);
  useLayoutEffect(() => { if (now === "chart" && !stored) keep(choice); }, [now]);
  const kept = useMemo(() => filterRows(table, filters), [table, filters]);
  const rows = useMemo(() => sortRows(table, kept, order), [table, kept, order]);
  return <>
    <div class="x-bar">{tabs}<span class="x-gap" />
      <span class="x-count" role="status">{countOf(table, now === "chart" ? table.rows.length : rows.length)}</span>
      {now === "table" && <button type="button" class="q-button" aria-pressed={filtering} onClick={() => { if (filtering) setFilters([]); setFiltering(!filtering); }}>Filter</button>}
      <Copy text={() => pythonCode(table, filters, order, now === "chart" ? choice : null)} />
    </div>
    <div class={now === "table" ? "x-panel x-table" : "x-panel"} id={`${id}-panel`} role="tabpanel" aria-labelledby={`${id}-${now}`} tabIndex={0}>
      {now === "table" && <Grid table={table} rows={rows} order={order} setOrder={setOrder} filters={filters} setFilters={setFilters} filtering={filtering} />}
      {now === "chart" && <ChartPanel table={table} output={output} cell={cell} choice={choice} choose={(c) => { setChoice(c); keep(c); }} />}
      {now === "profile" && <ProfilePanel table={table} rows={kept} />}
    </div>
  </>;
}

/** How many rows there are, pass the filters, and are left out. */
function countOf(table: Table, passed: number): string {
  const count = (n: number) => n.toLocaleString("en-US");
  const total = table.rows.length, cut = table.whole > total;
  const rows = cut ? `first ${count(total)} rows of ${count(table.whole)}` : `${count(total)} rows`;
  const all = cut ? `The ${rows}` : rows;
  return `${passed === total ? all : `${count(passed)} of ${cut ? "the " : ""}${rows}`}, ${count(table.columns.length)} columns`;
}

function Copy({ text }: { text: () => string }) {
  const [said, setSaid] = useState("");
  const copy = () => {
    // A page that came over plain HTTP has no clipboard.
    const clipboard = (navigator as { clipboard?: Clipboard }).clipboard;
    const refused = () => { setSaid("The browser did not allow it"); };
    if (clipboard) clipboard.writeText(text()).then(() => { setSaid("Copied"); }, refused);
    else refused();
  };
  return <><button type="button" class="q-button" onClick={copy} title="Pandas code that does the same to a data frame df">Copy as code</button>
    <span class="x-copied" role="status">{said}</span></>;
}
