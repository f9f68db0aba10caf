// One cell: its state in the gutter, its source or text, its outputs.
import { memo } from "../components/memo.ts";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Icon } from "../components/Icon.tsx";
import { Menu } from "../components/Menu.tsx";
import type { Cell } from "../notebook/document.ts";
import { objectOf } from "../notebook/document.ts";
import type { Connection } from "../api/platform.ts";
import { replaceText, setMetadata, structure, tagsOf } from "../notebook/edits.ts";
import { connectionOf, isSQL, withConnection } from "../notebook/sql.ts";
import { OutputList } from "../outputs/Output.tsx";
import type { CellContext } from "../outputs/rendered.tsx";
import * as act from "./actions.ts";
import { commandNamed } from "./commands.ts";
import { openComments } from "./comments.ts";
import type { Editor } from "./editor.ts";
import { useCell, useEditor, useFact, useValue } from "./hooks.ts";
import { shown } from "./keys.ts";
import { ParameterForm } from "./ParameterForm.tsx";
import { Source } from "./Source.tsx";

/** How a cell is, in a word for its label; "" when it is not worth a word. */
export function cellWord(cell: Cell, started: boolean): string {
  if (cell.type !== "code") return "";
  if (cell.running) return started ? "running" : "waiting";
  if (cell.outputs.some((o) => o.output_type === "error")) return "failed";
  return cell.count === null ? "not run" : "done";
}

const kindWords = { code: "code", sql: "SQL", markdown: "text", raw: "raw text" } as const;

export function kindWord(cell: Cell): string {
  return kindWords[cell.type === "code" && isSQL(cell.source) ? "sql" : cell.type];
}

export const CellView = memo(function CellView({ cellKey, number }: { cellKey: string; number: number }) {
  const ed = useEditor();
  const cell = useCell(ed.nb, cellKey);
  const root = useRef<HTMLElement>(null);
  const selected = useFact(ed.selected, (k) => k === cellKey);
  const head = useValue(ed.selected);
  const anchor = useFact(ed.anchor, (a) => (a === head ? null : a));
  const mode = useValue(ed.mode);
  const started = useFact(ed.nb.room, (r) => (cell ? r.running[cell.id] ?? null : null));
  const inRange = anchor !== null && ed.selection().includes(cellKey);

  // In command mode the focus is on the selected cell itself.
  useLayoutEffect(() => {
    if (selected && mode === "command" && root.current && document.activeElement !== root.current && wantsFocus()) {
      root.current.focus({ preventScroll: true });
    }
  }, [selected, mode]);

  if (!cell) return null;
  const word = cellWord(cell, started !== null);
  const label = ["Cell " + number, kindWord(cell), word].filter(Boolean).join(", ");
  const editing = selected && mode === "edit";
  const parameters = tagsOf(cell.metadata).includes("parameters");
  const cls = ["e-cell", "e-" + cell.type, selected && "e-selected", inRange && "e-range", editing && "e-editing", word === "failed" && "e-failed", cell.running && "e-running", parameters && "e-params"];
  return (
    <section class={cls.filter(Boolean).join(" ")} id={"cell-" + cellKey} ref={root} aria-label={label} tabIndex={selected ? 0 : -1}
      style={{ containIntrinsicBlockSize: `auto ${guess(cell)}px` }}
      onPointerDown={(e) => pressed(ed, cellKey, e)} onFocus={(e) => { if (e.target === e.currentTarget && ed.selected.now !== cellKey) ed.select(cellKey); }}>
      <Gutter cell={cell} number={number} started={started} />
      <div class="e-cellbody">
        {selected && <CellTools cell={cell} />}
        <Band cell={cell} />
        <div class={parameters ? "e-with-form" : undefined}>
          <Input cell={cell} number={number} />
          {parameters && cell.type === "code" && <ParameterForm cell={cell} />}
        </div>
        {cell.type === "code" && <Outputs cell={cell} number={number} />}
      </div>
    </section>
  );
});

