// Draws the output that stands in this frame, or the one that the page sends into
// it. The frame has no origin, may load nothing but this server's scripts, and what
// it draws is data: none of it runs.
"use strict";
(() => {
  const element = document.getElementById("data");
  if (element) {
    show(JSON.parse(element.textContent));
    return;
  }
  addEventListener("message", (e) => {
    if (e.source === parent && e.data && e.data.quire === "show") show(e.data);
  });
  parent.postMessage({ quire: "ready" }, "*");
function show({ mime, data }) {
  const place = document.getElementById("output");
  const fallback = document.getElementById("fallback");
  const done = () => { fallback.hidden = true; };
  const failed = (err) => {
    place.hidden = true;
    const p = document.createElement("p");
    p.setAttribute("role", "alert");
    p.textContent = "This output could not be drawn: " + String((err && err.message) || err).slice(0, 300);
    document.body.prepend(p);
  };
  place.hidden = false;
  for (const p of document.querySelectorAll("[role=alert]")) p.remove();
  // tell says to the page how tall the drawing is, where nobody said how tall it is to be.
  const tell = (h) => { if (!element && h > 0) parent.postMessage({ quire: "height", height: Math.ceil(h) }, "*"); };
  function plotly() {
    const layout = { ...data.layout };
    if (!layout.width) layout.autosize = true;
    tell(layout.height || 450);
    return Plotly.react(place, { data: data.data || [], layout, frames: data.frames, config: { responsive: true, displaylogo: false } });
  }
  function vega() {
    const { parse, View, compile, expr, loader } = quireVega;
    const spec = mime.includes("vegalite") ? compile(data).spec : data;
    const refuse = { ...loader(), load: () => Promise.reject(new Error("it asks for data from elsewhere")), sanitize: () => Promise.reject(new Error("it links elsewhere")) };
    place.replaceChildren();
    const view = new View(parse(spec, undefined, { ast: true }), { expr, loader: refuse, renderer: "svg", container: place, hover: true });
    // Vega only writes to its log that data could not be loaded.
    let problem = null;
    view.logger({
      level() { return this; }, info() { return this; }, debug() { return this; },
      error(...args) { problem = args; return this; },
      warn(...args) { if (/failed$/.test(args[0])) problem = args; return this; },
    });
    return view.runAsync().then(() => { const svg = place.querySelector("svg"); if (svg) tell(svg.getBoundingClientRect().height + 8); if (problem) throw new Error(problem.map((a) => (a && a.message) || a).join(" ")); });
  }
  const draw = mime.includes("plotly") ? plotly : vega;
  try {
    Promise.resolve(draw()).then(done, failed);
  } catch (err) {
    failed(err);
  }
}
})();
