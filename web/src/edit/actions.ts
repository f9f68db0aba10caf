// What a person does to cells and kernels, on the selection.
import * as edits from "../notebook/edits.ts";
import type { NewCell } from "../notebook/edits.ts";
import { fromSQL, isSQL, toSQL } from "../notebook/sql.ts";
import type { CellType } from "../notebook/types.ts";
import type { Editor } from "./editor.ts";

/** Puts the caret's cell into the middle of nothing: only as far as needed. */
export function reveal(key: string | null): void {
  if (key) document.getElementById("cell-" + key)?.scrollIntoView({ block: "nearest" });
}

export function move(ed: Editor, by: number, extend = false): void {
  const order = ed.nb.order.now;
  const at = order.indexOf(ed.selected.now ?? "");
  const next = order[Math.min(Math.max(at + by, 0), order.length - 1)];
  if (next === undefined) return;
  ed.select(next, extend);
  reveal(next);
}

export function insert(ed: Editor, where: "above" | "below", cell: NewCell = { type: "code", source: "" }, edit = false): void {
  const at = ed.nb.indexOf(ed.selected.now ?? "");
  insertAt(ed, where === "above" ? Math.max(at, 0) : at + 1, cell, edit);
}

export function insertAt(ed: Editor, at: number, cell: NewCell, edit = false): void {
  const [key] = edits.insertCells(ed.nb, at, [cell]);
  if (!key) return;
  if (cell.type === "markdown") ed.showSource(key, true);
  if (edit) ed.edit({ key, from: "end" });
  else ed.select(key);
}

export function remove(ed: Editor): void {
  const keys = ed.selection();
  const n = keys.length;
  edits.deleteCells(ed.nb, keys);
  ed.tell(n === 1 ? "The cell was deleted." : `${n} cells were deleted.`, false, { label: "Undo", run: () => undo(ed) });
}

/** Selects what came back. */
function selectNew(ed: Editor, before: readonly string[], text: string): void {
  const known = new Set(before);
  const back = ed.nb.order.now.find((key) => !known.has(key));
  if (back !== undefined) {
    ed.select(back);
    reveal(back);
  }
  ed.say(text);
}

export function undo(ed: Editor): void {
  const before = ed.nb.order.now;
  if (ed.undo.undo()) selectNew(ed, before, "Undone.");
}

export function redo(ed: Editor): void {
  const before = ed.nb.order.now;
  if (ed.undo.redo()) selectNew(ed, before, "Done again.");
}

/** Moves the selected cells up or down by one. */
export function shift(ed: Editor, by: -1 | 1): void {
  const keys = ed.selection();
  const first = ed.nb.indexOf(keys[0] ?? "");
  const to = first + by;
  if (first < 0 || to < 0 || to + keys.length > ed.nb.order.now.length) return;
  edits.moveCells(ed.nb, keys, to);
  reveal(ed.selected.now);
  ed.say(`Moved to place ${to + 1} of ${ed.nb.order.now.length}.`);
}

const clipboardName = "quire:cells";

export function copy(ed: Editor): void {
  const cells = ed.selection().flatMap((key) => edits.readCell(ed.nb, key) ?? []);
  try {
    localStorage.setItem(clipboardName, JSON.stringify(cells));
  } catch {
    ed.tell("These cells are too large to be copied as a whole.", true);
    return;
  }
  ed.say(cells.length === 1 ? "The cell was copied." : `${cells.length} cells were copied.`);
}

export function cut(ed: Editor): void {
  copy(ed);
  edits.deleteCells(ed.nb, ed.selection());
}

export function paste(ed: Editor, where: "above" | "below"): void {
  let cells: NewCell[];
  try {
    cells = JSON.parse(localStorage.getItem(clipboardName) ?? "[]") as NewCell[];
  } catch {
    return;
  }
  if (!Array.isArray(cells) || cells.length === 0) {
    ed.say("There is nothing to paste.");
    return;
  }
  const selection = ed.selection();
  const at = where === "above" ? ed.nb.indexOf(selection[0] ?? "") : ed.nb.indexOf(selection.at(-1) ?? "") + 1;
  const keys = edits.insertCells(ed.nb, Math.max(at, 0), cells);
  ed.select(keys.at(-1) ?? null);
  reveal(keys.at(-1) ?? null);
}

export function duplicate(ed: Editor): void {
  const cells = ed.selection().flatMap((key) => edits.readCell(ed.nb, key) ?? []);
  const at = ed.nb.indexOf(ed.selection().at(-1) ?? "") + 1;
  ed.select(edits.insertCells(ed.nb, at, cells).at(-1) ?? null);
}

export function convert(ed: Editor, type: CellType | "sql"): void {
  const keys = ed.selection();
  if (type === "sql") edits.convertCells(ed.nb, keys, "code", toSQL);
  else if (type === "code") edits.convertCells(ed.nb, keys, "code", fromSQL);
  else edits.convertCells(ed.nb, keys, type);
  if (type === "markdown") for (const key of keys) ed.showSource(key, true);
}

