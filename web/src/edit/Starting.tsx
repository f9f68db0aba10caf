// How the start of the person's notebook server goes, while the notebook waits for it.
import { useEffect, useState } from "preact/hooks";
import type { ServerStatus } from "../api/platform.ts";
import { useEditor, useValue } from "./hooks.ts";
import { phaseNow } from "./phases.ts";

/** How long a server may take to answer before it is told what it waits for. */
const patienceMs = 1000;

export function Starting() {
  const ed = useEditor();
  const synced = useValue(ed.room.synced);
  const trouble = useValue(ed.room.trouble);
  const [status, set] = useState<ServerStatus | null>(null);
  useEffect(() => {
    if (synced) return undefined;
    let stop = (): void => undefined;
    const late = setTimeout(() => { stop = ed.platform.watchServer(set); }, patienceMs);
    return () => {
      clearTimeout(late);
      stop();
    };
  }, [ed, synced]);
  if (synced) return null;
  const now = phaseNow(status);
  if (now) {
    return (
      <p class="e-banner">
        <span role="status">Your notebook server is starting: {now.words}.</span>
        {now.detail && <span class="s-soft" aria-hidden={now.percent !== null}>{now.detail}</span>}
        {now.percent !== null && <progress max="100" value={now.percent} aria-label="Of the image" />}
      </p>
    );
  }
  return trouble ? <p class="e-banner e-warn" role="status"><span>Waiting for your notebook server: {trouble}.</span></p> : null;
}
