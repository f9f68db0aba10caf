import { createContext } from "preact";
import { useContext, useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";
import type { Cell, NotebookDocument } from "../notebook/document.ts";
import type { Value } from "../notebook/value.ts";
import type { Editor } from "./editor.ts";

const EditorContext = createContext<Editor | null>(null);
export const EditorProvider = EditorContext.Provider;

export function useEditor(): Editor {
  const ed = useContext(EditorContext);
  if (!ed) throw new Error("there is no editor around this");
  return ed;
}

// What follows a value does so from the moment it is shown, in a layout effect. An
// effect comes with the next frame, and a key that was pressed before it would
// change a value that nobody follows yet: the next key would go to the wrong place.

/** The value, and again when it changes. */
export function useValue<T>(value: Value<T>): T {
  const [, again] = useReducer<number, undefined>((n) => n + 1, 0);
  const seen = useRef(value.now);
  seen.current = value.now;
  useLayoutEffect(() => {
    if (value.now !== seen.current) again(undefined);
    return value.listen(() => again(undefined));
  }, [value]);
  return value.now;
}

/** One fact about a value; shown again only when the fact changes. */
export function useFact<T, F>(value: Value<T>, fact: (now: T) => F): F {
  const [seen, set] = useState(() => fact(value.now));
  const now = useRef(fact);
  now.current = fact;
  useLayoutEffect(() => {
    set(() => now.current(value.now));
    return value.listen((v) => set(() => now.current(v)));
  }, [value]);
  const current = fact(value.now);
  return Object.is(current, seen) ? seen : current;
}

/** A cell, and again when it changes; null when it is gone. */
export function useCell(nb: NotebookDocument, key: string): Cell | null {
  const [, again] = useReducer<number, undefined>((n) => n + 1, 0);
  useLayoutEffect(() => nb.listen(key, () => again(undefined)), [nb, key]);
  return nb.cell(key);
}

/** All cells, at most every so many ms while they change. */
export function useAllCells(nb: NotebookDocument, everyMs = 300): readonly Cell[] {
  const [cells, set] = useState(() => nb.all());
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const later = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        set(nb.all());
      }, everyMs);
    };
    set(nb.all());
    const stops = [nb.listenAny(later), nb.order.listen(later)];
    return () => {
      clearTimeout(timer);
      for (const stop of stops) stop();
    };
  }, [nb, everyMs]);
  return cells;
}
