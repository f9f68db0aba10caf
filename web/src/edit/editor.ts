// The editor of one notebook: its document, its connection, its kernel, what is
// selected, and everything that a person can do. The components only show it.
import * as Y from "yjs";
import { JupyterAPI } from "../api/jupyter.ts";
import { PlatformAPI } from "../api/platform.ts";
import { words } from "../api/http.ts";
import type { AppConfig } from "../config.ts";
import { Journal, type Left } from "../live/journal.ts";
import { Room } from "../live/room.ts";
import type { Comms } from "../kernel/comms.ts";
import { maxWidgetState, sameJSON, widgetState } from "../kernel/widgetstate.ts";
import { NotebookDocument, objectOf } from "../notebook/document.ts";
import { setNotebookMetadata, structure } from "../notebook/edits.ts";
import { Value } from "../notebook/value.ts";
import { widgetType } from "../outputs/choose.ts";
import { Kernels } from "./kernels.ts";
import { Rendering } from "./rendering.ts";

export type SaveState =
  | { readonly kind: "saved"; readonly at: Date | null }
  | { readonly kind: "saving" }
  | { readonly kind: "failed"; readonly why: string }
  | { readonly kind: "offline" };

export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly bad: boolean;
  readonly action?: { readonly label: string; readonly run: () => void };
}

export interface Announcement {
  readonly text: string;
  readonly urgent: boolean;
}

export type Mode = "command" | "edit";

/** Edits that wait to be decided on, because the document has another history. */
export interface Recovered {
  readonly texts: Readonly<Record<string, string>>;
  readonly left: Left;
}

export type Panel = "outline" | "variables" | "params" | "comments" | null;

/** Where a live text editor is to put its caret once it is there. */
export interface Caret {
  readonly key: string;
  readonly from: number | "start" | "end";
  readonly to?: number;
}

const saveDelayMs = 900;

/** How long widgets rest before what they are is kept. */
const widgetRestMs = 1500;

/** How many cells keep their text editor after somebody typed in them. */
const maxLive = 40;

/** Presence colours, light enough for a caret on both themes. */
const colors = ["#c2410c", "#0e7490", "#7c3aed", "#15803d", "#be185d", "#1d4ed8", "#a16207", "#4d7c0f"];

export class Editor {
  readonly config: AppConfig;
  readonly jupyter: JupyterAPI;
  readonly platform: PlatformAPI;
  readonly nb: NotebookDocument;
  readonly room: Room;
  readonly kernels: Kernels;
  readonly undo: Y.UndoManager;
  readonly rendering: Rendering;

  readonly save = new Value<SaveState>({ kind: "saved", at: null });
  readonly mode = new Value<Mode>("command");
  /** The cell that has the focus, and where the selection began. */
  readonly selected = new Value<string | null>(null);
  readonly anchor = new Value<string | null>(null);
  readonly caret = new Value<Caret | null>(null);
  /** Text cells that are shown as their source. */
  readonly sources = new Value<ReadonlySet<string>>(new Set());
  readonly notice = new Value<Notice | null>(null);
  readonly announcement = new Value<Announcement>({ text: "", urgent: false });
  readonly panel = new Value<Panel>(null);
  readonly side = new Value<boolean>(false);
  readonly dialog = new Value<string | null>(null);
  /** 0 while nothing is looked for; it grows when that is asked for again. */
  readonly finding = new Value(0);
  readonly recovered = new Value<Recovered | null>(null);
  /** Why there is no document, in words. */
  readonly gone = new Value<string | null>(null);
  /** Set when the page has to begin again on the server's document. */
  readonly restart = new Value(false);

  #journal: Journal | null = null;
  #widgetTimer: ReturnType<typeof setTimeout> | undefined;
  #widgetsTooLarge = false;
  #saveTimer: ReturnType<typeof setTimeout> | undefined;
  #unsaved = false;
  #saving: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  #noticeID = 0;
  readonly #stops: (() => void)[] = [];