/** Whether the focus is the notebook's to move: not while somebody is in a field or a dialog. */
function wantsFocus(): boolean {
  const at = document.activeElement;
  return at === null || at === document.body || at.closest(".e-notebook, .e-toolbar") !== null;
}

function guess(cell: Cell): number {
  const lines = cell.source.split("\n").length;
  const out = cell.outputs.reduce((n, o) => n + (o.output_type === "stream" ? Math.min(o.text.split("\n", 25).length * 19, 400) : 120), 0);
  return 24 + lines * 20 + out;
}

function pressed(ed: Editor, key: string, e: PointerEvent): void {
  if (e.button !== 0 || !(e.target instanceof Element)) return;
  if (e.shiftKey && !e.target.closest(".cm-editor")) {
    e.preventDefault();
    getSelection()?.removeAllRanges();
    ed.command();
    ed.select(key, true);
    return;
  }
  if (ed.selected.now !== key || ed.anchor.now !== key) ed.select(key);
  if (ed.mode.now === "edit" && !e.target.closest(".e-live, .e-static")) ed.command();
}

function Gutter({ cell, number, started }: { cell: Cell; number: number; started: string | null }) {
  const ed = useEditor();
  if (cell.type !== "code") return <div class="e-gutter"><Handle cell={cell} number={number} /></div>;
  return (
    <div class="e-gutter">
      <Handle cell={cell} number={number} />
      <button type="button" class="e-run" tabIndex={-1} title={`Run this cell (${shown("Ctrl+Enter")})`}
        onClick={() => { ed.select(cell.key); act.runSelected(ed); }}>
        <span class="q-vh">Run cell {number} </span>
        <span class="e-count"><Count cell={cell} started={started} /></span>
        <Icon name="play" />
      </button>
    </div>
  );
}

function Count({ cell, started }: { cell: Cell; started: string | null }) {
  if (!cell.running) return <>[{cell.count ?? " "}]</>;
  if (!started) return <>[*]</>;
  return <>[*]<Clock since={started} /></>;
}

/** How long something runs, from second to second. */
function Clock({ since }: { since: string }) {
  const [now, set] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.max(0, Math.round((now - Date.parse(since)) / 1000));
  if (!(seconds >= 1)) return null;
  return <span class="e-clock">{seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} m ${seconds % 60} s`}</span>;
}

/** Where a cell is taken to be dragged elsewhere. */
function Handle({ cell, number }: { cell: Cell; number: number }) {
  const ed = useEditor();
  return (
    <span class="e-handle" draggable title="Drag to move; Alt with ↑ or ↓ moves the selected cells" aria-hidden="true"
      onDragStart={(e) => {
        if (!ed.selection().includes(cell.key)) ed.select(cell.key);
        e.dataTransfer?.setData("application/x-quire-cells", cell.key);
        if (e.dataTransfer) e.dataTransfer.effectAllowed = "move";
        const section = document.getElementById("cell-" + cell.key);
        if (section) e.dataTransfer?.setDragImage(section, 20, 20);
      }} data-number={number}><Icon name="grip" /></span>
  );
}

function CellTools({ cell }: { cell: Cell }) {
  const ed = useEditor();
  const tool = (id: string, icon: Parameters<typeof Icon>[0]["name"], title: string) => {
    const c = commandNamed(id);
    const key = c?.command?.[0] ?? c?.both?.[0];
    return <button type="button" class="e-tool" title={key ? `${title} (${shown(key)})` : title} aria-label={title} onClick={() => c?.run(ed)}><Icon name={icon} /></button>;
  };
  const kind = act.kindOf(ed, cell.key);
  const item = (id: string) => {
    const c = commandNamed(id);
    const key = c?.command?.[0] ?? c?.both?.[0];
    return { label: c?.label ?? id, ...(key ? { hint: shown(key) } : {}), run: () => c?.run(ed) };
  };
  return (
    <div class="e-celltools" role="toolbar" aria-label="This cell">
      <Menu label={<>{({ code: "Code", sql: "SQL", markdown: "Text", raw: "Raw" })[kind]}</>} title="Type of the cell" cls="e-tool e-kind" items={[
        { label: "Code", hint: "Y", checked: kind === "code", run: () => act.convert(ed, "code") },
        { label: "SQL", checked: kind === "sql", run: () => act.convert(ed, "sql") },
        { label: "Text", hint: "M", checked: kind === "markdown", run: () => act.convert(ed, "markdown") },
        { label: "Raw", hint: "R", checked: kind === "raw", run: () => act.convert(ed, "raw") },
      ]} />
      {tool("move-up", "up", "Move up")}
      {tool("move-down", "down", "Move down")}
      {tool("comment", "comment", "Comment")}
      {tool("delete", "trash", "Delete")}
      <Menu wordless label={<Icon name="more" />} title="More for this cell" cls="e-tool" right items={[
        item("run-above"), item("run-below"), null, item("cut"), item("copy"), item("paste"), item("duplicate"), null,
        item("merge"), item("hide-input"), item("hide-output"), item("clear"), item("parameters"), null,
        { label: "Copy a link to this cell", run: () => void navigator.clipboard?.writeText(`${location.origin}${ed.config.base}/view/${ed.config.path.split("/").map(encodeURIComponent).join("/")}#cell-${cell.id}`) },
      ]} />
    </div>
  );
}

