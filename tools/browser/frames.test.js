// What is drawn in the frames of outputs: Plotly and Vega by the scripts of the
// program, HTML by its own; and what stands there when nothing can be drawn.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { code, notebook, shown, text } from "./notebooks.js";
import { startBrowser, startQuire, until, watched } from "./quire.js";

let quire, browser;
before(async () => { [quire, browser] = await Promise.all([startQuire(), startBrowser()]); });
after(async () => { await browser?.close(); await quire?.stop(); });

const dot = "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC";
const bars = { data: [{ type: "bar", x: ["US", "FR", "JP"], y: [3, 1, 2] }, { type: "scatter", mode: "lines", x: ["US", "FR"], y: [1, 2] }], layout: { title: { text: "Hours" }, template: { layout: { colorway: ["#b20710"] } } } };
const lite = { $schema: "https://vega.github.io/schema/vega-lite/v5.json", data: { values: [{ a: "US", b: 3 }, { a: "FR", b: 1 }] }, mark: "bar",
  transform: [{ calculate: "datum.b * 2", as: "c" }], encoding: { x: { field: "a", type: "nominal" }, y: { field: "c", type: "quantitative" } } };
const vega = { $schema: "https://vega.github.io/schema/vega/v5.json", width: 100, height: 50, data: [{ name: "t", values: [{ x: 1 }, { x: 2 }] }],
  marks: [{ type: "rect", from: { data: "t" }, encode: { enter: { x: { signal: "datum.x * 20" }, width: { value: 10 }, y: { value: 0 }, height: { value: 50 }, fill: { value: "teal" } } } }] };

// drawn shows one output, and gives the frame it stands in.
async function drawn(name, data, body, options = {}) {
  await quire.save(name, notebook([text("# A figure"), shown(data)]));
  const { context, page, faults } = await watched(browser, quire.base, options);
  try {
    await page.goto(quire.signIn);
    await page.goto(quire.base + "/view/users/me/" + name);
    await page.locator("iframe").scrollIntoViewIfNeeded();
    await body(page.frameLocator("iframe"), page, faults);
  } finally {
    await context.close();
  }
}

test("Plotly is drawn, and answers the mouse", () => drawn("plotly.ipynb", { "application/vnd.plotly.v1+json": bars, "text/plain": "Figure" }, async (frame, page, faults) => {
  await frame.locator(".barlayer .point").nth(2).waitFor({ state: "attached" });
  assert.equal(await frame.locator(".gtitle").textContent(), "Hours");
  await until("the text that stood there to go", 60, async () => !(await frame.getByText("Figure").isVisible()));
  // It is drawn a moment before it answers, and may still grow.
  await until("the mouse to be answered", 60, async () => {
    const box = await frame.locator(".barlayer .point").first().boundingBox();
    await page.mouse.move(0, 0);
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2, { steps: 3 });
    return frame.locator(".hoverlayer .hovertext").first().waitFor({ timeout: 2000 }).then(() => true, () => false);
  });
  assert.deepEqual(faults, []);
}));

test("Vega-Lite is drawn, with its expressions", () => drawn("lite.ipynb", { "application/vnd.vegalite.v5+json": lite, "text/plain": "alt.Chart" }, async (frame, page, faults) => {
  await frame.locator("svg .mark-rect path").nth(1).waitFor({ state: "attached" });
  assert.match(await frame.locator("svg").innerHTML(), /US/);
  assert.deepEqual(faults, []);
}));

test("Vega is drawn", () => drawn("vega.ipynb", { "application/vnd.vega.v5+json": vega }, async (frame, page, faults) => {
  await frame.locator("svg .mark-rect path").nth(1).waitFor({ state: "attached" });
  assert.deepEqual(faults, []);
}));

// What Bokeh 3.9.2 itself left in a notebook: output_notebook(), then show() of a figure.
test("Bokeh is drawn, and answers the mouse", async () => {
  const saved = JSON.parse(readFileSync(new URL("./bokeh.ipynb", import.meta.url), "utf8"));
  await quire.save("real-bokeh.ipynb", saved);
  const { context, page, faults } = await watched(browser, quire.base);
  try {
    await page.goto(quire.signIn);
    await page.goto(quire.base + "/view/users/me/real-bokeh.ipynb");
    assert.equal(await page.locator("iframe").count(), 2, "the banner's and the figure's: the output that brings the library has none");
    assert.equal(await page.getByText("JavaScript that is not run").count(), 0);
    await page.locator("iframe").last().scrollIntoViewIfNeeded();
    await page.frameLocator("iframe >> nth=1").locator("canvas").first().waitFor();
    const frame = await (await page.locator("iframe").last().elementHandle()).contentFrame();
    await until("the figure to be painted", 60, () => frame.evaluate(() => {
      const view = Object.values(Bokeh.index.roots ?? Bokeh.index)[0];
      return view !== undefined && view.model.title.text === "Hours";
    }));
    if (process.env.SCREENSHOTS) await page.screenshot({ path: process.env.SCREENSHOTS + "/bokeh.png" });
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
  }
});

