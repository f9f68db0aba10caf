// Every command of the editor, by the name that the palette and the help show,
// with its keys. Keys in command mode are Jupyter's.
import { escapePath } from "../config.ts";
import * as act from "./actions.ts";
import type { Editor } from "./editor.ts";

export interface Command {
  readonly id: string;
  readonly group: "Cells" | "Run" | "Kernel" | "View" | "Notebook";
  readonly label: string;
  /** Keys that work while a cell is selected and nobody types. */
  readonly command?: readonly string[];
  /** Keys that work everywhere in the notebook. */
  readonly both?: readonly string[];
  run(ed: Editor): void;
}

const go = (ed: Editor, path: string) => location.assign(ed.config.base + path + escapePath(ed.config.path));

export const commands: readonly Command[] = [
  { id: "edit", group: "Cells", label: "Edit the cell", command: ["Enter"], run: (ed) => { if (ed.selected.now) ed.edit({ key: ed.selected.now, from: "end" }); } },
  { id: "up", group: "Cells", label: "Select the cell above", command: ["ArrowUp", "k"], run: (ed) => act.move(ed, -1) },
  { id: "down", group: "Cells", label: "Select the cell below", command: ["ArrowDown", "j"], run: (ed) => act.move(ed, 1) },
  { id: "extend-up", group: "Cells", label: "Extend the selection above", command: ["Shift+ArrowUp", "Shift+k"], run: (ed) => act.move(ed, -1, true) },
  { id: "extend-down", group: "Cells", label: "Extend the selection below", command: ["Shift+ArrowDown", "Shift+j"], run: (ed) => act.move(ed, 1, true) },
  { id: "first", group: "Cells", label: "Go to the first cell", command: ["Home"], run: (ed) => act.move(ed, -Infinity) },
  { id: "last", group: "Cells", label: "Go to the last cell", command: ["End"], run: (ed) => act.move(ed, Infinity) },
  { id: "select-all", group: "Cells", label: "Select all cells", command: ["Ctrl+a"], run: (ed) => { const o = ed.nb.order.now; ed.anchor.set(o[0] ?? null); ed.selected.set(o.at(-1) ?? null); } },
  { id: "insert-above", group: "Cells", label: "Insert a cell above", command: ["a"], run: (ed) => act.insert(ed, "above") },
  { id: "insert-below", group: "Cells", label: "Insert a cell below", command: ["b"], run: (ed) => act.insert(ed, "below") },
  { id: "insert-sql", group: "Cells", label: "Insert an SQL cell below", run: (ed) => act.insert(ed, "below", { type: "code", source: "%%sql\n" }, true) },
  { id: "insert-text", group: "Cells", label: "Insert a text cell below", run: (ed) => act.insert(ed, "below", { type: "markdown", source: "" }, true) },
  { id: "delete", group: "Cells", label: "Delete the selected cells", command: ["d d", "Delete"], run: act.remove },
  { id: "undo", group: "Cells", label: "Undo the last change of cells", command: ["z", "Ctrl+z"], run: act.undo },
  { id: "redo", group: "Cells", label: "Redo", command: ["Shift+z", "Ctrl+Shift+z"], run: act.redo },
  { id: "cut", group: "Cells", label: "Cut the selected cells", command: ["x", "Ctrl+x"], run: act.cut },
  { id: "copy", group: "Cells", label: "Copy the selected cells", command: ["c", "Ctrl+c"], run: act.copy },
  { id: "paste", group: "Cells", label: "Paste below", command: ["v", "Ctrl+v"], run: (ed) => act.paste(ed, "below") },
  { id: "paste-above", group: "Cells", label: "Paste above", command: ["Shift+v"], run: (ed) => act.paste(ed, "above") },
  { id: "duplicate", group: "Cells", label: "Duplicate the selected cells", run: act.duplicate },
  { id: "move-up", group: "Cells", label: "Move the selected cells up", command: ["Alt+ArrowUp"], both: ["Ctrl+Shift+ArrowUp"], run: (ed) => act.shift(ed, -1) },
  { id: "move-down", group: "Cells", label: "Move the selected cells down", command: ["Alt+ArrowDown"], both: ["Ctrl+Shift+ArrowDown"], run: (ed) => act.shift(ed, 1) },
  { id: "merge", group: "Cells", label: "Merge the selected cells, or this one with the next", command: ["Shift+m"], run: act.merge },
  { id: "to-code", group: "Cells", label: "Make it code", command: ["y"], run: (ed) => act.convert(ed, "code") },
  { id: "to-text", group: "Cells", label: "Make it text", command: ["m"], run: (ed) => act.convert(ed, "markdown") },
  { id: "to-raw", group: "Cells", label: "Make it raw text", command: ["r"], run: (ed) => act.convert(ed, "raw") },
  { id: "to-sql", group: "Cells", label: "Make it SQL", run: (ed) => act.convert(ed, "sql") },
  ...[1, 2, 3, 4, 5, 6].map((n): Command => ({ id: "heading-" + n, group: "Cells", label: `Make it a heading of level ${n}`, command: [String(n)], run: (ed) => act.heading(ed, n) })),
  { id: "parameters", group: "Cells", label: "Make this the cell of the parameters, or not", command: ["p"], run: act.toggleParameters },
  { id: "hide-input", group: "View", label: "Collapse or show the input", command: ["Shift+i"], run: (ed) => act.toggleHidden(ed, "source_hidden") },
  { id: "hide-output", group: "View", label: "Collapse or show the output", command: ["o"], run: (ed) => act.toggleHidden(ed, "outputs_hidden") },
  { id: "clear", group: "Cells", label: "Clear the outputs of the selected cells", run: act.clearSelected },
  { id: "clear-all", group: "Cells", label: "Clear all outputs", run: act.clearAll },
  { id: "comment", group: "Cells", label: "Comment on the cell", command: ["Alt+c"], run: (ed) => { ed.panel.set("comments"); ed.dialog.set("comment"); } },

  { id: "run", group: "Run", label: "Run", both: ["Ctrl+Enter"], run: act.runSelected },
  { id: "run-advance", group: "Run", label: "Run and go to the next cell", both: ["Shift+Enter"], run: act.runAndAdvance },
  { id: "run-insert", group: "Run", label: "Run and insert a cell below", both: ["Alt+Enter"], run: act.runAndInsert },
  { id: "run-all", group: "Run", label: "Run all cells", run: act.runAll },
  { id: "run-above", group: "Run", label: "Run all cells above", run: act.runAbove },
  { id: "run-below", group: "Run", label: "Run this cell and all below", run: act.runBelow },
  { id: "run-job", group: "Run", label: "Run as job, with parameters", run: (ed) => ed.attempt("Not saved", ed.saveNow().catch(() => undefined).then(() => go(ed, "/run/"))) },
  { id: "schedule", group: "Run", label: "Schedule", run: (ed) => go(ed, "/schedule/") },

  { id: "interrupt", group: "Kernel", label: "Interrupt", command: ["i i"], run: act.interrupt },
  { id: "restart", group: "Kernel", label: "Restart the kernel", command: ["0 0"], run: (ed) => act.restart(ed) },
  { id: "restart-run-all", group: "Kernel", label: "Restart and run all cells", run: act.restartAndRunAll },
  { id: "restart-clear", group: "Kernel", label: "Restart and clear all outputs", run: (ed) => act.restart(ed, () => act.clearAll(ed)) },
  { id: "change-kernel", group: "Kernel", label: "Change the kernel…", run: (ed) => ed.dialog.set("kernel") },
  { id: "restart-memory", group: "Kernel", label: "Restart with more memory…", run: (ed) => ed.dialog.set("memory") },
  { id: "launch", group: "Kernel", label: "Launch a bigger container…", run: (ed) => ed.attempt("Not saved", ed.saveNow().then(() => location.assign(`${ed.config.base}/compute/new?for=server&notebook=${encodeURIComponent(ed.config.path)}`))) },
  { id: "shutdown", group: "Kernel", label: "Shut down the kernel", run: (ed) => ed.attempt("The kernel was not shut down", ed.kernels.shutdown()) },

  { id: "save", group: "Notebook", label: "Save", command: ["s"], both: ["Ctrl+s"], run: act.save },
  { id: "view", group: "Notebook", label: "View (read only)", run: (ed) => go(ed, "/view/") },
  { id: "versions", group: "Notebook", label: "Version history and differences", run: (ed) => go(ed, "/versions/") },
  { id: "runs", group: "Notebook", label: "Runs of this notebook", run: (ed) => location.assign(`${ed.config.base}/runs?notebook=${encodeURIComponent(ed.config.path)}`) },
  { id: "lab", group: "Notebook", label: "Open in JupyterLab", run: (ed) => location.assign(ed.config.server + "/lab/tree/" + escapePath(ed.config.own)) },
  { id: "find", group: "View", label: "Find and replace in all cells", command: ["f"], both: ["Ctrl+f"], run: (ed) => ed.finding.set(ed.finding.now + 1) },
  { id: "palette", group: "View", label: "All commands", both: ["Ctrl+Shift+p", "Ctrl+k"], run: (ed) => ed.dialog.set("palette") },
  { id: "help", group: "View", label: "Keys", command: ["?", "h"], run: (ed) => ed.dialog.set("help") },
  { id: "outline", group: "View", label: "Outline", command: ["Ctrl+Shift+o"], run: (ed) => ed.side.set(!ed.side.now) },
  { id: "variables", group: "View", label: "Variables", run: (ed) => ed.panel.set(ed.panel.now === "variables" ? null : "variables") },
  { id: "comments", group: "View", label: "Comments", run: (ed) => ed.panel.set(ed.panel.now === "comments" ? null : "comments") },
];

export function commandNamed(id: string): Command | undefined {
  return commands.find((c) => c.id === id);
}

/** The keys of one mode and what they call. */
export function keysOf(mode: "command" | "edit"): [string, Command][] {
  return commands.flatMap((c) => [...(c.both ?? []), ...(mode === "command" ? c.command ?? [] : [])].map((key): [string, Command] => [key, c]));
}
