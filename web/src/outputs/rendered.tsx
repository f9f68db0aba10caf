// Outputs as the server renders them, for the editor and for the explorer of tables,
// which stands on other pages, too.
import { useEffect, useState } from "preact/hooks";
import type { Rendered, RenderRequest } from "../api/render.ts";
import type { AppConfig } from "../config.ts";
import type { KernelPort } from "../kernel/port.ts";
import type { DataOutput, Json, JsonObject } from "../notebook/types.ts";
import { rendererOf } from "./remote.ts";

/** What is needed to have an output rendered, in the editor and on any other page. */
export interface Place {
  readonly config: { readonly base: string; readonly path: string };
  /** The place of its cell, from 1. */
  readonly number: number;
  /** The cell's metadata; it changes with the document. */
  readonly metadata: JsonObject;
  /** Sets one key of the cell's metadata, for everybody; undefined removes it. */
  setMetadata(key: string, value: Json | undefined): void;
}

/** What an output may know about the cell that it belongs to, and ask of the page. */
export interface CellContext extends Place {
  readonly config: AppConfig;
  /** The cell's id. */
  readonly id: string;
  readonly language: string;
  /** The notebook's metadata, for the saved state of widgets. */
  readonly notebookMetadata: JsonObject;
  /** Whether the person ran or saved this notebook: what is not trusted stays asleep. */
  readonly trusted: boolean;
  /** Null while there is no kernel. */
  readonly kernel: KernelPort | null;
}

/** What is rendered elsewhere, as far as it has come. */
export function useRendered(cell: Place, request: RenderRequest): { rendered: Rendered | undefined; failed: string; retry: () => void } {
  const renderer = rendererOf(cell.config);
  const key = JSON.stringify(request);
  const [state, setState] = useState<{ rendered: Rendered | undefined; failed: string }>({ rendered: renderer.known(request), failed: "" });
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let current = true;
    const known = renderer.known(request);
    if (known) {
      setState({ rendered: known, failed: "" });
      return;
    }
    renderer.render(request).then(
      (rendered) => { if (current) setState({ rendered, failed: "" }); },
      (err: unknown) => { if (current) setState((s) => ({ ...s, failed: err instanceof Error ? err.message : String(err) })); },
    );
    return () => { current = false; };
  }, [key, renderer, tries]);
  useEffect(() => {
    if (!state.failed) return;
    const again = () => { setTries((n) => n + 1); };
    addEventListener("online", again);
    return () => { removeEventListener("online", again); };
  }, [state.failed]);
  return { ...state, retry: () => { setTries((n) => n + 1); } };
}

/** HTML that the server sanitized or made. */
export function Html({ html }: { html: string }) {
  return <div dangerouslySetInnerHTML={{ __html: html }} />;
}

/** The chart that is chosen for an output: in its cell's metadata, or where nteract keeps it. */
export function chosen(output: DataOutput, index: number, metadata: JsonObject): JsonObject | undefined {
  const record = (v: Json | undefined) => typeof v === "object" && v !== null && !Array.isArray(v) ? v as JsonObject : undefined;
  return record(record(metadata["dx"])?.[String(index)]) ?? record(record(output.metadata["application/vnd.dataresource+json"])?.["dx"]) ?? record(output.metadata["dx"]);
}
