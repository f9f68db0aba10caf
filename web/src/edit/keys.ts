// Keys in words: "Shift+Enter", "d d", "Ctrl+Shift+P". Ctrl stands for Cmd on a Mac.

export const isMac = typeof navigator !== "undefined" && /Mac|iPhone|iPad/.test(navigator.platform);

/** The words of a pressed key; "" for a modifier alone. */
export function keyOf(e: Pick<KeyboardEvent, "key" | "code" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey">): string {
  if (["Shift", "Control", "Alt", "Meta", "CapsLock", "Dead"].includes(e.key)) return "";
  const ctrl = isMac ? e.metaKey : e.ctrlKey;
  let name = e.key === " " ? "Space" : e.key;
  const letter = /^Key([A-Z])$/.exec(e.code)?.[1];
  if ((ctrl || e.altKey) && letter) name = letter.toLowerCase();
  let shift = e.shiftKey;
  if (name.length === 1) {
    if (/[a-z]/i.test(name)) name = name.toLowerCase();
    else shift = false; // the sign says it already: "?" is not Shift+?
  }
  return [ctrl && "Ctrl", !isMac && e.metaKey && "Meta", isMac && e.ctrlKey && "Control", e.altKey && "Alt", shift && "Shift", name].filter(Boolean).join("+");
}

/** Reads keys one by one and finds what they call, also "d d". */
export class KeySequence<T> {
  readonly #calls: ReadonlyMap<string, T>;
  readonly #begins: ReadonlySet<string>;
  #before = "";
  #at = 0;

  constructor(calls: Iterable<readonly [string, T]>) {
    this.#calls = new Map(calls);
    this.#begins = new Set([...this.#calls.keys()].filter((k) => k.includes(" ")).map((k) => k.split(" ")[0] ?? ""));
  }

  /** What this key calls, "wait" when it begins a sequence, null when nothing. */
  press(key: string, now: number): T | "wait" | null {
    const both = this.#before && now - this.#at < 1000 ? this.#calls.get(this.#before + " " + key) : undefined;
    this.#before = "";
    if (both !== undefined) return both;
    const one = this.#calls.get(key);
    if (one !== undefined) return one;
    if (!this.#begins.has(key)) return null;
    this.#before = key;
    this.#at = now;
    return "wait";
  }
}

/** Keys as they are shown: "⌘⇧P" on a Mac, "Ctrl+Shift+P" elsewhere. */
export function shown(keys: string): string {
  const names: Record<string, string> = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };
  return keys.split(" ").map((key) => key.split("+").map((part) => {
    if (isMac && part in macSigns) return macSigns[part];
    return names[part] ?? (part.length === 1 ? part.toUpperCase() : part);
  }).join(isMac ? "" : "+")).join(" ");
}

const macSigns: Record<string, string> = { Ctrl: "⌘", Shift: "⇧", Alt: "⌥", Control: "⌃" };
