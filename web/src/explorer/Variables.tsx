// The list of the kernel's variables, a panel of the editor.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Dialog } from "../components/Dialog.tsx";
import { later } from "../components/later.tsx";
import { readConfig } from "../config.ts";
import type { KernelPort } from "../kernel/port.ts";
import type { DataOutput, Json, JsonObject } from "../notebook/types.ts";
import type { CellContext } from "../outputs/rendered.tsx";
import "./explorer.css";
import { listVariables, readTable, type Variable } from "./inspect.ts";
import { isListing, listVariablesR, readTableR } from "./inspectR.ts";

const Explorer = later(async () => (await import("./Explorer.tsx")).Explorer);

/** How a kernel is asked. */
interface Asked {
  readonly list: (kernel: KernelPort) => Promise<readonly Variable[]>;
  readonly table: (kernel: KernelPort, name: string) => Promise<DataOutput>;
}

const python: Asked = { list: listVariables, table: readTable };
const r: Asked = { list: listVariablesR, table: readTableR };

export function Variables({ kernel, language }: { kernel: KernelPort | null; language: string }) {
  const speaks = language === "" || /^python/i.test(language) ? python : /^r$/i.test(language) ? r : null;
  if (!speaks) return <p class="e-none">Variables are listed for Python and R kernels; this one speaks {language}.</p>;
  if (!kernel) return <p class="e-none">Start the kernel to see its variables.</p>;
  return <List key={kernel.id} kernel={kernel} {...speaks} />;
}

function size(bytes: number): string {
  if (bytes <= 0) return "";
  if (bytes < 1024) return `${String(bytes)} B`;
  if (bytes < 1 << 20) return `${String(Math.round(bytes / 1024))} KB`;
  return bytes < 1 << 30 ? `${(bytes / (1 << 20)).toFixed(1)} MB` : `${(bytes / (1 << 30)).toFixed(1)} GB`;
}

function List({ kernel, list: ask, table }: Asked & { kernel: KernelPort }) {
  const [list, setList] = useState<readonly Variable[] | null>(null);
  const [failed, setFailed] = useState("");
  const [filter, setFilter] = useState("");
  const [open, setOpen] = useState<{ name: string; output: DataOutput } | null>(null);
  const asking = useRef(false), again = useRef(false);
  const read = useCallback(() => {
    // An answer that is on its way may be from before the cell that ended now.
    again.current = asking.current;
    if (asking.current) return;
    asking.current = true;
    ask(kernel).then(
      (found) => { setList(found); setFailed(""); },
      (err: unknown) => { setFailed(err instanceof Error ? err.message : String(err)); },
    ).finally(() => {
      asking.current = false;
      if (again.current) read();
    });
  }, [kernel, ask]);
  useEffect(() => {
    if (kernel.state() === "idle") read();
    // Only a cell announces its input, and in R the list itself.
    let ran = kernel.state() !== "idle";
    return kernel.listen((m) => {
      if (m.header.msg_type === "execute_input" && !isListing(m.content["code"])) ran = true;
      // The kernel is another one: it has none of them.
      if (m.header.msg_type === "status" && (m.content["execution_state"] === "starting" || m.content["execution_state"] === "restarting")) setList([]);
      if (ran && m.header.msg_type === "status" && m.content["execution_state"] === "idle") {
        ran = false;
        read();
      }
    });
  }, [kernel, read]);
  const explore = (name: string) => {
    table(kernel, name).then((output) => { setOpen({ name, output }); }, (err: unknown) => { setFailed(`${name} could not be read: ${err instanceof Error ? err.message : String(err)}`); });
  };
  const shown = list?.filter((v) => v.name.toLowerCase().includes(filter.toLowerCase()));
  return <div class="x-vars">
    <input type="search" value={filter} placeholder="Filter" aria-label="Filter the variables" onInput={(e) => { setFilter(e.currentTarget.value); }} onKeyDown={(e) => { e.stopPropagation(); }} />
    {failed && <p class="q-notice" role="alert">{failed} <button type="button" class="x-plain" onClick={read}>Try again</button></p>}
    {shown === undefined ? !failed && <p class="e-none" role="status">{kernel.state() === "busy" ? "Listed when the kernel is idle." : "Asking the kernel…"}</p>
      : shown.length === 0 ? <p class="e-none">{filter ? "No variable of that name." : "No variables yet."}</p>
        : <table class="x-grid"><thead><tr><th scope="col">Name</th><th scope="col">Type</th><th scope="col">Shape</th><th scope="col" class="x-num">Size</th></tr></thead>
          <tbody>{shown.map((v) => <tr key={v.name}>
            <th scope="row" title={v.preview}>{v.table ? <button type="button" class="x-plain" title={`Explore ${v.name}`} onClick={() => { explore(v.name); }}>{v.name}</button> : v.name}
              {v.preview && <span class="x-kind">{v.preview.slice(0, 60)}</span>}</th>
            <td>{v.type}</td><td>{v.shape}</td><td class="x-num">{size(v.bytes)}</td>
          </tr>)}</tbody></table>}
    {open && <Dialog title={open.name} close={() => { setOpen(null); }} cls="x-dialog"><Look name={open.name} output={open.output} kernel={kernel} close={() => { setOpen(null); }} /></Dialog>}
  </div>;
}

/** A table variable in the explorer; what is chosen there stays there. */
function Look({ name, output, kernel, close }: { name: string; output: DataOutput; kernel: KernelPort; close: () => void }) {
  const [metadata, setMetadata] = useState<JsonObject>({});
  const cell: CellContext = {
    config: readConfig(document), id: "variable", number: 1, language: "python", metadata, notebookMetadata: {}, trusted: true, kernel,
    setMetadata: (key: string, value: Json | undefined) => { setMetadata((m) => ({ ...m, [key]: value ?? null })); },
  };
  const whole = output.metadata["whole"];
  const rows = ((output.data["application/vnd.dataresource+json"] as JsonObject)["data"] as readonly Json[]).length;
  return <>
    <h2>{name}</h2>
    {typeof whole === "number" && whole > rows && <p class="q-more">The first {rows.toLocaleString("en-US")} of {whole.toLocaleString("en-US")} rows.</p>}
    <Explorer output={output} index={0} cell={cell} shown={null} fallback={<p class="q-notice" role="status">Loading…</p>} />
    <p><button type="button" class="q-button" onClick={close}>Close</button></p>
  </>;
}
