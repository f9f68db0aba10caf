// A widget of the kernel, alive: its frame is sent the models that it is made of
// and what becomes of them, and its messages go to the kernel's widgets.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { frameMessage, type CommEvent, type Comms, type Model } from "../kernel/comms.ts";
import { storedTree } from "../kernel/widgetstate.ts";
import { bounded } from "./Frame.tsx";
import type { CellContext } from "./rendered.tsx";

interface WidgetProps {
  readonly model: string;
  readonly cell: CellContext;
}

/** How much text a message of a frame may have. */
const maxMessage = 8 << 20;

const plain = (id: string, m: Model) => ({ id, state: m.state, paths: m.paths, buffers: m.buffers });

function posted(e: CommEvent): object {
  switch (e.kind) {
    case "open": return { quire: "open", comm: e.comm, ...plain(e.comm, e.model) };
    case "message": return { quire: "message", comm: e.comm, data: e.data, buffers: e.buffers, parent: e.parent };
    case "close": return { quire: "close", comm: e.comm };
    case "idle": return { quire: "idle", message: e.message };
  }
}

export function Widget({ model, cell }: WidgetProps) {
  const comms = cell.kernel?.comms ?? null;
  const [known, setKnown] = useState(() => comms?.tree(model) != null);
  const [asleep, setAsleep] = useState(!cell.trusted);
  useEffect(() => {
    if (!comms) {
      setKnown(false);
      return;
    }
    const look = () => {
      const there = comms.tree(model) !== null;
      setKnown(there);
      if (!there) comms.find(model);
    };
    look();
    return comms.changed.listen(look);
  }, [comms, model]);
  // Without a kernel it is seen as it was left, by a frame that nothing answers.
  const left = useMemo(() => {
    const tree = comms ? null : storedTree(cell.notebookMetadata, model);
    return tree && { tree: () => tree, listen: () => () => undefined, send: () => undefined };
  }, [comms, cell.notebookMetadata, model]);
  if (!left && (!comms || !known)) {
    return <p class="q-notice o-widget">{cell.kernel ? "A widget. It is shown as soon as the kernel says what it is; when it belonged to a kernel that is gone, run the cell again." : "A widget. It belongs to a kernel that is gone: run the cell again."}</p>;
  }
  if (asleep) {
    return <p class="q-notice o-paused">Interactive output paused: this notebook was not run or saved by you.{" "}
      <button type="button" class="q-button" onClick={() => { setAsleep(false); }}>Enable</button></p>;
  }
  if (comms) return <WidgetFrame key={model} model={model} comms={comms} cell={cell} />;
  if (!left) return null;
  return <><WidgetFrame key={"left " + model} model={model} comms={left} cell={cell} />
    <p class="q-notice o-widget">As it was left. It belongs to a kernel that is gone: run the cell again to use it.</p></>;
}

function WidgetFrame({ model, comms, cell }: WidgetProps & { readonly comms: Pick<Comms, "tree" | "listen" | "send"> }) {
  const frame = useRef<HTMLIFrameElement>(null);
  const [tall, setTall] = useState(60);
  useEffect(() => {
    let ready = false;
    const send = (what: object) => frame.current?.contentWindow?.postMessage(what, "*");
    const heard = (e: MessageEvent<Record<string, unknown> | null>) => {
      if (!frame.current || e.source !== frame.current.contentWindow || typeof e.data !== "object" || e.data === null) return;
      if (e.data["quire"] === "ready") {
        const tree = comms.tree(model);
        if (!tree) return;
        ready = true;
        send({ quire: "show", model, models: [...tree].map(([id, m]) => plain(id, m)) });
      } else if (e.data["quire"] === "height") {
        const h = bounded(e.data["height"]);
        if (h !== undefined) setTall(h);
      } else if (e.data["quire"] === "comm") {
        const m = frameMessage(e.data);
        if (m && JSON.stringify(m.data).length <= maxMessage) comms.send(m);
      }
    };
    addEventListener("message", heard);
    const stop = comms.listen((e) => { if (ready) send(posted(e)); });
    return () => {
      removeEventListener("message", heard);
      stop();
    };
  }, [comms, model]);
  return <div class="q-out"><iframe ref={frame} class="q-frame q-widget" sandbox="allow-scripts" referrerpolicy="no-referrer" loading="lazy"
    title={`Widget of cell ${String(cell.number)}`} src={`${cell.config.base}/shell/widgets`} style={{ height: `${String(tall)}px` }} /></div>;
}
