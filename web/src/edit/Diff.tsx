// Two texts side by side, loaded when somebody looks at them.
import { useEffect, useRef } from "preact/hooks";
import { useEditor } from "./hooks.ts";

export function Diff({ left, right, leftLabel, rightLabel }: { left: string; right: string; leftLabel: string; rightLabel: string }) {
  const ed = useEditor();
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let end: (() => void) | undefined;
    let stopped = false;
    void import("./merge.ts").then(({ sideBySide }) => {
      if (!stopped && place.current) end = sideBySide(place.current, left, right, ed.config.nonce);
    });
    return () => {
      stopped = true;
      end?.();
    };
  }, [left, right]);
  return (
    <div class="e-diff">
      <div class="e-diff-heads"><b>{leftLabel}</b><b>{rightLabel}</b></div>
      <div ref={place} class="q-hl" />
    </div>
  );
}
