// All cells, one below the other. They are mounted a few at a time, so that the
// first are there at once; what is out of sight costs the browser no layout.
import { memo } from "../components/memo.ts";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../components/Icon.tsx";
import { moveCells } from "../notebook/edits.ts";
import * as act from "./actions.ts";
import { CellView } from "./CellView.tsx";
import { keysOf } from "./commands.ts";
import type { Editor } from "./editor.ts";
import { useEditor, useValue } from "./hooks.ts";
import { keyOf, KeySequence } from "./keys.ts";

const firstMount = 24;
const mountStep = 60;

export function Notebook() {
  const ed = useEditor();
  const order = useValue(ed.nb.order);
  const synced = useValue(ed.room.synced);
  const mounted = useMounted(ed, order);
  const list = useRef<HTMLDivElement>(null);
  const [drop, setDrop] = useState<number | null>(null);
  useNotebookKeys(ed, list);

  if (!synced) return <Skeleton />;
  const over = (e: DragEvent) => {
    if (!e.dataTransfer?.types.includes("application/x-quire-cells")) return;
    e.preventDefault();
    setDrop(dropIndex(list.current, e.clientY));
  };
  const dropped = (e: DragEvent) => {
    e.preventDefault();
    const keys = ed.selection();
    if (drop !== null) moveCells(ed.nb, keys, drop - keys.filter((k) => ed.nb.indexOf(k) < drop).length);
    setDrop(null);
  };
  return (
    <div class="e-notebook" ref={list} onDragOver={over} onDrop={dropped} onDragLeave={(e) => { if (e.target === list.current) setDrop(null); }} onDragEnd={() => setDrop(null)}>
      {order.length === 0 && <p class="e-none e-nothing">This notebook has no cells yet.</p>}
      {order.slice(0, mounted).map((key, i) => [
        <Inserter key={"+" + key} at={i} drop={drop === i} />,
        <CellView key={key} cellKey={key} number={i + 1} />,
      ])}
      {mounted >= order.length && <Inserter key="+end" at={order.length} drop={drop === order.length} last />}
    </div>
  );
}

/** How many cells are mounted: more from frame to frame, until all are. */
function useMounted(ed: Editor, order: readonly string[]): number {
  const [mounted, set] = useState(firstMount);
  const selected = useValue(ed.selected);
  const wanted = selected ? order.indexOf(selected) + firstMount : 0;
  const now = Math.max(mounted, wanted);
  useEffect(() => {
    if (now >= order.length) return;
    const timer = setTimeout(() => set(now + mountStep), 0);
    return () => clearTimeout(timer);
  }, [now, order.length]);
  return now;
}

/** The place before which something dropped at y goes. */
function dropIndex(list: HTMLElement | null, y: number): number {
  const cells = [...(list?.querySelectorAll<HTMLElement>(":scope > .e-cell") ?? [])];
  const at = cells.findIndex((cell) => {
    const box = cell.getBoundingClientRect();
    return y < box.top + box.height / 2;
  });
  return at < 0 ? cells.length : at;
}

const Inserter = memo(function Inserter({ at, drop, last = false }: { at: number; drop: boolean; last?: boolean }) {
  const ed = useEditor();
  // A thousand gaps have no buttons until the mouse comes near.
  const [near, setNear] = useState(last);
  return (
    <div class={["e-insert", drop && "e-drop", last && "e-last"].filter(Boolean).join(" ")} onPointerEnter={near ? undefined : () => setNear(true)}>
      {near && <div class="e-insert-in">
        <button type="button" tabIndex={last ? 0 : -1} onClick={() => act.insertAt(ed, at, { type: "code", source: "" }, true)}><Icon name="plus" />Code</button>
        <button type="button" tabIndex={last ? 0 : -1} onClick={() => act.insertAt(ed, at, { type: "code", source: "%%sql\n" }, true)}><Icon name="plus" />SQL</button>
        <button type="button" tabIndex={last ? 0 : -1} onClick={() => act.insertAt(ed, at, { type: "markdown", source: "" }, true)}><Icon name="plus" />Text</button>
      </div>}
    </div>
  );
});

/** The keys of command mode, and those of the whole page. */
function useNotebookKeys(ed: Editor, list: preact.RefObject<HTMLElement | null>): void {
  useLayoutEffect(() => {
    const command = new KeySequence(keysOf("command"));
    const both = new KeySequence(keysOf("edit"));
    const press = (e: KeyboardEvent) => {
      if (e.defaultPrevented || e.isComposing) return;
      const at = e.target instanceof Element ? e.target : null;
      const typing = at?.closest(".cm-editor, input, textarea, select, dialog") !== null && at !== null;
      // A button or a link keeps what presses it.
      const button = at?.closest("button, a, summary, [role=menuitem]") !== null && at !== null;
      const inCells = !at || at === document.body || list.current?.contains(at) === true;
      const key = keyOf(e);
      if (!key || (button && (key === "Enter" || key === "Space"))) return;
      const found = (typing || !inCells ? both : command).press(key, e.timeStamp);
      if (found === null) return;
      if (copiesText(key)) return;
      e.preventDefault();
      if (found !== "wait") found.run(ed);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [ed, list]);
}

/** Ctrl+C copies marked text when there is some, and not the cell. */
function copiesText(key: string): boolean {
  return (key === "Ctrl+c" || key === "Ctrl+x") && getSelection()?.isCollapsed === false;
}

function Skeleton() {
  return (
    <div class="e-notebook e-skeleton" aria-busy="true">
      {[3, 1, 5, 2, 4].map((n, i) => <div key={i} class="e-bone" style={{ height: `${n * 20 + 18}px` }} />)}
    </div>
  );
}
