// ipywidgets: alive in the editor, and as they were in the viewer.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import path from "node:path";
import { startBrowser, startQuire, twice, until, watched } from "./quire.js";

const shots = process.env.QUIRE_SCREENSHOTS;
let quire, browser;

before(async () => {
  [quire, browser] = await Promise.all([startQuire(), startBrowser()]);
}, { timeout: 120000 });

after(async () => {
  await browser?.close();
  await quire?.stop();
});

// ipywidgets is in the environment of the tests, behind whatever the kernel has.
const lib = path.resolve(path.dirname(process.env.QUIRE_TEST_PAPERMILL), "../lib");
const packages = readdirSync(lib).map((v) => path.join(lib, v, "site-packages"))[0];
const code = (id, source) => ({ cell_type: "code", id, metadata: {}, execution_count: null, outputs: [], source });
const kernelspec = { name: "python3", display_name: "Python 3", language: "python" };

async function save(name) {
  await quire.save(name, {
    cells: [
      code("load", `import sys\nsys.path.append(${JSON.stringify(packages)})\nimport ipywidgets as w`),
      code("slide", "s = w.IntSlider(description='speed', value=3, max=10)\nb = w.Button(description='press', icon='check')\nw.VBox([s, b])"),
      code("act", "def show(x):\n    print('x is', x)\n_ = w.interact(show, x=w.IntSlider(value=4, max=10))"),
      code("say", "out = w.Output()\nwith out:\n    print('inside')\nprint('outside')\nb.on_click(lambda _: setattr(s, 'value', 9))\nout"),
      code("read", "print('speed is', s.value, [o['text'] for o in out.outputs])"),
    ],
    metadata: { kernelspec }, nbformat: 4, nbformat_minor: 5,
  });
}

