// What a person does on the pages, done in a browser: every test ends with no
// complaint of the browser, nothing asked of another host, and no script error.
import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { axe, remove, sent, startBrowser, startQuire, until, watched } from "./quire.js";
import { notebook, code, text } from "./notebooks.js";

let quire, browser, gates;

before(async () => {
  gates = mkdtempSync(path.join(tmpdir(), "quire-gates-"));
  [quire, browser] = await Promise.all([startQuire(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  const how = await quire?.stop();
  remove(gates);
  if (how) assert.equal(how.code, 0, "quire up ends with 0 on SIGTERM: " + JSON.stringify(how));
});

// signedIn gives a test a page of its own, and looks at its faults at the end.
// A page that is refused with one of the statuses named is no fault.
function signedIn(name, body, options = {}) {
  test(name, { timeout: 300_000 }, async () => {
    const { context, page, faults } = await watched(browser, quire.base);
    try {
      await page.goto(quire.signIn);
      await body(page, faults);
      assert.deepEqual(faults.filter((f) => !options.status || !f.includes("status of " + options.status)), []);
    } finally {
      await context.close();
    }
  });
}

// gated is a notebook whose cells wait, each for a file of its own.
function gated(cells, last = "") {
  const nb = [text("# Gated"), code('gates = ""', { metadata: { tags: ["parameters"] } }),
    code("import os, time\ndef wait(n):\n    while not os.path.exists(os.path.join(gates, str(n))):\n        time.sleep(0.02)")];
  for (let n = 1; n <= cells; n++) nb.push(code(`wait(${n})\nprint("cell", ${n}, "is through")` + (n === cells ? last : "")));
  return notebook(nb);
}

function gate(dir) {
  const at = mkdtempSync(path.join(gates, dir));
  return { at, open: (n) => writeFileSync(path.join(at, String(n)), "") };
}

// tabTo presses Tab until the element that has the focus fits.
async function tabTo(page, what, fits) {
  for (let n = 0; n < 80; n++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(fits)) return;
  }
  assert.fail("Tab never comes to " + what);
}

test("signing in, and out", async () => {
  const { context, page, faults } = await watched(browser, quire.base);
  await page.goto(quire.base + "/view/users/me?sort=size");
  assert.equal(new URL(page.url()).pathname, "/login", "a page without a session leads to the sign-in");
  await page.getByLabel("Access token").fill("not the token");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("not an access token").waitFor();
  assert.equal(faults.filter((f) => !f.includes("403")).length, 0, faults.join("\n"));
  faults.length = 0;
  await page.getByLabel("Access token").fill(quire.token);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/view/users/me?sort=size");
  const cookies = await context.cookies();
  assert.ok(cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite !== "None", JSON.stringify(cookies));
  assert.equal(await page.evaluate(() => document.cookie), "", "script does not see the session");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/login");
  await page.goto(quire.base + "/runs");
  assert.equal(new URL(page.url()).pathname, "/login");
  assert.deepEqual(faults, []);
  await context.close();
});

signedIn("the printed address signs in and leaves no token in the address", async (page) => {
  assert.equal(page.url(), quire.base + "/view/users/me");
});

signedIn("the listing is sorted and filtered", async (page) => {
  for (const name of ["zebra.txt", "apple.txt"]) await quire.save("listing/" + name, name.repeat(name === "apple.txt" ? 300 : 1));
  await quire.save("listing/quiet.ipynb", notebook([text("# Quiet")]));
  await page.goto(quire.base + "/view/users/me/listing");
  const names = () => page.locator(".s-files .s-name a").allInnerTexts();
  assert.deepEqual(await names(), ["apple.txt", "quiet.ipynb", "zebra.txt"]);
  await page.getByRole("link", { name: "Size" }).click();
  await page.waitForURL("**sort=size**");
  assert.equal((await names())[0], "apple.txt", "the largest stands first");
  await page.getByRole("link", { name: "Modified" }).click();
  await page.waitForURL("**sort=modified**");
  assert.deepEqual(await names(), ["quiet.ipynb", "apple.txt", "zebra.txt"]);
  await page.getByPlaceholder("Filter by name").fill("zeb");
  await page.keyboard.press("Enter");
  await page.waitForURL("**filter=zeb**");
  assert.deepEqual(await names(), ["zebra.txt"]);
  await page.getByLabel("Last run").selectOption("failed");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByText("Nothing here fits the filter").waitFor();
  await page.getByRole("link", { name: "Show everything" }).click();
  await page.waitForURL((url) => !url.search.includes("filter=zeb"));
  assert.equal((await names()).length, 3);
});

signedIn("a folder and a notebook are made, renamed, duplicated, deleted and brought back", async (page) => {
  await page.locator("summary", { hasText: "New" }).click();
  await page.locator("#new-name").fill("made");
  await page.getByRole("button", { name: "Folder" }).click();
  await page.waitForURL("**/view/users/me/made");
  await page.getByText("Nothing is here yet").waitFor();
  await page.locator("summary", { hasText: "New" }).click();
  await page.locator("#new-name").fill("first");
  await page.getByRole("button", { name: "Notebook" }).click();
  await page.waitForURL("**/made/first.ipynb");
  await page.locator("summary", { hasText: "More" }).click();
  await page.getByRole("link", { name: "Rename or move" }).click();
  await page.getByLabel("New name").fill("second.ipynb");
  await page.getByRole("button", { name: "Rename" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/rename/"));
  await page.goto(quire.base + "/view/users/me/made");
  await page.getByLabel("More for second.ipynb").click();
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("details[open]").count(), 0, "Escape closes the menu");
  await page.getByLabel("More for second.ipynb").click();
  await sent(page, () => page.getByRole("button", { name: "Duplicate" }).click());
  await page.goto(quire.base + "/view/users/me/made");
  assert.equal(await page.locator(".s-files tbody tr").count(), 2);
  await page.getByLabel("More for second.ipynb").click();
  await sent(page, () => page.getByRole("button", { name: "Delete" }).click());
  await page.goto(quire.base + "/view/users/me/made");
  assert.equal(await page.locator(".s-files tbody tr").count(), 1);
  await page.goto(quire.base + "/trash/users/me");
  await sent(page, () => page.getByLabel("Restore users/me/made/second.ipynb").click());
  await page.goto(quire.base + "/view/users/me/made");
  assert.equal(await page.locator(".s-files tbody tr").count(), 2);
});

signedIn("files are uploaded", async (page) => {
  await page.locator("summary", { hasText: "Upload" }).click();
  await page.getByLabel("Files", { exact: true }).setInputFiles({ name: "up.csv", mimeType: "text/csv", buffer: Buffer.from("name,hours\nünïcode,1\n") });
  await page.locator("form[enctype] button").click();
  await page.waitForURL("**/up.csv");
  assert.deepEqual(await page.locator("main table th").allInnerTexts().then((all) => all.filter(Boolean).slice(0, 2)), ["name", "hours"]);
  await page.getByText("ünïcode").waitFor();
});

signedIn("a notebook page: outline, hidden code, links to cells, downloads, a clone", async (page) => {
  await page.goto(quire.base + "/view/users/mpacer/viewer_gallery.ipynb");
  await page.getByRole("heading", { level: 1, name: "What a page can show" }).waitFor();
  const source = page.locator(".q-source").first();
  assert.ok(await source.isVisible());
  await page.getByLabel("Hide code").check();
  assert.ok(!(await source.isVisible()), "the code is hidden");
  await page.getByLabel("Hide code").uncheck();
  await page.locator(".q-gutter a").last().click();
  await page.waitForURL(/#cell-/);
  await page.locator("summary", { hasText: "Download" }).click();
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Script (.py)" }).click()]);
  assert.equal(file.suggestedFilename(), "viewer_gallery.py");
  await page.getByRole("button", { name: "Clone to my workspace" }).click();
  await page.waitForURL("**/view/users/me/viewer_gallery.ipynb");
});

signedIn("a run fills its page cell by cell, without a reload", async (page) => {
  await quire.save("gated.ipynb", gated(3));
  const gate1 = gate("run-");
  await page.goto(quire.base + "/run/users/me/gated.ipynb");
  await page.getByLabel("gates", { exact: true }).fill(gate1.at);
  await page.getByRole("button", { name: "Preview" }).click();
  assert.ok((await page.locator(".s-preview pre").innerText()).includes(gate1.at), "the injected cell is shown before");
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.waitForURL("**/runs/*");
  const address = page.url();
  await page.evaluate(() => { window.same = true; });
  for (let n = 1; n <= 3; n++) {
    await page.locator("#run-progress", { hasText: "is running" }).waitFor();
    assert.equal(await page.getByText(`cell ${n} is through`).count(), 0, "nothing of a cell that waits");
    gate1.open(n);
    await page.getByText(`cell ${n} is through`).waitFor();
  }
  await page.locator("#run-head .s-state", { hasText: "Succeeded" }).waitFor();
  await until("the live marks to go", 60, async () => (await page.locator("#run-head[data-live]").count()) === 0);
  assert.equal(await page.evaluate(() => window.same), true, "the page was not loaded again");
  assert.equal(page.url(), address);
  await page.reload();
  await page.getByText("cell 3 is through").waitFor();
  for (const tab of ["Timeline", "Log", "Attempts"]) {
    await page.getByRole("link", { name: tab }).click();
    await page.waitForURL("**/" + tab.toLowerCase());
    await page.getByText(/Cell 4|cell 4|Succeeded/).first().waitFor();
  }
  await page.goto(quire.base + "/view/users/me?filter=gated");
  await page.locator(".s-last", { hasText: "Succeeded" }).waitFor();
});

signedIn("an answer that comes late does not put in what was before", async (page) => {
  await quire.save("late.ipynb", gated(2));
  const gate1 = gate("late-");
  await page.goto(quire.base + "/run/users/me/late.ipynb?p.gates=" + encodeURIComponent(gate1.at));
  // The first answer that the page gets of how the run is stays on its way, past the end.
  let answered, letGo;
  const held = new Promise((resolve) => { answered = resolve; }), end = new Promise((resolve) => { letGo = resolve; });
  let first = true, others = 0;
  await page.route(/\/runs\/[^/]+(\/cells\/\d+)?$/, async (route) => {
    if (route.request().resourceType() !== "fetch") return route.fallback();
    const mine = first;
    first = false;
    const response = await route.fetch();
    if (mine) {
      answered();
      await end;
    }
    await route.fulfill({ response });
    if (!mine && !route.request().url().includes("/cells/")) others++;
  });
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.waitForURL("**/runs/*");
  await held;
  for (const n of [1, 2]) gate1.open(n);
  const id = new URL(page.url()).pathname.split("/").at(-1);
  await until("the run to end", 120, async () => (await quire.api("GET", "/api/runs/" + id)).state === "succeeded");
  const moment = () => page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300))); // for what an answer puts in
  await until("another answer", 5, () => others > 0).catch(() => {}); // there is none before the first
  await moment();
  const there = page.waitForEvent("requestfinished", (r) => r.resourceType() === "fetch");
  letGo();
  await there;
  await moment();
  await page.locator("#run-head .s-state", { hasText: "Succeeded" }).waitFor();
  for (const n of [1, 2]) await page.getByText(`cell ${n} is through`).waitFor();
  await until("the live marks to go", 60, async () => (await page.locator("#run-head[data-live]").count()) === 0);
});

signedIn("a run that fails says why and leads to the cell", async (page) => {
  await quire.save("fails.ipynb", gated(1, '\n{"us": 1}["fr"]'));
  const gate1 = gate("fail-");
  gate1.open(1);
  await page.goto(quire.base + "/run/users/me/fails.ipynb?p.gates=" + encodeURIComponent(gate1.at));
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.locator("#run-head .s-state", { hasText: "Failed" }).waitFor();
  assert.match(await page.locator("#run-head .s-reason").innerText(), /KeyError.*fr/);
  await page.getByRole("link", { name: /Jump to the error/ }).click();
  await page.waitForURL(/#./);
  const cell = page.locator(new URL(page.url()).hash + "[aria-label*=failed]");
  await cell.getByText("KeyError").first().waitFor(); // the message is seen without a click
  await cell.locator("summary", { hasText: "Traceback" }).click();
  await page.goto(quire.base + "/runs?state=failed");
  await page.locator(".s-runs", { hasText: "KeyError" }).waitFor();
});

signedIn("a value of the wrong type is refused in the form and kept", async (page) => {
  await page.goto(quire.base + "/run/users/mufford/playback_agg.ipynb");
  await page.getByLabel("devices").fill("[1, oops");
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.locator(".s-problem").first().waitFor();
  assert.equal(await page.getByLabel("devices").inputValue(), "[1, oops");
  assert.equal(await page.getByLabel("devices").getAttribute("aria-invalid"), "true");
}, { status: 400 });

signedIn("a statement is written, run, cancelled, and says where it is wrong", async (page) => {
  await page.goto(quire.base + "/query");
  const write = async (statement) => {
    await page.getByLabel("Statement").fill(statement);
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.waitForURL("**/query/*");
  };
  await write("SELECT 'FR' AS country, n AS plays\nFROM range(7) AS t(n) ORDER BY plays DESC");
  await page.getByRole("status").getByText("Succeeded").waitFor();
  await page.getByRole("region", { name: "Result rows" }).getByRole("columnheader", { name: "plays" }).waitFor();
  await write("SELECT n,\n  nothing_like_it FROM range(7) AS t(n)");
  await page.getByRole("alert").getByText(/Line 2, column 3: .*nothing_like_it/).waitFor();
  assert.equal(await page.getByLabel("Statement").getAttribute("aria-invalid"), "true");
  assert.match(await page.getByLabel("Statement").inputValue(), /nothing_like_it/, "what was typed is kept");
  await write("SELECT count(*) FROM range(100000000000) a, range(100000) b WHERE a.range % 7 = b.range % 11");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("status").getByText("Cancelled").waitFor();
});

signedIn("a run is cancelled", async (page) => {
  await quire.save("waits.ipynb", gated(1));
  await page.goto(quire.base + "/run/users/me/waits.ipynb?p.gates=" + encodeURIComponent(gate("never-").at));
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.locator("#run-progress", { hasText: "is running" }).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.locator("#run-head .s-state", { hasText: "Cancelled" }).waitFor();
});

signedIn("versions are compared and restored", async (page) => {
  await quire.save("kept.ipynb", notebook([code("x = 'old'")]));
  await quire.save("kept.ipynb", notebook([code("x = 'new'")]));
  await page.goto(quire.base + "/versions/users/me/kept.ipynb");
  await page.getByRole("button", { name: "Compare" }).click();
  await page.waitForURL("**/diff?**");
  const changed = await page.locator("main").innerText();
  assert.ok(changed.includes("'old'") && changed.includes("'new'"), changed);
  await page.goto(quire.base + "/versions/users/me/kept.ipynb");
  await sent(page, () => page.getByLabel("Restore version 1").click());
  await page.goto(quire.base + "/view/users/me/kept.ipynb");
  assert.match(await page.locator(".q-source").innerText(), /old/);
  await page.goto(quire.base + "/versions/users/me/kept.ipynb");
  assert.equal(await page.locator("tbody tr").count(), 3, "restoring loses nothing");
});

signedIn("search leads to the cell, discover to the notebook", async (page) => {
  await quire.save("findme.ipynb", notebook([text("# Nothing"), { ...code("xylophone_total = 1"), id: "the-cell" }]));
  await until("the search to know a saved notebook", 60, async () => {
    await page.goto(quire.base + "/");
    await page.getByRole("searchbox", { name: "Search notebooks" }).fill("xylophone_total");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/search?**");
    return (await page.locator(".s-hits li").count()) > 0;
  });
  assert.ok((await page.locator(".s-hits mark").count()) > 0, "what was found is marked");
  await page.locator(".s-hits a").first().click();
  await page.waitForURL("**#cell-the-cell");
  await page.locator("#cell-the-cell").waitFor();
  await page.getByRole("link", { name: "Discover" }).click();
  await page.getByRole("link", { name: "Playback, aggregated" }).click();
  await page.waitForURL("**/playback_agg.ipynb");
});

signedIn("from the listing to a finished run with the keyboard alone", async (page) => {
  await quire.save("keys/keys.ipynb", notebook([code("n = 1", { metadata: { tags: ["parameters"] } }), code("print('by key', n)")]));
  await page.goto(quire.base + "/view/users/me/keys");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content", "the first stop is the way past the header");
  await page.keyboard.press("Enter");
  await tabTo(page, "Run", () => document.activeElement.getAttribute("aria-label") === "Run keys.ipynb");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/run/users/me/keys/keys.ipynb");
  await tabTo(page, "the field", () => document.activeElement.name === "p.n");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("42");
  await tabTo(page, "the button", () => document.activeElement.tagName === "BUTTON" && document.activeElement.textContent === "Run");
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(ring, "none", "the focus is seen");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/runs/*");
  await page.locator("#run-head .s-state", { hasText: "Succeeded" }).waitFor();
  await page.getByText("by key 42").waitFor();
});

signedIn("the grid of a schedule by the keyboard alone", async (page) => {
  await quire.api("POST", "/api/schedules", { text: "schedule: 1\nname: keys\ntriggers: [{cron: '0 6 * * *'}]\nsteps:\n- {name: one, sql: SELECT 1}\n- {name: two, sql: SELECT 2, after: [one]}\n" });
  for (let n = 0; n < 2; n++) {
    const fire = await quire.api("POST", "/api/schedules/keys/run", {});
    await until("the fire to end", 60, async () => (await quire.api("GET", "/api/schedules/keys/fires/" + fire.id)).state === "succeeded");
  }
  await page.goto(quire.base + "/schedules/keys/grid");
  const inGrid = () => Boolean(document.activeElement.closest(".s-gridbox td, .s-gridbox th"));
  // where is the row's name and the column of what has the focus.
  const where = () => page.evaluate(() => {
    const cell = document.activeElement.closest("td, th");
    return cell ? cell.parentElement.cells[0].textContent + " " + cell.cellIndex : document.activeElement.tagName;
  });
  const press = async (key, want) => {
    await page.keyboard.press(key);
    assert.equal(await where(), want, key);
  };
  await tabTo(page, "the grid", inGrid);
  assert.equal(await where(), "one 2", "the newest fire's first step is where it begins");
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none", "the focus is seen");
  await press("ArrowLeft", "one 1");
  await press("ArrowDown", "two 1");
  await press("ArrowDown", "two 1"); // the edge holds
  await press("End", "two 2");
  await press("ArrowUp", "one 2");
  await press("ArrowUp", "Step 2");
  await press("Home", "Step 1");
  await press("ArrowDown", "one 1");
  // It is one stop of Tab, and is come back to where it was left.
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(inGrid), false);
  await page.keyboard.press("Shift+Tab");
  assert.equal(await where(), "one 1");
  await page.keyboard.press(" ");
  await page.getByRole("button", { name: "Resume" }).waitFor();
  await page.goBack();
  await tabTo(page, "the grid", inGrid);
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => !url.pathname.endsWith("/grid"));
  await page.goBack();
  await tabTo(page, "the grid", inGrid);
  await page.keyboard.press("b");
  await page.waitForURL("**/schedules/keys/backfill");
});

test("what is missing or forbidden says so and leads on", async () => {
  const { context, page, faults } = await watched(browser, quire.base);
  await page.goto(quire.signIn);
  for (const [target, status] of [["/view/users/me/nothing.ipynb", 404], ["/view/users/me?cursor=%00", 400], ["/nowhere", 404]]) {
    const answer = await page.goto(quire.base + target);
    assert.equal(answer.status(), status, target);
    assert.ok((await page.getByRole("alert").innerText()).length > 10, target);
    assert.ok(await page.getByRole("link", { name: /Go to your workspace|Open Quire/ }).isVisible(), target);
  }
  assert.deepEqual(faults.filter((f) => !f.includes("Failed to load resource")), []);
  await context.close();
});

// Every page, light and dark, wide and on a phone: WCAG 2 A and AA, no scrolling
// sideways, and readable without script.
const everyPage = ["/login", "/view/", "/view/users", "/view/users/me", "/view/users/mufford", "/view/shared", "/view/users/mpacer/viewer_gallery.ipynb",
  "/view/users/mufford/playback_agg.ipynb", "/view/shared/data/playback.csv", "/view/shared/images/titles.svg", "/view/users/me/README.md", "/view/users/me/every.ipynb",
  "/view/users/me/tree.json", "/view/users/me/plain.txt", "/run/users/mufford/playback_agg.ipynb", "/run/users/mufford/playback_agg.ipynb?from=RUN",
  "/runs", "/runs?state=failed&owner=me", "/runs?notebook=users/me/Welcome.ipynb&view=results", "/runs/RUN", "/runs/RUN?code=0", "/runs/RUN/timeline", "/runs/RUN/log",
  "/runs/RUN/attempts", "/versions/users/me/Welcome.ipynb", "/trash/users/me", "/rename/users/me/Welcome.ipynb", "/diff",
  "/diff?a=users/mufford/playback_agg.ipynb&b=users/mufford/New_Titles.ipynb", "/diff?a=nothing&b=run:nothing", "/search", "/search?q=playback", "/search?q=zzzzzz", "/discover", "/account", "/people", "/schedules", "/compute", "/compute/new", "/templates", "/data", "/query",
  "/data/table?connection=local&name=titles", "/query/QUERY", "/query/WRONG", "/templates/TEMPLATE", "/run/templates/TEMPLATE.ipynb", "/publish/users/me/Welcome.ipynb", "/sweep/users/me/Welcome.ipynb",
  "/schedule/users/me/Welcome.ipynb", "/schedule/users/me/Welcome.ipynb?from=RUN", "/schedules/daily", "/schedules/daily/grid", "/schedules/daily/graph", "/schedules/daily/activity", "/schedules/daily/backfill", "/schedules/daily/definition", "/schedules/daily/fires/FIRE", "/schedules/daily/fires/FIRE/again",
  "/compute/new?for=command", "/view/users/me/nothing.ipynb", "/trash/users/mufford", "/runs/nothing"];

let run;
async function prepared() {
  if (run) return run;
  const { everything } = await import("./notebooks.js");
  await quire.save("every.ipynb", everything());
  await quire.save("tree.json", JSON.stringify({ a: [1, { b: null, c: "text" }], long: "x".repeat(200) }));
  await quire.save("plain.ipynb", notebook([code("print('plain')")]));
  await quire.save("plain.txt", "a line\n".repeat(50) + "w".repeat(500));
  const all = await until("the sample's own run to end", 60, async () => {
    const list = await quire.api("GET", "/api/runs?notebook=users/me/Welcome.ipynb");
    const ended = (list.runs ?? list.items ?? []).filter((r) => r.state === "succeeded");
    return ended.length ? ended : null;
  });
  let state;
  const asked = async (statement) => {
    const { id } = await quire.api("POST", "/api/queries", { connection: "local", statement });
    await until("a statement to be answered", 60, async () => ["succeeded", "failed"].includes(state = (await quire.api("GET", "/api/queries/" + id)).state));
    return id;
  };
  await until("the sample's tables to be made", 120, async () => await asked("SELECT count(*) FROM titles") && state === "succeeded");
  await quire.api("POST", "/api/schedules", { text: "schedule: 1\nname: daily\ntriggers: [{cron: '0 6 * * *'}]\nsteps:\n- {name: one, notebook: users/me/plain.ipynb}\n- {name: two, notebook: users/me/plain.ipynb, after: [one]}\n" });
  const fire = await quire.api("POST", "/api/schedules/daily/run", {});
  run = {
    RUN: all[0].id, QUERY: await asked("SELECT 'FR' AS country, n AS plays FROM range(7) AS t(n)"), WRONG: await asked("SELECT nothing FROM range(7)"),
    TEMPLATE: (await quire.api("GET", "/api/templates")).templates[0].name, FIRE: fire.id,
  };
  return run;
}

/** The address of a page with the ids of what is on the server. */
const filled = (target, ids) => target.replace(/RUN|QUERY|WRONG|TEMPLATE|FIRE/g, (name) => ids[name]);

// What the colours of a page can break: in the other scheme it is the same page.
const ofColours = ["color-contrast", "link-in-text-block"];

test("every page is fit for everybody, light and dark, 1280 and 390 wide", { timeout: 1_200_000 }, async (t) => {
  const id = await prepared();
  const { context, page, faults } = await watched(browser, quire.base, { reducedMotion: "reduce" });
  await page.goto(quire.signIn);
  for (const target of everyPage) {
    await t.test(target, async () => {
      await page.emulateMedia({ colorScheme: "light" });
      await page.goto(quire.base + filled(target, id));
      for (const [width, height] of [[1280, 900], [390, 844]]) {
        await page.setViewportSize({ width, height });
        for (const [colorScheme, rules] of [["light", undefined], ["dark", ofColours]]) {
          await page.emulateMedia({ colorScheme });
          assert.deepEqual(await axe(page, rules), [], `${colorScheme}, ${width} wide`);
        }
        const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(inner <= outer, `it scrolls sideways: ${inner} px in ${outer}`);
      }
      assert.deepEqual(faults.splice(0).filter((f) => !/status of 40[34]/.test(f)), []);
    });
  }
  await context.close();
});

test("pages are whole without script", async () => {
  const id = (await prepared()).RUN;
  const { context, page, faults } = await watched(browser, quire.base, { javaScriptEnabled: false });
  await page.goto(quire.signIn);
  for (const [target, want] of [["/view/users/me", "Welcome.ipynb"], ["/runs/" + id, "rows"], ["/run/users/me/Welcome.ipynb", "country"], ["/runs/" + id + "/timeline", "Cell 5"]]) {
    await page.goto(quire.base + target);
    assert.ok((await page.locator("body").innerText()).includes(want), `${target} lacks ${want}`);
  }
  assert.deepEqual(faults, []);
  await context.close();
});

// The watch itself: planted faults must be seen, or nothing above means anything.
test("the watch sees a planted fault of each kind", async () => {
  const { context, page, faults } = await watched(browser, quire.base);
  await page.goto(quire.signIn);
  const seen = async (what, plant, pattern) => {
    faults.length = 0;
    await page.evaluate(plant);
    await until(what + " to be seen", 60, () => faults.some((f) => pattern.test(f)));
  };
  await seen("a script error", () => { setTimeout(() => { throw new Error("planted"); }); }, /script error.*planted/);
  await seen("an inline script", () => { const s = document.createElement("script"); s.textContent = "1"; document.body.append(s); }, /Content Security Policy/);
  await seen("a console error", () => console.error("planted"), /console error: planted/);
  await seen("a dialog", () => { setTimeout(() => alert("planted")); }, /dialog: planted/);
  await page.evaluate(() => { document.querySelector("h1").insertAdjacentHTML("afterend", '<img src="/static/icon.svg"><input name="x"><p>x'); });
  const found = await axe(page);
  assert.ok(found.some((f) => f.startsWith("image-alt")) && found.some((f) => f.startsWith("label")), found.join("\n"));
  await seen("another host", () => { location.href = "http://quire.invalid/planted"; }, /another host/);
  await context.close();
});
