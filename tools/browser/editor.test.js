// The notebook editor: open, edit, run, come back, two at once, offline, by keyboard
// alone, a long notebook; and what stands in nobody's way.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import path from "node:path";
import { axe, startBrowser, startQuire, twice, until, watched } from "./quire.js";

const shots = process.env.QUIRE_SCREENSHOTS;
let quire, browser;

before(async () => {
  [quire, browser] = await Promise.all([startQuire(), startBrowser()]);
  if (shots) mkdirSync(shots, { recursive: true });
}, { timeout: 120000 });

after(async () => {
  await browser?.close();
  await quire?.stop();
});

const code = (id, source, metadata = {}) => ({ cell_type: "code", id, metadata, execution_count: null, outputs: [], source });
const text = (id, source) => ({ cell_type: "markdown", id, metadata: {}, source });
const kernelspec = { name: "python3", display_name: "Python 3", language: "python" };

async function save(name, ...cells) {
  await quire.save(name, { cells, metadata: { kernelspec }, nbformat: 4, nbformat_minor: 5 });
}

async function open(name, options = {}) {
  const w = await watched(browser, quire.base, { viewport: { width: 1280, height: 860 }, ...options });
  await w.page.goto(quire.signIn);
  await w.page.goto(quire.base + "/edit/users/me/" + name);
  await w.page.waitForSelector(".e-cell");
  return w;
}

// kept says, in the page, whether its device has an edit with those words on its disk.
async function kept(words) {
  const done = (request) => new Promise((resolve, reject) => { request.onsuccess = () => resolve(request.result); request.onerror = () => reject(request.error); });
  for (const { name } of await indexedDB.databases()) {
    const db = await done(indexedDB.open(name));
    const all = db.objectStoreNames.contains("edits") ? await done(db.transaction("edits").objectStore("edits").getAll()) : [];
    db.close();
    if (all.some((e) => Object.values(e.texts).some((text) => text.includes(words)))) return true;
  }
  return false;
}

const cell = (page, id) => page.locator("#cell-" + id);
const saved = (name) => quire.api("GET", "/user/me/api/contents/" + name);
const shot = (page, name) => shots ? page.screenshot({ path: path.join(shots, name + ".png") }) : null;

test("open, change a parameter, run, answer, see the plot and the failure; it is saved", { timeout: 240000 }, async () => {
  await save("report.ipynb",
    text("t", "# Playback by device\n\nHours **watched**, with $a^2$."),
    code("p", "country: str = \"US\"  # ISO code\ndays = 28", { tags: ["parameters"] }),
    code("a", "name = input('Your name? ')\nprint('hello', name, country)"),
    code("plot", "from IPython.display import SVG, display\ndisplay(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40\" height=\"20\"><rect width=\"40\" height=\"20\"/></svg>'))\nfor i in range(3000): print('line', i)"),
    code("b", "1/0"));
  const { context, page, faults } = await open("report.ipynb");
  await cell(page, "t").locator("strong", { hasText: "watched" }).waitFor();
  await cell(page, "t").locator("math").waitFor();
  await page.fill("#p-country", "FR");
  await page.keyboard.press("Tab");
  await cell(page, "p").locator(".e-static", { hasText: '"FR"' }).waitFor();
  await page.click("text=Run all");
  await page.click('[role=menuitem]:has-text("Run all cells")');
  await page.waitForSelector(".e-question input");
  await cell(page, "a").locator(".e-clock").waitFor();
  await page.fill(".e-question input", "Ann");
  await page.keyboard.press("Enter");
  await cell(page, "a").locator(".e-outputs", { hasText: "hello Ann FR" }).waitFor();
  await page.locator("#cell-b.e-failed", { hasText: "ZeroDivisionError" }).waitFor();
  assert.equal(await cell(page, "b").getAttribute("aria-label"), "Cell 5, code, failed");
  await page.locator("[role=alert].q-vh", { hasText: "Cell 5 failed: ZeroDivisionError" }).waitFor({ state: "attached" });
  await cell(page, "plot").locator("img, svg, iframe").first().waitFor();
  await cell(page, "plot").locator("button", { hasText: /^Show all/ }).waitFor();
  await shot(page, "editor");
  await until("the file to have it", 60, async () => {
    const file = await saved("report.ipynb");
    return /"FR"/.test(file.content.cells[1].source) && file.content.cells[4].outputs.length === 1;
  });
  await page.locator("[data-save=saved]").waitFor();
  const policy = (await (await page.goto(quire.base + "/edit/users/me/report.ipynb")).headerValue("content-security-policy"));
  assert.match(policy, /script-src 'self';/);
  assert.doesNotMatch(policy, /unsafe|https?:/);
  assert.deepEqual(faults, []);
  await context.close();
});

