// Text of a terminal as styled pieces: colours and weights as the classes of the
// shared stylesheet, every other control sequence left out. It is the viewer's
// internal/viewer/ansi.go, and both are held to testdata/ansi.json.

export interface AnsiState {
  fg: number; // 0 none, otherwise colour + 1
  bg: number;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underlined: boolean;
  struck: boolean;
  reverse: boolean;
}

export interface AnsiPiece {
  readonly text: string;
  /** Class names; empty for plain text. */
  readonly class: string;
}

export const plainState = (): AnsiState => ({ fg: 0, bg: 0, bold: false, dim: false, italic: false, underlined: false, struck: false, reverse: false });

/** Splits text into pieces and leaves in state how it goes on. */
export function ansiPieces(text: string, state: AnsiState = plainState()): AnsiPiece[] {
  const pieces: AnsiPiece[] = [];
  const add = (s: string) => { if (s) pieces.push({ text: visible(s), class: className(state) }); };
  for (let at = 0; ;) {
    const esc = text.indexOf("\x1b", at);
    if (esc < 0) {
      add(text.slice(at));
      return pieces;
    }
    add(text.slice(at, esc));
    const seq = escapeSequence(text, esc);
    if (seq.final === "m") apply(state, seq.params);
    at = seq.end;
  }
}

/** Control characters that nothing shows become the replacement character. */
function visible(s: string): string {
  return s.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "\uFFFD");
}

function escapeSequence(s: string, from: number): { params: string; final: string; end: number } {
  const none = (end: number) => ({ params: "", final: "", end });
  const kind = s[from + 1];
  if (kind === undefined) return none(s.length);
  if (kind === "[") {
    for (let i = from + 2; i < s.length && i < from + 256; i++) {
      const c = s.charCodeAt(i);
      if (c >= 0x40 && c <= 0x7e) return { params: s.slice(from + 2, i), final: s[i] ?? "", end: i + 1 };
      if (c < 0x20) return none(i);
    }
    return none(from + 2);
  }
  if ("]P_^X".includes(kind)) { // a string, ended by BEL or ESC \
    for (let i = from + 2; i < s.length; i++) {
      if (s[i] === "\x07") return none(i + 1);
      if (s[i] === "\x1b") return none(s[i + 1] === "\\" ? i + 2 : i);
      if (s[i] === "\n") return none(i);
    }
    return none(s.length);
  }
  if ("()#%".includes(kind)) return none(Math.min(from + 3, s.length));
  const c = kind.charCodeAt(0);
  return none(c >= 0x80 || c === 0x1b || c < 0x20 ? from + 1 : from + 2);
}

function apply(a: AnsiState, params: string): void {
  const codes: number[] = [];
  for (const p of params.split(/[;:]/)) {
    if (p === "") continue;
    if (!/^[+-]?\d+$/.test(p) || codes.length > 32) return;
    codes.push(Number(p));
  }
  if (codes.length === 0) codes.push(0);
  for (let i = 0; i < codes.length; i++) {
    const c = codes[i] ?? 0;
    if (c === 0) Object.assign(a, plainState());
    else if (c === 1) a.bold = true;
    else if (c === 2) a.dim = true;
    else if (c === 3) a.italic = true;
    else if (c === 4) a.underlined = true;
    else if (c === 7) a.reverse = true;
    else if (c === 9) a.struck = true;
    else if (c === 22) a.bold = a.dim = false;
    else if (c === 23) a.italic = false;
    else if (c === 24) a.underlined = false;
    else if (c === 27) a.reverse = false;
    else if (c === 29) a.struck = false;
    else if (c >= 30 && c <= 37) a.fg = c - 29;
    else if (c === 39) a.fg = 0;
    else if (c >= 40 && c <= 47) a.bg = c - 39;
    else if (c === 49) a.bg = 0;
    else if (c >= 90 && c <= 97) a.fg = c - 81;
    else if (c >= 100 && c <= 107) a.bg = c - 91;
    else if (c === 38 || c === 48) {
      const { colour, used } = extended(codes.slice(i + 1));
      i += used;
      if (c === 38) a.fg = colour;
      else a.bg = colour;
    }
  }
}

function extended(codes: readonly number[]): { colour: number; used: number } {
  const [kind, n = 0, g = 0, b = 0] = codes;
  if (codes.length >= 2 && kind === 5) {
    if (n < 0 || n > 255) return { colour: 0, used: 2 };
    if (n < 16) return { colour: n + 1, used: 2 };
    if (n >= 232) {
      const level = (n - 232) * 10 + 8;
      return { colour: nearest(level, level, level) + 1, used: 2 };
    }
    const step = (v: number) => v === 0 ? 0 : 55 + 40 * v;
    const m = n - 16;
    return { colour: nearest(step(Math.floor(m / 36)), step(Math.floor(m / 6) % 6), step(m % 6)) + 1, used: 2 };
  }
  if (codes.length >= 4 && kind === 2) return { colour: nearest(n, g, b) + 1, used: 4 };
  return { colour: 0, used: codes.length };
}

function nearest(r: number, g: number, b: number): number {
  const high = Math.max(r, g, b), low = Math.min(r, g, b);
  if (high - low < 40) { // a grey
    if (high < 64) return 0;
    if (high < 160) return 8;
    return high < 224 ? 7 : 15;
  }
  const mid = Math.trunc((high + low) / 2);
  return (r > mid ? 1 : 0) + (g > mid ? 2 : 0) + (b > mid ? 4 : 0) + (high > 200 ? 8 : 0);
}

function className(a: AnsiState): string {
  let { fg, bg } = a;
  if (a.reverse) {
    [fg, bg] = [bg, fg];
    if (bg === 0) bg = 8;
  }
  const words: string[] = [];
  if (fg > 0) words.push(`a-${String(fg - 1)}`);
  if (bg > 0) words.push(`a-bg-${String(bg - 1)}`);
  if (a.bold) words.push("a-b");
  if (a.dim) words.push("a-d");
  if (a.italic) words.push("a-i");
  if (a.underlined) words.push("a-u");
  if (a.struck) words.push("a-s");
  return words.join(" ");
}

/** Text without its control sequences. */
export function stripAnsi(text: string): string {
  if (!text.includes("\x1b")) return text;
  let out = "";
  for (let at = 0; ;) {
    const esc = text.indexOf("\x1b", at);
    if (esc < 0) return out + text.slice(at);
    out += text.slice(at, esc);
    at = escapeSequence(text, esc).end;
  }
}

/**
 * Carries out what carriage returns and backspaces do to a line: a progress bar
 * that redraws itself a thousand times is one line.
 */
export function overstrike(text: string): string {
  if (!text.includes("\r") && !text.includes("\b")) return text;
  return text.replaceAll("\r\n", "\n").split("\n").map((line) => {
    const bare = line.replace(/\r+$/, "");
    return backspaced(bare.slice(bare.lastIndexOf("\r") + 1));
  }).join("\n");
}

function backspaced(line: string): string {
  if (!line.includes("\b")) return line;
  const kept: string[] = [];
  for (const c of line) {
    if (c === "\b") kept.pop();
    else kept.push(c);
  }
  return kept.join("");
}
