// The notebook's kernel: found, started, changed, restarted, and asked to run
// cells by the server.
import type { JupyterAPI, KernelSpecs, SessionModel } from "../api/jupyter.ts";
import { ApiError, words } from "../api/http.ts";
import { KernelChannel } from "../kernel/channel.ts";
import type { KernelState } from "../kernel/port.ts";
import { sourceHash } from "../notebook/hash.ts";
import type { NotebookDocument } from "../notebook/document.ts";
import { objectOf } from "../notebook/document.ts";
import { randomID } from "../notebook/id.ts";
import { Value } from "../notebook/value.ts";

/** How long a request to run may be refused because the server has not had the text yet. */
const settleMs = 4000;

export class Kernels {
  readonly channel = new Value<KernelChannel | null>(null);
  readonly state = new Value<KernelState>("none");
  readonly reason = new Value("");
  readonly specs = new Value<KernelSpecs | null>(null);
  readonly name = new Value("");

  readonly #api: JupyterAPI;
  readonly #nb: NotebookDocument;
  readonly #arrived: (atMostMs: number) => Promise<void>;
  #session: SessionModel | null = null;
  #starting: Promise<KernelChannel> | null = null;
  #stops: (() => void)[] = [];
  #order: Promise<unknown> = Promise.resolve();
  #turn: Promise<unknown> = Promise.resolve();

  /** The arrived of a room waits until the server has what was typed. */
  constructor(api: JupyterAPI, nb: NotebookDocument, arrived: (atMostMs: number) => Promise<void>) {
    this.#api = api;
    this.#nb = nb;
    this.#arrived = arrived;
  }

  /** The kernel that the notebook names. */
  wanted(): string {
    const spec = objectOf(this.#nb.metadata.now["kernelspec"]);
    const name = spec["name"];
    const known = this.specs.now;
    if (typeof name === "string" && (!known || known.kernelspecs[name])) return name;
    return known?.default ?? "python3";
  }

  title(name = this.name.now || this.wanted()): string {
    const title = this.specs.now?.kernelspecs[name]?.spec.display_name;
    const own = objectOf(this.#nb.metadata.now["kernelspec"]);
    return title ?? (own["name"] === name && typeof own["display_name"] === "string" ? own["display_name"] : name);
  }

  /**
   * What finds, starts, changes or ends the kernel goes one after the other: who
   * would run a cell meanwhile waits for what comes of it.
   */
  #inTurn<T>(what: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(what);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Finds the kernel that already runs for this notebook. */
  find(path: string): Promise<void> {
    return this.#inTurn(async () => {
      const [specs, sessions] = await Promise.all([this.#api.specs(), this.#api.sessions()]);
      this.specs.set(specs);
      const mine = sessions.find((s) => s.path === path && s.kernel);
      if (mine) this.#attach(mine);
    });
  }

  /** The running kernel, which is started when there is none. */
  async ready(): Promise<KernelChannel> {
    const now = this.channel.now;
    if (now) return now;
    this.#starting ??= this.#inTurn(() => this.#start()).finally(() => (this.#starting = null));
    return this.#starting;
  }

  async #start(): Promise<KernelChannel> {
    if (this.channel.now) return this.channel.now; // it was found, or changed
    this.state.set("starting");
    this.name.set(this.wanted());
    try {
      return this.#attach(await this.#api.startSession(this.wanted()));
    } catch (err) {
      this.state.set("none");
      throw err;
    }
  }

  #attach(session: SessionModel): KernelChannel {
    const kernel = session.kernel;
    if (!kernel) throw new Error("the server started no kernel");
    this.#detach();
    this.#session = session;
    const state = kernel.execution_state as KernelState;
    const channel = new KernelChannel(kernel.id, (query) => this.#api.socketURL(`/api/kernels/${encodeURIComponent(kernel.id)}/channels`, query), state);
    this.#stops.push(
      channel.status.listen((s) => {
        this.state.set(s);
        if (s === "lost") void this.#whetherGone(kernel.id);
      }),
      channel.reason.listen((r) => this.reason.set(r)),
    );
    this.name.set(kernel.name);
    this.reason.set(kernel.reason ?? "");
    this.state.set(state);
    channel.start();
    this.channel.set(channel);
    return channel;
  }

