import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { DataOutput, Json, JsonObject } from "../notebook/types.ts";
import { fromDX, noChoice, suggest, toDX, forms, type Choice } from "./choice.ts";
import { pythonCode } from "./code.ts";
import { profile } from "./profile.ts";
import { filterRows, makeTable, parseFilter, resourceTable, sortRows } from "./table.ts";

const tables = "../internal/viewer/testdata/tables/";

describe("tables of the viewer's files", () => {
  const files = readdirSync(tables).filter((f) => f.startsWith("dataresource"));
  test.each(files)("%s", (file) => {
    const c = JSON.parse(readFileSync(tables + file, "utf8")) as { output: DataOutput; names: string[]; rows: Json[][]; whole: number };
    const t = resourceTable(c.output);
    expect(t?.columns.map((k) => k.name)).toEqual(c.names);
    expect(t?.rows).toEqual(c.rows);
    expect(t?.whole).toBe(c.whole);
  });
  test("there are some", () => { expect(files.length).toBeGreaterThan(1); });
  test("what is none", () => {
    for (const data of [{}, { "application/vnd.dataresource+json": "{" }, { "application/vnd.dataresource+json": { data: 7 } }, { "application/vnd.dataresource+json": [] }] as JsonObject[]) {
      expect(resourceTable({ output_type: "display_data", data, metadata: {} })).toBeUndefined();
    }
  });
});

describe("choices", () => {
  const cases = JSON.parse(readFileSync("../internal/chart/testdata/choices.json", "utf8")) as { name: string; dx: JsonObject; choice: Choice | null }[];
  test.each(cases)("$name", ({ dx, choice }) => { expect(fromDX(dx)).toEqual(choice); });
  test.each(forms)("%s is read as it is written", (form) => {
    const full: Choice = { form, x: "a", y: ["b"], by: "c", size: "d", levels: ["a", "c"], sum: "mean" };
    const back = fromDX(toDX(full));
    expect(back?.form).toBe(form);
    expect(fromDX(toDX(back ?? noChoice))).toEqual(back);
  });
  test("a first chart fits", () => {
    expect(suggest(makeTable(["day", "n"], [["2018-05-01", 1]]))).toMatchObject({ form: "line", x: "day", y: ["n"] });
    expect(suggest(makeTable(["index", "city", "n"], [[0, "Rome", 1]]))).toMatchObject({ form: "bar", x: "city", y: ["n"] });
    expect(suggest(makeTable(["a", "b"], [[0, 1]]))).toMatchObject({ form: "scatter", x: "a", y: ["b"] });
    expect(suggest(makeTable(["a"], [[0]]))).toMatchObject({ form: "histogram", y: ["a"] });
  });
});

const t = makeTable(["city", "n", "day"], [["Rome", 10, "2018-05-02"], ["Oslo", null, "2018-05-01"], [null, -3, null], ["oslo", 9, "2018-05-03"]]);

describe("rows", () => {
  test("kinds", () => { expect(t.columns.map((c) => c.kind)).toEqual(["text", "number", "time"]); });
  test.each([
    ["n", "", [0, 1, 2, 3]], ["n", "> 0", [0, 3]], ["n", "-5..9", [2, 3]], ["n", "= -3", [2]], ["n", "=", [1]], ["n", "!=", [0, 2, 3]], ["n", "!= 10", [1, 2, 3]], ["n", "1", [0]],
    ["city", "OSL", [1, 3]], ["city", "= Rome", [0]], ["city", ">= Z", [3]], ["day", "> 2018-05-01", [0, 3]], ["n", "> x", [0, 1, 2, 3]],
  ] as const)("%s %s", (name, text, want) => {
    expect(filterRows(t, [{ column: t.columns.findIndex((c) => c.name === name), text }])).toEqual(want);
  });
  test("a filter that cannot be is said to be so", () => { expect(parseFilter("> x", "number")).toBe("invalid"); });
  test("what is missing is last either way", () => {
    expect(sortRows(t, [0, 1, 2, 3], { column: 1, down: false })).toEqual([2, 3, 0, 1]);
    expect(sortRows(t, [0, 1, 2, 3], { column: 1, down: true })).toEqual([0, 3, 2, 1]);
    expect(sortRows(t, [0, 1, 2, 3], null)).toEqual([0, 1, 2, 3]);
  });
});

test("a profile counts what is there", () => {
  const p = profile(t, 1, [0, 1, 2, 3]);
  expect(p).toMatchObject({ none: 1, distinct: 3, min: "-3", max: "10", median: 9 });
  expect(p.mean).toBeCloseTo(16 / 3);
  expect(p.bins.reduce((a, b) => a + b.count, 0)).toBe(3);
  expect(profile(t, 0, [0, 1, 2, 3])).toMatchObject({ none: 1, distinct: 3, min: "Oslo", max: "oslo" });
  expect(profile(t, 2, [0, 1])).toMatchObject({ min: "2018-05-01", max: "2018-05-02" });
});

test("code does what was done by hand", () => {
  expect(pythonCode(t, [{ column: 1, text: "> 5" }, { column: 0, text: 'o"s' }], { column: 1, down: true }, { ...noChoice, x: "city", y: ["n"] })).toBe(
    'view = df[(df["n"] > 5) & (df["city"].astype(str).str.contains("o\\"s", case=False, regex=False))].sort_values("n", ascending=False)\nview.groupby("city")["n"].sum().plot.bar()\n');
  expect(pythonCode(t, [], null, null)).toBe("df\n");
});
