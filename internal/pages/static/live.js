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

// A time zone that nobody chose is that of who reads.
const zone = document.querySelector("input[data-zone]");
if (zone && zone.value === "UTC" && zone.value === zone.defaultValue && !document.querySelector("[role=alert]")) {
  zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

// What a form would do is shown anew when a field of it was changed.
for (const form of document.querySelectorAll("form[data-preview]")) {
  const part = form.querySelector(".s-preview");
  let asked = 0;
  const look = async () => {
    if ([...form.elements].some((field) => field.type === "time" && !field.value)) return; // it is being typed
    const turn = ++asked;
    const fields = new URLSearchParams(new FormData(form));
    fields.set("preview", "1");
    const answer = await fetch(form.action, { method: "POST", body: fields }).catch(() => null);
    if (!answer || turn !== asked) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const wrong = fresh.querySelector(".s-error, .s-problem");
    const next = fresh.querySelector(".s-preview");
    if (turn !== asked || !next) return;
    if (wrong) {
      const p = document.createElement("p");
      p.className = "s-problem";
      p.textContent = wrong.textContent;
      next.replaceChildren(next.querySelector("h2"), p);
    }
    part.replaceChildren(...next.childNodes);
  };
  part.setAttribute("role", "status");
  form.addEventListener("change", look);
  if (zone && form.contains(zone) && zone.value !== zone.defaultValue) look();
}

// The frame of an output may say how tall it is, and nothing else.
addEventListener("message", (e) => {
  const height = e.data && e.data.quire === "height" && e.data.height;
  if (!Number.isFinite(height)) return;
  for (const frame of document.querySelectorAll("iframe.q-frame")) {
    if (frame.contentWindow === e.source) frame.style.height = Math.min(Math.max(Math.ceil(height), 40), 2000) + "px";
  }
});

// Tables become ones to sort, filter and draw, by a part of the app that is loaded
// when there is a table. A section with one looks other than it was served: how that
// was is kept, to tell whether it has changed.
const explorer = document.documentElement.dataset.explorer;
const served = new WeakMap();
function explore() {
  const tables = explorer ? document.querySelectorAll("[data-table]") : [];
  if (!tables.length) return;
  for (const table of tables) {
    const section = table.closest("section[id]");
    if (section && !served.has(section)) served.set(section, section.outerHTML);
  }
  import(explorer).then(() => document.dispatchEvent(new Event("quire-tables")), () => {}); // the page is complete without it
}
explore();

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
    if ((served.get(old) ?? old.outerHTML) !== fresh.outerHTML) {
      old.replaceWith(document.adoptNode(fresh));
      explore();
      show(at(fresh.id));
    }
    return true;
  }
  async function page(url) {
    const answer = await fetch(url);
    if (answer.status >= 500) throw new Error("the server is away"); // it is asked for again
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
          explore();
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
  async function look() {
    if (!notebook) return;
    let behind = stale;
    try {
      if (behind) { stale = false; wanted.clear(); await all(); behind = false; }
      for (const index of [...wanted]) {
        wanted.delete(index);
        const fresh = await page(root + "/runs/" + run + "/cells/" + index).catch((err) => { wanted.add(index); throw err; });
        if (fresh && !swap(fresh.querySelector("section"))) { stale = true; later(); }
      }
    } catch { stale ||= behind; later(2000); }
  }
  // One look after the other: an answer that comes late would put in what was before.
  let looks = Promise.resolve();
  function load() { timer = 0; return looks = looks.then(look); }
  function later(ms = 300) { if (!timer) timer = setTimeout(load, ms); }

  const stream = new EventSource(root + "/api/runs/" + run + "/events");
  stream.onmessage = (message) => {
    const event = JSON.parse(message.data);
    const fresh = Date.parse(event.time) >= seen;
    if (event.cells) total = event.cells;
    switch (event.type) {
      case "run_started": if (fresh) stale = true; break;
      case "kernel_starting": say("The kernel is starting"); break;
      case "cell_started": current = event.index; say((event.cell ? "Cell " + event.cell : "The cell of the run's parameters") + " is running"); break;
      case "run_finished": say("The run is ending"); break;
    }
    if (current >= 0) done = event.type === "cell_finished" ? event.index + 1 : current;
    paint();
    if (fresh && event.index !== undefined) wanted.add(event.index);
    if (fresh && (stale || wanted.size)) later();
  };
  stream.addEventListener("start", () => { stale = true; later(); }); // its container starts: the head says how
  stream.addEventListener("end", async () => { stream.close(); clearTimeout(timer); stale = true; await load(); if (!notebook) location.reload(); });
  stream.onerror = () => { if (stream.readyState !== EventSource.CLOSED) say("The connection is lost; it is tried again"); };
}

