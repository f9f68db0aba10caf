// Shows ipywidgets in this frame: those that are stored in the notebook, which
// stand in it, or those of a kernel, which the page sends in with what becomes of
// them. The frame has no origin and may load nothing but this server's scripts;
// all that it can ask of the page is to send a message to a widget.
"use strict";
(() => {
  const { HTMLManager, putBuffers } = quireWidgets;
  const place = document.getElementById("output");
  const fallback = document.getElementById("fallback");
  const comms = new Map(); // id -> what listens to the kernel's model
  const waiting = new Map(); // id of a message -> its callbacks
  const tell = (message, transfer) => parent.postMessage(message, "*", transfer);
  const failed = (err) => {
    const p = document.createElement("p");
    p.setAttribute("role", "alert");
    p.textContent = "This widget could not be shown: " + String((err && err.message) || err).slice(0, 300);
    document.body.prepend(p);
  };

  class Manager extends HTMLManager {
    constructor() {
      super({ loader: (name) => Promise.reject(new Error("it needs the script " + name + ", which this server does not have")) });
    }
    _create_comm() {
      return Promise.reject(new Error("a widget is made by its kernel"));
    }
  }
  const manager = new Manager();

  // comm is the frame's end of a model of the kernel.
  function comm(id) {
    const one = {
      comm_id: id, target_name: "jupyter.widget", message() {}, closed() {},
      on_msg(f) { one.message = f; }, on_close(f) { one.closed = f; }, close() { return ""; },
      send(data, callbacks, metadata, buffers) {
        const bytes = crypto.getRandomValues(new Uint8Array(16));
        const message = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
        if (callbacks) waiting.set(message, callbacks);
        const parts = (buffers || []).map((b) => (b instanceof ArrayBuffer ? b.slice(0) : b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength)));
        tell({ quire: "comm", comm: id, message, data: JSON.parse(JSON.stringify(data)), buffers: parts }, parts);
        return message;
      },
    };
    comms.set(id, one);
    return one;
  }
  const views = (buffers) => buffers.map((b) => new DataView(b));
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer;

  // open makes a model of what is known of it.
  function open(id, state, paths, buffers, live) {
    putBuffers(state, paths, views(buffers));
    return manager.new_model({
      model_id: id, model_name: state._model_name, model_module: state._model_module, model_module_version: state._model_module_version,
      ...(live ? { comm: comm(id) } : {}),
    }, state);
  }
  async function view(id) {
    const model = await manager.get_model(id);
    await manager.display_view(manager.create_view(model), place);
    fallback.hidden = true;
    const size = () => tell({ quire: "height", height: Math.ceil(place.getBoundingClientRect().bottom) + 10 });
    new ResizeObserver(size).observe(place);
    size();
  }
  // All models are opened before any is waited for: each may name the others.
  function show(id, models, live) {
    const opened = models.map((m) => open(m.id, m.state, m.paths, m.buffers, live));
    Promise.all(opened.map((o) => o.catch(() => null))).then(() => view(id)).catch(failed);
  }

  const stored = document.getElementById("data");
  if (stored) {
    const { model, models } = JSON.parse(stored.textContent);
    show(model, Object.entries(models).map(([id, m]) => {
      const buffers = m.buffers || [];
      return { id, state: { ...m.state, _model_name: m.model_name, _model_module: m.model_module, _model_module_version: m.model_module_version },
        paths: buffers.map((b) => b.path), buffers: buffers.map((b) => bytesOf(b.data)) };
    }), false);
    return;
  }
  addEventListener("message", (e) => {
    if (e.source !== parent || !e.data) return;
    const m = e.data;
    if (m.quire === "show") show(m.model, m.models, true);
    else if (m.quire === "open") { if (!manager.has_model(m.comm)) open(m.comm, m.state, m.paths, m.buffers, true).catch(failed); }
    else if (m.quire === "message") comms.get(m.comm)?.message({ content: { comm_id: m.comm, data: m.data }, buffers: views(m.buffers), parent_header: { msg_id: m.parent } });
    else if (m.quire === "close") comms.get(m.comm)?.closed({ content: { comm_id: m.comm, data: {} } });
    else if (m.quire === "idle") {
      const callbacks = waiting.get(m.message);
      waiting.delete(m.message);
      callbacks?.iopub?.status?.({ content: { execution_state: "idle" }, parent_header: { msg_id: m.message } });
    }
  });
  tell({ quire: "ready" });
})();
