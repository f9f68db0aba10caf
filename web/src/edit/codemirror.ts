// The text editor of a cell.
import { acceptCompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap, completionStatus, startCompletion } from "@codemirror/autocomplete";
import { defaultKeymap, indentLess, indentMore } from "@codemirror/commands";
import { bracketMatching, indentOnInput, indentUnit, LanguageSupport, syntaxHighlighting, type Language } from "@codemirror/language";
import { highlightSelectionMatches, selectNextOccurrence } from "@codemirror/search";
import { Compartment, EditorState, type Extension, Prec } from "@codemirror/state";
import { crosshairCursor, drawSelection, EditorView, keymap, rectangularSelection, type KeyBinding } from "@codemirror/view";
import type * as Y from "yjs";
import * as act from "./actions.ts";
import { bound, undoOf } from "./binding.ts";
import { closeInspection, inspect, inspection, kernelCompletion } from "./complete.ts";
import type { Editor } from "./editor.ts";
import { classes } from "./highlight.ts";

export const language = new Compartment();

export function languageOf(l: Language | null): Extension {
  return l ? new LanguageSupport(l) : [];
}

function atEdge(view: EditorView, end: boolean): boolean {
  const { main } = view.state.selection;
  if (!main.empty || completionStatus(view.state) === "active") return false;
  const line = view.state.doc.lineAt(main.head);
  return end ? line.number === view.state.doc.lines : line.number === 1;
}

/** Keys of edit mode, which stand before the text editor's own. */
function cellKeys(ed: Editor, key: string, text: Y.Text): KeyBinding[] {
  const { manager } = undoOf(text);
  const run = (what: (ed: Editor) => void) => () => {
    what(ed);
    return true;
  };
  const step = (by: -1 | 1) => (view: EditorView) => {
    if (!atEdge(view, by > 0)) return false;
    const order = ed.nb.order.now;
    const next = order[order.indexOf(key) + by];
    if (next === undefined) return false;
    const kind = ed.nb.cell(next)?.type;
    if (kind === "markdown" && !ed.sources.now.has(next)) {
      ed.command();
      ed.select(next);
    } else {
      ed.edit({ key: next, from: by > 0 ? "start" : "end" });
    }
    return true;
  };
  return [
    { key: "Shift-Enter", run: run(act.runAndAdvance) },
    { key: "Mod-Enter", run: run(act.runSelected) },
    { key: "Alt-Enter", run: run(act.runAndInsert) },
    {
      key: "Escape",
      run: (view) => {
        if (completionStatus(view.state) === "active") return closeCompletion(view);
        if (closeInspection(view)) return true;
        if (view.state.selection.ranges.length > 1) return false;
        ed.command();
        return true;
      },
    },
    { key: "Tab", run: (view) => acceptCompletion(view) || completeOrIndent(view), shift: (view) => indentLessAtStart(view) || inspect(view, ed.kernels.channel.now, (t) => ed.say(t)) },
    { key: "Mod-z", run: () => manager.undo() !== null, preventDefault: true },
    { key: "Mod-y", run: () => manager.redo() !== null, preventDefault: true },
    { key: "Mod-Shift-z", run: () => manager.redo() !== null, preventDefault: true },
    { key: "Mod-d", run: selectNextOccurrence, preventDefault: true },
    { key: "Ctrl-Shift--", run: (view) => { act.split(ed, view.state.selection.main.head); return true; } },
    { key: "Ctrl-Shift-_", run: (view) => { act.split(ed, view.state.selection.main.head); return true; } },
    { key: "ArrowUp", run: step(-1) },
    { key: "ArrowDown", run: step(1) },
  ];
}

function completeOrIndent(view: EditorView): boolean {
  const { main } = view.state.selection;
  const before = view.state.sliceDoc(Math.max(main.head - 1, 0), main.head);
  if (main.empty && /[\w.]/.test(before)) return startCompletion(view);
  return indentMore(view);
}

/** Shift+Tab takes indentation away where the caret stands in it, or lines are selected. */
function indentLessAtStart(view: EditorView): boolean {
  const { main } = view.state.selection;
  const line = view.state.doc.lineAt(main.head);
  if (main.empty && line.text.slice(0, main.head - line.from).trim() !== "") return false;
  return indentLess(view);
}

export function makeView(ed: Editor, key: string, text: Y.Text, parent: HTMLElement, label: string, l: Language | null, prose: boolean): EditorView {
  return new EditorView({
    parent,
    state: EditorState.create({
      doc: text.toJSON(),
      extensions: [
        EditorView.cspNonce.of(ed.config.nonce),
        Prec.highest(keymap.of(cellKeys(ed, key, text))),
        bound(text, ed.room.awareness),
        language.of(languageOf(l)),
        syntaxHighlighting(classes),
        EditorState.allowMultipleSelections.of(true),
        drawSelection(), rectangularSelection(), crosshairCursor(),
        indentUnit.of("    "), EditorState.tabSize.of(4),
        prose ? EditorView.lineWrapping : [bracketMatching(), closeBrackets(), indentOnInput(), highlightSelectionMatches(), kernelCompletion(() => ed.kernels.channel.now), inspection],
        keymap.of([...closeBracketsKeymap, ...completionKeymap, ...defaultKeymap]),
        EditorView.contentAttributes.of({ "aria-label": label, spellcheck: String(prose), autocorrect: "off", autocapitalize: "off" }),
        EditorView.domEventHandlers({ focus: () => ed.focusedOn(key) }),
      ],
    }),
  });
}
