// The source of a cell: coloured text until somebody edits it, then a text editor
// at the same place.
import type { EditorView } from "@codemirror/view";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import type { Cell } from "../notebook/document.ts";
import { isSQL } from "../notebook/sql.ts";
import { language, languageOf, makeView } from "./codemirror.ts";
import { languageNamed, loaded, pieces } from "./highlight.ts";
import { useEditor, useFact, useValue } from "./hooks.ts";

export function Source({ cell, number }: { cell: Cell; number: number }) {
  const ed = useEditor();
  const live = useFact(ed.live, (keys) => keys.includes(cell.key));
  const name = cell.type === "markdown" ? "markdown" : cell.type === "raw" ? "" : isSQL(cell.source) ? "sql" : ed.nb.language;
  return live ? <Live key={cell.key} cell={cell} name={name} number={number} /> : <Static cell={cell} name={name} />;
}

function Static({ cell, name }: { cell: Cell; name: string }) {
  const ed = useEditor();
  const version = useValue(loaded);
  const parts = useMemo(() => pieces(cell.source, name ? languageNamed(name) : null), [cell.source, name, version]);
  // A click puts the caret where it was; a drag selects text to copy it.
  const click = (e: MouseEvent) => {
    if (e.button !== 0 || e.shiftKey || getSelection()?.isCollapsed === false) return;
    ed.edit({ key: cell.key, from: offsetAt(e) ?? "end" });
  };
  return (
    <pre class="q-hl e-static" onClick={click}><code>{parts.map((p, i) => p.cls ? <span key={i} class={p.cls}>{p.text}</span> : p.text)}{"\n"}</code></pre>
  );
}

/** How many characters of the element stand before the point of a click. */
function offsetAt(e: MouseEvent): number | null {
  const range = document.caretRangeFromPoint?.(e.clientX, e.clientY);
  const root = e.currentTarget;
  if (!range || !(root instanceof Node) || !root.contains(range.startContainer)) return null;
  const before = document.createRange();
  before.selectNodeContents(root);
  before.setEnd(range.startContainer, range.startOffset);
  return before.toString().length;
}

function Live({ cell, name, number }: { cell: Cell; name: string; number: number }) {
  const ed = useEditor();
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const caret = useValue(ed.caret);
  const version = useValue(loaded);
  const text = ed.nb.text(cell.key);
  const label = `Source of cell ${number}`;

  useLayoutEffect(() => {
    if (!place.current || !text) return;
    const made = makeView(ed, cell.key, text, place.current, label, name ? languageNamed(name) : null, cell.type === "markdown");
    view.current = made;
    return () => {
      made.destroy();
      view.current = null;
    };
  }, [text, ed, cell.key]);

  useEffect(() => {
    view.current?.contentDOM.setAttribute("aria-label", label);
  }, [label, text]);

  useEffect(() => {
    view.current?.dispatch({ effects: language.reconfigure(languageOf(name ? languageNamed(name) : null)) });
  }, [name, version]);

  useLayoutEffect(() => {
    const v = view.current;
    if (!v || caret?.key !== cell.key) return;
    const length = v.state.doc.length;
    const at = caret.from === "start" ? 0 : caret.from === "end" ? length : Math.min(caret.from, length);
    v.focus();
    v.dispatch({ selection: { anchor: at, head: Math.min(caret.to ?? at, length) }, scrollIntoView: true });
  }, [caret, text]);

  return <div class="q-hl e-live" ref={place} />;
}