function Band({ cell }: { cell: Cell }) {
  const ed = useEditor();
  const tags = tagsOf(cell.metadata);
  const comments = openComments(cell.metadata);
  const title = tags.includes("parameters") ? "Parameters" : tags.includes("injected-parameters") ? "Parameters of a run" : cell.type === "raw" ? "Raw" : "";
  const rest = tags.filter((t) => t !== "parameters" && t !== "injected-parameters");
  const sql = cell.type === "code" && isSQL(cell.source);
  if (!title && rest.length === 0 && comments === 0 && !sql) return null;
  return (
    <div class="e-band">
      {sql && <SourcePicker cell={cell} />}
      {title && <b>{title}</b>}
      {rest.map((t) => <span class="q-tag" key={t}>{t}</span>)}
      {comments > 0 && <button type="button" class="e-comments" onClick={() => { ed.select(cell.key); ed.panel.set("comments"); }}><Icon name="comment" /> {comments} {comments === 1 ? "comment" : "comments"}</button>}
    </div>
  );
}

/** Where an SQL cell asks: its %%sql line names it. */
function SourcePicker({ cell }: { cell: Cell }) {
  const ed = useEditor();
  const [all, setAll] = useState<readonly Connection[]>([]);
  useEffect(() => {
    let current = true;
    ed.platform.connections().then((c) => { if (current) setAll(c); }, () => undefined); // the line can be written by hand
    return () => { current = false; };
  }, [ed]);
  const now = connectionOf(cell.source);
  const first = all.find((c) => c.default);
  const change = (name: string) => {
    const text = ed.nb.text(cell.key);
    if (text) replaceText(text, withConnection(text.toJSON(), name), structure);
  };
  return (
    <label class="e-connection" onKeyDown={(e) => { if (e.key !== "Escape" && !e.ctrlKey && !e.metaKey) e.stopPropagation(); }}>Source{" "}
      <select value={now} onChange={(e) => { change(e.currentTarget.value); }}>
        <option value="">{first ? `${first.name} (left out)` : "left out"}</option>
        {now && !all.some((c) => c.name === now) && <option value={now}>{now}</option>}
        {all.map((c) => <option key={c.name} value={c.name} title={c.description}>{c.name} ({c.engine})</option>)}
      </select>
    </label>
  );
}

