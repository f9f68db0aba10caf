// Find and replace over all cells.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Icon } from "../components/Icon.tsx";
import { convertCells, replaceText, structure } from "../notebook/edits.ts";
import { expression, findAll, maxMatches, replaceAll, type FindQuery } from "../notebook/find.ts";
import { useAllCells, useEditor, useValue } from "./hooks.ts";

export function FindBar() {
  const ed = useEditor();
  const open = useValue(ed.finding);
  return open > 0 ? <Bar asked={open} /> : null;
}

function Bar({ asked }: { asked: number }) {
  const ed = useEditor();
  const field = useRef<HTMLInputElement>(null);
  const [query, setQuery] = useState<FindQuery>({ text: "", caseSensitive: false, word: false, regexp: false });
  const [by, setBy] = useState("");
  const [at, setAt] = useState(-1);
  const cells = useAllCells(ed.nb, 200);
  const matches = useMemo(() => findAll(cells, query), [cells, query]);
  const wrong = query.text !== "" && expression(query) === null;

  // Before the next key: it is meant for the field, and not for the selected cell.
  useLayoutEffect(() => {
    const marked = getSelection()?.toString() ?? "";
    if (marked && marked.length < 200 && !marked.includes("\n")) setQuery((q) => ({ ...q, text: marked }));
    field.current?.focus();
    field.current?.select();
  }, [asked]);
  useEffect(() => {
    mark(matches, at);
    return () => mark([], -1);
  }, [matches, at]);

  const close = () => {
    ed.finding.set(0);
    document.getElementById("cell-" + (ed.selected.now ?? ""))?.focus();
  };
  const go = (by: 1 | -1) => {
    if (matches.length === 0) return;
    const next = at < 0 ? Math.max(0, matches.findIndex((m) => ed.nb.indexOf(m.key) >= ed.nb.indexOf(ed.selected.now ?? ""))) : (at + by + matches.length) % matches.length;
    setAt(next);
    const m = matches[next];
    if (!m) return;
    if (ed.nb.cell(m.key)?.type === "markdown") ed.showSource(m.key, true);
    ed.command();
    ed.select(m.key);
    document.getElementById("cell-" + m.key)?.scrollIntoView({ block: "center" });
    ed.say(`Match ${next + 1} of ${matches.length}, in cell ${ed.nb.indexOf(m.key) + 1}.`);
  };
  const edit = () => {
    const m = matches[at];
    if (m) ed.edit({ key: m.key, from: m.from, to: m.to });
  };
  const replaceOne = () => {
    const m = matches[at];
    const text = m && ed.nb.text(m.key);
    if (!m || !text) {
      go(1);
      return;
    }
    const before = text.toJSON();
    const found = before.slice(m.from, m.to);
    ed.nb.doc.transact(() => {
      text.delete(m.from, m.to - m.from);
      text.insert(m.from, replaceAll(found, query, by));
    }, structure);
  };
  const replaceEvery = () => {
    const keys = [...new Set(matches.map((m) => m.key))];
    ed.nb.doc.transact(() => {
      for (const key of keys) {
        const text = ed.nb.text(key);
        if (text) replaceText(text, replaceAll(text.toJSON(), query, by), structure);
        else convertCells(ed.nb, [key], "code");
      }
    }, structure);
    ed.tell(`${matches.length} replaced in ${keys.length} ${keys.length === 1 ? "cell" : "cells"}.`, false, { label: "Undo", run: () => ed.undo.undo() });
  };
  const toggle = (name: "caseSensitive" | "word" | "regexp", label: string, title: string) => (
    <button type="button" class="e-tool" aria-pressed={query[name]} title={title} onClick={() => setQuery({ ...query, [name]: !query[name] })}><span aria-hidden="true">{label}</span><span class="q-vh">{title}</span></button>
  );
  return (
    <div class="e-find" role="search" aria-label="Find in the notebook" onKeyDown={(e) => {
      if (e.key === "Escape") close();
      else if (e.key === "Enter" && e.target === field.current) go(e.shiftKey ? -1 : 1);
      else if (!(e.ctrlKey || e.metaKey)) { e.stopPropagation(); return; }
      else return;
      e.preventDefault();
      e.stopPropagation();
    }}>
      <input ref={field} type="search" value={query.text} placeholder="Find" aria-label="Find" aria-invalid={wrong} onInput={(e) => { setQuery({ ...query, text: e.currentTarget.value }); setAt(-1); }} />
      {toggle("caseSensitive", "Aa", "Match case")}{toggle("word", "ab|", "Whole words")}{toggle("regexp", ".*", "Regular expression")}
      <span class="e-soft e-found" aria-live="polite">{wrong ? "no expression" : query.text === "" ? "" : matches.length === 0 ? "none" : `${at < 0 ? "" : at + 1 + " of "}${matches.length}${matches.length === maxMatches ? "+" : ""}`}</span>
      <button type="button" class="e-tool" aria-label="Previous match" title="Previous (Shift+Enter)" onClick={() => go(-1)}><Icon name="up" /></button>
      <button type="button" class="e-tool" aria-label="Next match" title="Next (Enter)" onClick={() => go(1)}><Icon name="down" /></button>
      <button type="button" class="e-tool" disabled={at < 0} onClick={edit}>Edit</button>
      <input type="text" value={by} placeholder="Replace with" aria-label="Replace with" onInput={(e) => setBy(e.currentTarget.value)} />
      <button type="button" class="e-tool" disabled={matches.length === 0} onClick={replaceOne}>Replace</button>
      <button type="button" class="e-tool" disabled={matches.length === 0} onClick={replaceEvery}>Replace all</button>
      <button type="button" class="e-tool" aria-label="Close find" onClick={close}><Icon name="close" /></button>
    </div>
  );
}

interface HighlightRegistry { set(name: string, h: unknown): void; delete(name: string): void }

/** Marks matches in what is shown, where the browser can, without touching it. */
function mark(matches: readonly { key: string; from: number; to: number }[], at: number): void {
  const registry = (CSS as unknown as { highlights?: HighlightRegistry }).highlights;
  const Kind = (globalThis as unknown as { Highlight?: new (...ranges: Range[]) => unknown }).Highlight;
  if (!registry || !Kind) return;
  registry.delete("quire-find");
  registry.delete("quire-found");
  const ranges = matches.slice(0, 2000).map((m) => rangeOf(m.key, m.from, m.to));
  registry.set("quire-find", new Kind(...ranges.filter((r): r is Range => r !== null)));
  const one = ranges[at];
  if (one) registry.set("quire-found", new Kind(one));
}

function rangeOf(key: string, from: number, to: number): Range | null {
  const root = document.getElementById("cell-" + key)?.querySelector(".e-static");
  if (!root) return null;
  const range = document.createRange();
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  let seen = 0;
  let begun = false;
  for (let n = walk.nextNode(); n; n = walk.nextNode()) {
    const length = n.textContent?.length ?? 0;
    if (!begun && from <= seen + length) {
      range.setStart(n, from - seen);
      begun = true;
    }
    if (begun && to <= seen + length) {
      range.setEnd(n, to - seen);
      return range;
    }
    seen += length;
  }
  return null;
}
