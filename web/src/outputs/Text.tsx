import { useEffect, useMemo, useState } from "preact/hooks";
import { ansiPieces, overstrike, plainState, type AnsiState } from "./ansi.ts";
import { chunks, countLines, cutLines } from "./lines.ts";

/** Text of a terminal. state goes from piece to piece of one text. */
export function Ansi({ text, state }: { text: string; state?: AnsiState }) {
  const pieces = useMemo(() => ansiPieces(text, state ? { ...state } : plainState()), [text, state]);
  if (pieces.length === 1 && pieces[0]?.class === "") return <>{pieces[0].text}</>;
  return <>{pieces.map((p, n) => p.class ? <span key={n} class={p.class}>{p.text}</span> : p.text)}</>;
}

const grouped = new Intl.NumberFormat("en-US");

export function countOf(n: number, noun: string): string {
  return `${grouped.format(n)} ${noun}${n === 1 ? "" : "s"}`;
}

interface TextProps {
  readonly text: string;
  readonly class: string;
  /** What it is, for who cannot see it. */
  readonly label: string;
}

/** A text however long it is: its beginning and end, and all of it when it is asked for. */
export function TextOutput({ text, class: kind, label }: TextProps) {
  const clean = useMemo(() => overstrike(text), [text]);
  const cut = useMemo(() => cutLines(clean), [clean]);
  const [all, setAll] = useState(false);
  if (clean.trim() === "") return null;
  const body = cut.hidden === 0
    ? <pre><Ansi text={cut.head.replace(/\n+$/, "")} /></pre>
    : all
      ? <AllLines text={clean} />
      : <>
        <pre><Ansi text={cut.head} /></pre>
        <p class="q-more o-gap">{countOf(cut.hidden, "line")} between are not shown.</p>
        <pre><Ansi text={cut.tail} /></pre>
      </>;
  return <div class={kind}>
    {cut.lines > 20 || cut.hidden > 0
      ? <div class={all ? "o-scroll o-tall" : "o-scroll"} tabIndex={0} role="region" aria-label={label}>{body}</div>
      : body}
    {cut.hidden > 0 && <p class="q-more"><button type="button" class="o-plain" aria-expanded={all} onClick={() => { setAll(!all); }}>
      {all ? "Show less" : `Show all (${countOf(cut.lines, "line")})`}
    </button></p>}
  </div>;
}

/**
 * All lines of a long text, some thousand at a time, so that the page answers in
 * between; what is out of sight costs nothing.
 */
function AllLines({ text }: { text: string }) {
  const parts = useMemo(() => {
    const state = plainState();
    return chunks(text).map((part) => {
      const before = { ...state };
      if (part.includes("\x1b")) ansiPieces(part, state);
      return { part, before, lines: countLines(part) };
    });
  }, [text]);
  const [shown, setShown] = useState(8);
  useEffect(() => {
    if (shown >= parts.length) return;
    const next = setTimeout(() => { setShown(shown + 8); }, 0);
    return () => { clearTimeout(next); };
  }, [shown, parts.length]);
  return <>{parts.slice(0, shown).map(({ part, before, lines }, n) =>
    <pre key={n} class="o-chunk" style={{ "--o-lines": String(lines) }}><Ansi text={part.replace(/\n$/, "")} state={before} /></pre>)}</>;
}
