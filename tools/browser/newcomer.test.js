// The whole way of somebody new, without a mouse, on a server as "quire up" starts
// it: from the sign-in to a notebook that runs every day.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { startBrowser, startQuire, until, watched } from "./quire.js";

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

// named is the name of what has the focus, as a screen reader would begin to say it.
const named = () => {
  const at = document.activeElement;
  const by = at.getAttribute("aria-labelledby");
  return (at.getAttribute("aria-label") ?? (by && document.getElementById(by)?.textContent) ?? at.labels?.[0]?.textContent ?? at.textContent ?? "").replace(/\s+/g, " ").trim();
};

test("a newcomer's way, without a mouse", { timeout: 600_000 }, async (t) => {
  const { context, page, faults } = await watched(browser, quire.base, { viewport: { width: 1280, height: 900 } });
  let tabs = 0, step = 0;
  const begun = Date.now();
  const shot = (name) => {
    t.diagnostic(`${((Date.now() - begun) / 1000).toFixed(1)} s: ${name}`);
    return shots ? page.screenshot({ path: path.join(shots, `newcomer-${String(++step).padStart(2, "0")}-${name}.png`) }) : null;
  };
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  // tabTo presses Tab until what it comes to has that name, and Shift+Tab where it lies behind.
  const tabTo = async (name, key = "Tab") => {
    const seen = [];
    for (let n = 0; n < 60; n++) {
      await page.keyboard.press(key);
      tabs++;
      const now = await page.evaluate(named);
      if (typeof name === "string" ? now === name : name.test(now)) {
        const ring = await page.evaluate(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== "none" || s.boxShadow !== "none" || document.activeElement.tagName === "SECTION"; });
        assert.ok(ring, `the focus on ${now} is not seen`);
        return;
      }
      seen.push(now.slice(0, 40));
    }
    assert.fail(`${key} never comes to ${name}; it came to ${seen.join(" | ")}`);
  };
  // The main nav is long: what is below it is one key away.
  const skip = async () => { await tabTo("Skip to the content"); await press("Enter"); };

  await page.goto(quire.base + "/");
  await page.getByRole("heading", { name: "Sign in to Quire" }).waitFor();
  await shot("sign-in");
  await page.keyboard.type(quire.token); // the field has the focus
  await press("Enter");
  await page.waitForURL("**/view/users/me");
  await shot("workspace");

  await skip();
  await tabTo("Welcome.ipynb");
  await press("Enter");
  await page.waitForURL("**/view/users/me/Welcome.ipynb");
  await shot("notebook");
  await skip();
  await tabTo("Open in editor");
  await press("Enter");
  await page.locator("#cell-title:focus").waitFor();
  await shot("editor");

  // A parameter, in the form beside its cell.
  await press("ArrowDown");
  await page.locator("#cell-params:focus").waitFor();
  await page.locator("#p-country").waitFor();
  await tabTo(/^country/);
  await page.keyboard.type("BR");
  await page.locator("#cell-params", { hasText: '= "BR"' }).waitFor();
  await shot("parameter");
  await press("Control+k");
  await page.keyboard.type("run all cells");
  await press("Enter");
  await page.locator("#cell-plot img[src^='data:image/png']").waitFor();
  await page.locator("#cell-read .e-outputs", { hasText: "BR:" }).waitFor();
  await page.locator("#cell-plot img").scrollIntoViewIfNeeded();
  await shot("plot");
  await page.locator("[data-save=saved]").waitFor();

  // A bigger container for it.
  await press("Control+k");
  await page.keyboard.type("bigger");
  await shot("bigger-command");
  await press("Enter");
  await page.waitForURL("**/compute/new**");
  await shot("launch");
  await tabTo("Memory (GB)");
  await press("Control+a");
  await page.keyboard.type("6");
  await press("Enter");
  await page.waitForURL("**/compute?notebook=**");
  await page.getByText("Ready").waitFor();
  await page.locator("tr", { hasText: "notebook server" }).getByText("6 GiB").first().waitFor();
  await shot("launched");
  await skip();
  await tabTo("Back to Welcome.ipynb");
  await press("Enter");
  await page.locator("#cell-title:focus").waitFor();
  await page.locator("#cell-plot img").waitFor(); // what it had put out is still there

  // The same notebook as a job, with a value of its own, watched while it runs.
  await press("Control+k");
  await page.keyboard.type("as job");
  await press("Enter");
  await page.waitForURL("**/run/users/me/Welcome.ipynb");
  await skip();
  await tabTo(/^country/);
  await page.keyboard.type("JP");
  await page.locator(".s-preview", { hasText: "JP" }).waitFor(); // the cell that will be injected
  await shot("run-form");
  await tabTo("Run");
  await press("Enter");
  await page.waitForURL("**/runs/*");
  const result = page.url();
  await shot("run-live");
  // Cells come in while the page is open: nothing is loaded anew.
  await page.evaluate(() => { window.stillTheSame = true; });
  await page.locator("#q-cells", { hasText: "JP:" }).waitFor();
  await page.locator("#run-head .s-state", { hasText: "Succeeded" }).waitFor();
  assert.equal(await page.evaluate(() => window.stillTheSame), true);
  await page.locator("#q-cells img").first().waitFor();
  await shot("run-ended");

  // Its address, opened by somebody else, without any script.
  const other = await watched(browser, quire.base, { javaScriptEnabled: false });
  await other.page.goto(quire.signIn);
  await other.page.goto(result);
  await other.page.locator("#q-cells img").first().waitFor();
  assert.match(await other.page.locator("#q-cells").innerText(), /JP: \d+ rows/);
  assert.deepEqual(other.faults, []);
  await other.context.close();

  // Every day from now on.
  await skip();
  await tabTo("Schedule");
  await press("Enter");
  await page.waitForURL("**/schedule/users/me/Welcome.ipynb?from=*");
  await skip();
  await tabTo("How often");
  await page.keyboard.type("every day");
  await tabTo("At");
  await page.keyboard.type("0630AM");
  await page.locator(".s-preview", { hasText: "06:30:00" }).waitFor();
  assert.equal(await page.locator(".s-preview li").count(), 5);
  assert.match(await page.locator(".s-preview pre").innerText(), /country: JP/);
  await shot("schedule-form");
  await tabTo("Create");
  await press("Enter");
  await page.waitForURL("**/schedules/welcome");
  const fires = await page.locator(".s-slots").first().locator("li").allInnerTexts();
  assert.equal(fires.length, 5, fires.join("\n"));
  assert.ok(fires.every((f) => f.includes("06:30:00")), fires.join("\n"));
  await shot("schedule");
  t.diagnostic(`${tabs} times Tab`);
  assert.deepEqual(faults, []);
  await context.close();
});
