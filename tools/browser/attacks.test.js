// Hostile notebooks in a real browser. A canary is a flag in the page, a dialog,
// a window, a navigation of the page, or one connection to the server that listens
// for every name below .test: none may be seen. That each is seen when there is no
// defence is tested last.
import assert from "node:assert/strict";
import dgram from "node:dgram";
import net from "node:net";
import { after, before, test } from "node:test";
import { around, carriers, payloads, probes } from "./attacks.js";
import { code, notebook, shown, text } from "./notebooks.js";
import { patience, startBrowser, startQuire, until } from "./quire.js";

let quire, browser, sink, udp;
const heard = []; // what came to the sink
const all = payloads();

before(async () => {
  sink = net.createServer((socket) => {
    socket.on("error", () => {});
    const entry = { at: Date.now(), first: "" };
    heard.push(entry);
    socket.once("data", (data) => { entry.first = data.toString("latin1").slice(0, 100); socket.destroy(); });
  });
  await new Promise((resolve) => sink.listen(0, "127.0.0.1", resolve));
  udp = dgram.createSocket("udp4");
  udp.on("message", (m) => heard.push({ at: Date.now(), first: "UDP of " + m.length + " bytes" }));
  await new Promise((resolve) => udp.bind(0, "127.0.0.1", resolve));
  [quire, browser] = await Promise.all([startQuire(), startBrowser(["--host-resolver-rules=MAP *.test 127.0.0.1:" + sink.address().port + ", MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])]);
});
after(async () => {
  await browser?.close();
  sink?.close();
  udp?.close();
  await quire?.stop();
});

// guarded opens pages and tells what a canary has seen since.
let signedIn; // the cookies of who is
async function guarded() {
  if (!signedIn) {
    const context = await browser.newContext();
    await (await context.newPage()).goto(quire.signIn);
    signedIn = await context.storageState();
    await context.close();
  }
  const context = await browser.newContext({ serviceWorkers: "allow", storageState: signedIn });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  const seen = [];
  page.on("dialog", (d) => { seen.push("dialog: " + d.message()); d.dismiss().catch(() => {}); });
  page.on("download", (d) => seen.push("download: " + d.suggestedFilename()));
  context.on("page", (p) => seen.push("window: " + p.url()));
  let expected = "";
  page.on("framenavigated", (f) => { if (f === page.mainFrame() && f.url().split("#")[0] !== expected.split("#")[0]) seen.push("the page went to " + f.url()); });
  heard.length = 0;
  const open = async (url) => { expected = new URL(url).href; await page.goto(url); };
  const canaries = async () => {
    if (await page.evaluate(() => "__pwn" in window)) seen.push("the flag is set in the page");
    return [...seen.splice(0), ...heard.splice(0).map((h) => "a connection: " + h.first)];
  };
  return { context, page, open, canaries };
}

// provoke loads every frame, opens every fold, and clicks what may be clicked.
// Links to other places are the reader's own choice: only their kind is looked at.
async function provoke(page) {
  const bad = await page.evaluate(async () => {
    const wrong = [];
    for (const a of document.querySelectorAll("a[href], area[href], form[action], button[formaction]")) {
      const url = new URL(a.getAttribute("href") ?? a.getAttribute("formaction") ?? a.getAttribute("action"), location.href);
      if (!["http:", "https:", "mailto:"].includes(url.protocol)) wrong.push("a link to " + url.href.slice(0, 80));
    }
    for (const d of document.querySelectorAll("details")) d.open = true;
    const here = document.querySelector("#q-cells, .s-main") ?? document.body;
    for (const el of here.querySelectorAll("*")) {
      if (["A", "BUTTON", "SUMMARY", "LABEL", "INPUT", "SELECT", "OPTION", "IFRAME"].includes(el.tagName)) continue;
      for (const kind of ["mouseover", "mouseenter", "focus", "click", "pointerdown", "toggle", "error", "load", "animationstart", "wheel"]) el.dispatchEvent(new Event(kind, { bubbles: false }));
    }
    await Promise.all([...document.querySelectorAll("iframe")].map((f) => new Promise((resolve) => {
      f.onload = f.onerror = resolve;
      setTimeout(resolve, 5000);
      f.loading = "eager";
      f.src = f.getAttribute("src");
    })));
    await new Promise((resolve) => setTimeout(resolve, 100)); // for what begins by itself a moment later
    return wrong;
  });
  for (const frame of page.frames()) {
    if (frame === page.mainFrame() || frame.isDetached()) continue;
    const origin = await frame.evaluate(() => window.origin).catch(() => "null");
    if (origin !== "null") bad.push("a frame with the origin " + origin + ": " + frame.url());
  }
  return bad;
}

const size = 45;
// Charts take long to draw: of two kinds that go the same way, each has half.
const half = { plotly: 0, vega: 1 };
for (const [name, carrier] of Object.entries(carriers)) {
  test((name in half ? "half of the payloads as " : "every payload as ") + name, { timeout: 600_000 }, async () => {
    const { context, page, open, canaries } = await guarded();
    const mine = all.filter((_, n) => !(name in half) || n % 2 === half[name]);
    for (let from = 0; from < mine.length; from += size) {
      const part = mine.slice(from, from + size);
      const file = `attack-${name.replaceAll(" ", "-")}-${from}.ipynb`;
      await quire.save(file, notebook(part.flatMap(carrier)));
      await open(quire.base + "/view/users/me/" + file);
      const cells = await page.locator("#q-cells > section").count();
      assert.ok(cells >= part.length, `${cells} cells of ${part.length} stand where they belong`);
      assert.deepEqual([...await provoke(page), ...await canaries()], [], `payloads ${from} to ${from + size}`);
    }
    await context.close();
  });
}

test("every payload around a notebook: title, authors, kernel, widgets, parameters; and on its way through the pages", { timeout: 600_000 }, async () => {
  const { context, page, open, canaries } = await guarded();
  for (const [n, p] of all.entries()) {
    if (n % 5) continue;
    await quire.save("around.ipynb", notebook([text("# x"), { ...shown({ "application/vnd.jupyter.widget-view+json": { model_id: "m" } }), id: "w" }], around(p)));
    await open(quire.base + "/view/users/me/around.ipynb");
    assert.deepEqual([...await provoke(page), ...await canaries()], [], p);
  }
  for (const target of ["/versions/users/me/around.ipynb", "/diff?a=users/me/around.ipynb@1&b=users/me/around.ipynb@2", "/discover", "/search?q=pwn", "/search?q=script", "/run/users/me/around.ipynb", "/view/users/me"]) {
    await open(quire.base + target);
    assert.deepEqual([...await provoke(page), ...await canaries()], [], target);
  }
  await context.close();
});

test("payloads as names of files and folders", { timeout: 600_000 }, async () => {
  const { context, page, open, canaries } = await guarded();
  const names = all.map((p) => p.replaceAll("/", "∕").replaceAll(/[\u0000-\u001f\u007f]/g, "").slice(0, 60)).filter((p) => p && !p.startsWith(".") && p.trim() === p);
  let saved = 0;
  for (const [n, name] of names.entries()) {
    if (n % 3 && !/on\w+=|javascript/.test(name)) continue;
    try {
      await quire.save("names/" + name + (n % 2 ? ".ipynb" : ".md"), n % 2 ? notebook([text("# " + name)]) : "# " + name);
      if (n % 10 === 0) await quire.save("names/" + name + "/in.txt", name);
      saved++;
    } catch (err) {
      assert.match(String(err), /: 400 /, "a name is taken, or refused with a reason"); // a control character, a separator
    }
  }
  assert.ok(saved > 40, saved + " of the names were taken");
  await quire.save("names/README.md", all.join("\n\n"));
  await open(quire.base + "/view/users/me/names");
  assert.ok((await page.locator(".s-files tbody tr").count()) > 40);
  assert.deepEqual([...await provoke(page), ...await canaries()], []);
  const links = await page.locator(".s-files .s-name > a").evaluateAll((as) => as.map((a) => a.href));
  for (const link of links.slice(0, 25)) {
    await open(link);
    assert.deepEqual([...await provoke(page), ...await canaries()], [], link);
    await open(link.replace("/view/", "/rename/"));
    assert.deepEqual([...await provoke(page), ...await canaries()], [], link);
  }
  await page.goto(links.at(-1));
  await context.close();
});

test("payloads in a run: parameters, tags, what it prints and how it fails", { timeout: 600_000 }, async () => {
  const { context, page, open, canaries } = await guarded();
  const few = all.filter((p) => p.length < 200);
  await quire.save("hostile.ipynb", notebook([code('title = "x"\nother = "y"', { metadata: { tags: ["parameters"] } }),
    code(`import json, sys\nall = json.loads(${JSON.stringify(JSON.stringify(few))})\nfrom IPython.display import display, HTML, SVG, Markdown, Latex, Javascript\nfor p in all:\n    print(p)\n    print(p, file=sys.stderr)\n    for kind in ("text/html", "image/svg+xml", "text/markdown", "text/latex", "application/javascript"):\n        display({kind: p}, raw=True)`),
    code("import quire\nfor n, p in enumerate(all[:20]):\n    quire.record(p[:40] or 'x', p)"), code("raise type(all[8], (Exception,), {})(' '.join(all))")]));
  const evil = `"'><script>__pwn=1</script><img src=x onerror=__pwn=1>{{7*7}}`;
  const run = await quire.api("POST", "/api/runs", { notebook: "users/me/hostile.ipynb", parameters: { title: evil, other: "</textarea><svg onload=__pwn=1>" }, tags: ['<u onclick="__pwn=1">tag'] });
  await open(quire.base + "/runs/" + run.id);
  await page.locator("#run-head .s-state", { hasText: "Failed" }).waitFor();
  assert.deepEqual([...await provoke(page), ...await canaries()], [], "the live page");
  assert.ok((await page.locator("#q-cells iframe").count()) > 20, "the outputs that need a frame have one");
  for (const target of ["/runs/ID", "/runs/ID/timeline", "/runs/ID/log", "/runs/ID/attempts", "/runs", "/runs?notebook=users/me/hostile.ipynb&view=results", "/runs?tag=" + encodeURIComponent('<u onclick="__pwn=1">tag'),
    "/runs?parameter=" + encodeURIComponent("title=" + evil), "/run/users/me/hostile.ipynb?from=ID", "/run/users/me/hostile.ipynb?p.title=" + encodeURIComponent(evil), "/diff?a=users/me/hostile.ipynb&b=run:ID",
    "/view/users/me?filter=" + encodeURIComponent(evil), "/search?q=" + encodeURIComponent(evil), "/diff?a=" + encodeURIComponent(evil) + "&b=" + encodeURIComponent(evil), "/view/" + encodeURIComponent(evil), "/login?next=" + encodeURIComponent("javascript:__pwn=1")]) {
    await open(quire.base + target.replace("ID", run.id));
    assert.deepEqual([...await provoke(page), ...await canaries()], [], target);
  }
  await context.close();
});

test("a script in a frame runs, and reaches nothing outside of it", { timeout: 600_000 }, async (t) => {
  const list = Object.entries(probes("http://sink.test", udp.address().port));
  for (const [name, js] of list) {
    await t.test(name, async () => {
      const statement = /^([{]|for|try|location|alert|top|history|document\.head|new WebT)/.test(js);
      await quire.save("probe.ipynb", notebook([shown({ "text/html": `<p id="said">waits</p><script>
        window.__ran = 1;
        const say = (s) => { const p = document.getElementById("said"); if (p) p.textContent = s; };
        try { Promise.resolve(${statement ? `(() => { ${js} })()` : js}).then(() => say("got through"), (e) => say("refused: " + e)); } catch (e) { say("refused: " + e); }
        </script>` })]));
      const look = async () => {
        const { context, page, open, canaries } = await guarded();
        await open(quire.base + "/view/users/me/probe.ipynb");
        const frame = await until("the frame", 60, () => page.frames().find((f) => f !== page.mainFrame()));
        const said = name.startsWith("quiet: ") ? "" : await until("the probe to answer", 60, async () => {
          const s = await frame.evaluate(() => window.__ran && document.getElementById("said")?.textContent).catch(() => "");
          return s && s !== "waits" ? s : "";
        });
        assert.doesNotMatch(said, /got through/);
        await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 250))); // for what comes late
        const found = (await canaries()).filter((c) => !known.some(([probe, canary]) => probe.test(name) && canary.test(c)));
        await context.close();
        return found;
      };
      let found = await look();
      // The browser may have been late with a connection of the probe before; what this
      // one does, it does again.
      if (found.length && found.every((c) => c === "a connection: ")) found = await look();
      assert.deepEqual(found, []);
    });
  }
});

// What a frame's script can still do, because no policy of Chromium's stops it:
// when a frame navigates, the browser connects ahead of time and only then asks
// the policy, which refuses, so that not a byte is sent; and WebRTC knows no
// policy (the directive of CSP 3 is unknown to Chromium 156), so that the script
// can tell a server what stands in its own frame, and nothing else.
const known = [
  [/^quiet: (its own address|a refresh|elements that load)$/, /^a connection: $/],
  [/^quiet: Web(RTC|Transport)$/, /^a connection: UDP/],
];

test("files and outputs opened by themselves have no origin or run nothing", { timeout: 600_000 }, async () => {
  const { context, page, canaries } = await guarded();
  const script = '<script xmlns="http://www.w3.org/1999/xhtml">window.__pwn=1; try { fetch("/api/runs").then((r) => r.ok && (document.title = "read")) } catch (e) {}</script>';
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" onload="window.__pwn=1">${script}</svg>`;
  await quire.save("raw.svg", svg);
  await quire.save("raw.html", "<html>" + script);
  await quire.save("raw.txt", "<html>" + script);
  await quire.save("raw.xml", `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">${script}</html>`);
  await quire.save("raw.md", script);
  await quire.save("raw.json", JSON.stringify({ a: script }));
  await quire.save("raw.js", "window.__pwn=1");
  await quire.save("raw.ipynb", notebook([shown({ "text/html": script, "image/svg+xml": svg, "text/plain": "x" })]));
  const targets = ["svg", "html", "txt", "xml", "md", "json", "js", "ipynb"].flatMap((end) => ["/files/users/me/raw." + end, "/view/users/me/raw." + end, "/user/me/api/contents/raw." + end, "/api/contents/users/me/raw." + end]);
  targets.push("/frame/users/me/raw.ipynb?cell=0&output=0", "/view/users/me/raw.ipynb?as=html", "/view/users/me/raw.ipynb?as=md");
  for (const kind of ["text/html", "image/svg+xml", "text/plain"]) targets.push("/output/users/me/raw.ipynb?cell=0&output=0&mime=" + encodeURIComponent(kind));
  for (const target of targets) {
    const answer = await page.goto(quire.base + target).catch((err) => err);
    if (answer instanceof Error) { // a download is as good as anything
      assert.match(String(answer), /Download is starting/, target);
      continue;
    }
    assert.equal(answer.headers()["x-content-type-options"], "nosniff", target);
    assert.ok(answer.status() < 500, target);
    await new Promise((resolve) => setTimeout(resolve, 50)); // on this side: no timer runs where script is off
    const [origin, flag, title] = await page.evaluate(() => [window.origin, "__pwn" in window, document.title]);
    assert.ok(!flag || origin === "null", `${target}: script runs with the origin ${origin}`);
    assert.notEqual(title, "read", target);
  }
  assert.deepEqual((await canaries()).filter((c) => !/^(download|the page went|the flag)/.test(c)), []);
  await context.close();
});

// The defence is taken away from one page: every canary must see it.
test("the canaries see what gets through", { timeout: 600_000 }, async (t) => {
  const bare = async (name, body, pattern) => t.test(name, async () => {
    const { context, page, open, canaries } = await guarded();
    await context.route("**/bare", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><div id=q-cells>" + body + "</div>" }));
    await open(quire.base + "/bare");
    const wrong = await provoke(page).catch(() => []);
    const found = [];
    await until("the canary: " + found, 60, async () => {
      found.push(...wrong.splice(0), ...await canaries().catch(() => []));
      return found.some((f) => pattern.test(f));
    });
    await context.close();
  });
  await bare("a script", "<script>__pwn=1</script>", /the flag/);
  await bare("an event handler", "<img src=x onerror=__pwn=1>", /the flag/);
  await bare("a handler that wants a mouse", "<p onmouseover=__pwn=1>x", /the flag/);
  await bare("a link", '<a href="javascript:__pwn=1">x</a>', /a link to javascript/);
  await bare("a frame that is let out", `<iframe src="/let-out" srcdoc="<script>parent.__pwn=1</script>"></iframe>`, /the flag|a frame with the origin/);
  await bare("a dialog", "<script>alert(1)</script>", /dialog/);
  await bare("a window", "<script>open('/login')</script>", /window/);
  await bare("a navigation", "<script>setTimeout(() => location = '/login', 50)</script>", /the page went/);
  await bare("a picture elsewhere", "<img src=//sink.test/x>", /a connection/);
  await bare("a secure picture elsewhere", "<img src=https://sink.test/x>", /a connection/);
  await bare("a download", "<script>const a = document.createElement('a'); a.href = 'data:,x'; a.download = 'x'; a.click()</script>", /download/);
  await bare("WebRTC", `<script>const c = new RTCPeerConnection({ iceServers: [{ urls: 'stun:127.0.0.1:${udp.address().port}' }] }); c.createDataChannel('x'); c.createOffer().then((o) => c.setLocalDescription(o))</script>`, /UDP/);
});
