import { useState } from "preact/hooks";
import type { Json } from "../notebook/types.ts";

const maxItems = 200;
const maxText = 2000;

/** JSON as lists that fold; what is folded is not in the page. */
export function Tree({ value }: { value: Json }) {
  return <div class="q-out q-json"><Value value={value} name="" depth={0} /></div>;
}

function Name({ name }: { name: string }) {
  return name === "" ? null : <><span class="k">{name}</span>: </>;
}

function Value({ value, name, depth }: { value: Json; name: string; depth: number }) {
  if (value === null || typeof value === "boolean") return <><Name name={name} /><span class="kc">{String(value)}</span></>;
  if (typeof value === "number") return <><Name name={name} /><span class="m">{String(value)}</span></>;
  if (typeof value === "string") {
    return <><Name name={name} /><span class="s">{JSON.stringify(value.slice(0, maxText))}</span>{value.length > maxText && "…"}</>;
  }
  return <Container value={value} name={name} depth={depth} />;
}

function Container({ value, name, depth }: { value: readonly Json[] | Readonly<Record<string, Json>>; name: string; depth: number }) {
  const list = Array.isArray(value);
  const entries = Object.entries(value as Readonly<Record<string, Json>>);
  const [open, setOpen] = useState(depth < 2);
  const [shown, setShown] = useState(maxItems);
  if (entries.length === 0) return <><Name name={name} /><span>{list ? "[ ]" : "{ }"}</span></>;
  return <details open={open} onToggle={(e) => { setOpen((e.currentTarget as HTMLDetailsElement).open); }}>
    <summary><Name name={name} />{list ? "list" : "object"}</summary>
    {open && <ul>{entries.slice(0, shown).map(([key, v]) => <li key={key}><Value value={v} name={key === "" ? '""' : key} depth={depth + 1} /></li>)}
      {entries.length > shown && <li><button type="button" class="o-plain" onClick={() => { setShown(shown * 5); }}>{`${String(entries.length - shown)} more`}</button></li>}
    </ul>}
  </details>;
}
