import { useAllCells, useEditor, useValue } from "./hooks.ts";
import { plural } from "./CellView.tsx";

/** What is the case, at the foot of the page; and what a screen reader says. */
export function StatusBar() {
  const ed = useEditor();
  const mode = useValue(ed.mode);
  const order = useValue(ed.nb.order);
  const selected = useValue(ed.selected);
  const connection = useValue(ed.room.connection);
  const cells = useAllCells(ed.nb, 500);
  const running = cells.filter((c) => c.running).length;
  const failed = cells.filter((c) => c.outputs.some((o) => o.output_type === "error")).length;
  return (
    <footer class="e-status">
      <span>{mode === "edit" ? "Editing" : "Selecting"}</span>
      <span>Cell {selected ? order.indexOf(selected) + 1 : 0} of {order.length}</span>
      {running > 0 && <span>◐ {plural(running, "cell")} to run</span>}
      {failed > 0 && <span class="e-bad-text">✕ {failed} failed</span>}
      <span class="e-gap" />
      <span>{({ connecting: "Connecting…", open: "Live", lost: "Offline", ended: "Closed" })[connection]}</span>
      <button type="button" class="s-plain" onClick={() => ed.dialog.set("help")}>Keys</button>
    </footer>
  );
}
