// JupyterLab's own front end, as the Python package index has it, served by
// quire notebook: open, edit, run, plot, save, rename, a terminal, a restart, a
// kernel that dies.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { remove, startBrowser, until, watched } from "./quire.js";

const lab = process.env.QUIRE_TEST_LAB;
if (!lab) throw new Error("QUIRE_TEST_LAB is not set: run tools/test-env.sh and read build/testenv/env.sh");

const cell = (id, source) => ({ cell_type: "code", id, metadata: {}, execution_count: null, outputs: [], source });
const notebook = {
  cells: [
    cell("a", "print('hello from', 'quire')"),
    cell("b", "from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"90\" height=\"40\"><rect width=\"90\" height=\"40\" fill=\"teal\"/></svg>')"),
    cell("c", "kept = 6 * 7\nkept"),
  ],
  metadata: { kernelspec: { name: "python3", display_name: "Python 3", language: "python" } }, nbformat: 4, nbformat_minor: 5,
};

async function startNotebook() {
  const home = mkdtempSync(path.join(tmpdir(), "quire-lab-"));
  const dir = path.join(home, "work");
  mkdirSync(dir);
  writeFileSync(path.join(dir, "first.ipynb"), JSON.stringify(notebook));
  const child = spawn(process.env.QUIRE_TEST_BINARY,
    ["notebook", dir, "--listen", "127.0.0.1:0", "--data", path.join(home, "data"), "--base-url", "/user/me/", "--warm", "-1"],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, QUIRE_TOKEN: "", JUPYTER_PATH: process.env.JUPYTER_PATH + path.delimiter + lab } });
  let log = "";
  child.stderr.on("data", (text) => { log += text; });
  const ended = new Promise((resolve) => child.once("close", (code) => resolve(code)));
  const first = await new Promise((resolve) => {
    const lines = createInterface({ input: child.stdout });
    lines.once("line", resolve);
    lines.once("close", () => resolve(""));
  });
  const stop = async () => {
    child.kill("SIGTERM");
    const code = await ended;
    remove(home);
    return { code, log };
  };
  if (!first.startsWith("http://")) {
    await stop();
    throw new Error("quire notebook printed no address: " + log);
  }
  return { dir, first, stop, read: (name) => JSON.parse(readFileSync(path.join(dir, name), "utf8")) };
}

const outputs = (page, index) => page.locator(".jp-Notebook .jp-CodeCell").nth(index).locator(".jp-OutputArea-output");
const command = async (page, menu, item) => {
  await page.click(`.lm-MenuBar-itemLabel:text-is("${menu}")`);
  await page.click(`.lm-Menu-itemLabel:text-is("${item}")`);
};

