// Text cells as the viewer shows them: the server renders and sanitizes them. What
// is asked for at about the same time goes in one request.
import type { PlatformAPI } from "../api/platform.ts";
import type { JsonObject } from "../notebook/types.ts";

interface Wanted {
  readonly source: string;
  readonly attachments: JsonObject | null;
  readonly done: ((html: string | null) => void)[];
}

const most = 64;
const maxKept = 4000;

export class Rendering {
  readonly #api: PlatformAPI;
  readonly #known = new Map<string, string>();
  readonly #wanted = new Map<string, Wanted>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(api: PlatformAPI) {
    this.#api = api;
  }

  known(source: string, attachments: JsonObject | null): string | null {
    return this.#known.get(keyOf(source, attachments)) ?? null;
  }

  /** The text as HTML; null when the server does not answer. */
  render(source: string, attachments: JsonObject | null): Promise<string | null> {
    const key = keyOf(source, attachments);
    const known = this.#known.get(key);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => {
      const wanted = this.#wanted.get(key);
      if (wanted) wanted.done.push(resolve);
      else this.#wanted.set(key, { source, attachments, done: [resolve] });
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        void this.#send();
      }, 10);
    });
  }

  async #send(): Promise<void> {
    const batch = [...this.#wanted.entries()].slice(0, most);
    for (const [key] of batch) this.#wanted.delete(key);
    if (this.#wanted.size > 0) this.#timer ??= setTimeout(() => { this.#timer = undefined; void this.#send(); }, 0);
    let html: readonly string[] | undefined;
    try {
      html = (await this.#api.render(batch.map(([, w]) => ({ source: w.source, ...(w.attachments ? { attachments: w.attachments } : {}) })))).texts;
    } catch {
      // Without the server the text is shown as it was written.
    }
    batch.forEach(([key, w], i) => {
      const answer = html?.[i] ?? null;
      if (answer !== null) {
        if (this.#known.size > maxKept) this.#known.clear();
        this.#known.set(key, answer);
      }
      for (const done of w.done) done(answer);
    });
  }
}

function keyOf(source: string, attachments: JsonObject | null): string {
  return attachments && Object.keys(attachments).length > 0 ? source + "\u0000" + JSON.stringify(attachments).length : source;
}
