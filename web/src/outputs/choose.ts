// Which form of an output is shown. What needs sanitizing, and every choice that
// depends on what is in it, is the server's (internal/viewer/output.go): here only
// what is simple is shown without asking, in the same order.
import type { DataOutput, Json, JsonObject } from "../notebook/types.ts";

export const widgetType = "application/vnd.jupyter.widget-view+json";
export const tableType = "application/vnd.dataresource+json";

export type Form =
  | { readonly kind: "large"; readonly hash: string; readonly bytes: number }
  | { readonly kind: "widget"; readonly model: string }
  | { readonly kind: "drawing"; readonly shell: "plotly" | "vega"; readonly mime: string }
  | { readonly kind: "table" }
  | { readonly kind: "server" }
  | { readonly kind: "image"; readonly mime: string }
  | { readonly kind: "json"; readonly mime: string }
  | { readonly kind: "text" }
  | { readonly kind: "none" };

const pictures = ["image/svg+xml", "image/png", "image/jpeg", "image/webp", "image/gif"];

function drawing(mime: string): "plotly" | "vega" | "" {
  if (mime.startsWith("application/vnd.plotly.v1+json")) return "plotly";
  return mime.startsWith("application/vnd.vegalite.") || mime.startsWith("application/vnd.vega.") ? "vega" : "";
}

/** Whether HTML holds a data frame that can be explored. */
function dataFrame(html: Json | undefined): boolean {
  return typeof html === "string" && html.length <= 16 << 20 && /<table[^>]{0,200}\bdataframe\b/i.test(html);
}

export function choose(output: DataOutput): Form {
  const data = output.data;
  const has = (mime: string) => data[mime] !== undefined && data[mime] !== null;
  const large = output.metadata["quire"] as JsonObject | undefined;
  if (typeof large?.["blob"] === "string" && /^[0-9a-f]{64}$/.test(large["blob"])) {
    return { kind: "large", hash: large["blob"], bytes: Number(large["bytes"] ?? 0) };
  }
  const widget = data[widgetType] as JsonObject | undefined;
  if (typeof widget?.["model_id"] === "string") return { kind: "widget", model: widget["model_id"] };
  for (const mime of Object.keys(data).sort()) {
    const shell = drawing(mime);
    if (shell && has(mime)) return { kind: "drawing", shell, mime };
  }
  if (has(tableType) || dataFrame(data["text/html"])) return { kind: "table" };
  if (["text/html", "application/geo+json", "application/vnd.geo+json", "text/markdown"].some(has)) return { kind: "server" };
  const picture = pictures.find(has);
  if (picture) return { kind: "image", mime: picture };
  if (has("text/latex")) return { kind: "server" };
  if (has("application/json")) return { kind: "json", mime: "application/json" };
  if (has("application/javascript")) return { kind: "server" };
  if (has("text/plain")) return { kind: "text" };
  const json = Object.keys(data).sort().find((mime) => mime.endsWith("+json") && has(mime));
  if (json) return { kind: "json", mime: json };
  return Object.keys(data).length > 0 ? { kind: "server" } : { kind: "none" };
}

/** The data of a media type as text: kernels send lists of lines, too. */
export function textOf(v: Json | undefined): string {
  if (typeof v === "string") return v;
  if (Array.isArray(v) && v.every((line) => typeof line === "string")) return v.join("");
  return v === undefined || v === null ? "" : JSON.stringify(v);
}

/** An address for a picture, "" when its data is damaged. */
export function pictureSource(mime: string, data: Json | undefined): string {
  const text = textOf(data);
  if (mime === "image/svg+xml") return "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text).replaceAll("'", "%27");
  const body = text.replace(/\s+/g, "");
  return body !== "" && /^[A-Za-z0-9+/]+={0,2}$/.test(body) ? `data:${mime};base64,${body}` : "";
}

function record(v: Json | undefined): JsonObject {
  return typeof v === "object" && v !== null && !Array.isArray(v) ? v as JsonObject : {};
}

export interface Picture {
  readonly src: string;
  readonly alt: string;
  readonly width?: number;
  readonly height?: number;
}

export function pictureOf(output: DataOutput, mime: string, cell: number): Picture {
  const own = record(output.metadata[mime]);
  const text = (v: Json | undefined) => typeof v === "string" && v.trim() ? v.trim().slice(0, 1000) : "";
  const side = (name: string) => {
    const v = own[name] ?? output.metadata[name];
    return typeof v === "number" && v >= 1 && v <= 10_000 ? Math.trunc(v) : undefined;
  };
  const width = side("width"), height = side("height");
  return {
    src: pictureSource(mime, output.data[mime]),
    alt: text(own["alt"]) || text(output.metadata["alt"]) || `Plot output of cell ${String(cell)}`,
    ...(width === undefined ? {} : { width }), ...(height === undefined ? {} : { height }),
  };
}
