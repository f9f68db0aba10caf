import { describe, expect, test } from "vitest";
import * as Y from "yjs";
import { NotebookDocument } from "./document.ts";
import * as edits from "./edits.ts";
import { findAll, replaceAll } from "./find.ts";
import { sourceHash } from "./hash.ts";
import { headings, outlineOf } from "./outline.ts";
import { codePoints, unitsOf } from "./points.ts";
import { connectionOf, fromSQL, isSQL, splitSQL, toSQL, withConnection } from "./sql.ts";

function made(...sources: string[]): NotebookDocument {
  const nb = new NotebookDocument();
  edits.insertCells(nb, 0, sources.map((source, i) => ({ type: "code" as const, source, id: "c" + i })));
  return nb;
}

const order = (nb: NotebookDocument) => nb.order.now.join(" ");
const sources = (nb: NotebookDocument) => nb.all().map((c) => c.source);

describe("the document", () => {
  test("tells the one cell that changed, and makes no new view of others", () => {
    const nb = made("a", "b");
    const other = nb.cell("c1");
    let heard = 0;
    nb.listen("c0", () => heard++);
    nb.listen("c1", () => { throw new Error("the other cell did not change"); });
    nb.text("c0")?.insert(1, "!");
    expect(nb.cell("c0")?.source).toBe("a!");
    expect(nb.cell("c1")).toBe(other);
    expect(heard).toBe(1);
  });

  test("two cells with one id in the file have two keys", () => {
    const nb = new NotebookDocument();
    edits.insertCells(nb, 0, [{ type: "code", source: "a", id: "x" }, { type: "code", source: "b", id: "x" }]);
    expect(order(nb)).toBe("x x~2");
    expect(nb.cell("x~2")?.id).toBe("x");
    expect(nb.keyOfId("x")).toBe("x");
  });

  test("outputs that do not change stay the same objects", () => {
    const nb = made("a");
    const outputs = nb.ycell("c0")?.get("outputs") as Y.Array<Y.Map<unknown>>;
    const stream = new Y.Map<unknown>(Object.entries({ output_type: "stream", name: "stdout" }));
    stream.set("text", new Y.Text("one\n"));
    const data = new Y.Map<unknown>(Object.entries({ output_type: "display_data", data: { "text/plain": "x" }, metadata: {} }));
    outputs.push([stream, data]);
    const before = nb.cell("c0")?.outputs;
    (stream.get("text") as Y.Text).insert(4, "two\n");
    const after = nb.cell("c0")?.outputs;
    expect(after?.[0]).toMatchObject({ text: "one\ntwo\n" });
    expect(after?.[0]).not.toBe(before?.[0]);
    expect(after?.[1]).toBe(before?.[1]);
  });

  test("what a peer writes that is no cell breaks nothing", () => {
    const nb = made("a");
    (nb.cells as unknown as Y.Array<unknown>).push(["text", 7, new Y.Map()]);
    expect(nb.all().map((c) => c.type)).toEqual(["code", "code"]);
    nb.ycell("c0")?.set("outputs", "none");
    nb.ycell("c0")?.set("metadata", 3);
    expect(nb.cell("c0")).toMatchObject({ outputs: [], metadata: {} });
  });
});

describe("edits", () => {
  test("each is one step to undo, with the outputs of what was deleted", () => {
    const nb = made("a", "b", "c");
    const outputs = nb.ycell("c1")?.get("outputs") as Y.Array<unknown>;
    outputs.push([new Y.Map(Object.entries({ output_type: "stream", name: "stdout", text: "kept" }))]);
    const undo = new Y.UndoManager(nb.cells, { trackedOrigins: new Set([edits.structure]), captureTimeout: 0 });
    edits.deleteCells(nb, ["c1", "c2"]);
    expect(order(nb)).toBe("c0");
    undo.undo();
    expect(order(nb)).toBe("c0 c1 c2");
    expect(nb.cell("c1")?.outputs).toMatchObject([{ text: "kept" }]);
    edits.moveCells(nb, ["c0"], 2);
    expect(order(nb)).toBe("c1 c2 c0");
    undo.undo();
    expect(order(nb)).toBe("c0 c1 c2");
  });

  test("the last cell leaves an empty one behind", () => {
    const nb = made("a");
    edits.deleteCells(nb, ["c0"]);
    expect(sources(nb)).toEqual([""]);
  });

  test.each([[["c0"], 2, "c1 c2 c0 c3"], [["c3"], 0, "c3 c0 c1 c2"], [["c1", "c2"], 2, "c0 c3 c1 c2"], [["c1"], 1, "c0 c1 c2 c3"]])("moves %j to %d", (keys, to, want) => {
    const nb = made("a", "b", "c", "d");
    edits.moveCells(nb, keys, to);
    expect(order(nb)).toBe(want);
  });

  test("converts with the same id, and SQL is a line", () => {
    const nb = made("SELECT 1");
    edits.convertCells(nb, ["c0"], "code", toSQL);
    expect(nb.cell("c0")).toMatchObject({ id: "c0", type: "code", source: "%%sql\nSELECT 1" });
    edits.convertCells(nb, ["c0"], "code", fromSQL);
    edits.convertCells(nb, ["c0"], "markdown");
    expect(nb.cell("c0")).toMatchObject({ id: "c0", type: "markdown", source: "SELECT 1" });
  });

  test("splits and merges", () => {
    const nb = made("one\ntwo");
    const key = edits.splitCell(nb, "c0", 4);
    expect(sources(nb)).toEqual(["one", "two"]);
    edits.mergeCells(nb, ["c0", key ?? ""]);
    expect(sources(nb)).toEqual(["one\n\ntwo"]);
  });

  test("a replacement keeps what others typed around it", () => {
    const doc = new Y.Doc();
    const text = doc.getText("t");
    text.insert(0, "country = 'US'  # code");
    const other = new Y.Doc();
    Y.applyUpdate(other, Y.encodeStateAsUpdate(doc));
    edits.replaceText(text, "country = 'FR'  # code", "me");
    other.getText("t").insert(22, " of ISO");
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(other));
    expect(text.toJSON()).toBe("country = 'FR'  # code of ISO");
  });

  test("tags and what is hidden come and go", () => {
    const nb = made("a");
    expect(edits.toggleTag(nb, "c0", "parameters")).toBe(true);
    edits.setJupyter(nb, "c0", "source_hidden", true);
    expect(nb.cell("c0")?.metadata).toEqual({ tags: ["parameters"], jupyter: { source_hidden: true } });
    edits.toggleTag(nb, "c0", "parameters");
    edits.setJupyter(nb, "c0", "source_hidden", false);
    expect(nb.cell("c0")?.metadata).toEqual({});
  });
});

