// The connection to the server's live document: Yjs's sync protocol and presence
// over one WebSocket, with Jupyter's own messages for saving.
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from "y-protocols/awareness";
import * as sync from "y-protocols/sync";
import type * as Y from "yjs";
import type { DocumentSession } from "../api/jupyter.ts";
import { Value } from "../notebook/value.ts";

const messageSync = 0;
const messageAwareness = 1;
const messageRaw = 2;

export type Connection = "connecting" | "open" | "lost" | "ended";

export type SaveStatus = "success" | "skipped" | "failed";

/** Why the document cannot go on as it is. */
export type RoomEnd =
  | { readonly kind: "gone"; readonly reason: string }
  /** The server's document has another history: what is only here must be merged by cells. */
  | { readonly kind: "history" };

export interface RoomOptions {
  open(): Promise<DocumentSession>;
  socketURL(room: string, session: string): string;
  /** For tests. */
  socket?(url: string): WebSocket;
}

/** How long to wait before the nth try to come back, in ms. */
export function backoff(n: number): number {
  return Math.min(250 * 2 ** n, 8000) * (0.75 + Math.random() * 0.5);
}

export class Room {
  readonly doc: Y.Doc;
  readonly awareness: Awareness;
  readonly connection = new Value<Connection>("connecting");
  /** Whether the document here has been complete once. */
  readonly synced = new Value(false);
  readonly end = new Value<RoomEnd | null>(null);
  /** Why the last try failed, in words, while it is not connected. */
  readonly trouble = new Value<string | null>(null);

  name = "";
  session = "";

  readonly #options: RoomOptions;
  #socket: WebSocket | null = null;
  #tries = 0;
  /** Counts the connections that were begun: what an earlier one brings is late. */
  #begun = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;
  #saveID = 0;
  readonly #saves = new Map<number, (status: SaveStatus) => void>();

