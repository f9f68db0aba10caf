import { MergeView } from "@codemirror/merge";
import { EditorState, type Extension } from "@codemirror/state";
import { EditorView } from "@codemirror/view";

/** Shows two texts side by side; returns how to end it. */
export function sideBySide(parent: HTMLElement, left: string, right: string, nonce: string): () => void {
  const extensions = (label: string): Extension[] => [
    EditorView.cspNonce.of(nonce), EditorState.readOnly.of(true), EditorView.lineWrapping, EditorView.contentAttributes.of({ "aria-label": label }),
  ];
  const view = new MergeView({ parent, a: { doc: left, extensions: extensions("On the server") }, b: { doc: right, extensions: extensions("On this device") }, collapseUnchanged: { margin: 2, minSize: 6 } });
  return () => view.destroy();
}