test("widgets live in the editor: from the page to the kernel and back, also for a second tab", { timeout: 480000 }, async () => {
  await save("widgets.ipynb");
  const { context, page, faults } = await watched(browser, quire.base, { viewport: { width: 1280, height: 1100 } });
  await page.goto(quire.signIn);
  const at = quire.base + "/edit/users/me/widgets.ipynb";
  await page.goto(at);
  await page.locator("#cell-load:focus").waitFor();
  await page.click("text=Run all");
  await page.click('[role=menuitem]:has-text("Run all cells")');
  const frame = (p, id) => p.frameLocator(`#cell-${id} iframe.q-widget`);
  await frame(page, "slide").locator(".widget-label", { hasText: "speed" }).waitFor();
  const readout = (p, id) => frame(p, id).locator(".widget-readout").first();
  await until("the readout", 60, async () => await readout(page, "slide").innerText() === "3");
  assert.equal(await frame(page, "slide").locator("body").evaluate(() => origin), "null", "the frame has no origin");

  // What is printed inside an Output widget is in its frame, and not in the cell.
  await frame(page, "act").getByText("x is 4").waitFor();
  await frame(page, "say").getByText("inside").waitFor();
  assert.equal((await page.locator("#cell-say .e-outputs").innerText()).trim(), "outside");
  await page.locator("#cell-read .e-outputs", { hasText: "speed is 3 ['inside" }).waitFor(); // and the kernel knows

  // To the kernel, by the keyboard.
  await frame(page, "slide").locator(".noUi-handle").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await until("the readout", 60, async () => await readout(page, "slide").innerText() === "5");
  await page.locator("#cell-read").focus();
  // A message of the widget may still be on its way when the cell is run.
  await until("the kernel to have it", 90, async () => {
    await page.keyboard.press("Control+Enter");
    return page.locator("#cell-read .e-outputs", { hasText: "speed is 5" }).waitFor({ timeout: 5000 }).then(() => true, () => false);
  });
  await frame(page, "act").locator(".noUi-handle").focus();
  await page.keyboard.press("ArrowRight");
  await frame(page, "act").getByText("x is 5").waitFor();

  // From the kernel: a button's handler moves the slider.
  await frame(page, "slide").getByRole("button", { name: "press" }).click();
  await until("the readout", 60, async () => await readout(page, "slide").innerText() === "9");
  if (shots) await page.screenshot({ path: path.join(shots, "widgets.png") });

  // Another tab asks the kernel for what there is, and follows.
  const two = await context.newPage();
  await two.goto(at);
  await until("the other tab's readout", 60, async () => await readout(two, "slide").innerText() === "9");
  await frame(page, "slide").locator(".noUi-handle").focus();
  await page.keyboard.press("ArrowLeft");
  await until("the other tab to follow", 60, async () => await readout(two, "slide").innerText() === "8");
  await frame(two, "act").getByText("x is 5").waitFor();

  // They are saved as they are left: who opens the notebook's page sees them so, by a frame that has no kernel.
  const viewer = await context.newPage();
  await until("the page to have the widgets as they are", 60, async () => {
    await viewer.goto(quire.base + "/view/users/me/widgets.ipynb");
    if (await viewer.locator("iframe.q-low").count() !== 3) return false;
    await viewer.locator("iframe.q-low").first().scrollIntoViewIfNeeded();
    return viewer.frameLocator("iframe.q-low >> nth=0").locator(".widget-readout", { hasText: "8" }).waitFor({ timeout: 10_000 }).then(() => true, () => false);
  });
  await viewer.locator("iframe.q-low").nth(2).scrollIntoViewIfNeeded();
  await viewer.frameLocator("iframe.q-low >> nth=2").getByText("inside").waitFor();
  if (shots) await viewer.screenshot({ path: path.join(shots, "widgets-left.png") });
  await viewer.close();

  // A frame has no way to the kernel but its widgets.
  await frame(page, "slide").locator("body").evaluate(() => {
    for (const m of [{ comm: "x", message: "1" }, { comm: "x", message: "0".repeat(32), data: {} }, { type: "execute_request", code: "1/0" }]) parent.postMessage({ quire: "comm", ...m }, "*");
  });
  // The kernel is another one: what belonged to the old one says so.
  // The request is on its way for a while, and the old kernel still answers.
  await page.route("**/restart", async (route) => {
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 1500)));
    await route.continue();
  });
  await page.locator("#cell-read").focus();
  const asked = page.waitForRequest("**/restart");
  await twice(page, "0");
  await asked;
  await page.locator("#cell-slide .o-widget", { hasText: "run the cell again" }).waitFor();
  // The other tab did not ask for it, and knows it as well.
  await two.locator("#cell-slide .o-widget", { hasText: "run the cell again" }).waitFor();
  // Opened again without any kernel they are as they were left, and say whose they are.
  await two.close();
  await page.goto(quire.base + "/view/users/me"); // or it asks for a kernel that is gone, and the browser says that there is none
  for (const s of await quire.api("GET", "/user/me/api/sessions")) await quire.api("DELETE", "/user/me/api/sessions/" + s.id);
  await page.goto(at);
  await page.locator("#cell-slide .o-widget", { hasText: "As it was left" }).waitFor();
  await until("the readout of what was left", 60, async () => await readout(page, "slide").innerText() === "8");
  assert.deepEqual(faults, []);
  await context.close();
});

test("a run's widgets are shown as they were, without a kernel; without script in words", { timeout: 480000 }, async () => {
  await save("stored.ipynb");
  const run = await quire.api("POST", "/api/runs", { notebook: "users/me/stored.ipynb" });
  await until("the run to end", 120, async () => (await quire.api("GET", "/api/runs/" + run.id)).state === "succeeded");
  const { context, page, faults } = await watched(browser, quire.base, { viewport: { width: 1280, height: 1100 } });
  await page.goto(quire.signIn);
  await page.goto(quire.base + "/runs/" + run.id);
  const frames = page.locator("iframe.q-low");
  assert.equal(await frames.count(), 3);
  for (const f of await frames.all()) await f.scrollIntoViewIfNeeded();
  const inside = (n) => page.frameLocator(`iframe.q-low >> nth=${n}`);
  await inside(0).locator(".widget-readout", { hasText: "3" }).waitFor();
  await inside(1).getByText("x is 4").waitFor();
  await inside(2).getByText("inside").waitFor();
  await until("the frame to be as tall as what is in it", 60, async () => (await frames.first().boundingBox()).height < 119);
  if (shots) await page.screenshot({ path: path.join(shots, "widgets-stored.png") });
  assert.deepEqual(faults, []);
  await context.close();
  const still = await watched(browser, quire.base, { javaScriptEnabled: false });
  await still.page.goto(quire.signIn);
  await still.page.goto(quire.base + "/runs/" + run.id);
  await still.page.locator("iframe.q-low").first().scrollIntoViewIfNeeded();
  await still.page.frameLocator("iframe.q-low >> nth=0").getByText("speed 3").waitFor();
  await still.context.close();
});
