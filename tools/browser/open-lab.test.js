// From a notebook's page on the platform to JupyterLab in the person's own
// notebook server: open, run, save; the save is a version of the platform's.
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { connected, startBrowser, startQuire, until, watched } from "./quire.js";

const lab = process.env.QUIRE_TEST_LAB;
if (!lab) throw new Error("QUIRE_TEST_LAB is not set: run tools/test-env.sh and read build/testenv/env.sh");
process.env.JUPYTER_PATH = [process.env.JUPYTER_PATH, lab].filter(Boolean).join(path.delimiter);

const notebook = {
  cells: [{ cell_type: "code", id: "a", metadata: {}, execution_count: null, outputs: [], source: "print('from the', 'editor')" }],
  metadata: { kernelspec: { name: "python3", display_name: "Python 3", language: "python" } }, nbformat: 4, nbformat_minor: 5,
};

test("a notebook's page opens it in JupyterLab", { timeout: 480000 }, async () => {
  const browser = await startBrowser();
  let quire;
  try {
    quire = await startQuire();
    await quire.save("deep/first.ipynb", JSON.stringify(notebook));
    const { page, faults } = await watched(browser, quire.base, { viewport: { width: 1280, height: 860 } });
    await page.goto(quire.signIn);
    await page.goto(quire.base + "/view/users/me/deep/first.ipynb");
    await page.click('a:text-is("Open in JupyterLab")');
    await page.waitForSelector(".jp-Notebook .jp-CodeCell");
    assert.ok(page.url().startsWith(quire.base + "/user/me/lab/tree/deep/first.ipynb"), page.url());
    await connected(() => quire.api("GET", "/user/me/api/kernels"));
    await page.waitForSelector(".jp-Notebook-ExecutionIndicator[data-status=idle]");
    await page.click('.lm-MenuBar-itemLabel:text-is("Run")');
    await page.click('.lm-Menu-itemLabel:text-is("Run All Cells")');
    await page.locator(".jp-OutputArea-output").filter({ hasText: "from the editor" }).first().waitFor();
    await page.keyboard.press("Control+s");
    await until("the outputs to be on the platform", 90, async () => {
      const saved = await quire.api("GET", "/user/me/api/contents/deep/first.ipynb");
      return saved.version > 1 && /from the editor/.test(JSON.stringify(saved.content.cells[0].outputs));
    });
    const running = await quire.api("GET", "/api/users/me/server");
    assert.equal(running.running, true);
    assert.equal(running.kernels, 1);
    assert.deepEqual(faults, []);
  } finally {
    await browser.close(); // or its page would start the notebook server again
    await quire?.api("DELETE", "/api/users/me/server");
    const end = await quire?.stop();
    if (end) assert.equal(end.code, 0, end.log);
  }
});
