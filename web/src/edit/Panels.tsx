// The columns beside the cells: the outline at the left; variables and comments at
// the right.
import { useRef, useState } from "preact/hooks";
import { Icon } from "../components/Icon.tsx";
import { later } from "../components/later.tsx";
import { newID, setMetadata } from "../notebook/edits.ts";
import { outlineOf } from "../notebook/outline.ts";
import * as act from "./actions.ts";
import { type Comment, commentsName, commentsOf, writeComments } from "./comments.ts";
import { useAllCells, useEditor, useValue } from "./hooks.ts";

const Variables = later(async () => (await import("../explorer/Variables.tsx")).Variables);

export function Outline() {
  const ed = useEditor();
  const cells = useAllCells(ed.nb);
  const selected = useValue(ed.selected);
  const entries = outlineOf(cells);
  const at = entries.findLastIndex((e) => ed.nb.indexOf(e.key) <= ed.nb.indexOf(selected ?? ""));
  return (
    <nav class="e-side q-outline" aria-label="Outline">
      <h2>Outline</h2>
      {entries.length === 0 && <p class="e-none">Headings of text cells, the parameters and errors are listed here.</p>}
      <ol>
        {entries.map((e, i) => (
          <li key={i}>
            <a class={[`q-l${Math.min(e.level, 6)}`, e.kind === "error" && "q-bad", i === at && "e-here"].filter(Boolean).join(" ")} href={"#cell-" + e.key} aria-current={i === at || undefined}
              onClick={(ev) => { ev.preventDefault(); ed.select(e.key); ed.command(); document.getElementById("cell-" + e.key)?.scrollIntoView({ block: "start" }); document.getElementById("cell-" + e.key)?.focus({ preventScroll: true }); }}>
              {e.kind === "error" ? "✕ " : ""}{e.text}
            </a>
          </li>
        ))}
      </ol>
    </nav>
  );
}

export function RightPanel() {
  const ed = useEditor();
  const panel = useValue(ed.panel);
  const kernel = useValue(ed.kernels.channel);
  if (panel !== "variables" && panel !== "comments") return null;
  const title = panel === "variables" ? "Variables" : "Comments";
  return (
    <aside class="e-side e-rightside" aria-label={title}>
      <div class="e-side-head"><h2>{title}</h2><button type="button" class="e-tool" aria-label={"Close " + title} onClick={() => ed.panel.set(null)}><Icon name="close" /></button></div>
      {panel === "variables" ? <Variables kernel={kernel} language={ed.nb.language} fallback={<p class="e-none" role="status">Loading…</p>} /> : <Comments />}
    </aside>
  );
}

function Comments() {
  const ed = useEditor();
  const cells = useAllCells(ed.nb);
  const selected = useValue(ed.selected);
  const field = useRef<HTMLTextAreaElement>(null);
  const [resolved, setResolved] = useState(false);
  const cell = cells.find((c) => c.key === selected);
  const number = selected ? ed.nb.indexOf(selected) + 1 : 0;
  const write = (key: string, list: readonly Comment[]) => setMetadata(ed.nb, key, commentsName, writeComments(list));
  const all = cells.flatMap((c) => commentsOf(c.metadata).filter((m) => resolved || !m.resolved).map((comment) => ({ cell: c, comment })));
  const add = (e: Event) => {
    e.preventDefault();
    const text = field.current?.value.trim();
    if (!cell || !text || !field.current) return;
    write(cell.key, [...commentsOf(cell.metadata), { id: newID(), author: ed.config.user.label, at: new Date().toISOString(), text, resolved: false }]);
    field.current.value = "";
    ed.say("The comment was added.");
  };
  return (
    <div class="e-commentlist">
      {cell && (
        <form onSubmit={add} onKeyDown={(e) => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) add(e); e.stopPropagation(); }}>
          <label for="new-comment">Comment on cell {number}</label>
          <textarea id="new-comment" ref={field} rows={3} maxLength={4000} />
          <button class="q-button">Comment</button>
        </form>
      )}
      {all.length === 0 && <p class="e-none">No comments. They are kept in the notebook, and readers see them.</p>}
      <ul>
        {all.map(({ cell: c, comment }) => (
          <li key={comment.id} class={c.key === selected ? "e-here" : undefined}>
            <p class="e-by"><b>{comment.author}</b> <time dateTime={comment.at} title={comment.at}>{when(comment.at)}</time> · <a href={"#cell-" + c.key} onClick={(e) => { e.preventDefault(); ed.select(c.key); act.reveal(c.key); }}>cell {ed.nb.indexOf(c.key) + 1}</a></p>
            <p class={comment.resolved ? "e-resolved" : undefined}>{comment.text}</p>
            <p class="e-do">
              <button type="button" class="s-plain" onClick={() => write(c.key, commentsOf(c.metadata).map((m) => (m.id === comment.id ? { ...m, resolved: !m.resolved } : m)))}>{comment.resolved ? "Reopen" : "Resolve"}</button>
              <button type="button" class="s-plain" onClick={() => write(c.key, commentsOf(c.metadata).filter((m) => m.id !== comment.id))}>Delete</button>
            </p>
          </li>
        ))}
      </ul>
      <label class="s-check"><input type="checkbox" checked={resolved} onChange={(e) => setResolved(e.currentTarget.checked)} /> Show resolved</label>
    </div>
  );
}

function when(at: string): string {
  const t = new Date(at);
  return Number.isNaN(t.getTime()) ? "" : t.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