  constructor(config: AppConfig) {
    this.config = config;
    this.jupyter = new JupyterAPI(config);
    this.platform = new PlatformAPI(config);
    this.rendering = new Rendering(this.platform);
    this.nb = new NotebookDocument();
    this.room = new Room(this.nb.doc, {
      open: () => this.jupyter.openDocument(),
      socketURL: (room, session) => this.jupyter.socketURL("/api/collaboration/room/" + room.split(":").map(encodeURIComponent).join(":"), { sessionId: session }),
    });
    this.kernels = new Kernels(this.jupyter, this.nb, (ms) => this.room.arrived(ms));
    this.undo = new Y.UndoManager(this.nb.cells, { trackedOrigins: new Set([structure]), captureTimeout: 0 });
  }

  start(): void {
    const hue = [...this.config.user.name].reduce((n, c) => (n * 31 + c.charCodeAt(0)) >>> 0, 7) ^ this.nb.doc.clientID;
    this.room.awareness.setLocalStateField("user", {
      username: this.config.user.name, name: this.config.user.name, display_name: this.config.user.label,
      initials: this.config.user.label.slice(0, 2).toUpperCase(), color: colors[(hue >>> 0) % colors.length],
    });
    this.#stops.push(
      this.room.connection.listen((c) => this.#connected(c)),
      this.room.end.listen((end) => {
        if (end?.kind === "gone") this.gone.set(end.reason);
        if (end?.kind === "history") void this.#otherHistory();
      }),
      this.nb.order.listen(() => this.#keepSelection()),
      this.#followWidgets(),
      this.kernels.ended.listen(() => this.tell("The kernel ended with its server. Run the cells again: what they put out is still here.")),
      this.selected.listen((key) => this.room.awareness.setLocalStateField("quire", { cell: key ? this.nb.cell(key)?.id ?? null : null })),
    );
    this.nb.doc.on("update", this.#edited);
    void this.#begin();
    addEventListener("pagehide", this.#hide);
    addEventListener("beforeunload", this.#leave);
  }

  stop(): void {
    for (const stop of this.#stops) stop();
    removeEventListener("pagehide", this.#hide);
    removeEventListener("beforeunload", this.#leave);
    clearTimeout(this.#saveTimer);
    clearTimeout(this.#widgetTimer);
    this.nb.doc.off("update", this.#edited);
    this.room.stop();
    this.kernels.stop();
    this.#journal?.close();
  }

  async #begin(): Promise<void> {
    this.#journal = await Journal.open(this.config.server);
    this.room.start();
    this.kernels.find(this.config.own).catch((err: unknown) => {
      if (!this.gone.now) this.tell(`The notebook server does not say which kernels there are: ${words(err)}.`, true);
    });
    await this.room.synced.until((yes) => yes);
    this.#journal?.use(this.room.name, this.room.session);
    this.#first();
    if (this.#journal) this.#stops.push(this.#journal.went.listen(() => void this.#takeOver().catch(() => undefined)));
    await this.#takeOver();
  }

  /** Selects what the address names, or the first cell. */
  #first(): void {
    const wanted = decodeURIComponent(location.hash.slice(1)).replace(/^cell-/, "");
    const key = (wanted && this.nb.keyOfId(wanted)) || this.nb.order.now[0] || null;
    if (!this.selected.now) this.select(key);
  }

  /** Brings in what a tab left that was closed before the server had it. */
  async #takeOver(): Promise<void> {
    const left = await this.#journal?.left();
    if (!left) return;
    if (left.updates.length > 0) {
      for (const update of left.updates) Y.applyUpdate(this.nb.doc, update, "journal");
      this.tell("Edits that had not reached the server when this notebook was closed are back.");
      this.#unsaved = true;
      await this.saveNow().catch(() => undefined);
    }
    const differing = Object.fromEntries(Object.entries(left.texts).filter(([id, text]) => {
      const key = this.nb.keyOfId(id);
      return (key ? this.nb.cell(key)?.source : undefined) !== text && text.trim() !== "";
    }));
    if (Object.keys(differing).length > 0) this.recovered.set({ texts: differing, left });
    else await left.forget();
  }

  /** The server's document is another one than ours was made from. */
  async #otherHistory(): Promise<void> {
    await this.#journal?.flush().catch(() => undefined);
    this.restart.set(true);
  }

  readonly #edited = (update: Uint8Array, origin: unknown, _doc: Y.Doc, tr: Y.Transaction): void => {
    if (origin === this.room) return;
    const texts: Record<string, string> = {};
    let cells = false;
    for (const type of tr.changed.keys()) {
      let at: Y.AbstractType<unknown> | null = type as unknown as Y.AbstractType<unknown>;
      while (at?.parent && at.parent !== (this.nb.cells as unknown)) at = at.parent as Y.AbstractType<unknown>;
      if (at === (this.nb.state as unknown)) continue;
      cells = true;
      if (at instanceof Y.Map && at.parent === (this.nb.cells as unknown) && at.get("source") instanceof Y.Text) {
        texts[String(at.get("id"))] = (at.get("source") as Y.Text).toJSON();
      }
    }
    if (!cells) return;
    if (origin !== "journal" && this.room.session) this.#journal?.add(update, texts);
    this.#unsaved = true;
    this.#later();
  };

  #later(): void {
    if (this.room.connection.now !== "open") {
      this.save.set({ kind: "offline" });
      return;
    }
    if (this.save.now.kind !== "saving") this.save.set({ kind: "saving" });
    clearTimeout(this.#saveTimer);
    this.#saveTimer = setTimeout(() => void this.saveNow().catch(() => undefined), saveDelayMs);
  }

  /** Saves now; the file has everything of this moment when it returns. */
  saveNow(): Promise<void> {
    if (!this.#saving) {
      this.#saving = this.#saveOnce().finally(() => { this.#saving = null; });
      return this.#saving;
    }
    if (!this.#unsaved) return this.#saving;
    // What is being saved lacks the last edits: once more after it, for all who ask.
    this.#next ??= this.#saving.catch(() => undefined).then(() => {
      this.#next = null;
      return this.saveNow();
    });
    return this.#next;
  }

  async #saveOnce(): Promise<void> {
    clearTimeout(this.#saveTimer);
    if (this.room.connection.now !== "open") {
      this.save.set(this.#unsaved ? { kind: "offline" } : this.save.now);
      throw new Error("there is no connection to the server: your edits are kept on this device");
    }
    this.save.set({ kind: "saving" });
    await this.#journal?.flush().catch(() => undefined);
    const mark = this.#journal?.mark() ?? 0;
    this.#unsaved = false;
    try {
      await this.room.save();
      await this.#journal?.confirm(mark).catch(() => undefined);
      if (!this.#unsaved) this.save.set({ kind: "saved", at: new Date() });
    } catch (err) {
      this.#unsaved = true;
      if (this.room.connection.now === "open") {
        this.save.set({ kind: "failed", why: words(err) });
        this.#saveTimer = setTimeout(() => void this.saveNow().catch(() => undefined), 5000);
      } else {
        this.save.set({ kind: "offline" });
      }
      throw err;
    }
  }

  /** Keeps what the widgets in the outputs are with the notebook, once they rest. */
  #followWidgets(): () => void {
    let comms: Comms | null = null;
    let stopTold = (): unknown => undefined;
    const later = () => {
      if (!comms || comms.told.now === 0) return;
      clearTimeout(this.#widgetTimer);
      this.#widgetTimer = setTimeout(() => { if (comms) this.#keepWidgets(comms); }, widgetRestMs);
    };
    const stopKernel = this.kernels.channel.listen((c) => {
      stopTold();
      comms = c?.comms ?? null;
      stopTold = comms?.told.listen(later) ?? (() => undefined);
    });
    const stopCells = this.nb.listenAny(later);
    return () => { stopTold(); stopKernel(); stopCells(); };
  }

  #keepWidgets(comms: Comms): void {
    if (this.room.connection.now !== "open") return; // the next change comes when it is back
    const wanted = this.nb.all().flatMap((cell) => cell.outputs.flatMap((o) => {
      const view = o.output_type === "stream" || o.output_type === "error" ? undefined : objectOf(o.data[widgetType]);
      return typeof view?.["model_id"] === "string" ? [view["model_id"]] : [];
    }));
    const before = objectOf(this.nb.metadata.now["widgets"]);
    const state = widgetState(comms, wanted, before);
    if (!state || sameJSON(state, before)) return;
    if (JSON.stringify(state).length > maxWidgetState) {
      if (!this.#widgetsTooLarge) this.tell(`The widgets of this notebook hold more than ${String(maxWidgetState >> 20)} MB: its page does not show them as they are now.`);
      this.#widgetsTooLarge = true;
      return;
    }
    setNotebookMetadata(this.nb, "widgets", state);
  }

  #connected(c: string): void {
    if (c === "lost") {
      this.say("The connection was lost. Your edits are kept on this device.", true);
      if (this.#unsaved) this.save.set({ kind: "offline" });
    }
    if (c === "open") {
      if (this.save.now.kind === "offline") this.say("Connected again.");
      if (this.#unsaved) this.#later();
    }
  }

  readonly #hide = (): void => {
    void this.#journal?.flush().catch(() => undefined);
  };

  readonly #leave = (e: BeforeUnloadEvent): void => {
    void this.#journal?.flush().catch(() => undefined);
    // With a journal nothing is lost; without one the person should wait.
    if (this.#unsaved && !this.#journal) e.preventDefault();
  };

  // What is shown to the person.

  tell(text: string, bad = false, action?: Notice["action"]): void {
    const id = ++this.#noticeID;
    this.notice.set({ id, text, bad, ...(action ? { action } : {}) });
    this.say(text, bad);
    if (!bad) setTimeout(() => this.notice.now?.id === id && this.notice.set(null), 8000);
  }

  say(text: string, urgent = false): void {
    // The same words twice are to be heard twice.
    this.announcement.set({ text: text === this.announcement.now.text ? text + "\u00a0" : text, urgent });
  }

  /** Does something and tells what went wrong. */
  attempt(what: string, done: Promise<unknown>): void {
    done.catch((err: unknown) => this.tell(`${what}: ${words(err)}.`.replace(/\.\.$/, "."), true));
  }

  // The selection.

  select(key: string | null, extend = false): void {
    if (!extend) this.anchor.set(key);
    this.selected.set(key);
  }

  /** The keys of the selected cells, in their order. */
  selection(): readonly string[] {
    const head = this.selected.now;
    if (!head) return [];
    const order = this.nb.order.now;
    const a = order.indexOf(this.anchor.now ?? head);
    const b = order.indexOf(head);
    return order.slice(Math.min(a < 0 ? b : a, b), Math.max(a, b) + 1);
  }

  edit(caret: Caret): void {
    const cell = this.nb.cell(caret.key);
    if (!cell) return;
    if (cell.type === "markdown") this.showSource(caret.key, true);
    this.select(caret.key);
    this.mode.set("edit");
    this.#keepLive(caret.key);
    this.caret.set(caret);
  }

  /** A text editor got the focus by itself, by a click or the Tab key. */
  focusedOn(key: string): void {
    if (this.mode.now === "edit" && this.selected.now === key) return;
    this.select(key);
    this.mode.set("edit");
    this.#keepLive(key);
  }

  /** The cells that have a text editor; the others show their source. */
  readonly live = new Value<readonly string[]>([]);

  #keepLive(key: string): void {
    this.live.set([...this.live.now.filter((k) => k !== key), key].slice(-maxLive));
  }

  command(): void {
    this.mode.set("command");
    this.caret.set(null);
  }

  showSource(key: string, on: boolean): void {
    const next = new Set(this.sources.now);
    if (on) next.add(key);
    else next.delete(key);
    this.sources.set(next);
  }

  #lastOrder: readonly string[] = [];

  #keepSelection(): void {
    const order = this.nb.order.now;
    const key = this.selected.now;
    if (key && !order.includes(key)) {
      const at = Math.max(this.#lastOrder.indexOf(key), 0);
      this.select(order[Math.min(at, order.length - 1)] ?? null);
      if (this.mode.now === "edit") this.command();
    } else if (this.anchor.now && !order.includes(this.anchor.now)) {
      this.anchor.set(key);
    }
    this.#lastOrder = order;
  }

  /** The name of the document's room, which requests to run name. */
  get documentID(): string {
    return this.room.name;
  }
}