test("a cell runs on while its tab is closed", { timeout: 240000 }, async () => {
  await save("away.ipynb", code("a", "import time\nfor i in range(8):\n    print('tick', i, flush=True)\n    time.sleep(0.5)"));
  const one = await open("away.ipynb");
  await one.page.keyboard.press("Control+Enter");
  await cell(one.page, "a").locator(".e-outputs", { hasText: "tick 0" }).waitFor();
  await one.context.close();
  const two = await open("away.ipynb");
  await cell(two.page, "a").locator(".e-outputs", { hasText: "tick 7" }).waitFor();
  await two.page.locator("#cell-a:not(.e-running)").waitFor();
  assert.equal(await two.page.locator(".e-outputs").innerText().then((t) => t.trim().split("\n").length), 8);
  assert.deepEqual(two.faults, []);
  await two.context.close();
});

test("two people converge, one of them offline; a tab that dies offline loses nothing", { timeout: 240000 }, async () => {
  await save("shared.ipynb", code("a", "x = 1"), code("b", "y = 2"));
  const one = await open("shared.ipynb");
  const two = await open("shared.ipynb");
  await one.page.locator(".e-people .e-face").waitFor();
  const type = async (page, id, words) => {
    await cell(page, id).locator(".e-static, .cm-content").click();
    await page.keyboard.press("Control+End");
    await page.keyboard.type(words);
  };
  await type(one.page, "a", "\n# one");
  await cell(two.page, "a").locator("text=# one").waitFor();
  await two.context.setOffline(true);
  await two.page.locator(".e-banner", { hasText: "your edits are kept on this device" }).waitFor();
  await type(two.page, "b", "\n# offline");
  await type(one.page, "b", "\n# online");
  await type(one.page, "a", " more");
  await two.page.locator("[data-save=offline]").waitFor();
  await two.context.setOffline(false);
  await cell(one.page, "b").locator("text=# offline").waitFor();
  await cell(two.page, "b").locator("text=# online").waitFor();
  await cell(two.page, "a").locator("text=# one more").waitFor();
  await two.page.locator("[data-save=saved]").waitFor();

  await two.context.setOffline(true);
  await two.page.locator(".e-banner", { hasText: "Reconnecting" }).waitFor();
  await type(two.page, "b", " before the crash");
  await two.page.locator("[data-save=offline]").waitFor();
  await until("the edit to be kept on this device", 60, () => two.page.evaluate(kept, "before the crash"));
  await two.page.close({ runBeforeUnload: false });
  await two.context.setOffline(false);
  const again = await two.context.newPage();
  await again.goto(quire.base + "/edit/users/me/shared.ipynb");
  await cell(one.page, "b").locator("text=before the crash").waitFor();
  await until("the file to have all of it", 60, async () => {
    const file = await saved("shared.ipynb");
    return /# one more/.test(file.content.cells[0].source) && /# online/.test(file.content.cells[1].source) && /before the crash/.test(file.content.cells[1].source);
  });
  assert.deepEqual(one.faults, []);
  await one.context.close();
  await two.context.close();
});

