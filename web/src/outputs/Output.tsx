// The seam between the editor and what renders outputs. The editor shows the
// outputs of a cell by OutputList and knows nothing about media types.
import { useMemo, useState } from "preact/hooks";
import { getLargeOutput, type RenderRequest } from "../api/render.ts";
import { later } from "../components/later.tsx";
import type { CellOutput, DataOutput, ErrorOutput, Json } from "../notebook/types.ts";
import { overstrike, stripAnsi } from "./ansi.ts";
import { Cap } from "./Cap.tsx";
import { choose, pictureOf, textOf } from "./choose.ts";
import { Frame, type Shown } from "./Frame.tsx";
import { chosen, Html, useRendered, type CellContext } from "./rendered.tsx";
import { Ansi, countOf, TextOutput } from "./Text.tsx";
import { Tree } from "./Tree.tsx";
import "./outputs.css";

const Widget = later(async () => (await import("./Widget.tsx")).Widget);
const Explorer = later(async () => (await import("../explorer/Explorer.tsx")).Explorer);

export interface OutputProps {
  readonly output: CellOutput;
  /** Its place in the cell, from 0. */
  readonly index: number;
  readonly cell: CellContext;
}

/** One output. */
export function Output({ output, index, cell }: OutputProps) {
  switch (output.output_type) {
    case "stream":
      return <TextOutput text={textOf(output.text)} class={output.name === "stderr" ? "q-out q-stream q-stderr" : "q-out q-stream"}
        label={`Text of cell ${String(cell.number)}${output.name === "stderr" ? ", stderr" : ""}`} />;
    case "error":
      return <Failure output={output} />;
    default:
      return <Data output={output} index={index} cell={cell} />;
  }
}

/** All outputs of a cell. */
export function OutputList({ outputs, cell }: { outputs: readonly CellOutput[]; cell: CellContext }) {
  return <>{outputs.map((output, index) => <Output key={index} output={output} index={index} cell={cell} />)}</>;
}

/** What went wrong first; the traceback is one click away. */
function Failure({ output }: { output: ErrorOutput }) {
  const value = stripAnsi(textOf(output.evalue)).trim();
  const traceback = Array.isArray(output.traceback) ? overstrike(output.traceback.map(textOf).join("\n")).replace(/\n+$/, "") : "";
  return <div class="q-out q-error">
    <p><b>{textOf(output.ename).slice(0, 200)}</b>{value && ": "}{value.slice(0, 2000)}{value.length > 2000 && "…"}</p>
    {traceback && <details><summary>Traceback, {countOf(traceback.split("\n").length, "line")}</summary>
      <pre><Ansi text={traceback.slice(0, 256 << 10)} /></pre></details>}
  </div>;
}

function Data({ output, index, cell }: OutputProps & { output: DataOutput }) {
  const form = choose(output);
  switch (form.kind) {
    case "none":
      return null;
    case "large":
      return <Large hash={form.hash} bytes={form.bytes} index={index} cell={cell} />;
    case "widget":
      return <Widget model={form.model} cell={cell} fallback={<Plain output={output} />} />;
    case "drawing":
      return <Drawing output={output} mime={form.mime} shell={form.shell} cell={cell} />;
    case "table":
      return <Explorer output={output} index={index} cell={cell} shown={<Remote output={output} index={index} cell={cell} />}
        fallback={<Remote output={output} index={index} cell={cell} />} />;
    case "server":
      return <Remote output={output} index={index} cell={cell} />;
    case "image":
      return <Picture output={output} mime={form.mime} cell={cell} />;
    case "json":
      return <JsonOutput value={output.data[form.mime] ?? null} />;
    case "text":
      return <Plain output={output} />;
  }
}

function Plain({ output }: { output: DataOutput }) {
  return <TextOutput text={textOf(output.data["text/plain"])} class="q-out" label="Text output" />;
}

function JsonOutput({ value }: { value: Json }) {
  const parsed = useMemo((): Json => {
    if (typeof value !== "string") return value;
    try {
      return JSON.parse(value) as Json;
    } catch {
      return value;
    }
  }, [value]);
  return <Tree value={parsed} />;
}

function Picture({ output, mime, cell }: { output: DataOutput; mime: string; cell: CellContext }) {
  const p = useMemo(() => pictureOf(output, mime, cell.number), [output, mime, cell.number]);
  if (p.src === "") return <p class="q-notice">An image that is damaged: its data is not base64.</p>;
  return <div class="q-out q-image"><img src={p.src} alt={p.alt} width={p.width} height={p.height} loading="lazy" decoding="async" /></div>;
}

function Drawing({ output, mime, shell, cell }: { output: DataOutput; mime: string; shell: string; cell: CellContext }) {
  const shown = useMemo((): Shown => ({ mime, data: output.data[mime] }), [output, mime]);
  return <Frame src={`${cell.config.base}/shell/${shell}`} title={`Interactive output of cell ${String(cell.number)}`} shown={shown} height={460} awake={cell.trusted} />;
}

/** An output as the server renders it, or its frame. */
export function Remote({ output, index, cell }: { output: DataOutput; index: number; cell: CellContext }) {
  const request = useMemo((): RenderRequest => {
    const dx = chosen(output, index, cell.metadata);
    return { output, cell: cell.number, ...(dx ? { dx } : {}) };
  }, [output, index, cell.number, cell.metadata]);
  const { rendered, failed, retry } = useRendered(cell, request);
  const html = textOf(output.data["text/html"]);
  const shown = useMemo((): Shown => ({ html: /^\s*<!doctype/i.test(html) ? html : "<!doctype html>\n" + html }), [html]);
  if (rendered?.frame === "text/html") {
    return <Frame src={`${cell.config.base}/shell/html`} title={`Interactive output of cell ${String(cell.number)}`} shown={shown} awake={cell.trusted} />;
  }
  if (rendered?.html !== undefined) return <Cap label={`Output of cell ${String(cell.number)}`}><Html html={rendered.html} /></Cap>;
  const why = failed || rendered?.error;
  if (!why) return <div class="o-waits"><Plain output={output} /></div>;
  return <><Plain output={output} /><p class="q-notice" role="status">This output is shown as text: {why}. <button type="button" class="o-plain" onClick={retry}>Try again</button></p></>;
}

/** An output that is too large for the document: read when it is asked for. */
function Large({ hash, bytes, index, cell }: { hash: string; bytes: number; index: number; cell: CellContext }) {
  const [whole, setWhole] = useState<CellOutput | null>(null);
  const [state, setState] = useState<"" | "reads" | { failed: string }>("");
  const size = `${(bytes / (1 << 20)).toFixed(1)} MB`;
  if (whole) return <Output output={whole} index={index} cell={cell} />;
  const read = () => {
    setState("reads");
    getLargeOutput(cell.config.server, hash).then(setWhole, (err: unknown) => { setState({ failed: err instanceof Error ? err.message : String(err) }); });
  };
  return <p class="q-more">A large output. <button type="button" class="o-plain" disabled={state === "reads"} onClick={read}>
    {state === "reads" ? `Loading ${size}…` : `Load ${size}`}</button>{typeof state === "object" && <span role="alert"> {state.failed}</span>}</p>;
}