  constructor(doc: Y.Doc, options: RoomOptions) {
    this.doc = doc;
    this.#options = options;
    this.awareness = new Awareness(doc);
    doc.on("update", this.#sendUpdate);
    this.awareness.on("update", this.#sendAwareness);
  }

  /** Connects, and again whenever the connection is lost, until stop. */
  start(): void {
    void this.#connect();
    addEventListener("online", this.#soon);
    addEventListener("offline", this.#drop);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retry);
    removeEventListener("online", this.#soon);
    removeEventListener("offline", this.#drop);
    removeAwarenessStates(this.awareness, [this.doc.clientID], "stop");
    this.doc.off("update", this.#sendUpdate);
    this.#socket?.close();
    this.#lost();
    this.connection.set("ended");
  }

  /** Asks the server to save; the promise fails when the connection is lost first. */
  save(): Promise<SaveStatus> {
    return new Promise((resolve, reject) => {
      if (this.connection.now !== "open" || !this.#socket) {
        reject(new Error("not connected"));
        return;
      }
      const id = ++this.#saveID;
      this.#saves.set(id, (status) => {
        if (status === "failed") reject(new Error("the server could not write the file"));
        else resolve(status);
      });
      this.#lostSaves.set(id, reject);
      const e = encoding.createEncoder();
      encoding.writeVarUint(e, messageRaw);
      encoding.writeVarString(e, "save");
      encoding.writeVarUint(e, id);
      this.#socket.send(encoding.toUint8Array(e));
    });
  }

  /**
   * Waits until the server has every edit of this moment. It takes edits and
   * questions in their order, so that its answer says so. It returns early when the
   * connection is lost, or after atMostMs.
   */
  arrived(atMostMs: number): Promise<void> {
    if ((!this.#underway && this.#arrivals.length === 0) || this.connection.now !== "open" || !this.#socket) return Promise.resolve();
    this.#underway = false;
    this.#ask(this.#socket);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, atMostMs);
      this.#arrivals.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Whether an edit was sent that the server has not been asked about. */
  #underway = false;
  #arrivals: (() => void)[] = [];

  /** Asks for what is missing here. */
  #ask(socket: WebSocket): void {
    const e = encoding.createEncoder();
    encoding.writeVarUint(e, messageSync);
    sync.writeSyncStep1(e, this.doc);
    socket.send(encoding.toUint8Array(e));
  }

  readonly #lostSaves = new Map<number, (err: Error) => void>();

  readonly #soon = (): void => {
    if (this.connection.now !== "lost") return;
    this.#tries = 0;
    clearTimeout(this.#retry);
    void this.#connect();
  };

  readonly #drop = (): void => {
    this.#socket?.close();
  };

  async #connect(): Promise<void> {
    if (this.#stopped) return;
    clearTimeout(this.#retry);
    const begun = ++this.#begun;
    if (this.connection.now !== "connecting" && !this.synced.now) this.connection.set("connecting");
    let known: DocumentSession;
    try {
      known = await this.#options.open();
    } catch (err) {
      if (this.#stopped || begun !== this.#begun) return;
      const status = (err as { status?: number }).status ?? 0;
      const words = err instanceof Error ? err.message : String(err);
      if (status === 404 || (status === 403 && !this.synced.now)) {
        this.end.set({ kind: "gone", reason: words });
        return;
      }
      this.#again(words);
      return;
    }
    if (this.#stopped || begun !== this.#begun) return;
    if (this.session && known.sessionId !== this.session) {
      this.end.set({ kind: "history" });
      return;
    }
    this.session = known.sessionId;
    this.name = `json:notebook:${known.fileId}`;
    this.#open();
  }

  #open(): void {
    const url = this.#options.socketURL(this.name, this.session);
    const socket = this.#options.socket?.(url) ?? new WebSocket(url);
    const before = this.#socket;
    this.#socket = socket;
    before?.close();
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#tries = 0;
      this.trouble.set(null);
      this.#ask(socket);
      if (this.awareness.getLocalState() !== null) this.#tellPresence([this.doc.clientID]);
    };
    socket.onmessage = (event: MessageEvent<ArrayBuffer>) => {
      if (socket === this.#socket) this.#receive(new Uint8Array(event.data));
    };
    socket.onclose = (event: CloseEvent) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#closed(event);
    };
  }

  #closed(event: CloseEvent): void {
    this.#lost();
    if (this.#stopped) return;
    if (event.code === 4404) {
      this.end.set({ kind: "gone", reason: event.reason });
      return;
    }
    if (event.code === 1003 && event.reason.includes("unknown_session")) {
      this.end.set({ kind: "history" });
      return;
    }
    this.#again(event.reason || "the connection was lost");
  }

  #lost(): void {
    for (const reject of this.#lostSaves.values()) reject(new Error("the connection was lost"));
    this.#lostSaves.clear();
    this.#saves.clear();
    for (const resolve of this.#arrivals.splice(0)) resolve();
    const others = [...this.awareness.getStates().keys()].filter((id) => id !== this.doc.clientID);
    removeAwarenessStates(this.awareness, others, "lost");
  }

  #again(why: string): void {
    if (this.synced.now) this.connection.set("lost");
    this.trouble.set(why);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#connect(), backoff(this.#tries++));
  }

  #receive(frame: Uint8Array): void {
    const d = decoding.createDecoder(frame);
    switch (decoding.readVarUint(d)) {
      case messageSync: {
        const e = encoding.createEncoder();
        encoding.writeVarUint(e, messageSync);
        const kind = sync.readSyncMessage(d, e, this.doc, this);
        if (encoding.length(e) > 1) this.#socket?.send(encoding.toUint8Array(e));
        if (kind === sync.messageYjsSyncStep2) {
          this.synced.set(true);
          if (this.connection.now === "open") this.#arrivals.shift()?.();
          else this.connection.set("open");
        }
        break;
      }
      case messageAwareness:
        applyAwarenessUpdate(this.awareness, decoding.readVarUint8Array(d), this);
        break;
      case messageRaw:
        this.#raw(decoding.readVarString(d));
        break;
    }
  }

  #raw(text: string): void {
    const m = JSON.parse(text) as { type?: string; responseTo?: number; status?: SaveStatus };
    if (m.type === "save" && m.responseTo !== undefined && m.status) {
      this.#saves.get(m.responseTo)?.(m.status);
      this.#saves.delete(m.responseTo);
      this.#lostSaves.delete(m.responseTo);
    } else if (m.type === "conflict") {
      this.end.set({ kind: "history" });
    }
  }

  readonly #sendUpdate = (update: Uint8Array, origin: unknown): void => {
    if (origin === this || this.#socket?.readyState !== 1 || !this.synced.now) return;
    const e = encoding.createEncoder();
    encoding.writeVarUint(e, messageSync);
    sync.writeUpdate(e, update);
    this.#socket.send(encoding.toUint8Array(e));
    this.#underway = true;
  };

  readonly #sendAwareness = ({ added, updated, removed }: { added: number[]; updated: number[]; removed: number[] }, origin: unknown): void => {
    if (origin === this || origin === "lost") return;
    this.#tellPresence([...added, ...updated, ...removed]);
  };

  #tellPresence(clients: number[]): void {
    if (this.#socket?.readyState !== 1) return;
    const e = encoding.createEncoder();
    encoding.writeVarUint(e, messageAwareness);
    encoding.writeVarUint8Array(e, encodeAwarenessUpdate(this.awareness, clients));
    this.#socket.send(encoding.toUint8Array(e));
  }
}
