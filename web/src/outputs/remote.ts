// Outputs that the server renders: requests of one moment go together, and what
// was rendered once is kept.
import { postRender, type Rendered, type RenderRequest } from "../api/render.ts";

interface Waiting {
  readonly request: RenderRequest;
  readonly key: string;
  readonly size: number;
  readonly done: (r: Rendered) => void;
  readonly failed: (err: unknown) => void;
}

const maxKept = 24 << 20; // UTF-16 units of keys and answers
const maxBatch = 4 << 20;
const maxRequests = 100;

export class Renderer {
  private waiting: Waiting[] = [];
  private readonly kept = new Map<string, { rendered: Rendered; size: number }>();
  private size = 0;
  private due = false;

  constructor(private readonly post: (outputs: readonly RenderRequest[]) => Promise<readonly Rendered[]>) {}

  /** What is known already, undefined when it must be asked for. */
  known(request: RenderRequest): Rendered | undefined {
    return this.kept.get(JSON.stringify(request))?.rendered;
  }

  render(request: RenderRequest): Promise<Rendered> {
    const key = JSON.stringify(request);
    const known = this.kept.get(key);
    if (known) return Promise.resolve(known.rendered);
    return new Promise((done, failed) => {
      this.waiting.push({ request, key, size: key.length, done, failed });
      if (this.due) return;
      this.due = true;
      setTimeout(() => { this.flush(); }, 0);
    });
  }

  private flush(): void {
    this.due = false;
    const all = this.waiting;
    this.waiting = [];
    while (all.length > 0) {
      let n = 0, size = 0;
      while (n < all.length && n < maxRequests && (n === 0 || size < maxBatch)) size += all[n++]?.size ?? 0;
      void this.send(all.splice(0, n));
    }
  }

  private async send(batch: readonly Waiting[]): Promise<void> {
    try {
      const answers = await this.post(batch.map((w) => w.request));
      batch.forEach((w, n) => {
        const rendered = answers[n] ?? { error: "the server left it out" };
        this.keep(w.key, rendered);
        w.done(rendered);
      });
    } catch (err) {
      for (const w of batch) w.failed(err);
    }
  }

  private keep(key: string, rendered: Rendered): void {
    const size = key.length + (rendered.html?.length ?? 0) + (rendered.table ? key.length : 0);
    if (size > maxKept / 4) return;
    this.kept.set(key, { rendered, size });
    this.size += size;
    for (const [old, { size }] of this.kept) {
      if (this.size <= maxKept) return;
      this.kept.delete(old);
      this.size -= size;
    }
  }
}

const renderers = new Map<string, Renderer>();

/** The renderer of a notebook's page. */
export function rendererOf(config: { readonly base: string; readonly path: string }): Renderer {
  const key = config.base + "\n" + config.path;
  let r = renderers.get(key);
  if (!r) {
    r = new Renderer((outputs) => postRender(config.base, config.path, outputs));
    renderers.set(key, r);
  }
  return r;
}
