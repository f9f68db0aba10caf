// Starts the platform and a browser for the tests, and watches every page: what
// it complains about, where it asks for things, and what stands in nobody's way.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

// The packages are installed below build/, apart from these files.
const modules = process.env.QUIRE_TEST_BROWSER;
if (!modules) throw new Error("QUIRE_TEST_BROWSER is not set: run tools/test-env.sh and read build/testenv/env.sh");
const require = createRequire(path.join(modules, "package.json"));
const { chromium } = require("playwright-core");
const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// remove takes a folder away, in which something that ends may still write.
export function remove(dir) {
  rmSync(dir, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
}

// startQuire runs "quire up" on a free port with data of its own, and says where.
export async function startQuire(options = {}) {
  const data = mkdtempSync(path.join(tmpdir(), "quire-browser-"));
  const child = spawn(process.env.QUIRE_TEST_BINARY, ["up", "--listen", "127.0.0.1:0", "--data", path.join(data, "data"), ...(options.args ?? [])],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, QUIRE_TOKEN: "", USER: "me" } });
  let log = "";
  child.stderr.on("data", (text) => { log += text; });
  const ended = new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
  child.once("error", (err) => { log += err; });
  const lines = createInterface({ input: child.stdout });
  const first = await new Promise((resolve) => {
    lines.once("line", resolve);
    lines.once("close", () => resolve(""));
  });
  // Runs and notebook servers outlive their server; those that a test left do not
  // outlive the test.
  let base = "", token = "";
  async function endWhatIsLeft() {
    const ask = (method, target) => fetch(base + target, { method, headers: { Authorization: "token " + token } });
    if (!base) return;
    await ask("DELETE", "/api/users/me/server").catch(() => null);
    // The sample's own runs begin one behind the other.
    await until("left runs to end", 60, async () => {
      let left = 0;
      for (const state of ["queued", "running"]) {
        const answer = await ask("GET", "/api/runs?state=" + state).catch(() => null);
        for (const run of answer?.ok ? (await answer.json()).runs ?? [] : []) {
          left++;
          await ask("POST", "/api/runs/" + run.id + "/cancel").catch(() => null);
        }
      }
      return left === 0;
    });
  }
  const stop = async () => {
    try {
      await endWhatIsLeft();
    } finally { // a server that goes on would hold the test's process for ever
      child.kill("SIGTERM");
      await ended;
      remove(data);
    }
    return { ...await ended, log };
  };
  if (!first.startsWith("http://")) {
    await stop();
    throw new Error("quire up printed no address: " + first + "\n" + log);
  }
  const url = new URL(first);
  base = url.origin;
  token = url.searchParams.get("token");
  return {
    base: url.origin, signIn: first, token: url.searchParams.get("token"),
    // api calls the JSON API as the user does from a script.
    async api(method, target, body) {
      const answer = await fetch(url.origin + target, {
        method, body: body === undefined ? undefined : JSON.stringify(body),
        headers: { Authorization: "token " + url.searchParams.get("token"), "Content-Type": "application/json" },
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${method} ${target}: ${answer.status} ${text.slice(0, 500)}`);
      return text ? JSON.parse(text) : null;
    },
    // save puts a file below the user's workspace.
    async save(name, content) {
      const folders = name.split("/").slice(0, -1);
      for (let n = 1; n <= folders.length; n++) {
        await this.api("PUT", "/user/me/api/contents/" + folders.slice(0, n).map(encodeURIComponent).join("/"), { type: "directory" });
      }
      const at = "/user/me/api/contents/" + name.split("/").map(encodeURIComponent).join("/");
      return typeof content === "string"
        ? this.api("PUT", at, { type: "file", format: "text", content })
        : this.api("PUT", at, { type: "notebook", format: "json", content });
    },
    stop,
  };
}

export function startBrowser(more = []) {
  return chromium.launch({ executablePath: process.env.QUIRE_TEST_CHROMIUM, args: [...flags, ...more] });
}

// patience is how long something may take on a machine that has much else to do, in ms.
export const patience = 120_000;

// watched makes a page whose complaints are kept: faults holds them, in words.
// Anything asked of another host than base is refused and is a fault.
export async function watched(browser, base, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(patience);
  const faults = [];
  await context.route("**/*", (route) => {
    const url = route.request().url();
    if (url.startsWith(base + "/") || url.startsWith("data:") || url.startsWith("blob:")) return route.continue();
    faults.push("asked another host: " + url.slice(0, 300));
    return route.abort();
  });
  const page = await context.newPage();
  page.on("console", (m) => {
    if (m.type() === "error" || m.type() === "warning") faults.push(`console ${m.type()}: ${m.text().slice(0, 300)} (${m.location().url})`);
  });
  page.on("pageerror", (err) => faults.push("script error: " + err));
  page.on("dialog", (dialog) => { faults.push("dialog: " + dialog.message()); dialog.dismiss(); });
  return { context, page, faults };
}

// settled returns when nothing fades or moves any more: what is half shown has
// colours that are meant for nobody. What goes on for ever is not waited for.
async function settled(page) {
  await page.evaluate(async () => {
    await new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next))); // what the pointer is over is known
    const ends = document.getAnimations().filter((a) => Number.isFinite(a.effect.getComputedTiming().endTime));
    await Promise.allSettled(ends.map((a) => a.finished));
  });
}

// axe returns what axe-core finds against WCAG 2 A and AA, or against the rules
// that are named, in words. What stands in the frames of outputs is the notebook's
// own and is left out.
export async function axe(page, rules) {
  await settled(page);
  if (!await page.evaluate(() => "axe" in window)) await page.evaluate(axeSource);
  return page.evaluate(async (rules) => {
    const found = await window.axe.run(document, {
      iframes: false, resultTypes: ["violations"],
      runOnly: rules ? { type: "rule", values: rules } : { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] },
    });
    return found.violations.flatMap((v) => v.nodes.slice(0, 5).map((n) => `${v.id}: ${n.target.join(" ")}: ${n.html.slice(0, 160)} ${(n.any[0] ?? n.all[0] ?? n.none[0])?.message ?? ""}`));
  }, rules);
}

// connected waits until JupyterLab's page is connected to its kernel. Before that
// it shows "idle" for a moment, and forgets without a word what it is told to run.
export function connected(kernels) {
  return until("JupyterLab to be connected to a kernel", 90, async () => (await kernels()).some((k) => k.connections > 0));
}

// twice presses a key twice, as fast as a person does who means both as one word: also
// while the page is busy, and does not answer the first yet.
export async function twice(page, key) {
  const cdp = await page.context().newCDPSession(page);
  const code = /\d/.test(key) ? "Digit" + key : "Key" + key.toUpperCase();
  const send = (type, text) => cdp.send("Input.dispatchKeyEvent", { type, key, code, windowsVirtualKeyCode: key.toUpperCase().charCodeAt(0), ...(text ? { text } : {}) });
  await Promise.all([send("keyDown", key), send("keyUp"), send("keyDown", key), send("keyUp")]);
  await cdp.detach();
}

// sent does what sends a form, and returns when the page that answers is there: who
// goes elsewhere before may take the request back.
export async function sent(page, act) {
  const there = page.waitForEvent("load");
  there.catch(() => {}); // act says what is wrong
  await act();
  await there;
}

// until waits for a condition on the side of the test, and says what it waited for.
export async function until(what, seconds, check) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error("waited " + seconds + " s for " + what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
