// Asks the server how outputs look: what needs sanitizing or drawing is made where
// the pages of the viewer are made, so that it looks the same there and here.
import type { CellOutput, Json, JsonObject } from "../notebook/types.ts";

export interface RenderRequest {
  readonly output: CellOutput;
  /** The number of its cell, from 1. */
  readonly cell?: number;
  /** The chart that is chosen for it. */
  readonly dx?: JsonObject;
  /** The whole, its chart alone, or the values of its table. */
  readonly part?: "" | "chart" | "table";
  readonly maxBytes?: number;
}

export interface Rendered {
  /** Safe where it stands. */
  readonly html?: string;
  /** The media type that belongs in a frame instead. */
  readonly frame?: string;
  readonly table?: { readonly names: readonly string[]; readonly rows: readonly (readonly Json[])[]; readonly whole?: number };
  /** Why it cannot be shown so. */
  readonly error?: string;
}

/** The values of a table that stands on a page, and the chart that is chosen for it. */
export interface PageTable {
  readonly names: readonly string[];
  readonly rows: readonly (readonly Json[])[];
  readonly whole?: number;
  readonly dx?: JsonObject;
}

/** A refusal or a failure of the server, in words for a person. */
export class RenderError extends Error {}

export async function postRender(base: string, path: string, outputs: readonly RenderRequest[]): Promise<readonly Rendered[]> {
  const answer = await fetch(base + "/api/render", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ path, outputs }),
  });
  const body = await answer.json().catch(() => null) as { outputs?: Rendered[]; detail?: string; title?: string } | null;
  if (!answer.ok || !body?.outputs || body.outputs.length !== outputs.length) {
    throw new RenderError(body?.detail ?? body?.title ?? `the server answered with ${String(answer.status)}`);
  }
  return body.outputs;
}

/** Reads an output that is too large for the document, from the person's notebook server. */
export async function getLargeOutput(server: string, hash: string): Promise<CellOutput> {
  const answer = await fetch(`${server}/api/collaboration/outputs/${hash}`);
  if (!answer.ok) throw new RenderError(`the output could not be read: the server answered with ${String(answer.status)}`);
  return await answer.json() as CellOutput;
}

/** Reads the table that a page shows a part of. */
export async function getTable(address: string): Promise<PageTable> {
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  const body = await answer.json().catch(() => null) as Partial<PageTable> & { detail?: string; title?: string } | null;
  if (!answer.ok || !Array.isArray(body?.names) || !Array.isArray(body.rows)) {
    throw new RenderError(body?.detail ?? body?.title ?? `the server answered with ${String(answer.status)}`);
  }
  return { names: body.names, rows: body.rows, ...(body.whole ? { whole: body.whole } : {}), ...(body.dx ? { dx: body.dx } : {}) };
}
