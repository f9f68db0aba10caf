// Does to a notebook server what Visual Studio Code's Jupyter extension does with
// an "Existing Jupyter Server", call by call as its sources have it: how it finds
// out whether a password is wanted, signs in, lists kernels, makes a session of
// a path that no file has, and older versions' file behind the session. It prints
// "done N" when all N checks held, and fails at the first that did not.
"use strict";
const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const {
  ContentsManager, KernelAPI, KernelManager, KernelSpecManager, ServerConnection, SessionManager,
} = require("@jupyterlab/services");
const WebSocket = require("ws");

const [url, token, way] = [process.env.SERVER_URL, process.env.SERVER_TOKEN, process.env.WAY];

let checks = 0;
async function check(name, f) {
  let timer;
  try {
    const late = new Promise((_, no) => (timer = setTimeout(() => no(new Error("took over 60 s")), 60000)));
    await Promise.race([f(), late]);
  } catch (err) {
    throw new Error(`${name}: ${err.stack}`);
  } finally {
    clearTimeout(timer);
  }
  checks++;
}

const keep = { Connection: "keep-alive" };
const bare = (path, options = {}) => fetch(url + path, { redirect: "manual", ...options, headers: { ...keep, ...options.headers } });

// The extension keeps a cookie with all that follows it: "Path=/; HttpOnly".
function cookies(answer) {
  return new Map(answer.headers.getSetCookie().map((c) => [c.slice(0, c.indexOf("=")), c.slice(c.indexOf("=") + 1)]));
}

// password signs in as the extension does when the address has no token.
async function password() {
  let headers;
  await check("a password is wanted", async () => {
    assert.notEqual((await bare("hub/api")).status, 200); // it is no JupyterHub
    assert.notEqual((await bare("tree?")).status, 200);
  });
  await check("the sign-in form", async () => {
    const page = await bare("login?");
    assert.ok(page.ok, `the form's status is ${page.status}`);
    const xsrf = cookies(page).get("_xsrf").split(";")[0];
    const signed = await bare("login?", {
      method: "POST", headers: { Cookie: `_xsrf=${xsrf}`, "content-type": "application/x-www-form-urlencoded;charset=UTF-8" },
      body: new URLSearchParams({ _xsrf: xsrf, password: token }).toString(),
    });
    assert.equal(signed.status, 302);
    const [name, value] = cookies(signed).entries().next().value; // it takes the first one
    headers = { Cookie: `_xsrf=${xsrf}; ${name}=${value}`, "X-XSRFToken": xsrf };
    assert.equal((await bare("tree?", { headers })).status === 403, false);
  });
  return headers;
}

function settings(headers) {
  class Socket extends WebSocket {
    constructor(address, protocols) {
      super(address, protocols, { headers });
    }
  }
  return ServerConnection.makeSettings({
    baseUrl: url, wsUrl: url.replace("http", "ws"), token: headers ? "" : token, appendToken: true,
    init: { cache: "no-store", credentials: "same-origin", headers: { ...headers, "Content-Type": "application/json" } },
    WebSocket: headers ? Socket : WebSocket,
  });
}

async function run(kernel, code, onFirst) {
  let text = "";
  const future = kernel.requestExecute({ code, stop_on_error: false, allow_stdin: true, store_history: true }, false);
  future.onIOPub = (m) => {
    if (m.header.msg_type !== "stream") return;
    if (!text && onFirst) onFirst();
    text += m.content.text;
  };
  future.onStdin = (m) => kernel.sendInputReply({ status: "ok", value: "ann" }, m.header);
  return { reply: (await future.done).content, text };
}

// idle waits as the extension does before it says that a kernel is there.
async function idle(session) {
  if (session.kernel.status === "idle") return;
  await new Promise((yes) => session.kernel.statusChanged.connect((_, s) => s === "idle" && yes()));
}

const begin = (manager, path, name = `report-${randomUUID()}.ipynb`) =>
  manager.startNew({ path, name, type: "notebook", kernel: { name: "python3" } }, { kernelConnectionOptions: { handleComms: true } });
const backing = () => `report-jvsc-${randomUUID()}${randomUUID()}.ipynb`;

async function work(serverSettings) {
  const kernelManager = new KernelManager({ serverSettings });
  const specs = new KernelSpecManager({ serverSettings });
  const manager = new SessionManager({ serverSettings, kernelManager });
  const contents = new ContentsManager({ serverSettings });
  const found = async () => {
    await manager.refreshRunning();
    return [...manager.running()];
  };
  await check("the server is one: kernels and kernelspecs", async () => {
    await Promise.all([manager.ready, kernelManager.ready, specs.ready]);
    await Promise.all([KernelAPI.listRunning(serverSettings), specs.refreshSpecs()]);
    assert.equal(specs.specs.kernelspecs.python3.language, "python");
  });
  const path = backing();
  const session = await begin(manager, path);
  await check("a session of a path that no file has", async () => {
    assert.equal(session.path, path);
    await idle(session);
    assert.equal((await session.kernel.info).status, "ok");
    assert.equal((await run(session.kernel, "print('hello', input())")).text, "hello ann\n");
    assert.ok((await found()).some((m) => m.path === path && m.kernel.id === session.kernel.id));
  });
  await check("completion and inspection", async () => {
    assert.ok((await session.kernel.requestComplete({ code: "impor", cursor_pos: 5 })).content.matches.includes("import"));
    assert.ok((await session.kernel.requestInspect({ code: "print", cursor_pos: 5, detail_level: 0 })).content.found);
  });
  await check("interrupt and restart", async () => {
    const got = await run(session.kernel, "import time\nprint('begun', flush=True)\ntime.sleep(50)", () => void session.kernel.interrupt());
    assert.equal(got.reply.ename, "KeyboardInterrupt");
    const id = session.kernel.id;
    await session.kernel.restart();
    assert.equal(session.kernel.id, id);
    assert.equal((await run(session.kernel, "left = 7; print(left)")).text, "7\n");
  });
  await check("another window goes on with the running kernel", async () => {
    const other = manager.connectTo({ model: (await found()).find((m) => m.path === path) });
    assert.equal((await run(other.kernel, "print(left)")).text, "7\n");
    other.dispose();
  });
  await check("a file behind the session, as older versions make it", async () => {
    const made = await contents.newUntitled({ type: "notebook" });
    const file = await contents.rename(made.path, `report-jvsc-${randomUUID()}.ipynb`);
    const second = await begin(manager, file.path, undefined);
    assert.notEqual(second.kernel.id, session.kernel.id);
    await idle(second);
    await contents.delete(file.path); // as soon as the kernel is there
    assert.equal((await run(second.kernel, "print(1 + 1)")).text, "2\n");
    await second.shutdown();
    const left = (await contents.get("", { content: true })).content.map((m) => m.name);
    assert.deepEqual(left.filter((name) => /-jvsc-|^Untitled/.test(name)), []);
  });
  await check("the end of a session is its kernel's", async () => {
    const id = session.kernel.id;
    await session.shutdown();
    assert.equal(session.isDisposed, true);
    assert.equal(await KernelAPI.getKernelModel(id, serverSettings), undefined);
    assert.ok(!(await found()).some((m) => m.path === path));
  });
  manager.dispose();
  kernelManager.dispose();
  specs.dispose();
}

(async () => {
  const probe = await bare("api");
  assert.ok((await probe.json()).version);
  await work(settings(way === "password" ? await password() : undefined));
  console.log("done " + checks);
  process.exit(0);
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
