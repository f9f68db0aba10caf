import { useEffect, useRef, useState } from "preact/hooks";

/** What a frame's shell is told to show. */
export type Shown = { readonly html: string } | { readonly mime: string; readonly data: unknown };

interface FrameProps {
  /** The address of the shell. */
  readonly src: string;
  readonly title: string;
  readonly shown: Shown;
  /** The height until the frame says its own, in pixels. */
  readonly height?: number;
  /** Whether it may run at once. */
  readonly awake: boolean;
}

const least = 40, most = 2000;

/** A height that a frame asks for, as it gets it. */
export function bounded(height: unknown): number | undefined {
  return typeof height === "number" && Number.isFinite(height) ? Math.min(Math.max(Math.ceil(height), least), most) : undefined;
}

/**
 * Shows an output that needs script in a frame without an origin: it is sent in
 * when the frame is ready, and all that comes back is how tall it is.
 */
export function Frame({ src, title, shown, height = 160, awake }: FrameProps) {
  const frame = useRef<HTMLIFrameElement>(null);
  const ready = useRef(false);
  const [tall, setTall] = useState(height);
  const [allowed, setAllowed] = useState(awake);
  const [broken, setBroken] = useState(false);
  const latest = useRef(shown);
  latest.current = shown;
  const send = () => frame.current?.contentWindow?.postMessage({ quire: "show", ...latest.current }, "*");
  useEffect(() => {
    if (!allowed) return;
    const heard = (e: MessageEvent<{ quire?: unknown; height?: unknown } | null>) => {
      if (!frame.current || e.source !== frame.current.contentWindow || typeof e.data !== "object" || e.data === null) return;
      if (e.data.quire === "ready") {
        ready.current = true;
        setBroken(false);
        send();
      } else if (e.data.quire === "height") {
        const h = bounded(e.data.height);
        if (h !== undefined) setTall(h);
      }
    };
    addEventListener("message", heard);
    return () => { removeEventListener("message", heard); };
  }, [allowed]);
  useEffect(() => {
    // A shell shows HTML once: what changed needs a new one.
    if (!ready.current) return;
    if ("html" in shown) {
      ready.current = false;
      if (frame.current) frame.current.src = src;
    } else send();
  }, [shown]);
  if (!allowed) {
    return <p class="q-notice o-paused">Interactive output paused: this notebook was not run or saved by you.{" "}
      <button type="button" class="q-button" onClick={() => { setAllowed(true); }}>Enable</button></p>;
  }
  return <div class="q-out">
    {broken && <p class="q-notice" role="alert">The frame of this output could not be loaded.</p>}
    <iframe ref={frame} class="q-frame" sandbox="allow-scripts" referrerpolicy="no-referrer" loading="lazy"
      title={title} src={src} style={{ height: `${String(tall)}px` }} onError={() => { setBroken(true); }} />
  </div>;
}