export function kindOf(ed: Editor, key: string): CellType | "sql" {
  const cell = ed.nb.cell(key);
  if (!cell) return "code";
  return cell.type === "code" && isSQL(cell.source) ? "sql" : cell.type;
}

export function heading(ed: Editor, level: number): void {
  for (const key of ed.selection()) {
    const cell = ed.nb.cell(key);
    if (!cell) continue;
    edits.convertCells(ed.nb, [key], "markdown", (source) => "#".repeat(level) + " " + source.replace(/^#{1,6}[ \t]*/, ""));
    ed.showSource(key, true);
  }
}

export function merge(ed: Editor): void {
  let keys = ed.selection();
  if (keys.length === 1) {
    const next = ed.nb.order.now[ed.nb.indexOf(keys[0] ?? "") + 1];
    if (next !== undefined) keys = [...keys, next];
  }
  const first = keys[0] ?? null;
  edits.mergeCells(ed.nb, keys);
  ed.select(first);
}

export function split(ed: Editor, at: number): void {
  const key = ed.selected.now;
  const second = key && edits.splitCell(ed.nb, key, at);
  if (second) ed.edit({ key: second, from: "start" });
}

export function toggleHidden(ed: Editor, what: "source_hidden" | "outputs_hidden"): void {
  const keys = ed.selection();
  const hidden = keys.every((key) => isHidden(ed, key, what));
  for (const key of keys) edits.setJupyter(ed.nb, key, what, !hidden);
}

export function isHidden(ed: Editor, key: string, what: "source_hidden" | "outputs_hidden"): boolean {
  const jupyter = ed.nb.cell(key)?.metadata["jupyter"];
  return typeof jupyter === "object" && jupyter !== null && (jupyter as Record<string, unknown>)[what] === true;
}

export function toggleParameters(ed: Editor): void {
  const key = ed.selected.now;
  if (!key || ed.nb.cell(key)?.type !== "code") return;
  const on = edits.toggleTag(ed.nb, key, "parameters");
  ed.say(on ? "This cell holds the parameters now." : "This cell holds no parameters any more.");
}

// Running.

/** Runs cells; text cells are rendered. The code cells go to the server as one batch. */
export function runKeys(ed: Editor, keys: readonly string[]): void {
  const cells = keys.flatMap((key) => ed.nb.cell(key) ?? []);
  for (const cell of cells) if (cell.type === "markdown") ed.showSource(cell.key, false);
  const code = cells.filter((cell) => cell.type === "code" && cell.source.trim() !== "");
  if (code.length === 0) return;
  if (ed.room.connection.now !== "open") {
    ed.tell("Cells run when the connection to the server is back.", true);
    return;
  }
  ed.attempt("The cell did not run", ed.kernels.run(ed.documentID, code.map((c) => ({ id: c.id, source: c.source }))));
}

export function runSelected(ed: Editor): void {
  runKeys(ed, ed.selection());
  ed.command();
}

/** Runs and goes on to the next cell, which is made when there is none. */
export function runAndAdvance(ed: Editor): void {
  const keys = ed.selection();
  runKeys(ed, keys);
  ed.command();
  const next = ed.nb.order.now[ed.nb.indexOf(keys.at(-1) ?? "") + 1];
  if (next !== undefined) {
    ed.select(next);
    reveal(next);
  } else {
    insertAt(ed, ed.nb.order.now.length, { type: "code", source: "" }, true);
  }
}

export function runAndInsert(ed: Editor): void {
  runKeys(ed, ed.selection());
  const at = ed.nb.indexOf(ed.selection().at(-1) ?? "") + 1;
  insertAt(ed, at, { type: "code", source: "" }, true);
}

export function runAll(ed: Editor): void {
  runKeys(ed, ed.nb.order.now);
}

export function runAbove(ed: Editor): void {
  runKeys(ed, ed.nb.order.now.slice(0, Math.max(ed.nb.indexOf(ed.selected.now ?? ""), 0)));
}

export function runBelow(ed: Editor): void {
  runKeys(ed, ed.nb.order.now.slice(Math.max(ed.nb.indexOf(ed.selected.now ?? ""), 0)));
}

export function interrupt(ed: Editor): void {
  ed.attempt("The kernel was not interrupted", ed.kernels.interrupt());
}

export function restart(ed: Editor, then?: () => void): void {
  ed.say("The kernel restarts.");
  ed.attempt("The kernel did not restart", ed.kernels.restart().then(() => {
    ed.say("The kernel was restarted.");
    then?.();
  }));
}

export function restartAndRunAll(ed: Editor): void {
  restart(ed, () => runAll(ed));
}

export function clearAll(ed: Editor): void {
  edits.clearOutputs(ed.nb, ed.nb.order.now);
}

export function clearSelected(ed: Editor): void {
  edits.clearOutputs(ed.nb, ed.selection());
}

export function save(ed: Editor): void {
  ed.attempt("Not saved", ed.saveNow().then(() => ed.say("Saved.")));
}
