// The parts of a container's start, in words.
import type { ServerStatus } from "../api/platform.ts";

const words: Readonly<Record<string, string>> = {
  queued: "it waits for room",
  pulling: "its image is brought",
  creating: "its container is being made",
  starting: "its container starts",
  running: "its container runs",
  ready: "it is about to answer",
};

export interface PhaseNow {
  readonly words: string;
  /** What changes every second; "" when there is nothing. */
  readonly detail: string;
  /** Of the bytes of the image, where they are known. */
  readonly percent: number | null;
}

/** The part that the start of a server is in; null when it is in none. */
export function phaseNow(status: ServerStatus | null): PhaseNow | null {
  const phase = status?.start?.find((p) => p.state === "now");
  if (!phase) return null;
  const total = phase.totalBytes ?? 0;
  return {
    words: words[phase.name] ?? phase.name,
    detail: phase.message ?? "",
    percent: total > 0 ? Math.min(100, Math.floor(((phase.doneBytes ?? 0) * 100) / total)) : null,
  };
}
