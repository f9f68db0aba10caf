// Keeps a page up to date. Every page is complete without it.
"use strict";

// Relative times grow older while the page is open.
const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
const words = new Intl.RelativeTimeFormat("en", { numeric: "always" });
function ago(then) {
  const seconds = (Date.now() - then) / 1000;
  for (const [unit, size] of units) {
    if (seconds >= size * 0.9) return words.format(-Math.round(seconds / size), unit);
  }
  return "just now";
}
setInterval(() => {
  for (const t of document.querySelectorAll("time[datetime]")) t.textContent = ago(Date.parse(t.dateTime));
}, 30000);

// A live run: its cells are put in as they finish.
const section = document.querySelector("[data-run][data-live]");
if (section) follow(section.dataset.run);

function follow(run) {
  const progress = document.getElementById("run-progress");
  const stream = new EventSource("/api/runs/" + run + "/events");
  let total = 0;
  const wanted = new Set();
  let loading = false;
  async function load() {
    if (loading) return;
    loading = true;
    for (const index of wanted) {
      wanted.delete(index);
      const answer = await fetch("/runs/" + run + "/cells/" + index);
      if (!answer.ok) continue;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("section");
      const old = fresh && document.getElementById(fresh.id);
      if (old) old.replaceWith(document.adoptNode(fresh));
      else location.reload();
    }
    loading = false;
  }
  stream.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.cells) total = event.cells;
    if (event.type === "cell_started") progress.textContent = "Cell " + (event.cell + 1) + (total ? " of " + total : "") + " is running";
    if (event.type === "cell_finished" || event.type === "saved") {
      if (event.cell !== undefined) wanted.add(event.cell);
      load();
    }
  };
  stream.addEventListener("end", () => { stream.close(); location.reload(); });
  stream.onerror = () => { progress.textContent = "The connection is lost; it is tried again."; };
}
