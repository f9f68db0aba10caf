import "fake-indexeddb/auto";
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { expect, test, vi } from "vitest";
import * as sync from "y-protocols/sync";
import * as Y from "yjs";
import { Journal } from "./journal.ts";
import { Room } from "./room.ts";

/** The other side of a room: a document that answers as the server does. */
class Server {
  readonly doc = new Y.Doc();
  readonly sockets = new Set<Socket>();
  session = "s1";

  constructor() {
    this.doc.on("update", (update: Uint8Array, origin: unknown) => {
      for (const s of this.sockets) if (s !== origin) s.deliver(frame((e) => sync.writeUpdate(e, update)));
    });
  }

  open = () => Promise.resolve({ fileId: "f", sessionId: this.session });
  socketURL = (room: string, session: string) => `ws://x/${room}?${session}`;
  socket = () => new Socket(this) as unknown as WebSocket;
}

function frame(write: (e: encoding.Encoder) => void): Uint8Array {
  const e = encoding.createEncoder();
  encoding.writeVarUint(e, 0);
  write(e);
  return encoding.toUint8Array(e);
}

class Socket {
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: ArrayBuffer }) => void) | null = null;
  onclose: ((e: { code: number; reason: string }) => void) | null = null;
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
    queueMicrotask(() => {
      this.readyState = 1;
      server.sockets.add(this);
      this.onopen?.();
      this.deliver(frame((e) => sync.writeSyncStep1(e, server.doc)));
    });
  }

  deliver(data: Uint8Array): void {
    queueMicrotask(() => this.onmessage?.({ data: data.slice().buffer }));
  }

  /** What is sent is there a moment later, in its order. */
  send(data: Uint8Array): void {
    queueMicrotask(() => this.#receive(data));
  }

  #receive(data: Uint8Array): void {
    const d = decoding.createDecoder(data);
    const kind = decoding.readVarUint(d);
    if (kind === 2) {
      expect(decoding.readVarString(d)).toBe("save");
      const id = decoding.readVarUint(d);
      const e = encoding.createEncoder();
      encoding.writeVarUint(e, 2);
      encoding.writeVarString(e, JSON.stringify({ type: "save", responseTo: id, status: "success" }));
      this.deliver(encoding.toUint8Array(e));
    }
    if (kind !== 0) return;
    const e = encoding.createEncoder();
    encoding.writeVarUint(e, 0);
    sync.readSyncMessage(d, e, this.#server.doc, this);
    if (encoding.length(e) > 1) this.deliver(encoding.toUint8Array(e));
  }

  close(code = 1000, reason = ""): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#server.sockets.delete(this);
    this.onclose?.({ code, reason });
  }
}

test("a room syncs, saves, goes on offline and merges when it is back", async () => {
  const server = new Server();
  server.doc.getText("t").insert(0, "server");
  const room = new Room(new Y.Doc(), server);
  room.start();
  await room.synced.until((yes) => yes);
  expect(room.doc.getText("t").toJSON()).toBe("server");
  expect(await room.save()).toBe("success");
  room.doc.getText("t").insert(6, "!");
  room.doc.getText("t").delete(6, 1);
  await room.arrived(60_000);
  expect(Y.encodeStateVector(server.doc)).toEqual(Y.encodeStateVector(room.doc));

  for (const s of [...server.sockets]) s.close(1006);
  expect(room.connection.now).toBe("lost");
  await expect(room.save()).rejects.toThrow("not connected");
  room.doc.getText("t").insert(0, "mine ");
  server.doc.getText("t").insert(6, " theirs");
  dispatchEvent(new Event("online"));
  await room.connection.until((c) => c === "open");
  await vi.waitFor(() => expect(server.doc.getText("t").toJSON()).toBe("mine server theirs"), { timeout: 30_000 });
  expect(room.doc.getText("t").toJSON()).toBe("mine server theirs");
  room.stop();
});

test("a network that is back twice is one connection", async () => {
  const server = new Server();
  const room = new Room(new Y.Doc(), server);
  room.start();
  await room.synced.until((yes) => yes);
  for (const s of [...server.sockets]) s.close(1006);
  for (let n = 0; n < 3; n++) dispatchEvent(new Event("online"));
  await Promise.resolve(); // one of them has a socket already
  dispatchEvent(new Event("online"));
  await room.connection.until((c) => c === "open");
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(server.sockets.size).toBe(1);
  room.doc.getText("t").insert(0, "heard");
  await vi.waitFor(() => expect(server.doc.getText("t").toJSON()).toBe("heard"), { timeout: 30_000 });
  room.stop();
});

test("a document of another history is never merged into", async () => {
  const server = new Server();
  const room = new Room(new Y.Doc(), server);
  room.start();
  await room.synced.until((yes) => yes);
  server.session = "s2";
  for (const s of [...server.sockets]) s.close(1006);
  dispatchEvent(new Event("online"));
  expect(await room.end.until((e) => e !== null)).toEqual({ kind: "history" });
  room.stop();
});

test("the journal gives the next tab what the one before did not get to the server", async () => {
  const doc = new Y.Doc();
  const first = await Journal.open("t1", "tab1");
  first?.use("room", "s1");
  doc.on("update", (u: Uint8Array) => first?.add(u, { c0: doc.getText("t").toJSON() }));
  doc.getText("t").insert(0, "saved ");
  await first?.flush();
  const mark = first?.mark() ?? 0;
  doc.getText("t").insert(6, "unsaved"); // in the same moment, as the clock says
  await first?.confirm(mark);
  await first?.flush();
  first?.close();

  const second = await Journal.open("t1", "tab2");
  second?.use("room", "s1");
  const left = await second?.left();
  expect(left?.updates).toHaveLength(1);
  expect(left?.texts).toEqual({});
  second?.use("room", "s2");
  expect((await second?.left())?.texts).toEqual({ c0: "saved unsaved" });
  second?.use("other room", "s1");
  expect(await second?.left()).toBeNull();
  second?.use("room", "s1");
  await left?.forget();
  expect(await second?.left()).toBeNull();
  second?.close();
});

test("a tab that lives when another is opened, and goes, leaves its edits to that one", async () => {
  const held = new Set<string>(), waiting = new Map<string, () => void>();
  const release = (name: string) => { held.delete(name); waiting.get(name)?.(); };
  vi.stubGlobal("navigator", { locks: {
    request: async (name: string, options: { ifAvailable?: boolean } | (() => unknown), then?: (lock: object | null) => unknown) => {
      if (typeof options === "function") { // a tab holds its own
        held.add(name);
        await options();
        release(name);
        return;
      }
      if (options.ifAvailable) return then?.(held.has(name) ? null : {});
      if (held.has(name)) await new Promise<void>((resolve) => waiting.set(name, resolve));
      return then?.({});
    },
  } });
  const doc = new Y.Doc();
  const first = await Journal.open("t2", "tab1");
  first?.use("room", "s1");
  doc.on("update", (u: Uint8Array) => first?.add(u, {}));
  doc.getText("t").insert(0, "unsaved");
  await first?.flush();
  const second = await Journal.open("t2", "tab2");
  second?.use("room", "s1");
  expect(await second?.left()).toBeNull();
  first?.close();
  await second?.went.until((n) => n > 0);
  expect((await second?.left())?.updates).toHaveLength(1);
  second?.close();
  vi.unstubAllGlobals();
});
