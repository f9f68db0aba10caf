import { useEffect, useRef, useState } from "preact/hooks";
import { useEditor } from "./hooks.ts";

/** How long one thing is said before the next, in ms. */
const paceMs = 1000;

/** Says what happens to who does not see it: at most one thing a second, failures first. */
export function Announcer() {
  const ed = useEditor();
  const [polite, setPolite] = useState("");
  const [urgent, setUrgent] = useState("");
  const waiting = useRef<{ text: string; urgent: boolean }[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);

  useEffect(() => {
    const next = () => {
      timer.current = undefined;
      const at = waiting.current.findIndex((w) => w.urgent);
      const [one] = waiting.current.splice(at < 0 ? 0 : at, 1);
      if (!one) return;
      (one.urgent ? setUrgent : setPolite)(one.text);
      timer.current = setTimeout(next, paceMs);
    };
    const add = (text: string, isUrgent: boolean) => {
      waiting.current = [...waiting.current.filter((w, i, all) => w.urgent || i >= all.length - 4), { text, urgent: isUrgent }].slice(-20);
      if (timer.current === undefined) next();
    };
    const states = new Map<string, { running: boolean; at: number }>();
    const look = () => {
      ed.nb.order.now.forEach((key, i) => {
        const cell = ed.nb.cell(key);
        if (cell?.type !== "code") return;
        const before = states.get(key);
        if (before?.running === cell.running) return;
        states.set(key, { running: cell.running, at: performance.now() });
        if (!before?.running || cell.running) return;
        const failure = cell.outputs.find((o) => o.output_type === "error");
        const seconds = ((performance.now() - before.at) / 1000).toFixed(1);
        if (failure?.output_type === "error") add(`Cell ${i + 1} failed: ${failure.ename}`, true);
        else add(`Cell ${i + 1} finished, ${seconds} s`, false);
      });
    };
    look();
    const stops = [ed.announcement.listen((a) => add(a.text, a.urgent)), ed.nb.listenAny(look)];
    return () => {
      clearTimeout(timer.current);
      for (const stop of stops) stop();
    };
  }, [ed]);
  return (
    <>
      <div class="q-vh" role="status">{polite}</div>
      <div class="q-vh" role="alert">{urgent}</div>
    </>
  );
}