test("JupyterLab works on a notebook server", { timeout: 600000 }, async () => {
  const browser = await startBrowser();
  let server;
  try {
    server = await startNotebook();
    const url = new URL(server.first);
    const { page, faults } = await watched(browser, url.origin, { viewport: { width: 1280, height: 860 } });
    // Before it has asked for a session JupyterLab itself drops what is to be run.
    const session = page.waitForResponse((r) => r.request().method() === "POST" && r.url().includes("/api/sessions"));
    await page.goto(url.origin + "/user/me/lab/tree/first.ipynb" + url.search);
    await page.waitForSelector(".jp-Notebook .jp-CodeCell");
    await session;
    assert.ok(!page.url().includes("token"), "the token is in the address still: " + page.url());
    // The kernel is starting still: what is run now waits for it.
    await command(page, "Run", "Run All Cells");
    await outputs(page, 0).filter({ hasText: "hello from quire" }).waitFor();
    await outputs(page, 1).locator("svg, img").first().waitFor();
    await outputs(page, 2).filter({ hasText: "42" }).waitFor();

    await page.click(".jp-Notebook-footer"); // makes a new cell to type in
    await page.locator(".jp-Notebook .jp-CodeCell").nth(3).locator(".cm-content").click();
    await page.keyboard.type("kept + 1");
    await page.keyboard.press("Shift+Enter");
    await outputs(page, 3).filter({ hasText: "43" }).waitFor();
    // A widget, drawn by the extension that the environment has.
    await page.locator(".jp-Notebook .jp-CodeCell").nth(4).locator(".cm-content").click();
    await page.keyboard.type("import ipywidgets; slider = ipywidgets.IntSlider(value=7, description='days'); slider");
    await page.keyboard.press("Shift+Enter");
    const slider = outputs(page, 4).locator(".widget-slider");
    await slider.waitFor();
    await slider.locator(".noUi-handle").focus();
    await page.keyboard.press("ArrowRight");
    await page.locator(".jp-Notebook .jp-CodeCell").nth(5).locator(".cm-content").click();
    await page.keyboard.type("slider.value");
    await page.keyboard.press("Shift+Enter");
    await outputs(page, 5).filter({ hasText: "8" }).waitFor();

    await page.keyboard.press("Control+s");
    await until("the saved notebook", 90, () => server.read("first.ipynb").cells[3]?.outputs?.[0]?.data?.["text/plain"] !== undefined);
    assert.deepEqual(server.read("first.ipynb").cells[0].outputs[0].text, ["hello from quire\n"]);

    await command(page, "File", "Rename Notebook…");
    await page.fill(".jp-Dialog input", "second.ipynb");
    await page.keyboard.press("Enter");
    await until("the renamed file", 90, () => existsSync(path.join(server.dir, "second.ipynb")) && !existsSync(path.join(server.dir, "first.ipynb")));
    await page.locator(".lm-TabBar-tabLabel", { hasText: "second.ipynb" }).first().waitFor();

    await command(page, "Kernel", "Restart Kernel…");
    const restarted = page.waitForResponse((r) => r.url().includes("/restart"));
    await page.click(".jp-Dialog button.jp-mod-warn");
    await page.locator(".jp-Dialog").waitFor({ state: "detached" });
    await restarted; // before that it is still shown as idle
    await page.waitForSelector(".jp-Notebook-ExecutionIndicator[data-status=idle]");
    await page.locator(".jp-Notebook .jp-CodeCell").nth(3).locator(".jp-InputPrompt").click();
    await page.keyboard.press("Shift+Enter");
    await outputs(page, 3).filter({ hasText: "NameError" }).waitFor();
    assert.equal(await page.locator(".jp-Dialog").count(), 0, "a restart that was asked for was told as a death");

    const last = page.locator(".jp-Notebook .jp-CodeCell").nth(6);
    await last.locator(".cm-content").click();
    await page.keyboard.type("import os; os.kill(os.getpid(), 9)");
    await page.keyboard.press("Shift+Enter");
    await page.locator("body").getByText(/killed by signal 9 \(SIGKILL\)/).first().waitFor();
    await page.keyboard.press("Escape");
    for (const fault of faults.splice(0)) assert.match(fault, /Canceled future|dead|disposed|Connection lost, reconnecting in \d+ seconds|404.*first.ipynb.checkpoints/i, fault); // its own words on rename, restart and death

    await command(page, "File", "Save Notebook"); // or the page asks whether to leave
    await until("the saved death", 90, () => JSON.stringify(server.read("second.ipynb")).includes("KernelDied"));
    await until("a saved page", 90, async () => (await page.locator(".lm-TabBar-tab.jp-mod-dirty").count()) === 0);
    await page.goto(url.origin + "/user/me/lab?reset");
    await page.waitForSelector(".jp-LauncherCard");
    await page.locator(".jp-LauncherCard", { hasText: "Terminal" }).click();
    await page.waitForSelector(".jp-Terminal-body .xterm-screen");
    await page.click(".jp-Terminal-body");
    await until("a prompt", 90, async () => { await page.keyboard.type("echo made > made.txt\n"); await page.waitForTimeout(500); return existsSync(path.join(server.dir, "made.txt")) && readFileSync(path.join(server.dir, "made.txt"), "utf8") === "made\n"; });
    assert.deepEqual(faults.filter((f) => !/GL Driver Message|task queue exceeded/.test(f)), []); // the terminal draws with WebGL, without a GPU, and says when the machine is slow
  } finally {
    await browser.close();
    const ended = await server?.stop();
    if (ended) assert.equal(ended.code, 0, ended.log);
  }
});
