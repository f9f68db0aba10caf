// Keeps a page up to date. Every page is complete without it.
"use strict";

// The path that everything of this server is under.
const root = document.documentElement.dataset.root || "";

// Relative times grow older while the page is open, in the words of the server.
const units = [["year", 29808000], ["month", 2246400], ["day", 79200], ["hour", 2700], ["minute", 45]];
const sizes = { year: 31536000, month: 2626560, day: 86400, hour: 3600, minute: 60 };
function ago(then) {
  const seconds = (Date.now() - then) / 1000;
  for (const [unit, from] of units) {
    if (seconds < from) continue;
    const n = Math.max(1, Math.round(seconds / sizes[unit]));
    return n + " " + unit + (n > 1 ? "s" : "") + " ago";
  }
  return "just now";
}
function tick() {
  for (const t of document.querySelectorAll("time[datetime][title]:not([data-clock])")) {
    const text = ago(Date.parse(t.dateTime));
    if (t.textContent !== text) t.textContent = text;
  }
}
setInterval(tick, 15000);

// Times also in the zone of who reads.
for (const t of document.querySelectorAll("time[datetime][title]")) {
  t.title = new Date(t.dateTime).toLocaleString() + " (" + t.title + ")";
}

// One menu is open at a time; Escape and a click elsewhere close it.
function closeMenus(but) {
  for (const m of document.querySelectorAll("details.q-menu[open]")) {
    if (m !== but && !m.contains(but)) m.open = false;
  }
}
document.addEventListener("click", (e) => closeMenus(e.target));
document.addEventListener("keydown", (e) => {
  if (e.key !== "Escape") return;
  const open = document.querySelector("details.q-menu[open]");
  if (open) { open.open = false; open.querySelector("summary").focus(); }
});

// A live run: its cells are put in as they finish.
const head = document.querySelector("#run-head[data-live]");
if (head) follow(head.dataset.run, head.dataset.since);

function follow(run, since) {
  const notebook = document.getElementById("q-cells");
  const at = (id) => document.getElementById(id);
  let said = "", done = -1;
  // paint says how far the run is; the head may have been replaced meanwhile.
  function paint() {
    const text = at("run-progress"), bar = at("run-bar");
    if (text && said && text.textContent !== said) text.textContent = said;
    if (bar && total && done >= 0) { bar.max = total; bar.value = done; }
  }
  const say = (text) => { said = text; paint(); };
  const seen = Date.parse(since) - 2000; // what was before is on the page already
  const wanted = new Set();
  let total = 0, current = -1, timer = 0, stale = false;

  const label = at("run-follow-label");
  if (label && notebook) label.hidden = false;
  const stop = () => { const box = at("run-follow"); if (box) box.checked = false; };
  addEventListener("wheel", stop, { passive: true });
  addEventListener("touchmove", stop, { passive: true });
  addEventListener("keydown", (e) => {
    if (["PageUp", "PageDown", "Home", "End", "ArrowUp", "ArrowDown", " "].includes(e.key) && e.target === document.body) stop();
  });
  function show(section) {
    const box = at("run-follow");
    if (section && box && box.checked) section.scrollIntoView({ block: "nearest" });
  }

  // swap puts in a section only when it differs, so that nothing flickers.
  function swap(fresh) {
    const old = fresh && at(fresh.id);
    if (!old) return false;
    if (old.outerHTML !== fresh.outerHTML) {
      old.replaceWith(document.adoptNode(fresh));
      show(at(fresh.id));
    }
    return true;
  }
  async function page(url) {
    const answer = await fetch(url);
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  }
  // all brings the whole page up to date: its head, and cells that are new.
  async function all() {
    const fresh = await page(location.pathname);
    if (!fresh) return;
    if (notebook) {
      const cells = fresh.getElementById("q-cells");
      let before = null;
      for (const section of [...cells.querySelectorAll(":scope > section")]) {
        if (!swap(section)) {
          const node = document.adoptNode(section);
          if (before) before.after(node); else notebook.prepend(node);
        }
        before = at(section.id);
      }
      const kept = new Set([...fresh.querySelectorAll("#q-cells > section"), ...notebook.querySelectorAll(":scope > section")].map((s) => s.id));
      for (const old of [...notebook.querySelectorAll(":scope > section")]) if (!kept.has(old.id)) old.remove();
    }
    const box = at("run-follow"), checked = box && box.checked;
    const newHead = fresh.getElementById("run-head");
    if (newHead && at("run-head")) at("run-head").replaceWith(document.adoptNode(newHead));
    document.title = fresh.title;
    if (at("run-follow")) { at("run-follow").checked = checked; at("run-follow-label").hidden = !notebook; }
    paint();
    tick();
  }
  async function load() {
    timer = 0;
    if (!notebook) return;
    try {
      if (stale) { stale = false; wanted.clear(); await all(); }
      for (const index of [...wanted]) {
        wanted.delete(index);
        const fresh = await page(root + "/runs/" + run + "/cells/" + index);
        if (fresh && !swap(fresh.querySelector("section"))) { stale = true; later(); }
      }
    } catch { later(); }
  }
  function later() { if (!timer) timer = setTimeout(load, 300); }

  const stream = new EventSource(root + "/api/runs/" + run + "/events");
  stream.onmessage = (message) => {
    const event = JSON.parse(message.data);
    const fresh = Date.parse(event.time) >= seen;
    if (event.cells) total = event.cells;
    switch (event.type) {
      case "run_started": if (fresh) stale = true; break;
      case "kernel_starting": say("The kernel is starting"); break;
      case "cell_started": current = event.cell; say("Cell " + (current + 1) + (total ? " of " + total : "") + " is running"); break;
      case "run_finished": say("The run is ending"); break;
    }
    if (current >= 0) done = event.type === "cell_finished" ? event.cell + 1 : current;
    paint();
    if (fresh && event.cell !== undefined) wanted.add(event.cell);
    if (fresh && (stale || wanted.size)) later();
  };
  stream.addEventListener("end", async () => { stream.close(); clearTimeout(timer); stale = true; await load(); if (!notebook) location.reload(); });
  stream.onerror = () => { if (stream.readyState !== EventSource.CLOSED) say("The connection is lost; it is tried again"); };
}
