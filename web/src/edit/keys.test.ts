import { expect, test } from "vitest";
import { commands, keysOf } from "./commands.ts";
import { keyOf, KeySequence } from "./keys.ts";

const press = (key: string, more: Partial<KeyboardEvent> = {}) => keyOf({ key, code: "", ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });

test("keys in words", () => {
  expect(press("Enter", { shiftKey: true })).toBe("Shift+Enter");
  expect(press("P", { ctrlKey: true, shiftKey: true, code: "KeyP" })).toBe("Ctrl+Shift+p");
  expect(press("?", { shiftKey: true })).toBe("?");
  expect(press("J", { shiftKey: true, code: "KeyJ" })).toBe("Shift+j");
  expect(press("Shift", { shiftKey: true })).toBe("");
});

test("d d deletes, and d alone is waited for", () => {
  const keys = new KeySequence([["d d", "delete"], ["a", "above"]]);
  expect(keys.press("d", 0)).toBe("wait");
  expect(keys.press("d", 500)).toBe("delete");
  expect(keys.press("d", 600)).toBe("wait");
  expect(keys.press("d", 2000)).toBe("wait"); // too late: it begins anew
  expect(keys.press("a", 2100)).toBe("above");
  expect(keys.press("q", 2200)).toBeNull();
});

test("no key calls two commands, and no command has another's name", () => {
  for (const mode of ["command", "edit"] as const) {
    const keys = keysOf(mode).map(([key]) => key);
    expect(keys.filter((k, i) => keys.indexOf(k) !== i)).toEqual([]);
  }
  const ids = commands.map((c) => c.id);
  expect(new Set(ids).size).toBe(ids.length);
});
