import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ansiPieces, overstrike, stripAnsi } from "./ansi.ts";

const cases = JSON.parse(readFileSync("../internal/viewer/testdata/ansi.json", "utf8")) as { text: string; html: string }[];

/** Escapes as internal/viewer does. */
function escape(s: string): string {
  return s.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&#34;").replaceAll("'", "&#39;");
}

test("terminal text is what the viewer makes of it", () => {
  expect(cases.length).toBeGreaterThan(20);
  for (const c of cases) {
    const html = ansiPieces(overstrike(c.text)).map((p) => p.class ? `<span class="${p.class}">${escape(p.text)}</span>` : escape(p.text)).join("");
    expect(html, JSON.stringify(c.text)).toBe(c.html);
  }
});

test("text without its control sequences", () => {
  expect(stripAnsi("\x1b[31mred\x1b[0m \x1b]0;t\x07x")).toBe("red x");
});
