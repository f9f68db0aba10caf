// Completion and inspection by the kernel.
import { autocompletion, completeAnyWord, type Completion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import type { Extension } from "@codemirror/state";
import { StateEffect, StateField } from "@codemirror/state";
import type { EditorView} from "@codemirror/view";
import { showTooltip, type Tooltip } from "@codemirror/view";
import type { Json } from "../notebook/types.ts";
import { codePoints, unitsOf } from "../notebook/points.ts";
import type { KernelPort } from "../kernel/port.ts";

const completeMs = 10_000;
const inspectMs = 10_000;

interface Typed {
  readonly text: string;
  readonly type: string;
  readonly signature: string;
}

function typed(metadata: Json | undefined): Map<string, Typed> {
  const list = metadata && typeof metadata === "object" && !Array.isArray(metadata) ? (metadata as Record<string, Json>)["_jupyter_types_experimental"] : null;
  const found = new Map<string, Typed>();
  if (!Array.isArray(list)) return found;
  for (const item of list as readonly Record<string, Json>[]) {
    found.set(String(item["text"]), { text: String(item["text"]), type: String(item["type"] ?? ""), signature: String(item["signature"] ?? "") });
  }
  return found;
}

const kinds: Record<string, string> = { function: "function", module: "namespace", class: "class", instance: "variable", statement: "variable", keyword: "keyword", magic: "keyword", path: "text", param: "property" };

/** Completion by the kernel; by the words of the cell while there is none that listens. */
export function kernelCompletion(kernel: () => KernelPort | null): Extension {
  const source = async (context: CompletionContext): Promise<CompletionResult | null> => {
    const before = context.matchBefore(/[\w.%]+$/);
    if (!context.explicit && (!before || (before.text.length < 2 && !before.text.endsWith(".")) || /^\d/.test(before.text))) return null;
    const k = kernel();
    if (!k || (k.state() !== "idle" && !context.explicit)) return before ? completeAnyWord(context) : null;
    const code = context.state.doc.toString();
    let reply: Readonly<Record<string, Json>>;
    try {
      reply = await k.request("complete_request", { code, cursor_pos: codePoints(code, context.pos) }, completeMs);
    } catch {
      return completeAnyWord(context);
    }
    if (context.aborted || reply["status"] !== "ok" || !Array.isArray(reply["matches"])) return null;
    const more = typed(reply["metadata"]);
    const from = unitsOf(code, Number(reply["cursor_start"] ?? 0));
    const to = unitsOf(code, Number(reply["cursor_end"] ?? 0));
    const stem = code.slice(from, context.pos);
    // "df.he" is completed as a whole; what is shown is what differs.
    const shared = stem.slice(0, stem.lastIndexOf(".") + 1);
    const options = (reply["matches"] as readonly string[]).slice(0, 500).map((match): Completion => {
      const kind = more.get(match)?.type ?? "";
      return {
        label: match.startsWith(shared) ? match.slice(shared.length) : match, apply: match, type: kinds[kind] ?? "text",
        ...(more.get(match)?.signature ? { detail: more.get(match)?.signature ?? "" } : {}),
        info: () => documentation(k, code.slice(0, from) + match),
      };
    });
    if (options.length === 0) return null;
    return { from: from + shared.length, to, options: options.map((o) => ({ ...o, apply: String(o.apply).slice(shared.length) })), validFor: /^[\w%]*$/ };
  };
  return autocompletion({ override: [source], activateOnTypingDelay: 150, maxRenderedOptions: 80, icons: false, aboveCursor: false });
}

/** What the kernel says of what stands at the end of a code, without colours. */
async function ask(k: KernelPort, code: string, at: number, detail: 0 | 1): Promise<string> {
  const reply = await k.request("inspect_request", { code, cursor_pos: codePoints(code, at), detail_level: detail }, inspectMs);
  const data = reply["data"];
  const text = reply["found"] === true && data && typeof data === "object" && !Array.isArray(data) ? (data as Record<string, Json>)["text/plain"] : "";
   
  return typeof text === "string" ? text.replace(/\x1b\[[0-9;]*m/g, "").trim() : "";
}

async function documentation(k: KernelPort, code: string): Promise<HTMLElement | null> {
  try {
    const text = await ask(k, code, code.length, 0);
    return text ? block(text) : null;
  } catch {
    return null;
  }
}

function block(text: string): HTMLElement {
  const pre = document.createElement("pre");
  pre.className = "e-doc";
  pre.textContent = text.length > 8000 ? text.slice(0, 8000) + "\n…" : text;
  return pre;
}

const setTip = StateEffect.define<Tooltip | null>();

const tipField = StateField.define<Tooltip | null>({
  create: () => null,
  update(tip, tr) {
    for (const e of tr.effects) if (e.is(setTip)) return e.value;
    return tip && (tr.docChanged || tr.selection) ? null : tip;
  },
  provide: (f) => showTooltip.from(f),
});

/** What Shift+Tab shows: the signature and the documentation at the caret. */
export const inspection: Extension = tipField;

export function closeInspection(view: EditorView): boolean {
  if (!view.state.field(tipField, false)) return false;
  view.dispatch({ effects: setTip.of(null) });
  return true;
}

export function inspect(view: EditorView, kernel: KernelPort | null, say: (text: string) => void): boolean {
  if (!kernel) {
    say("Start the kernel to see documentation.");
    return true;
  }
  const at = view.state.selection.main.head;
  const code = view.state.doc.toString();
  void ask(kernel, code, at, 0).catch(() => "").then((text) => {
    if (view.state.doc.toString() !== code) return;
    if (!text) {
      say("There is no documentation here.");
      return;
    }
    view.dispatch({
      effects: setTip.of({
        pos: at, above: true,
        create: () => {
          const dom = document.createElement("div");
          dom.className = "e-tip";
          dom.append(block(text));
          return { dom };
        },
      }),
    });
    say(text.split("\n")[0] ?? "");
  });
  return true;
}