  /** A kernel whose connection is lost may have ended with its server. */
  async #whetherGone(id: string): Promise<void> {
    for (let wait = 500; this.channel.now?.id === id && this.state.now === "lost"; wait = Math.min(wait * 2, 8000)) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      try {
        await this.#api.kernel(id);
      } catch (err) {
        if (!(err instanceof ApiError) || err.status !== 404 || this.channel.now?.id !== id) continue;
        this.#detach();
        this.#session = null;
        this.state.set("none");
        this.ended.set(this.ended.now + 1);
      }
    }
  }

  /** Counts the kernels that ended with their server. */
  readonly ended = new Value(0);

  #detach(): void {
    for (const stop of this.#stops) stop();
    this.#stops = [];
    this.channel.now?.stop();
    this.channel.set(null);
  }

  change(name: string): Promise<void> {
    return this.#inTurn(() => this.#change(name));
  }

  async #change(name: string): Promise<void> {
    const session = this.#session;
    this.#detach();
    this.state.set("starting");
    this.name.set(name);
    try {
      this.#attach(session ? await this.#api.changeKernel(session.id, name) : await this.#api.startSession(name));
    } catch (err) {
      // The one before may still be there; when it is not, its connection says so.
      if (session) this.#attach(session);
      else this.state.set("none");
      throw err;
    }
    const spec = this.specs.now?.kernelspecs[name]?.spec;
    if (!spec) return;
    this.#nb.doc.transact(() => {
      const md = this.#nb.meta.get("metadata") as { set?: (k: string, v: unknown) => void; delete?: (k: string) => void } | undefined;
      md?.set?.("kernelspec", { name, display_name: spec.display_name, language: spec.language });
      md?.delete?.("language_info");
    });
  }

  async interrupt(): Promise<void> {
    const k = this.channel.now;
    if (k) await this.#api.interrupt(k.id);
  }

  async restart(): Promise<void> {
    const k = this.channel.now;
    if (!k) {
      await this.ready();
      return;
    }
    this.state.set("restarting");
    try {
      const model = await this.#api.restart(k.id);
      // Not before: the old kernel would be asked for its widgets once more, and may answer.
      k.comms.reset();
      k.status.set(model.execution_state as KernelState);
      this.state.set(model.execution_state as KernelState);
      this.reason.set("");
    } catch (err) {
      if (!(err instanceof ApiError) || err.status !== 404) {
        if (this.channel.now === k) this.state.set(k.status.now);
        throw err;
      }
      // The kernel is gone with its server: a new one.
      this.#detach();
      this.#session = null;
      await this.ready();
    }
  }

  shutdown(): Promise<void> {
    return this.#inTurn(async () => {
      const session = this.#session;
      this.#detach();
      this.#session = null;
      this.state.set("none");
      if (session) await this.#api.endSession(session.id);
    });
  }

  /** Asks the server to run cells, in their order. It returns when they are accepted. */
  run(document: string, cells: readonly { id: string; source: string }[]): Promise<void> {
    const asked = this.#order.then(() => this.#run(document, cells, randomID()));
    this.#order = asked.catch(() => undefined); // the next one does not fail with it
    return asked;
  }

  async #run(document: string, cells: readonly { id: string; source: string }[], request: string): Promise<void> {
    const [kernel] = await Promise.all([this.ready(), this.#arrived(settleMs)]);
    const body = {
      document_id: document, request_id: request, allow_stdin: true,
      cells: cells.map((c) => ({ cell_id: c.id, source_hash: sourceHash(c.source) })),
    };
    const end = Date.now() + settleMs;
    for (let wait = 40; ; wait *= 1.5) {
      try {
        await this.#api.execute(kernel.id, body);
        return;
      } catch (err) {
        // What another tab typed a moment ago, or this one while it had no
        // connection, may still be on its way to the server.
        const early = err instanceof ApiError && (err.body["error"] === "source_mismatch" || (err.status === 404 && /there is no cell/.test(words(err))));
        if (!early || Date.now() > end) throw err;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  async answer(document: string, kernel: string, value: string): Promise<void> {
    await this.#api.answerInput(kernel || (this.channel.now?.id ?? ""), document, value);
  }

  stop(): void {
    this.#detach();
  }
}