test("by keyboard alone: insert, write, run, move, convert, delete, undo, find, commands", { timeout: 240000 }, async () => {
  await save("keys.ipynb", code("a", "x = 20"), code("b", "x + 1"));
  const { context, page, faults } = await open("keys.ipynb");
  const order = () => page.evaluate(() => [...document.querySelectorAll(".e-cell")].map((e) => e.querySelector(".e-static, .cm-content, .q-text")?.textContent.trim() ?? ""));
  const becomes = (want) => until("the cells to be " + want.join(" | "), 60, async () => (await order()).join(" | ") === want.join(" | "));
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.press("Shift+Enter");
  await page.locator(".e-outputs", { hasText: "21" }).waitFor();
  await page.keyboard.type("print('typed')"); // a new cell, in edit mode
  await page.keyboard.press("Control+Enter");
  await page.locator(".e-outputs", { hasText: "typed" }).waitFor();
  await page.keyboard.press("Alt+ArrowUp");
  await becomes(["x = 20", "print('typed')", "x + 1"]);
  await twice(page, "d");
  await becomes(["x = 20", "x + 1"]);
  await page.keyboard.press("z");
  await becomes(["x = 20", "print('typed')", "x + 1"]);
  await page.locator(".e-outputs", { hasText: "typed" }).waitFor(); // with what it had put out
  await page.keyboard.press("m");
  await page.locator(".e-selected.e-markdown").waitFor();
  await page.keyboard.press("y");
  await page.locator(".e-selected.e-code").waitFor();
  await page.keyboard.press("p");
  await page.locator(".e-selected.e-params").waitFor();
  await page.keyboard.press("p");
  await page.keyboard.press("c");
  await page.keyboard.press("v");
  await becomes(["x = 20", "print('typed')", "print('typed')", "x + 1"]);
  await page.keyboard.press("x");
  await becomes(["x = 20", "print('typed')", "x + 1"]);
  // The focus is on the cell, and Tab leaves the text after Escape.
  await page.keyboard.press("Enter");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.closest(".cm-editor") === null), true);
  await page.keyboard.press("Control+f");
  await page.keyboard.type("x");
  await page.keyboard.press("Enter");
  await page.locator(".e-found", { hasText: /1 of 2|2 of 2/ }).waitFor();
  await page.fill("[aria-label='Replace with']", "total");
  await page.click("text=Replace all");
  await becomes(["total = 20", "print('typed')", "total + 1"]);
  await page.keyboard.press("Escape");
  await page.locator(".e-find").waitFor({ state: "detached" });
  await page.keyboard.press("Control+k");
  await page.keyboard.type("outline");
  await page.keyboard.press("Enter");
  await page.locator("nav[aria-label=Outline]").waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("a notebook of the shared folder is edited and run, and what somebody else saves is merged", { timeout: 240000 }, async () => {
  const { context, page, faults } = await watched(browser, quire.base, { viewport: { width: 1280, height: 860 } });
  await page.goto(quire.signIn);
  await page.goto(quire.base + "/view/shared");
  await page.locator("summary", { hasText: /^New$/ }).click();
  await page.getByRole("button", { name: "Notebook", exact: true }).click();
  await page.waitForURL("**/view/shared/Untitled.ipynb");
  await page.getByRole("link", { name: "Open in editor" }).click();
  await page.waitForSelector(".e-cell");
  await page.locator(".e-folder", { hasText: "shared" }).waitFor();
  await page.locator(".e-cell").first().press("Enter");
  await page.keyboard.type("import os; print('in', os.path.basename(os.getcwd()))");
  await page.keyboard.press("Control+Enter");
  await page.locator(".e-outputs", { hasText: "in shared" }).waitFor();
  await page.locator("[data-save=saved]").waitFor();
  const there = async () => JSON.parse(await (await page.request.get(quire.base + "/files/shared/Untitled.ipynb")).text());
  const nb = await until("the file to have it", 60, async () => { const now = await there(); return now.cells[0].outputs?.length ? now : null; });
  // Somebody else adds a cell, by the platform and not by this notebook server.
  nb.cells.push({ cell_type: "markdown", id: "theirs", metadata: {}, source: "Written by somebody else" });
  await page.evaluate(async (text) => {
    const form = new FormData();
    form.append("replace", "1");
    form.append("file", new File([text], "Untitled.ipynb"));
    const answer = await fetch("/upload/shared", { method: "POST", body: form });
    if (!answer.ok) throw new Error(answer.status + " " + await answer.text());
  }, JSON.stringify(nb));
  await page.locator("#cell-theirs", { hasText: "Written by somebody else" }).waitFor();
  // What belongs to somebody else is shown and not edited.
  await page.goto(quire.base + "/edit/users/mufford/playback_agg.ipynb");
  await page.waitForURL("**/view/users/mufford/playback_agg.ipynb");
  assert.deepEqual(faults, []);
  await context.close();
});