function Input({ cell, number }: { cell: Cell; number: number }) {
  const ed = useEditor();
  const asSource = useFact(ed.sources, (keys) => keys.has(cell.key));
  const jupyter = objectOf(cell.metadata["jupyter"]);
  if (cell.type === "markdown" && !asSource) return <Text cell={cell} />;
  if (jupyter["source_hidden"] === true) {
    const first = cell.source.split("\n").find((l) => l.trim()) ?? "";
    return (
      <button type="button" class="e-hidden" title="Show the input" onClick={() => { ed.select(cell.key); act.toggleHidden(ed, "source_hidden"); }}>
        <Icon name="right" /> <span>Input, {plural(cell.source.split("\n").length, "line")}</span> <code>{first.slice(0, 80)}</code>
      </button>
    );
  }
  return <div class="e-source"><Source cell={cell} number={number} /></div>;
}

export function plural(n: number, word: string): string {
  return `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
}

/** A text cell as it reads; a double click shows its source. */
function Text({ cell }: { cell: Cell }) {
  const ed = useEditor();
  const [html, setHTML] = useState<string | null>(() => ed.rendering.known(cell.source, cell.attachments));
  useEffect(() => {
    let current = true;
    void ed.rendering.render(cell.source, cell.attachments).then((h) => { if (current) setHTML(h); });
    return () => { current = false; };
  }, [cell.source, cell.attachments]);
  const edit = () => ed.edit({ key: cell.key, from: "end" });
  if (cell.source.trim() === "") return <p class="e-empty" onClick={edit}>An empty text. Enter, or a click, begins to write.</p>;
  if (html === null) return <div class="q-text e-plain" onDblClick={edit}>{cell.source}</div>;
  return <div class="q-text" onDblClick={edit} dangerouslySetInnerHTML={{ __html: html }} />;
}

function Outputs({ cell, number }: { cell: Cell; number: number }) {
  const ed = useEditor();
  const kernel = useValue(ed.kernels.channel);
  const asked = useFact(ed.nb.room, (r) => (r.input?.cell === cell.id ? r.input : null));
  const notebookMetadata = useValue(ed.nb.metadata);
  const context = useMemo((): CellContext => ({
    config: ed.config, id: cell.id, number, language: ed.nb.language, metadata: cell.metadata, notebookMetadata,
    setMetadata: (name, value) => setMetadata(ed.nb, cell.key, name, value),
    trusted: true, kernel,
  }), [ed, cell.id, cell.key, number, cell.metadata, notebookMetadata, kernel]);
  if (cell.outputs.length === 0 && !asked) return null;
  const hidden = objectOf(cell.metadata["jupyter"])["outputs_hidden"] === true || cell.metadata["collapsed"] === true;
  if (hidden) {
    return (
      <button type="button" class="e-hidden" title="Show the output" onClick={() => { ed.select(cell.key); act.toggleHidden(ed, "outputs_hidden"); }}>
        <Icon name="right" /> <span>{plural(cell.outputs.length, "output")}</span>
      </button>
    );
  }
  return (
    <div class="e-outputs">
      <OutputList outputs={cell.outputs} cell={context} />
      {asked && <Question prompt={asked.prompt} password={asked.password} kernel={asked.kernel} />}
    </div>
  );
}

/** What a cell asks for with input(). */
function Question({ prompt, password, kernel }: { prompt: string; password: boolean; kernel: string }) {
  const ed = useEditor();
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  return (
    <form class="e-question" onKeyDown={(e) => e.stopPropagation()} onSubmit={(e) => {
      e.preventDefault();
      const value = field.current?.value ?? "";
      ed.attempt("The answer did not reach the kernel", ed.kernels.answer(ed.documentID, kernel, value));
    }}>
      <label><span>{prompt || "The cell asks for input:"}</span> <input ref={field} type={(password ? "password" : "text") as "text"} autoComplete="off" /></label>
      <button class="q-button">Send</button>
    </form>
  );
}
