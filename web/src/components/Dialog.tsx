import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** A dialog over the page. Esc closes it, and the focus returns to where it was. */
export function Dialog({ title, close, children, cls = "" }: { title: string; close: () => void; children: ComponentChildren; cls?: string }) {
  const ref = useRef<HTMLDialogElement>(null);
  // Before the next key: it is meant for the dialog.
  useLayoutEffect(() => {
    const before = document.activeElement;
    const dialog = ref.current;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={ref} class={"e-dialog " + cls} aria-label={title}
      onKeyDown={(e) => e.stopPropagation()}
      onCancel={(e) => { e.preventDefault(); close(); }}
      onClick={(e) => { if (e.target === ref.current) close(); }}>
      <div class="e-dialog-in">{children}</div>
    </dialog>
  );
}
