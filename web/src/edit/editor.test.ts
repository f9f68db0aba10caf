import { expect, test } from "vitest";
import * as Y from "yjs";
import type { SaveStatus } from "../live/room.ts";
import { insertCells } from "../notebook/edits.ts";
import { Editor } from "./editor.ts";
import { assign } from "./ParameterForm.tsx";

const config = { base: "", path: "users/me/a.ipynb", own: "a.ipynb", server: "/user/me", user: { name: "me", label: "Me" }, nonce: "", lab: false, containers: false };

test("who saves while something is being saved has the last edits in the file, too", async () => {
  const ed = new Editor(config);
  // It is as if it were connected; the server answers when the test says so.
  ed.room.start = () => undefined;
  ed.kernels.find = () => Promise.resolve();
  const saves: { cells: number; done: (s: SaveStatus) => void }[] = [];
  ed.room.save = () => new Promise((done) => saves.push({ cells: ed.nb.order.now.length, done }));
  ed.start();
  ed.room.connection.set("open");
  const edit = () => insertCells(ed.nb, 0, [{ type: "code", source: "" }]);
  const moments = async () => { for (let n = 0; n < 50; n++) await Promise.resolve(); };
  edit();
  const first = ed.saveNow();
  await moments();
  expect(saves.map((s) => s.cells)).toEqual([1]);
  let second = false, third = false;
  edit();
  const all = [ed.saveNow().then(() => { second = true; }), ed.saveNow().then(() => { third = true; })];
  await moments();
  expect([second, third]).toEqual([false, false]);
  saves[0]?.done("success");
  await first;
  await moments();
  expect([second, third]).toEqual([false, false]);
  expect(saves.map((s) => s.cells)).toEqual([1, 2]);
  saves[1]?.done("success");
  await Promise.all(all);
  expect(ed.save.now.kind).toBe("saved");
  ed.stop();
});

test("two values that are changed at once are both changed, and what is typed meanwhile stays", async () => {
  const text = new Y.Doc().getText("t");
  text.insert(0, "a = 1\nb = 1\n");
  const asked: (() => void)[] = [];
  const server = (name: string, value: string) => (source: string) => new Promise<{ source: string }>((done) => {
    asked.push(() => done({ source: source.replace(new RegExp(`${name} = .*`), `${name} = ${value}`) }));
  });
  const moments = async () => { for (let n = 0; n < 20; n++) await Promise.resolve(); };
  const all = [assign(text, server("a", "2")), assign(text, server("b", "2")), assign(text, server("b", "3"))];
  await moments();
  text.insert(text.length, "# typed\n");
  while (asked.length > 0) {
    asked.pop()?.(); // whatever was asked last is answered first
    await moments();
  }
  await Promise.all(all);
  expect(text.toJSON()).toBe("a = 2\nb = 3\n# typed\n");
});
