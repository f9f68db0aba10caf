// Edits that the server has not confirmed yet, kept on this device, so that a
// closed tab or a lost network loses nothing. A tab's journal is taken over by the
// next tab that opens the notebook once the first one is gone.
import * as Y from "yjs";
import { randomID } from "../notebook/id.ts";
import { Value } from "../notebook/value.ts";

/** What is kept of one change. */
interface Entry {
  readonly room: string;
  readonly session: string;
  readonly tab: string;
  readonly at: number;
  readonly update: Uint8Array;
  /** The text of the cells that it changed, by id, for a document of another history. */
  readonly texts: Readonly<Record<string, string>>;
}

/** What another tab, or this one before, left. */
export interface Left {
  /** Updates that build on the document of the session asked for. */
  readonly updates: readonly Uint8Array[];
  /** Texts of cells that were changed in a document of another history. */
  readonly texts: Readonly<Record<string, string>>;
  /** Forgets what was left: it is in the document now, or was decided on. */
  forget(): Promise<void>;
}

const store = "edits";

export class Journal {
  readonly #db: IDBDatabase;
  readonly #tab: string;
  #room = "";
  #session = "";
  #waiting: Entry[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #release: (() => void) | undefined;
  readonly #watched = new Set<string>();
  readonly #closed = new AbortController();

  /** Counts the tabs that lived when it was asked what was left, and are gone now. */
  readonly went = new Value(0);

  private constructor(db: IDBDatabase, tab: string) {
    this.#db = db;
    this.#tab = tab;
  }

  /** Opens the journal; null where the browser has no place for it. */
  static async open(name: string, tab: string = randomID()): Promise<Journal | null> {
    try {
      const db = await new Promise<IDBDatabase>((resolve, reject) => {
        const req = indexedDB.open("quire:" + name, 1);
        req.onupgradeneeded = () => req.result.createObjectStore(store, { autoIncrement: true }).createIndex("room", "room");
        req.onsuccess = () => resolve(req.result);
        req.onerror = () => reject(req.error ?? new Error("no database"));
      });
      const journal = new Journal(db, tab);
      journal.#hold();
      return journal;
    } catch {
      return null;
    }
  }

  /** Says to other tabs that this one lives, for as long as it does. */
  #hold(): void {
    if (typeof navigator === "undefined" || !navigator.locks) return;
    void navigator.locks.request("quire-tab:" + this.#tab, () => new Promise<void>((resolve) => (this.#release = resolve)));
  }

  use(room: string, session: string): void {
    this.#room = room;
    this.#session = session;
  }

  /** Notes a change; it is on the disk within moments. */
  add(update: Uint8Array, texts: Readonly<Record<string, string>>): void {
    this.#waiting.push({ room: this.#room, session: this.#session, tab: this.#tab, at: this.#moment(), update, texts });
    this.#timer ??= setTimeout(() => void this.flush(), 250);
  }

  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const entries = this.#waiting;
    const first = entries[0];
    if (!first) return;
    this.#waiting = [];
    const merged: Entry = {
      ...first,
      at: Math.max(...entries.map((e) => e.at)), // what is newer than a save stays
      update: Y.mergeUpdates(entries.map((e) => e.update)),
      texts: Object.assign({}, ...entries.map((e) => e.texts)) as Record<string, string>,
    };
    await this.#write((s) => s.add(merged));
  }

  /** Marks everything until now, so that it can be forgotten when the server has it. */
  mark(): number {
    return this.#moment();
  }

  #last = 0;

  /** The time, and never the same twice: what comes after a mark is later than it. */
  #moment(): number {
    this.#last = Math.max(Date.now(), this.#last + 1);
    return this.#last;
  }

  /** Forgets this tab's changes until a mark. */
  async confirm(mark: number): Promise<void> {
    this.#waiting = this.#waiting.filter((e) => e.at > mark);
    await this.#each((e) => e.tab === this.#tab && e.at <= mark);
  }

  /** What tabs that are gone left in this room. */
  async left(): Promise<Left | null> {
    const dead = new Map<string, boolean>();
    const mine: Entry[] = [];
    for (const e of await this.#all()) {
      if (e.tab === this.#tab) continue;
      let gone = dead.get(e.tab);
      if (gone === undefined) dead.set(e.tab, (gone = await this.#isGone(e.tab)));
      if (gone) mine.push(e);
      else this.#watch(e.tab);
    }
    if (mine.length === 0) return null;
    const tabs = new Set(mine.map((e) => e.tab));
    const until = Math.max(...mine.map((e) => e.at));
    const strangers = mine.filter((e) => e.session !== this.#session);
    return {
      updates: mine.filter((e) => e.session === this.#session).map((e) => e.update),
      texts: Object.assign({}, ...strangers.map((e) => e.texts)) as Record<string, string>,
      forget: () => this.#each((e) => tabs.has(e.tab) && e.at <= until),
    };
  }

  /** Waits for the end of a tab: it may end with edits that the server does not have. */
  #watch(tab: string): void {
    if (this.#watched.has(tab)) return;
    this.#watched.add(tab);
    navigator.locks.request("quire-tab:" + tab, { signal: this.#closed.signal }, () => {
      this.#watched.delete(tab);
      this.went.set(this.went.now + 1);
    }).catch(() => undefined); // closed before
  }

  close(): void {
    this.#closed.abort();
    this.#release?.();
    this.#db.close();
  }

  async #isGone(tab: string): Promise<boolean> {
    if (typeof navigator === "undefined" || !navigator.locks) return true;
    return navigator.locks.request("quire-tab:" + tab, { ifAvailable: true }, (lock) => lock !== null);
  }

  #write(what: (s: IDBObjectStore) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const tx = this.#db.transaction(store, "readwrite");
      what(tx.objectStore(store));
      tx.oncomplete = () => resolve();
      tx.onerror = () => reject(tx.error ?? new Error("the journal cannot be written"));
      tx.onabort = tx.onerror;
    });
  }

  #all(): Promise<Entry[]> {
    return new Promise((resolve, reject) => {
      const req = this.#db.transaction(store).objectStore(store).index("room").getAll(this.#room);
      req.onsuccess = () => resolve(req.result as Entry[]);
      req.onerror = () => reject(req.error ?? new Error("the journal cannot be read"));
    });
  }

  /** Deletes the entries of this room that match. */
  #each(match: (e: Entry) => boolean): Promise<void> {
    return this.#write((s) => {
      const req = s.index("room").openCursor(IDBKeyRange.only(this.#room));
      req.onsuccess = () => {
        const cursor = req.result;
        if (!cursor) return;
        if (match(cursor.value as Entry)) cursor.delete();
        cursor.continue();
      };
    });
  }
}