test("two copies that were apart converge", () => {
  const one = made("a", "b", "c");
  const two = new NotebookDocument();
  Y.applyUpdate(two.doc, Y.encodeStateAsUpdate(one.doc));
  edits.deleteCells(one, ["c1"]);
  one.text("c0")?.insert(1, " one");
  two.text("c0")?.insert(1, " two");
  edits.insertCells(two, 2, [{ type: "markdown", source: "new", id: "n" }]);
  for (let i = 0; i < 2; i++) {
    Y.applyUpdate(two.doc, Y.encodeStateAsUpdate(one.doc));
    Y.applyUpdate(one.doc, Y.encodeStateAsUpdate(two.doc));
  }
  expect(order(one)).toBe("c0 n c2");
  expect(sources(one)).toEqual(sources(two));
});

describe("find", () => {
  const q = { text: "", caseSensitive: false, word: false, regexp: false };
  test("finds words, cases and expressions", () => {
    const cells = made("Country country_code", "x = country").all();
    expect(findAll(cells, { ...q, text: "country" })).toHaveLength(3);
    expect(findAll(cells, { ...q, text: "country", word: true })).toHaveLength(2);
    expect(findAll(cells, { ...q, text: "country", caseSensitive: true })).toHaveLength(2);
    expect(findAll(cells, { ...q, text: "c\\w+_", regexp: true })).toEqual([{ key: "c0", from: 8, to: 16 }]);
    expect(findAll(cells, { ...q, text: "(", regexp: true })).toEqual([]);
    expect(findAll(cells, { ...q, text: "x*", regexp: true })).toEqual([{ key: "c1", from: 0, to: 1 }]);
  });
  test("replaces by text as it is, and by groups in expressions", () => {
    expect(replaceAll("a.b", { ...q, text: "." }, "$1")).toBe("a$1b");
    expect(replaceAll("ab", { ...q, text: "(a)(b)", regexp: true }, "$2$1")).toBe("ba");
  });
});

test("the hash is the server's", () => {
  // The same values as TestSourceHash of internal/session.
  for (const [text, want] of [["", 0], ["a", 0x92685f5e], ["abcd", 0x26873021], ["hello world", 0x44a81419]] as const) expect(sourceHash(text)).toBe(want);
});

test("characters and units", () => {
  const text = "a🎉b";
  expect([0, 1, 3, 4].map((u) => codePoints(text, u))).toEqual([0, 1, 2, 3]);
  expect([0, 1, 2, 3].map((p) => unitsOf(text, p))).toEqual([0, 1, 3, 4]);
});

test("SQL cells", () => {
  expect(["%%sql\nSELECT", "%%sql", "%%sql --connection x\nS", "%%sqlx\n", " %%sql\n"].map(isSQL)).toEqual([true, true, true, false, false]);
  expect(splitSQL("%%sql -c lake\nSELECT 1")).toEqual({ head: "%%sql -c lake", body: "SELECT 1" });
});

test("the outline", () => {
  expect(headings("# A *b* [c](d)\n```\n# no\n```\n## E ##\n#no")).toEqual([{ level: 1, text: "A b c" }, { level: 2, text: "E" }]);
  const nb = made("x = 1", "1/0");
  edits.toggleTag(nb, "c0", "parameters");
  (nb.ycell("c1")?.get("outputs") as Y.Array<unknown>).push([new Y.Map(Object.entries({ output_type: "error", ename: "ZeroDivisionError", evalue: "", traceback: [] }))]);
  expect(outlineOf(nb.all()).map((e) => e.kind + " " + e.text)).toEqual(["parameters Parameters", "error ZeroDivisionError"]);
});

test("an SQL cell names its connection in its first line", () => {
  expect(connectionOf("%%sql\nSELECT 1")).toBe("");
  expect(connectionOf("%%sql -o plays\nSELECT 1")).toBe("");
  expect(connectionOf("%%sql warehouse -o plays\nSELECT 1")).toBe("warehouse");
  expect(withConnection("%%sql -o plays\nSELECT 1", "warehouse")).toBe("%%sql warehouse -o plays\nSELECT 1");
  expect(withConnection("%%sql warehouse -o plays\nSELECT 1", "other")).toBe("%%sql other -o plays\nSELECT 1");
  expect(withConnection("%%sql warehouse\nSELECT 1", "")).toBe("%%sql\nSELECT 1");
});
