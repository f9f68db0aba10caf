import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

export interface MenuItem {
  readonly label: string;
  readonly hint?: string;
  readonly href?: string;
  readonly checked?: boolean;
  run?(): void;
}

/** A button with a menu under it, for mouse and keyboard. What shows no words is called by its title. */
export function Menu({ label, title, items, cls = "e-button", right = false, wordless = false }: {
  label: ComponentChildren; title: string; items: readonly (MenuItem | null)[]; cls?: string; right?: boolean; wordless?: boolean;
}) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);

  useLayoutEffect(() => {
    if (!open) return;
    root.current?.querySelector<HTMLElement>("[role^=menuitem]")?.focus();
    const outside = (e: Event) => {
      if (e.target instanceof Node && !root.current?.contains(e.target)) setOpen(false);
    };
    addEventListener("pointerdown", outside, true);
    addEventListener("focusin", outside);
    return () => {
      removeEventListener("pointerdown", outside, true);
      removeEventListener("focusin", outside);
    };
  }, [open]);

  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  const keys = (e: KeyboardEvent) => {
    const all = [...(root.current?.querySelectorAll<HTMLElement>("[role^=menuitem]") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[e.key];
    if (e.key === "Escape") close();
    else if (e.key === "Tab") setOpen(false);
    else if (to !== undefined) all[(to + all.length) % all.length]?.focus();
    else return;
    if (e.key !== "Tab") e.preventDefault();
    e.stopPropagation();
  };

  return (
    <div class="e-menu" ref={root}>
      <button type="button" class={cls} ref={button} title={title} aria-label={wordless ? title : undefined} aria-haspopup="menu" aria-expanded={open}
        onClick={() => setOpen(!open)}
        onKeyDown={(e) => { if (e.key === "ArrowDown") { e.preventDefault(); setOpen(true); } }}>{label}{!wordless && <span aria-hidden="true">▾</span>}</button>
      {open && (
        <div role="menu" class={right ? "e-pop e-right" : "e-pop"} aria-label={title} onKeyDown={keys}>
          {items.map((item, i) => item === null ? <hr key={i} /> : <Item key={i} item={item} close={close} />)}
        </div>
      )}
    </div>
  );
}

function Item({ item, close }: { item: MenuItem; close: () => void }) {
  const inner = <><span>{item.label}</span>{item.hint && <kbd>{item.hint}</kbd>}</>;
  if (item.href !== undefined) return <a role="menuitem" class="e-item" tabIndex={-1} href={item.href}>{inner}</a>;
  return (
    <button type="button" role={item.checked === undefined ? "menuitem" : "menuitemradio"} aria-checked={item.checked} class="e-item" tabIndex={-1}
      onClick={() => { close(); item.run?.(); }}>{inner}</button>
  );
}
