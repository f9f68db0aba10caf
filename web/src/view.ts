// What pages that are read load when there is a table on them (live.js says when).
const base = document.documentElement.dataset["root"] ?? "";

const tables = () => { void import("./explorer/pages.tsx").then((m) => { m.explore(base); }); };

tables();
document.addEventListener("quire-tables", tables); // there are more now