// A part of a page that is sent anew when it has changed. What has the focus
// keeps it.
for (const part of document.querySelectorAll("[data-stream]")) {
  const stream = new EventSource(root + part.dataset.stream);
  stream.addEventListener("page", (message) => {
    const held = part.contains(document.activeElement) ? document.activeElement.id : "";
    const fresh = new DOMParser().parseFromString(message.data, "text/html");
    part.replaceChildren(...[...fresh.body.childNodes].map((node) => document.adoptNode(node)));
    if (held) document.getElementById(held)?.focus();
    tick();
    const goes = part.querySelector("a[data-goes]"); // what was waited for is there
    if (goes) location.replace(goes.href);
  });
}

// A grid: one of its links is in the order of Tab, arrows go to the others, and
// it begins at its newest end. What of it is not over is asked for again.
const gridBox = document.querySelector(".s-gridbox");
if (gridBox) {
  let at = [0, 0];
  const rows = () => [...gridBox.querySelectorAll("tr")].map((tr) => [...tr.cells].slice(1)).filter((cells) => cells.some((c) => c.querySelector("a")));
  const link = (row, column) => rows()[row]?.[column]?.querySelector("a");
  function settle() {
    for (const a of gridBox.querySelectorAll("a")) a.tabIndex = -1;
    const all = rows();
    if (!all.length) return;
    at = [Math.min(at[0], all.length - 1), Math.min(at[1], all[0].length - 1)];
    const a = link(...at);
    if (a) a.tabIndex = 0;
  }
  function move(row, column) {
    const a = link(row, column);
    if (!a) return false;
    const old = link(...at);
    if (old) old.tabIndex = -1;
    at = [row, column];
    a.tabIndex = 0;
    a.focus();
    return true;
  }
  at = [1, (rows()[0]?.length ?? 1) - 1];
  settle();
  gridBox.scrollLeft = gridBox.scrollWidth;
  gridBox.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const [row, column] = at, all = rows(), last = (all[0]?.length ?? 1) - 1;
    const to = {
      ArrowRight: [row, column + 1], ArrowLeft: [row, column - 1], ArrowDown: [row + 1, column], ArrowUp: [row - 1, column], Home: [row, 0], End: [row, last],
    }[e.key];
    if (to) { e.preventDefault(); move(...to); return; }
    const button = ["t", "b", " "].includes(e.key) && document.querySelector(`[data-key="${e.key}"]`);
    if (button) { e.preventDefault(); button.click(); }
  });
  gridBox.addEventListener("focusin", (e) => {
    const cell = e.target.closest("td, th");
    if (!cell) return;
    const row = rows().findIndex((cells) => cells.includes(cell));
    if (row < 0) return;
    const old = link(...at);
    if (old) old.tabIndex = -1;
    at = [row, cell.cellIndex - 1];
    e.target.tabIndex = 0;
  });
  const pollEvery = 5000;
  async function poll() {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href);
        const fresh = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("grid");
        if (fresh) {
          const held = gridBox.contains(document.activeElement), left = gridBox.scrollLeft;
          gridBox.replaceChildren(...[...fresh.childNodes].map((node) => document.adoptNode(node)));
          settle();
          gridBox.scrollLeft = left;
          if (held) link(...at)?.focus();
          if (!("poll" in fresh.dataset)) return;
        }
      } catch { /* it is asked for again */ }
    }
    setTimeout(poll, pollEvery);
  }
  if ("poll" in gridBox.dataset) setTimeout(poll, pollEvery);
}

// A part of a page that is looked at again until it is as it stays; what is typed
// elsewhere on the page stays too, and the focus.
for (const part of document.querySelectorAll("[data-poll]:not(.s-gridbox)")) {
  const look = async () => {
    const answer = await fetch(location.href).catch(() => null);
    const text = answer && answer.ok ? await answer.text() : "";
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.getElementById(part.id);
    if (!fresh) { setTimeout(look, 2000); return; }
    const again = "poll" in fresh.dataset;
    if (fresh.innerHTML !== part.innerHTML) {
      const held = part.contains(document.activeElement) ? document.activeElement.id : "";
      part.replaceChildren(...[...fresh.childNodes].map((node) => document.adoptNode(node)));
      if (held) (document.getElementById(held) ?? part).focus();
      explore();
    }
    if (again) { setTimeout(look, 700); return; }
    part.removeAttribute("data-poll");
    // What else the page says about it, once.
    for (const other of document.querySelectorAll("[data-settle]")) {
      const next = page.getElementById(other.id);
      if (next && !other.contains(document.activeElement)) other.replaceChildren(...[...next.childNodes].map((node) => document.adoptNode(node)));
    }
  };
  part.tabIndex = -1;
  setTimeout(look, 300);
}
