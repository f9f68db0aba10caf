// Cuts long text so that a page with 200,000 lines of it stays quick.

/** How many lines of a long text are shown before somebody asks for all. */
export const headLines = 50;
export const tailLines = 200;
/** A text over either bound is cut. */
export const wholeLines = 1000;
export const wholeBytes = 256 << 10;
/** How many lines stand in one element once all are shown. */
export const chunkLines = 1000;
/** A single line over this is cut too, in UTF-16 units. */
export const longLine = 100_000;

export function countLines(text: string): number {
  if (text === "") return 0;
  let n = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) n++;
  return text.endsWith("\n") ? n : n + 1;
}

export interface Cut {
  readonly lines: number;
  /** The whole text, or its beginning. */
  readonly head: string;
  /** Its end, when it was cut. */
  readonly tail: string;
  /** How many lines are between; 0 when it was not cut. */
  readonly hidden: number;
}

/** Returns the beginning and the end of a text that is long, and the whole of one that is not. */
export function cutLines(text: string): Cut {
  const lines = countLines(text);
  if (lines <= wholeLines && text.length <= wholeBytes) return { lines, head: text, tail: "", hidden: 0 };
  let a = 0;
  for (let n = 0; n < headLines && a < text.length; n++) {
    const next = text.indexOf("\n", a);
    a = next < 0 ? text.length : next + 1;
  }
  let b = text.endsWith("\n") ? text.length - 1 : text.length;
  for (let n = 0; n < tailLines && b > a; n++) b = text.lastIndexOf("\n", b - 1);
  b = Math.max(b + 1, a);
  const head = text.slice(0, Math.min(a, wholeBytes));
  const tail = text.slice(Math.max(b, text.length - wholeBytes));
  return { lines, head, tail, hidden: Math.max(lines - countLines(head) - countLines(tail), 1) };
}

/** Cuts a text into pieces of whole lines. */
export function chunks(text: string): string[] {
  const list: string[] = [];
  for (let at = 0; at < text.length;) {
    let end = at;
    for (let n = 0; n < chunkLines && end < text.length && end - at < longLine * 10; n++) {
      const next = text.indexOf("\n", end);
      end = next < 0 ? text.length : next + 1;
    }
    list.push(text.slice(at, end));
    at = end;
  }
  return list;
}
