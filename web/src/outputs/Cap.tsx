import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

/** The height from which on an output is capped, in pixels. */
const capPx = 400;

/** Shows at most so much, and a button for the rest. */
export function Cap({ label, children }: { label: string; children: ComponentChildren }) {
  const inner = useRef<HTMLDivElement>(null);
  const [tall, setTall] = useState(false);
  const [all, setAll] = useState(false);
  useEffect(() => {
    const el = inner.current;
    if (!el) return;
    const look = new ResizeObserver(() => { setTall(el.scrollHeight > capPx * 1.25); });
    look.observe(el);
    return () => { look.disconnect(); };
  }, []);
  const capped = tall && !all;
  return <>
    <div class={capped ? "o-scroll" : undefined} tabIndex={capped ? 0 : undefined} role={capped ? "region" : undefined} aria-label={capped ? label : undefined}><div ref={inner}>{children}</div></div>
    {tall && <button type="button" class="o-plain" aria-expanded={all} onClick={() => { setAll(!all); }}>{all ? "Show less" : "Show all"}</button>}
  </>;
}