test("the notebook server is restarted with more memory, from the editor", { timeout: 240000 }, async (t) => {
  const before = await quire.api("GET", "/api/users/me/server");
  if (!before.contained) return t.skip("notebook servers have no containers here");
  await save("larger.ipynb", code("a", "x = 1; print('ran')"));
  const { context, page, faults } = await open("larger.ipynb");
  await page.keyboard.press("Control+Enter");
  await cell(page, "a").locator(".e-outputs", { hasText: "ran" }).waitFor();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("more memory");
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Restart with more memory" });
  const memory = dialog.getByLabel("Memory, GB");
  await memory.waitFor();
  assert.equal(Number(await memory.inputValue()), 2 * before.size.memoryBytes / 2 ** 30, "twice of what it has is offered");
  await shot(page, "editor-more-memory");
  assert.deepEqual(await axe(page), []);
  await dialog.getByRole("button", { name: "Restart" }).press("Enter");
  await page.getByText(/variables are gone: run (its|their) cells again/).first().waitFor();
  assert.equal((await quire.api("GET", "/api/users/me/server")).size.memoryBytes, 2 * before.size.memoryBytes);
  // What was there is there, and it runs again on the new server.
  await cell(page, "a").locator(".e-outputs", { hasText: "ran" }).waitFor();
  await cell(page, "a").focus();
  await until("the cell to run on the new server", 60, async () => {
    await page.keyboard.press("Control+Enter");
    return (await quire.api("GET", "/user/me/api/kernels")).length > 0;
  });
  assert.deepEqual(faults.filter((f) => !/WebSocket|50[234]|40[04]|ERR_/.test(f)), []);
  await context.close();
});

test("a key goes where the key before it said, with no frame between them", { timeout: 240000 }, async () => {
  await save("fast.ipynb", code("a", "x = 1"));
  const { context, page, faults } = await open("fast.ipynb");
  await page.locator("#cell-a:focus").waitFor();
  // Promises are kept before the browser draws anything, or takes another key.
  const after = (...keys) => page.evaluate(async (keys) => {
    for (const k of keys) {
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...k }));
      for (let n = 0; n < 50; n++) await null;
    }
    return document.activeElement.getAttribute("aria-label");
  }, keys);
  assert.equal(await after({ key: "b" }, { key: "Enter" }), "Source of cell 2");
  assert.equal(await after({ key: "Escape", keyCode: 27 }), "Cell 2, code, not run");
  assert.equal(await after({ key: "f", code: "KeyF", ctrlKey: true }), "Find");
  assert.equal(await after({ key: "Escape" }), "Cell 2, code, not run");
  assert.equal(await after({ key: "k", code: "KeyK", ctrlKey: true }), "Command");
  await page.keyboard.press("Escape");
  await page.locator("[aria-label='Type of the cell'], [title='Type of the cell']").focus();
  assert.equal(await after({ key: "ArrowDown" }).then(() => page.evaluate(() => document.activeElement.getAttribute("role"))), "menuitemradio");
  assert.deepEqual(faults, []);
  await context.close();
});

test("cells are dragged, several carets write, an SQL cell says where it asks, find is found again", { timeout: 240000 }, async () => {
  await save("mouse.ipynb", code("a", "first = 1"), code("b", "second = 2\nsecond"), code("c", "%%sql -o plays\nSELECT 1"));
  const { context, page, faults } = await open("mouse.ipynb");
  const order = () => page.evaluate(() => [...document.querySelectorAll(".e-cell")].map((e) => e.id));
  await page.hover("#cell-a");
  await cell(page, "a").locator(".e-handle").dragTo(cell(page, "c"), { targetPosition: { x: 200, y: (await cell(page, "c").boundingBox()).height - 4 } });
  await until("the first cell to be the last", 60, async () => (await order()).join() === "cell-b,cell-c,cell-a");
  assert.equal(await page.locator(".e-cell").last().getAttribute("aria-label"), "Cell 3, code, not run");

  await cell(page, "b").locator(".e-static").click();
  await page.keyboard.press("Control+Home");
  await page.keyboard.press("Control+d"); // the word, then its next occurrence
  await page.keyboard.press("Control+d");
  await page.keyboard.type("both");
  await until("both words to be written", 60, async () => /both = 2\s*both/.test(await cell(page, "b").locator(".cm-content").innerText()));
  await page.keyboard.press("Escape");

  await cell(page, "c").getByLabel("Source").selectOption("local");
  await cell(page, "c").locator(".e-static, .cm-content").getByText("%%sql local -o plays").waitFor();

  await page.locator("#cell-b").focus();
  await page.keyboard.press("Control+f");
  await page.keyboard.type("both");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Match case" }).focus();
  await page.keyboard.press("Control+f");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Find");
  assert.equal(await page.evaluate(() => getSelection().toString() || document.activeElement.value.slice(document.activeElement.selectionStart, document.activeElement.selectionEnd)), "both");
  assert.deepEqual(faults, []);
  await context.close();
});

