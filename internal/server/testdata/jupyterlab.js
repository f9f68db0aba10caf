// Drives the contents API with JupyterLab's own client. It prints "done N" when
// all N checks held, and fails at the first that did not.
"use strict";
const assert = require("node:assert/strict");
const { ContentsManager, ServerConnection } = require("@jupyterlab/services");

const [url, token] = [process.env.SERVER_URL, process.env.SERVER_TOKEN];

function manager(baseUrl) {
  const serverSettings = ServerConnection.makeSettings({ baseUrl, wsUrl: baseUrl.replace("http", "ws"), token });
  return new ContentsManager({ serverSettings });
}

let checks = 0;
async function check(name, f) {
  try {
    await f();
  } catch (err) {
    throw new Error(`${name}: ${err.stack}`);
  }
  checks++;
}

// refused asserts that a promise fails with a status, and with a message.
async function refused(promise, status) {
  await assert.rejects(promise, (err) => {
    assert.equal(err.response && err.response.status, status, String(err));
    assert.ok(err.message && !/Invalid response/.test(err.message), `no message: ${err.message}`);
    return true;
  });
}

const notebook = (source, outputs = []) => ({
  cells: [{ cell_type: "code", id: "a", metadata: {}, execution_count: null, source, outputs }],
  metadata: { kernelspec: { name: "python3", display_name: "Python 3", language: "python" } },
  nbformat: 4,
  nbformat_minor: 5,
});

