import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useName } from "../components/name.ts";
import type { RenderRequest } from "../api/render.ts";
import type { DataOutput } from "../notebook/types.ts";
import { Html, useRendered, type Place } from "../outputs/rendered.tsx";
import { fieldsOf, formNames, forms, noChoice, sums, toDX, type Choice, type Field, type FormName } from "./choice.ts";
import type { Table } from "./table.ts";

interface ChartPanelProps {
  readonly table: Table;
  readonly output: DataOutput;
  readonly cell: Place;
  readonly choice: Choice;
  readonly choose: (c: Choice) => void;
}

/** What the chart shows, and the chart as every page draws it. */
export function ChartPanel({ table, output, cell, choice, choose }: ChartPanelProps) {
  const id = useName();
  const request = useMemo((): RenderRequest => ({ output, part: "chart", dx: toDX(choice) }), [output, JSON.stringify(choice)]);
  const { rendered, failed, retry } = useRendered(cell, request);
  const last = useRef("");
  if (rendered?.html) last.current = rendered.html;
  const why = failed || rendered?.error;
  return <>
    <form class="x-form" aria-label="Chart" onSubmit={(e) => { e.preventDefault(); }}>
      <label for={`${id}-form`}>Chart<select id={`${id}-form`} value={choice.form} onChange={(e) => { choose(withForm(choice, e.currentTarget.value as FormName)); }}>
        {forms.map((f) => <option key={f} value={f}>{formNames[f]}</option>)}
      </select></label>
      {fieldsOf(choice.form).map((field) => <Pick key={field.key} id={`${id}-${field.key}`} field={field} table={table} choice={choice} choose={choose} />)}
    </form>
    {why ? <p class="q-notice" role="alert">{why}{failed && <> <button type="button" class="x-plain" onClick={retry}>Try again</button></>}</p>
      : <Html html={last.current} />}
  </>;
}

/** Keeps of a choice what another form has a place for. */
function withForm(c: Choice, form: FormName): Choice {
  const next: Choice = { ...noChoice, form, y: c.y, sum: c.sum };
  const has = (key: Field["key"]) => fieldsOf(form).some((f) => f.key === key);
  return {
    ...next, x: has("x") ? c.x || c.levels[0] || "" : "", by: has("by") ? c.by : "", size: has("size") ? c.size : "",
    levels: has("levels") ? c.levels.length > 0 ? c.levels : [c.x, c.by].filter(Boolean) : [],
    y: form === "line" || form === "parallel" ? c.y : c.y.slice(0, 1),
  };
}

interface PickProps {
  readonly id: string;
  readonly field: Field;
  readonly table: Table;
  readonly choice: Choice;
  readonly choose: (c: Choice) => void;
}

function Pick({ id, field, table, choice, choose }: PickProps) {
  const names = table.columns.filter((c) => !field.numbers || c.kind !== "text").map((c) => c.name);
  if (field.key === "sum") {
    return <label for={id}>{field.label}<select id={id} value={choice.sum} onChange={(e) => { choose({ ...choice, sum: e.currentTarget.value }); }}>
      <option value="">as fits</option>{sums.map((s) => <option key={s} value={s}>{s}</option>)}</select></label>;
  }
  const now = choice[field.key];
  if (field.many) return <Several id={id} field={field} names={names} now={Array.isArray(now) ? now as readonly string[] : []} change={(list) => { choose({ ...choice, [field.key]: list }); }} />;
  const one = Array.isArray(now) ? (now as readonly string[])[0] ?? "" : now as string;
  return <label for={id}>{field.label}<select id={id} value={one} onChange={(e) => {
    const v = e.currentTarget.value;
    choose({ ...choice, [field.key]: field.key === "y" ? v ? [v] : [] : v });
  }}>
    <option value="">{field.key === "by" || field.key === "size" ? "none" : "as fits"}</option>
    {names.map((n) => <option key={n} value={n}>{n}</option>)}
  </select></label>;
}

/** Several columns in the order in which they were picked. */
function Several({ id, field, names, now, change }: { id: string; field: Field; names: readonly string[]; now: readonly string[]; change: (list: readonly string[]) => void }) {
  const select = useRef<HTMLSelectElement>(null);
  const [local, setLocal] = useState(now);
  useEffect(() => { setLocal(now); }, [now.join("\n")]);
  return <label for={id}>{field.label}<select id={id} ref={select} multiple size={3} onChange={(e) => {
    const picked = [...e.currentTarget.selectedOptions].map((o) => o.value);
    const list = [...local.filter((n) => picked.includes(n)), ...picked.filter((n) => !local.includes(n))];
    setLocal(list);
    change(list);
  }}>{names.map((n) => <option key={n} value={n} selected={local.includes(n)}>{n}</option>)}</select></label>;
}