test("a kernel that dies says why, and is restarted; completion and documentation come from it", { timeout: 240000 }, async () => {
  await save("kernel.ipynb", code("a", "import json"), code("b", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"));
  const { context, page, faults } = await open("kernel.ipynb");
  await page.keyboard.press("Shift+Enter");
  await page.locator("#cell-a .e-count", { hasText: "[1]" }).waitFor();
  await page.locator(".e-k-idle").waitFor();
  await page.keyboard.press("a");
  await page.keyboard.press("Enter");
  await page.keyboard.type("json.dum");
  await page.locator(".cm-tooltip-autocomplete li", { hasText: "dumps" }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.type("ps(");
  await page.keyboard.press("Shift+Tab");
  await page.locator(".e-tip", { hasText: "Serialize" }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await cell(page, "b").locator(".e-static").click();
  await page.keyboard.press("Control+Enter");
  await page.locator(".e-banner.e-bad", { hasText: "The kernel died." }).waitFor();
  await page.click(".e-banner.e-bad >> text=Restart >> nth=0");
  await page.locator(".e-k-idle").waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("no violations of WCAG, light and dark, wide and narrow", { timeout: 240000 }, async () => {
  await save("look.ipynb", text("t", "# Head\n\nText."), code("p", "country = 'US'", { tags: ["parameters"] }), code("a", "print('hello')"), code("b", "1/0"));
  const found = [];
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      const { context, page, faults } = await open("look.ipynb", { colorScheme, viewport: { width, height: 860 } });
      await cell(page, "t").locator("h1").waitFor();
      await page.locator("#p-country").waitFor();
      if (colorScheme === "light" && width === 1280) {
        await page.click("text=Run all");
        await page.click('[role=menuitem]:has-text("Run all cells")');
      }
      await page.locator("#cell-b.e-failed").waitFor();
      const look = async (what) => found.push(...(await axe(page)).map((v) => `${colorScheme} ${width} ${what}: ${v}`));
      await look("page");
      await shot(page, `editor-${colorScheme}-${width}`);
      await cell(page, "a").locator(".e-static").click();
      await look("editing");
      await page.keyboard.press("Escape");
      await page.keyboard.press("Control+f");
      await look("find");
      await page.keyboard.press("Escape");
      await page.keyboard.press("Control+k");
      await look("commands");
      await shot(page, `commands-${colorScheme}-${width}`);
      await page.keyboard.press("Escape");
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, `${width} px wide scrolls sideways`);
      assert.deepEqual(faults, []);
      await context.close();
    }
  }
  assert.deepEqual(found, []);
});

test("a notebook of 1,000 cells", { timeout: 240000 }, async (t) => {
  const cells = Array.from({ length: 1000 }, (_, i) => i % 10 ? code("c" + i, `value_${i} = ${i}\nprint(value_${i})`) : text("c" + i, `## Part ${i}\n\nSome words.`));
  await save("long.ipynb", ...cells);
  const { context, page, faults } = await open("look.ipynb"); // the server runs
  const begun = Date.now();
  await page.goto(quire.base + "/edit/users/me/long.ipynb");
  await page.waitForSelector(".e-cell");
  const first = Date.now() - begun;
  await page.locator("#cell-c999").waitFor({ state: "attached" });
  const all = Date.now() - begun;
  assert.equal(await page.evaluate(() => window.find("value_997 = 997")), true, "the browser's own search does not find the last cells");
  await cell(page, "c501").scrollIntoViewIfNeeded();
  await cell(page, "c501").locator(".e-static").click();
  const typed = [];
  for (const c of "abcdefghijklmnopqrstuvwxyz") {
    typed.push(await page.evaluate((ch) => new Promise((resolve) => {
      const at = performance.now();
      document.execCommand("insertText", false, ch);
      requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - at), 0));
    }), c));
  }
  typed.sort((a, b) => a - b);
  t.diagnostic(`first cell ${first} ms, all cells ${all} ms, a key p95 ${Math.round(typed[Math.floor(typed.length * 0.95)])} ms`);
  assert.ok(await page.locator(".cm-editor").count() < 5, "cells that nobody types in have text editors");
  assert.deepEqual(faults, []);
  await context.close();
});