async function own() {
  const m = manager(url + "user/ann/");
  await check("the root", async () => {
    const root = await m.get("");
    assert.equal(root.type, "directory");
    assert.equal(root.path, "");
    assert.equal(root.writable, true);
    assert.ok(Array.isArray(root.content));
  });
  await check("new things", async () => {
    const names = [];
    for (const options of [{ type: "notebook" }, { type: "notebook" }, { type: "directory" }, { type: "directory" }, { type: "file" }, { type: "file", ext: "py" }]) {
      names.push((await m.newUntitled({ path: "", ...options })).name);
    }
    assert.deepEqual(names, ["Untitled.ipynb", "Untitled1.ipynb", "Untitled Folder", "Untitled Folder 1", "untitled.txt", "untitled.py"]);
    await refused(m.newUntitled({ path: "nowhere", type: "file" }), 404);
    await refused(m.newUntitled({ path: "untitled.txt", type: "file" }), 400);
  });
  await check("saving and reading a notebook", async () => {
    const path = "Ünï %20#1.ipynb";
    const saved = await m.save(path, { type: "notebook", format: "json", content: notebook("print(1)\nprint(2)") });
    assert.equal(saved.path, path);
    const got = await m.get(path);
    assert.equal(got.last_modified, saved.last_modified);
    assert.equal(got.content.cells[0].source, "print(1)\nprint(2)");
    assert.equal(got.format, "json");
    assert.equal(got.mimetype, null);
    const again = await m.save(path, { type: "notebook", format: "json", content: notebook("2") });
    assert.ok(new Date(again.last_modified) >= new Date(saved.last_modified));
    const bare = await m.get(path, { content: false });
    assert.equal(bare.content, null);
    assert.equal(bare.format, null);
    const hashed = await m.get(path, { content: false, hash: true });
    assert.match(hashed.hash, /^[0-9a-f]{64}$/);
    assert.equal(hashed.hash_algorithm, "sha256");
  });
  await check("files as text and as base64", async () => {
    await m.save("a.csv", { type: "file", format: "text", content: "a,b\n1,é\n" });
    const text = await m.get("a.csv");
    assert.deepEqual([text.content, text.format, text.mimetype], ["a,b\n1,é\n", "text", "text/csv"]);
    const bytes = Buffer.from([0, 255, 254, 10]);
    await m.save("b.bin", { type: "file", format: "base64", content: bytes.toString("base64").replace(/^(..)/, "$1\n") });
    const raw = await m.get("b.bin");
    assert.equal(raw.format, "base64");
    assert.deepEqual(Buffer.from(raw.content, "base64"), bytes);
    await refused(m.get("b.bin", { type: "file", format: "text", content: true }), 400);
    await refused(m.get("a.csv", { type: "directory" }), 400);
    await refused(m.get("Untitled Folder", { type: "file" }), 400);
    await refused(m.get("nothing.txt"), 404);
  });
  await check("a large file in chunks", async () => {
    const bytes = Buffer.alloc(3_000_000, "0123456789abcdef");
    bytes.fill(7, 1_500_000, 1_600_000);
    const size = 1024 * 1024;
    for (let start = 0, chunk = 1; start < bytes.length; start += size, chunk++) {
      const last = start + size >= bytes.length;
      const answer = await m.save("large.bin", {
        name: "large.bin", type: "file", format: "base64", chunk: last ? -1 : chunk,
        content: bytes.subarray(start, start + size).toString("base64"),
      });
      assert.equal(answer.path, "large.bin");
      if (!last) {
        await refused(m.get("large.bin"), 404); // nothing half is ever seen
      }
    }
    const got = await m.get("large.bin", { type: "file", format: "base64", content: true });
    assert.ok(Buffer.from(got.content, "base64").equals(bytes));
    assert.equal(got.size, bytes.length);
    const part = { name: "x.bin", type: "file", format: "text", content: "x" };
    await refused(m.save("x.bin", { ...part, chunk: 2 }), 409);
    await m.save("x.bin", { ...part, chunk: 1 });
    await refused(m.save("x.bin", { ...part, chunk: 3 }), 409);
    await refused(m.save("x.bin", { ...part, chunk: 0 }), 400);
    await refused(m.save("x.ipynb", { ...part, type: "notebook", chunk: 1 }), 400);
  });
  await check("copies", async () => {
    await m.save("Untitled Folder/deep.txt", { type: "file", format: "text", content: "deep" });
    assert.equal((await m.copy("a.csv", "")).name, "a-Copy1.csv");
    assert.equal((await m.copy("a.csv", "")).name, "a-Copy2.csv");
    assert.equal((await m.copy("a.csv", "Untitled Folder")).path, "Untitled Folder/a.csv");
    await refused(m.copy("Untitled Folder", ""), 400);
  });
  await check("renaming", async () => {
    assert.equal((await m.rename("a-Copy1.csv", "Untitled Folder/moved.csv")).path, "Untitled Folder/moved.csv");
    await refused(m.rename("a.csv", "b.bin"), 409);
    await refused(m.rename("nothing.csv", "other.csv"), 404);
    await refused(m.rename("a.csv", ".hidden"), 400);
    assert.equal((await m.rename("Untitled Folder 1", "Folder")).type, "directory");
  });
  await check("checkpoints", async () => {
    const path = "checked.ipynb";
    await m.save(path, { type: "notebook", format: "json", content: notebook("first") });
    const one = await m.createCheckpoint(path);
    assert.equal((await m.createCheckpoint(path)).id, one.id, "the same bytes are the same checkpoint");
    await m.save(path, { type: "notebook", format: "json", content: notebook("second") });
    const two = await m.createCheckpoint(path);
    assert.deepEqual((await m.listCheckpoints(path)).map((c) => c.id), [two.id, one.id]);
    await m.restoreCheckpoint(path, one.id);
    assert.equal((await m.get(path)).content.cells[0].source, "first");
    await refused(m.restoreCheckpoint(path, "4711"), 404);
    await refused(m.restoreCheckpoint(path, "checkpoint"), 404);
    await refused(m.restoreCheckpoint(path, "1"), 404); // a version, and no checkpoint
    await m.rename(path, "renamed.ipynb");
    assert.equal((await m.listCheckpoints("renamed.ipynb")).length, 2);
    await m.deleteCheckpoint("renamed.ipynb", one.id);
    assert.deepEqual((await m.listCheckpoints("renamed.ipynb")).map((c) => c.id), [two.id]);
    await refused(m.deleteCheckpoint("renamed.ipynb", one.id), 404);
    assert.deepEqual(await m.listCheckpoints("nothing.ipynb"), []); // JupyterLab asks so while it renames
    await refused(m.createCheckpoint("nothing.ipynb"), 404);
  });
  await check("deleting", async () => {
    await m.delete("Untitled Folder");
    await refused(m.get("Untitled Folder"), 404);
    await refused(m.delete("Untitled Folder"), 404);
    await refused(m.delete(""), 400);
  });
  await check("what is hidden or leads out", async () => {
    await refused(m.get(".secret"), 404);
    await refused(m.save(".secret", { type: "file", format: "text", content: "x" }), 400);
    await refused(m.get("%2e%2e/bob"), 404);
  });
  await check("broken notebooks", async () => {
    await m.save("broken.ipynb", { type: "file", format: "text", content: "{" });
    await refused(m.get("broken.ipynb"), 400);
    const odd = notebook("1");
    odd.cells.push({ ...odd.cells[0] });
    await m.save("odd.ipynb", { type: "file", format: "text", content: JSON.stringify(odd) });
    const got = await m.get("odd.ipynb");
    assert.equal(got.content.cells.length, 2);
  });
  await check("downloads", async () => {
    const link = await m.getDownloadUrl("a.csv");
    const answer = await fetch(link, { headers: { Authorization: "token " + token } });
    assert.equal(await answer.text(), "a,b\n1,é\n");
  });
  m.dispose();
}

async function root() {
  const m = manager(url);
  await check("the read-only root", async () => {
    const top = await m.get("");
    assert.deepEqual(top.content.map((e) => e.name).sort(), ["shared", "users"]);
    const home = await m.get("users/ann");
    assert.equal(home.writable, false);
    const csv = await m.get("users/ann/a.csv");
    assert.equal(csv.content, "a,b\n1,é\n");
    assert.equal(csv.path, "users/ann/a.csv");
    await refused(m.save("users/ann/a.csv", { type: "file", format: "text", content: "x" }), 405);
  });
  m.dispose();
}

own()
  .then(root)
  .then(() => console.log(`done ${checks}`))
  .catch((err) => {
    console.error(err);
    process.exitCode = 1;
  });
