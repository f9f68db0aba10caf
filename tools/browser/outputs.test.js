// Outputs in the editor: every kind of them, tables that are explored, very much of
// them, and hostile ones. That they look as in the viewer is seen to by the server,
// which renders both.
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, test } from "node:test";
import { carriers, payloads } from "./attacks.js";
import { code, everything, notebook, shown, text } from "./notebooks.js";
import { axe, startBrowser, startQuire, until, watched } from "./quire.js";

let quire, browser, sink;
const heard = [];

before(async () => {
  sink = net.createServer((socket) => {
    socket.on("error", () => {});
    heard.push("a connection");
    socket.destroy();
  });
  await new Promise((resolve) => sink.listen(0, "127.0.0.1", resolve));
  [quire, browser] = await Promise.all([startQuire(), startBrowser(["--host-resolver-rules=MAP *.test 127.0.0.1:" + sink.address().port + ", MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])]);
});
after(async () => {
  await browser?.close();
  sink?.close();
  await quire?.stop();
});

// edit saves a notebook and opens it in the editor.
async function edit(name, nb, options = {}) {
  await quire.save(name, nb);
  const w = await watched(browser, quire.base, { viewport: { width: 1280, height: 900 }, ...options });
  await w.page.goto(quire.signIn);
  await w.page.goto(quire.base + "/edit/users/me/" + name);
  await w.page.locator("section[aria-label^='Cell']").first().waitFor();
  return w;
}

const frame = [["tv", "US", 1.5, "2018-05-01"], ["phone", "US", null, "2018-05-02"], ["tv", "FR", 4, "2018-05-03"], ["web", "FR", 9.25, "2018-05-04"]];
const resource = { schema: { fields: ["device", "country", "hours", "day"].map((name) => ({ name })) }, data: frame.map(([device, country, hours, day]) => ({ device, country, hours, day })) };
const pandas = `<table border="1" class="dataframe"><thead><tr><th></th><th>device</th><th>country</th><th>hours</th><th>day</th></tr></thead><tbody>${frame.map((r, n) => `<tr><th>${n}</th>${r.map((v) => `<td>${v ?? "NaN"}</td>`).join("")}</tr>`).join("")}</tbody></table>`;

test("every kind of output stands in the editor, in both themes and on a phone", { timeout: 360_000 }, async () => {
  const nb = everything();
  nb.cells.push({ ...shown({ "application/geo+json": { type: "Feature", properties: { name: "Rome" }, geometry: { type: "Point", coordinates: [12.5, 41.9] } } }), id: "geo" },
    { ...shown({ "application/vnd.plotly.v1+json": { data: [{ type: "bar", x: ["a"], y: [1] }], layout: { height: 300 } } }), id: "plotly" },
    { ...shown({ "application/vnd.vegalite.v5+json": { data: { values: [{ a: 1 }] }, mark: "bar", encoding: { x: { field: "a", type: "quantitative" } } } }), id: "vega" });
  for (const c of nb.cells) c.metadata ??= {};
  const { context, page, faults } = await edit("every.ipynb", nb);
  await page.locator("iframe[title^='Interactive output']").nth(2).waitFor();
  for (const f of await page.locator("iframe[title^='Interactive output']").all()) await f.scrollIntoViewIfNeeded();
  const drawn = (what, find) => until(what, 60, async () => {
    for (const f of page.frames()) if (f !== page.mainFrame() && await f.evaluate(find).catch(() => false)) return true;
    return false;
  });
  await drawn("plotly to draw", () => document.querySelectorAll(".bars .point, .js-plotly-plot").length > 0);
  await drawn("vega to draw", () => document.querySelectorAll("#output svg").length > 0);
  await drawn("the author's script to run", () => document.getElementById("x")?.textContent === "drawn by script");
  for (const f of page.frames()) if (f !== page.mainFrame()) assert.equal(await f.evaluate(() => window.origin), "null");
  const all = await page.locator("body").textContent();
  for (const want of ["colour 31", "ZeroDivisionError", "Traceback, 2 lines", "Map of one shape", "JavaScript that is not run", "markdown of a cell"]) assert.ok(all.includes(want), "the page has: " + want);
  assert.equal(await page.locator("math").count() > 0, true, "the formula is drawn");
  assert.equal(await page.locator(".q-image img").count(), 2);
  assert.deepEqual(faults, []);
  for (const options of [{ width: 1280, scheme: "light" }, { width: 1280, scheme: "dark" }, { width: 390, scheme: "dark" }]) {
    await page.setViewportSize({ width: options.width, height: 900 });
    await page.emulateMedia({ colorScheme: options.scheme });
    if (process.env.LOOK) await page.screenshot({ path: `${process.env.LOOK}/every-${options.width}-${options.scheme}.png` });
    assert.deepEqual((await axe(page)).filter((v) => /q-out|x-box|o-|q-image|q-frame/.test(v)), [], JSON.stringify(options));
  }
  await context.close();
});

test("a table is sorted, filtered, profiled and drawn, and the viewer shows the chart that was chosen", { timeout: 360_000 }, async () => {
  const { context, page, faults } = await edit("table.ipynb", notebook([
    { ...shown({ "application/vnd.dataresource+json": resource, "text/plain": "..." }), id: "res" }, { ...shown({ "text/html": pandas, "text/plain": "..." }), id: "df" }]));
  const box = page.getByRole("region", { name: "Table of cell 1" });
  const rows = () => box.locator("tbody tr").allInnerTexts();
  await box.getByRole("button", { name: /hours/ }).click();
  assert.match((await rows())[0], /^tv\s+US\s+1.5/);
  await box.getByRole("button", { name: /hours/ }).click();
  assert.equal(await box.getByRole("columnheader", { name: /hours/ }).getAttribute("aria-sort"), "descending");
  assert.match((await rows())[0], /^web/);
  assert.match((await rows())[3], /none/);
  await box.getByRole("button", { name: "Filter", exact: true }).click();
  await box.getByLabel("Filter hours").fill("> 2");
  await box.getByText("2 of 4 rows").waitFor();
  await box.getByLabel("Filter hours").fill("> x");
  assert.equal(await box.getByLabel("Filter hours").getAttribute("aria-invalid"), "true");
  await box.getByLabel("Filter hours").fill("");
  await box.getByRole("tab", { name: "Profile" }).click();
  assert.match(await box.locator("tbody tr", { hasText: "hours" }).innerText(), /number\s+25 %\s+3\s+1.5\s+4\s+4.91667\s+9.25/);
  // By keyboard: the arrows go between the tabs.
  await box.getByRole("tab", { name: "Profile" }).press("ArrowLeft");
  assert.equal(await box.getByRole("tab", { name: "Chart" }).getAttribute("aria-selected"), "true");
  await box.locator("svg[role=img]").waitFor();
  assert.match(await box.locator("figcaption").innerText(), /hours over day/);
  for (const form of ["bar", "area", "scatter", "histogram", "box", "heatmap", "treemap", "sunburst", "network", "parallel"]) {
    await box.getByRole("combobox", { name: "Chart", exact: true }).selectOption(form);
    await until(form, 60, async () => (await box.locator("svg.q-svg").count()) === 1 || (await box.getByRole("alert").count()) === 1);
  }
  await box.getByRole("combobox", { name: "Chart", exact: true }).selectOption("bar");
  await box.getByLabel("Categories").selectOption("device");
  await box.getByLabel("Colour").selectOption("country");
  await box.locator("figcaption", { hasText: "sum of hours by device and country" }).waitFor();
  const df = page.getByRole("region", { name: "Table of cell 2" });
  assert.equal(await df.getByRole("tab", { name: "As shown" }).getAttribute("aria-selected"), "true");
  await df.getByRole("tab", { name: "Table" }).click();
  await df.getByText("4 rows").waitFor();
  await df.getByRole("tab", { name: "Chart" }).click();
  await df.getByRole("combobox", { name: "Chart", exact: true }).selectOption("histogram");
  await df.locator("figcaption", { hasText: "Distribution of" }).waitFor();
  assert.deepEqual((await axe(page)).filter((v) => /x-|q-chart|q-svg/.test(v)), []);
  if (process.env.LOOK) await page.screenshot({ path: process.env.LOOK + "/table.png" });
  // It is saved by itself, and who looks at the notebook sees the charts.
  const viewer = await context.newPage();
  await until("the viewer to show both charts", 60, async () => {
    await viewer.goto(quire.base + "/view/users/me/table.ipynb");
    return (await viewer.locator("figure.q-chart svg").count()) === 2;
  });
  assert.equal(await viewer.locator("figcaption").first().innerText(), "sum of hours by device and country");
  assert.deepEqual(await viewer.locator("figure.q-chart svg").first().evaluate((el) => el.outerHTML), await box.locator("svg.q-svg").evaluate((el) => el.outerHTML), "the viewer shows the same chart");
  const saved = await quire.api("GET", "/user/me/api/contents/table.ipynb?content=1");
  assert.equal(saved.content.cells[0].metadata.dx["0"].view, "bar");
  assert.deepEqual(faults, []);
  await context.close();
});

test("who reads a notebook or a result explores its tables; without script they stand there", { timeout: 240_000 }, async () => {
  const evil = "<img src=x onerror='window.__pwn=1'>";
  const hostile = { schema: { fields: [{ name: evil }, { name: "n" }] }, data: [{ [evil]: evil, n: 2 }, { [evil]: "b", n: 1 }] };
  const chosen = { dx: { 0: { view: "bar", chart: { dim1: "device", metric1: "hours" } } } };
  await quire.save("read.ipynb", notebook([
    { ...shown({ "application/vnd.dataresource+json": resource, "text/plain": "..." }), id: "res", metadata: chosen }, { ...shown({ "text/html": pandas, "text/plain": "..." }), id: "df" },
    { ...shown({ "application/vnd.dataresource+json": hostile, "text/plain": "..." }), id: "evil" }]));
  await quire.save("plain.ipynb", notebook([code("1 + 1")]));
  const { context, page, faults } = await watched(browser, quire.base, { viewport: { width: 1280, height: 900 } });
  const loaded = [];
  page.on("response", (r) => { if (r.url().includes("/static/app/")) loaded.push(r); });
  await page.goto(quire.signIn);
  await page.goto(quire.base + "/view/users/me/plain.ipynb");
  assert.equal(loaded.length, 0, "a page without a table loads nothing of the app");
  await page.goto(quire.base + "/view/users/me/read.ipynb");
  const box = page.getByRole("region", { name: "Table of cell 1" });
  await box.getByRole("tab", { name: "As shown" }).waitFor();
  await box.locator("figcaption", { hasText: "hours by device" }).waitFor();
  const sizes = await Promise.all(loaded.map(async (r) => Number((await r.allHeaders())["content-length"] ?? (await r.body()).length)));
  assert.ok(sizes.reduce((a, b) => a + b, 0) < 40_000, "the explorer is small: " + sizes);
  await box.getByRole("tab", { name: "As shown" }).press("ArrowRight");
  await box.getByText("4 rows, 4 columns").waitFor();
  await box.getByRole("button", { name: /hours/ }).click();
  assert.match(await box.locator("tbody tr").first().innerText(), /^tv\s+US\s+1.5/);
  await box.getByRole("button", { name: "Filter", exact: true }).click();
  await box.getByLabel("Filter hours").fill("> 2");
  await box.getByText("2 of 4 rows").waitFor();
  // The chart that its author chose is where the reader begins.
  await box.getByRole("tab", { name: "Chart" }).click();
  await box.locator("figcaption", { hasText: "hours by device" }).waitFor();
  await box.getByLabel("Colour").selectOption("country");
  await box.locator("figcaption", { hasText: "by device and country" }).waitFor();
  const df = page.getByRole("region", { name: "Table of cell 2" });
  await df.getByRole("tab", { name: "Profile" }).click();
  assert.match(await df.locator("tbody tr", { hasText: "hours" }).innerText(), /number\s+25 %/);
  assert.notEqual(await df.locator(".x-spark rect").first().evaluate((el) => getComputedStyle(el).fill), "rgb(0, 0, 0)", "the explorer has its styles");
  const bad = page.getByRole("region", { name: "Table of cell 3" });
  for (const name of ["Table", "Profile", "Chart"]) {
    await bad.getByRole("tab", { name }).click();
    await bad.getByText("2 rows, 2 columns").waitFor();
  }
  await bad.locator("figcaption", { hasText: "<img" }).waitFor();
  assert.equal(await page.evaluate(() => "__pwn" in window), false);
  for (const options of [{ width: 1280, scheme: "light" }, { width: 390, scheme: "dark" }]) {
    await page.setViewportSize({ width: options.width, height: 900 });
    await page.emulateMedia({ colorScheme: options.scheme });
    if (process.env.LOOK) await page.screenshot({ path: `${process.env.LOOK}/read-${options.width}-${options.scheme}.png`, fullPage: true });
    assert.deepEqual(await axe(page), [], JSON.stringify(options));
  }
  assert.equal((await quire.api("GET", "/user/me/api/contents/read.ipynb?content=1")).content.cells[0].metadata.dx["0"].chart.dim2, undefined, "what a reader chooses is not kept");

  // The result of a statement, of which the explorer has the first rows.
  await page.goto(quire.base + "/query");
  await page.getByLabel("Statement").fill("SELECT i AS n, i % 7 AS k, '" + evil.replaceAll("'", "''") + "' AS t, (i / 4)::DECIMAL(10, 2) AS d FROM range(1500) r(i) ORDER BY i");
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.waitForURL("**/query/*");
  const result = page.getByRole("region", { name: "Table of the result" });
  await result.getByText("Rows 1 to 200 of 1500.").waitFor();
  await page.locator("#queries tbody tr").first().getByText("Succeeded").waitFor(); // the history says so, too
  await result.getByRole("tab", { name: "Table" }).click();
  await result.getByText("The first 1,000 rows of 1,500, 4 columns").waitFor();
  await result.getByRole("button", { name: /^d/ }).click();
  await result.getByRole("button", { name: /^d/ }).click();
  assert.match(await result.locator("tbody tr").first().innerText(), /^999\s/, "decimals are numbers");
  await result.getByRole("tab", { name: "Chart" }).click();
  await result.locator("svg.q-svg").waitFor();
  if (process.env.LOOK) await page.screenshot({ path: `${process.env.LOOK}/query-390-dark.png`, fullPage: true });
  assert.deepEqual(await axe(page), []);
  assert.equal(await page.evaluate(() => "__pwn" in window), false);
  assert.deepEqual(faults, []);
  await context.close();
  const still = await watched(browser, quire.base, { javaScriptEnabled: false });
  await still.page.goto(quire.signIn);
  await still.page.goto(quire.base + "/view/users/me/read.ipynb");
  await still.page.locator("#cell-res figure svg").waitFor();
  assert.equal(await still.page.locator("#cell-df table.dataframe tbody tr, #cell-df .q-html tbody tr").count(), 4);
  await still.context.close();
});

test("200,000 lines in one output and 500 images do not freeze the page", { timeout: 360_000 }, async (t) => {
  const lines = Array.from({ length: 200_000 }, (_, n) => "line " + n).join("\n") + "\n";
  const png = everything().cells.find((c) => c.outputs?.[0]?.data?.["image/png"]).outputs[0].data["image/png"];
  const images = code("plots()", { execution_count: 1, outputs: Array.from({ length: 500 }, () => ({ output_type: "display_data", metadata: {}, data: { "image/png": png, "text/plain": "<Figure>" } })) });
  const { context, page, faults } = await edit("much.ipynb", notebook([code("loop()", { execution_count: 1, outputs: [{ output_type: "stream", name: "stdout", text: lines }] }), images, code("x = 1")]));
  // most is how many pieces of text were put in at most, between two moments at which
  // the page answered, while act went on; and the longest time between two such moments.
  const most = async (act) => {
    await page.evaluate(() => {
      const pieces = () => document.querySelectorAll(".q-stream pre").length;
      window.most = { pieces: 0, ms: 0 };
      let last = performance.now(), before = pieces();
      window.beat = setInterval(() => {
        const now = performance.now(), n = pieces();
        window.most = { pieces: Math.max(window.most.pieces, n - before), ms: Math.max(window.most.ms, now - last) };
        [last, before] = [now, n];
      }, 10);
    });
    await act();
    return page.evaluate(() => { clearInterval(window.beat); return window.most; });
  };
  await page.getByText("line 49", { exact: false }).first().waitFor();
  const text1 = await page.locator(".q-stream").innerText();
  assert.ok(text1.includes("line 0\n") && text1.includes("line 199999") && !text1.includes("line 100000"), "the beginning and the end are shown");
  const { pieces, ms } = await most(async () => {
    await page.locator(".q-stream").getByRole("button", { name: "Show all (200,000 lines)" }).click();
    await until("the last of the lines", 60, async () => (await page.locator(".q-stream pre").count()) >= 200);
  });
  t.diagnostic(`the page did not answer for ${Math.round(ms)} ms at most, in which ${pieces} of the pieces came`);
  assert.ok(pieces > 0 && pieces <= 50, pieces + " of 200 pieces came at once");
  assert.ok(ms < 15_000, "the page did not answer for " + Math.round(ms) + " ms"); // of a busy machine, too
  assert.ok((await page.locator(".q-stream").textContent()).includes("line 100000"));
  assert.equal(await page.locator(".q-image img").count(), 500);
  assert.equal(await page.locator(".q-image img[loading=lazy][decoding=async]").count(), 500);
  assert.deepEqual(faults, []);
  await context.close();
});

test("the variables of a real kernel, and a data frame among them explored", { timeout: 360_000 }, async () => {
  const { context, page, faults } = await edit("variables.ipynb", notebook([
    code("import pandas as pd, numpy as np\ncount = 7\nname = '<script>__pwn=1</script>'\nframe = pd.DataFrame({'city': ['Rome', 'Oslo', None], 'n': [3, 5, 8]}, index=['a', 'b', 'c'])\nmatrix = np.zeros((100, 20))\n_hidden = 1\nclass Trap:\n    def __getattr__(self, name):\n        raise SystemExit\ntrap = Trap()\nbefore = set(globals())"),
    code("print(sorted(set(globals()) - before), 'kernel', len(In))")]));
  const run = async (n) => {
    await page.locator("section[aria-label^='Cell " + n + "']").click({ position: { x: 300, y: 12 } });
    await page.keyboard.press("Control+Enter");
  };
  await page.getByRole("button", { name: "Variables", exact: true }).click();
  await run(1);
  const panel = page.getByRole("complementary", { name: "Variables" });
  const row = (name) => panel.locator("tbody tr").filter({ has: page.getByRole("rowheader", { name: new RegExp("^" + name + "\\b") }) });
  await row("frame").waitFor();
  assert.match(await row("frame").innerText(), /frame\s*city, n\s+DataFrame\s+3 × 2/);
  assert.match(await row("matrix").innerText(), /ndarray\s+100 × 20\s+16 KB/);
  assert.match(await row("count").innerText(), /count\s*7\s+int/);
  assert.match(await row("trap").innerText(), /Trap/);
  assert.equal(await panel.getByText("_hidden").count(), 0);
  await row("frame").getByRole("button").click();
  const dialog = page.getByRole("dialog", { name: "frame" });
  await dialog.getByText("3 rows, 3 columns").waitFor();
  assert.match(await dialog.locator("tbody tr").first().innerText(), /a\s+Rome\s+3/);
  await dialog.getByRole("tab", { name: "Chart" }).click();
  await dialog.locator("svg.q-svg").waitFor();
  if (process.env.LOOK) await page.screenshot({ path: process.env.LOOK + "/variables.png" });
  assert.deepEqual((await axe(page)).filter((v) => /x-|q-svg/.test(v)), []);
  await dialog.getByRole("button", { name: "Close" }).click();
  await run(2);
  // In is what a cell that runs adds to: the list asked the kernel and left no trace.
  await page.getByText(/\[.*\] kernel 3/).waitFor();
  const said = await page.getByText(/\[.*\] kernel 3/).innerText();
  assert.doesNotMatch(said, /'(rows|ns|out|quire|user)'/);
  assert.equal(await page.evaluate(() => "__pwn" in window), false);
  assert.deepEqual(faults, []);
  await context.close();
});

test("the variables of a real R kernel, and a data frame among them explored", { timeout: 360_000, skip: !/\bir\b/.test(process.env.QUIRE_TEST_KERNELS ?? "") }, async () => {
  const { context, page, faults } = await edit("variables-r.ipynb", {
    ...notebook([
      code("count <- 7L\nframe <- data.frame(city = c('Rome', 'Oslo', NA), n = c(3, 5, 8), row.names = c('a', 'b', 'c'))\nbig <- 1:100000\nmakeActiveBinding('trap', function() stop('touched'), globalenv())\nc <- function(...) stop('mine')\nbefore <- ls(all.names = TRUE)"),
      code("cat(setdiff(ls(all.names = TRUE), before), 'new,', length(before), 'before')")]),
    metadata: { kernelspec: { name: "ir", display_name: "R", language: "R" } },
  });
  await page.getByRole("button", { name: "Variables", exact: true }).click();
  const run = async (n) => {
    await page.locator("section[aria-label^='Cell " + n + "']").click({ position: { x: 300, y: 12 } });
    await page.keyboard.press("Control+Enter");
  };
  await run(1);
  const panel = page.getByRole("complementary", { name: "Variables" });
  const row = (name) => panel.locator("tbody tr").filter({ has: page.getByRole("rowheader", { name: new RegExp("^" + name + "\\b") }) });
  await row("frame").waitFor();
  assert.match(await row("frame").innerText(), /frame\s*city, n\s+data.frame\s+3 × 2\s+\d/);
  assert.match(await row("big").innerText(), /big\s*1:20 …\s+integer\s+100,000\s/);
  assert.match(await row("count").innerText(), /count\s*7\s+integer/);
  assert.match(await row("trap").innerText(), /active binding/);
  await row("frame").getByRole("button").click();
  const dialog = page.getByRole("dialog", { name: "frame" });
  await dialog.getByText("3 rows, 3 columns").waitFor();
  assert.match(await dialog.locator("tbody tr").first().innerText(), /a\s+Rome\s+3/);
  if (process.env.LOOK) await page.screenshot({ path: process.env.LOOK + "/variables-r.png" });
  await dialog.getByRole("button", { name: "Close" }).click();
  await run(2);
  // The cells are counted 1 and 2, and nothing but the person's own names is there.
  await page.getByText(/before new, \d+ before/).waitFor();
  assert.match(await page.getByText(/new, \d+ before/).innerText(), /^before new,/);
  await page.locator("section[aria-label^='Cell 2']").getByText("[2]").waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

const hostile = ["html", "html table", "svg", "markdown output", "latex", "javascript", "json", "plotly", "vega", "stream", "error", "widget", "data table", "unknown type"];

test("no hostile output reaches beyond its place in the editor", { timeout: 300_000 }, async (t) => {
  const all = payloads();
  for (const name of Object.keys(carriers).filter((n) => hostile.some((h) => n.includes(h)))) {
    await t.test(name, async () => {
      const part = all.filter((_, n) => n % 5 === name.length % 5);
      const { context, page } = await edit("attack.ipynb", notebook(part.flatMap(carriers[name])));
      const seen = [];
      page.on("dialog", (d) => { seen.push("dialog"); d.dismiss().catch(() => {}); });
      context.on("page", (p) => seen.push("window: " + p.url()));
      page.on("framenavigated", (f) => { if (f === page.mainFrame()) seen.push("the page went to " + f.url()); });
      heard.length = 0;
      await until("the outputs", 60, async () => (await page.locator(".o-waits").count()) === 0);
      await page.evaluate(async () => {
        for (const d of document.querySelectorAll("details")) d.open = true;
        for (const el of document.querySelectorAll(".q-out *")) for (const kind of ["mouseover", "click", "error", "load", "focus"]) if (!["A", "BUTTON", "SUMMARY", "IFRAME"].includes(el.tagName)) el.dispatchEvent(new Event(kind));
        for (const f of document.querySelectorAll("iframe")) f.loading = "eager";
        await new Promise((resolve) => setTimeout(resolve, 400));
      });
      const links = await page.locator("a[href]").evaluateAll((as) => as.map((a) => new URL(a.getAttribute("href"), location.href).protocol).filter((p) => !["http:", "https:", "mailto:"].includes(p)));
      assert.deepEqual(links, []);
      assert.equal(await page.evaluate(() => "__pwn" in window), false, "the flag is set in the page");
      for (const f of page.frames()) if (f !== page.mainFrame() && f.url().includes("/shell/")) assert.equal(await f.evaluate(() => window.origin).catch(() => "null"), "null");
      assert.deepEqual([...seen, ...heard], []);
      // The editor is still usable.
      assert.ok((await page.locator("section[aria-label^='Cell']").count()) >= Math.min(part.length, 1));
      await context.close();
    });
  }
});

test("without a defence the canaries are seen", { timeout: 120_000 }, async () => {
  const { context, page } = await edit("planted.ipynb", notebook([text("x"), shown({ "text/html": "<b>x</b>" })]));
  const answered = page.waitForEvent("dialog"); // watched answers it
  await page.evaluate(() => { const el = document.createElement("div"); el.innerHTML = "<img src=data:, >"; el.firstChild.onerror = () => { window.__pwn = 1; alert(1); }; document.body.append(el); });
  await answered;
  assert.equal(await page.evaluate(() => "__pwn" in window), true);
  await context.close();
});
