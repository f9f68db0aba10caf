// Binds a text editor to a text of the live document: what is typed goes there,
// what others type comes from there, and their carets are shown.
import { Annotation, type Extension, RangeSet, StateEffect, StateField } from "@codemirror/state";
import { Decoration, type DecorationSet, EditorView, ViewPlugin, type ViewUpdate, WidgetType } from "@codemirror/view";
import type { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";

const fromDocument = Annotation.define<boolean>();

class Binding {
  readonly #view: EditorView;
  readonly #text: Y.Text;
  readonly #origin: object;

  constructor(view: EditorView, text: Y.Text, origin: object) {
    this.#view = view;
    this.#text = text;
    this.#origin = origin;
    text.observe(this.#heard);
  }

  update(u: ViewUpdate): void {
    if (!u.docChanged || u.transactions.some((tr) => tr.annotation(fromDocument))) return;
    this.#text.doc?.transact(() => {
      let moved = 0;
      u.changes.iterChanges((fromA, toA, _fromB, _toB, inserted) => {
        const text = inserted.sliceString(0, inserted.length, "\n");
        if (toA > fromA) this.#text.delete(fromA + moved, toA - fromA);
        if (text) this.#text.insert(fromA + moved, text);
        moved += text.length - (toA - fromA);
      });
    }, this.#origin);
  }

  readonly #heard = (event: Y.YTextEvent, tr: Y.Transaction): void => {
    if (tr.origin === this.#origin) return;
    const changes: { from: number; to: number; insert: string }[] = [];
    let at = 0;
    for (const d of event.delta) {
      if (d.insert !== undefined) changes.push({ from: at, to: at, insert: String(d.insert) });
      else if (d.delete !== undefined) {
        changes.push({ from: at, to: at + d.delete, insert: "" });
        at += d.delete;
      } else at += d.retain ?? 0;
    }
    this.#view.dispatch({ changes, annotations: fromDocument.of(true) });
  };

  destroy(): void {
    this.#text.unobserve(this.#heard);
  }
}

class Caret extends WidgetType {
  readonly color: string;
  readonly name: string;

  constructor(color: string, name: string) {
    super();
    this.color = color;
    this.name = name;
  }

  override eq(other: Caret): boolean {
    return other.color === this.color && other.name === this.name;
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement("span");
    caret.className = "e-peer-caret";
    caret.style.setProperty("--peer", this.color);
    caret.dataset["name"] = this.name;
    caret.setAttribute("aria-hidden", "true");
    return caret;
  }

  override ignoreEvent(): boolean {
    return true;
  }
}

const setPeers = StateEffect.define<DecorationSet>();

const peersField = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(peers, tr) {
    for (const e of tr.effects) if (e.is(setPeers)) return e.value;
    return peers.map(tr.changes);
  },
  provide: (f) => EditorView.decorations.from(f),
});

interface Peer {
  readonly user?: { readonly display_name?: string; readonly name?: string; readonly color?: string };
  readonly cursors?: readonly { readonly anchor?: unknown; readonly head?: unknown }[];
}

/** A colour as others send it, only when it is one. */
export function safeColor(color: unknown): string {
  return typeof color === "string" && /^(#[0-9a-f]{3,8}|var\(--jp-collaborator-color\d\)|rgb\([\d, ]+\)|hsl\([\d,% ]+\))$/i.test(color) ? color.replace(/^var.*/, "#0e7490") : "#0e7490";
}

class Peers {
  readonly #view: EditorView;
  readonly #text: Y.Text;
  readonly #awareness: Awareness;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(view: EditorView, text: Y.Text, awareness: Awareness) {
    this.#view = view;
    this.#text = text;
    this.#awareness = awareness;
    awareness.on("change", this.#later);
    this.#later();
  }

  update(u: ViewUpdate): void {
    if (!u.selectionSet && !u.docChanged && !u.focusChanged) return;
    if (!u.view.hasFocus) return;
    this.#awareness.setLocalStateField("cursors", u.state.selection.ranges.map((r, i) => ({
      anchor: Y.createRelativePositionFromTypeIndex(this.#text, Math.min(r.anchor, this.#text.length)),
      head: Y.createRelativePositionFromTypeIndex(this.#text, Math.min(r.head, this.#text.length)),
      primary: i === u.state.selection.mainIndex, empty: r.empty,
    })));
  }

  readonly #later = (): void => {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#show();
    }, 60);
  };

  #show(): void {
    const marks = [];
    for (const [client, state] of this.#awareness.getStates() as Map<number, Peer>) {
      if (client === this.#awareness.clientID || !Array.isArray(state.cursors)) continue;
      for (const c of state.cursors.slice(0, 20)) {
        const head = this.#place(c.head);
        if (head === null) continue;
        const anchor = this.#place(c.anchor) ?? head;
        const color = safeColor(state.user?.color);
        const name = String(state.user?.display_name ?? state.user?.name ?? "Somebody").slice(0, 40);
        if (anchor !== head) marks.push(Decoration.mark({ class: "e-peer-range" }).range(Math.min(anchor, head), Math.max(anchor, head)));
        marks.push(Decoration.widget({ widget: new Caret(color, name), side: 1 }).range(head));
      }
    }
    this.#view.dispatch({ effects: setPeers.of(RangeSet.of(marks, true)) });
  }

  #place(json: unknown): number | null {
    if (!json || !this.#text.doc) return null;
    try {
      const at = Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(json), this.#text.doc);
      return at?.type === this.#text ? Math.min(at.index, this.#view.state.doc.length) : null;
    } catch {
      return null; // what a peer sends may be anything
    }
  }

  destroy(): void {
    clearTimeout(this.#timer);
    this.#awareness.off("change", this.#later);
  }
}

/** Undo of one text, kept while the notebook is open. */
const undos = new WeakMap<Y.Text, { manager: Y.UndoManager; origin: object }>();

export function undoOf(text: Y.Text): { manager: Y.UndoManager; origin: object } {
  let known = undos.get(text);
  if (!known) {
    const origin = { name: "text" };
    known = { origin, manager: new Y.UndoManager(text, { trackedOrigins: new Set([origin]), captureTimeout: 400 }) };
    undos.set(text, known);
  }
  return known;
}

export function bound(text: Y.Text, awareness: Awareness): Extension {
  const { origin } = undoOf(text);
  return [
    peersField,
    ViewPlugin.define((view) => new Binding(view, text, origin)),
    ViewPlugin.define((view) => new Peers(view, text, awareness)),
  ];
}
