import { expect, test } from "vitest";
import type { DataOutput, MimeBundle } from "../notebook/types.ts";
import { choose, pictureOf, pictureSource, textOf } from "./choose.ts";
import { bounded } from "./Frame.tsx";

const output = (data: MimeBundle, metadata: DataOutput["metadata"] = {}): DataOutput => ({ output_type: "display_data", data, metadata });

test("each media type has its form, the best first", () => {
  const table = { "application/vnd.dataresource+json": { data: [] } };
  for (const [data, kind] of [
    [{ "text/plain": "x" }, "text"],
    [{ "image/png": "AAAA", "text/plain": "x" }, "image"],
    [{ "image/gif": "AAAA" }, "image"],
    [{ "image/svg+xml": "<svg/>", "text/plain": "x" }, "image"],
    [{ "text/html": "<b>x</b>", "image/png": "AAAA" }, "server"],
    [{ "text/html": '<table border="1" class="dataframe"><tr></tr></table>' }, "table"],
    [{ ...table, "text/html": "<table>" }, "table"],
    [{ "text/markdown": "*x*" }, "server"],
    [{ "text/latex": "$x$", "text/plain": "x" }, "server"],
    [{ "application/geo+json": {} }, "server"],
    [{ "application/json": { a: 1 }, "text/plain": "x" }, "json"],
    [{ "application/vnd.other+json": { a: 1 } }, "json"],
    [{ "application/javascript": "alert(1)", "text/plain": "x" }, "server"],
    [{ "application/vnd.plotly.v1+json": {}, "text/html": "<div>" }, "drawing"],
    [{ "application/vnd.vegalite.v5+json": {}, "text/plain": "x" }, "drawing"],
    [{ "application/vnd.jupyter.widget-view+json": { model_id: "m" }, "text/plain": "x" }, "widget"],
    [{ "application/x-odd": "x" }, "server"],
    [{}, "none"],
  ] as [MimeBundle, string][]) expect(choose(output(data)).kind, JSON.stringify(data)).toBe(kind);
});

test("a large output is a reference, and only to a hash", () => {
  const hash = "a".repeat(64);
  expect(choose(output({ "text/plain": "x" }, { quire: { blob: hash, bytes: 5 } }))).toEqual({ kind: "large", hash, bytes: 5 });
  expect(choose(output({ "text/plain": "x" }, { quire: { blob: "../../etc/passwd" } })).kind).toBe("text");
});

test("pictures are data and nothing else", () => {
  expect(pictureSource("image/png", "AA\nAA==")).toBe("data:image/png;base64,AAAA==");
  expect(pictureSource("image/png", '" onerror="1')).toBe("");
  expect(pictureSource("image/png", "https://sink.test/")).toBe("");
  expect(pictureSource("image/svg+xml", "<svg onload='1'>")).not.toMatch(/[<>'"]/);
  const o = output({ "image/png": "AAAA" }, { "image/png": { width: 10, height: "x", alt: " a plot " } });
  expect(pictureOf(o, "image/png", 4)).toEqual({ src: "data:image/png;base64,AAAA", alt: "a plot", width: 10 });
  expect(pictureOf(output({ "image/png": "AAAA" }), "image/png", 4).alt).toBe("Plot output of cell 4");
});

test("a frame's height is bounded", () => {
  expect([bounded(1e9), bounded(-5), bounded(NaN), bounded("7"), bounded(100.2)]).toEqual([2000, 40, undefined, undefined, 101]);
});

test("data that came as lines is text", () => {
  expect(textOf(["a\n", "b"])).toBe("a\nb");
  expect(textOf({ a: 1 })).toBe('{"a":1}');
});