test("HTML with a script of its own is drawn", () => drawn("bokeh.ipynb", {
  "text/html": `<div id="plot" data-root-id="p1"></div><script type="text/javascript">(function(root) { const el = document.getElementById("plot"); const c = document.createElement("canvas"); c.width = 40; el.append(c); c.getContext("2d").fillRect(0, 0, 9, 9); root.drawn = new Function("return 7")(); })(window);</script>`,
}, async (frame, page, faults) => {
  await frame.locator("canvas").waitFor();
  assert.equal(await page.frames()[1].evaluate(() => window.drawn), 7);
  assert.deepEqual(faults, []);
}));

test("a chart that asks for data from elsewhere gets none and says so", () => drawn("elsewhere.ipynb", {
  "application/vnd.vegalite.v5+json": { ...lite, data: { url: "https://data.test/x.csv" } }, "image/png": dot,
}, async (frame, page, faults) => {
  await frame.getByRole("alert").getByText("data from elsewhere").waitFor();
  await frame.getByRole("img", { name: "Static form of the output" }).waitFor(); // the picture that came with it stays
  assert.deepEqual(faults, []);
}));

test("a chart that is none says so", () => drawn("broken.ipynb", { "application/vnd.vegalite.v5+json": { mark: 7 }, "text/plain": "the text" }, async (frame) => {
  await frame.getByRole("alert").waitFor();
  await frame.getByText("the text").waitFor();
}));

for (const [what, mime, spec] of [
  ["Vega: an expression that leads to the window", "application/vnd.vega.v5+json", { ...vega, signals: [{ name: "s", init: "scale(event.view.setTimeout, 'parent.__pwn=1')" }, { name: "u", update: "isString.constructor('window.__pwn=1')()" }] }],
  ["Vega: an object that only looks like text", "application/vnd.vega.v5+json", { ...vega, signals: [{ name: "s", update: "replace('x', {toString: 'alert(1)'}, 'y')" }, { name: "t", on: [{ events: "window:load", update: "warn(window.__pwn=1)" }] }] }],
  ["Plotly: a prototype, a link, a picture", "application/vnd.plotly.v1+json", { data: [{ type: "bar", x: ["<a href='javascript:__pwn=1'>x</a><img src=x onerror=__pwn=1>"], y: [1], hovertemplate: "<img src=https://sink.test/x onerror=__pwn=1>" }],
    layout: { "__proto__.x": 1, "__proto__": { y: 1 }, title: { text: "<a href='javascript:window.__pwn=1' target='_top'>click</a>" }, images: [{ source: "https://sink.test/i.png" }], annotations: [{ text: "<a href='javascript:__pwn=1'>x</a>", x: 0, y: 0 }] } }],
]) {
  test("data never runs: " + what, () => drawn("data-runs.ipynb", { [mime]: spec, "text/plain": "x" }, async (frame, page, faults) => {
    await frame.locator("svg, [role=alert]").first().waitFor({ state: "attached" });
    for (const a of await frame.locator("a").all()) await a.dispatchEvent("click");
    const inside = page.frames().find((f) => f !== page.mainFrame());
    assert.equal(await inside.evaluate(() => "__pwn" in window), false, "not even in its own frame");
    assert.equal(await page.evaluate(() => "__pwn" in window), false);
    assert.deepEqual(faults.filter((f) => /another host|dialog/.test(f)), []);
  }));
}

test("without script the picture that came with an output is seen, or why not", async () => {
  await drawn("still.ipynb", { "application/vnd.plotly.v1+json": bars, "image/png": dot }, async (frame) => {
    await frame.getByRole("img", { name: "Static form of the output" }).waitFor();
  }, { javaScriptEnabled: false });
  await drawn("still2.ipynb", { "application/vnd.plotly.v1+json": bars, "text/plain": "Figure" }, async (frame) => {
    await frame.getByText("drawn by script").waitFor();
  }, { javaScriptEnabled: false });
});
