import { expect, test } from "vitest";
import { chunks, countLines, cutLines, headLines, tailLines } from "./lines.ts";

test("lines are counted as a person counts them", () => {
  for (const [text, n] of [["", 0], ["a", 1], ["a\n", 1], ["a\nb", 2], ["\n\n", 2]] as const) expect(countLines(text)).toBe(n);
});

test("a short text is whole", () => {
  expect(cutLines("a\nb\n")).toEqual({ lines: 2, head: "a\nb\n", tail: "", hidden: 0 });
});

test("of 200,000 lines the beginning and the end are there, and nothing twice", () => {
  const text = Array.from({ length: 200_000 }, (_, n) => `line ${String(n)}`).join("\n") + "\n";
  const cut = cutLines(text);
  expect(cut.lines).toBe(200_000);
  expect(cut.head.startsWith("line 0\n") && cut.head.endsWith(`line ${String(headLines - 1)}\n`)).toBe(true);
  expect(cut.tail.startsWith(`line ${String(200_000 - tailLines)}\n`) && cut.tail.endsWith("line 199999\n")).toBe(true);
  expect(cut.hidden).toBe(200_000 - headLines - tailLines);
  expect(chunks(text).join("")).toBe(text);
  expect(chunks(text).length).toBe(200);
});

test("one endless line is cut as well", () => {
  const text = "x".repeat(5 << 20);
  const cut = cutLines(text);
  expect(cut.head.length + cut.tail.length).toBeLessThan(600 << 10);
  expect(cut.hidden).toBeGreaterThan(0);
  expect(chunks(text).join("")).toBe(text);
});
