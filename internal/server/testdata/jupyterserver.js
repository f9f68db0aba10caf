// Drives a notebook server with JupyterLab's own client: everything but the
// contents API, which jupyterlab.js drives. It prints "done N" when all N checks
// held, and fails at the first that did not.
"use strict";
const assert = require("node:assert/strict");
const {
  ConfigSection, EventManager, KernelAPI, KernelManager, KernelSpecManager, NbConvertManager, ServerConnection,
  SessionManager, TerminalManager, UserManager, ContentsManager,
} = require("@jupyterlab/services");
const { PageConfig } = require("@jupyterlab/coreutils");
const WebSocket = require("ws");

PageConfig.setOption("terminalsAvailable", "true"); // what JupyterLab's page says

const [url, token] = [process.env.SERVER_URL, process.env.SERVER_TOKEN];
const wsUrl = url.replace("http", "ws");
const serverSettings = ServerConnection.makeSettings({ baseUrl: url, wsUrl, token });

let checks = 0;
async function check(name, f) {
  let timer;
  try {
    await Promise.race([f(), new Promise((_, no) => (timer = setTimeout(() => no(new Error("took over 150 s")), 150000)))]);
  } catch (err) {
    throw new Error(`${name}: ${err.stack}`);
  } finally {
    clearTimeout(timer);
  }
  checks++;
}

async function refused(promise, status) {
  await assert.rejects(promise, (err) => {
    assert.equal(err.response && err.response.status, status, String(err));
    assert.ok(err.message && !/Invalid response/.test(err.message), `no message: ${err.message}`);
    return true;
  });
}

async function ask(path, options = {}) {
  return fetch(url + path, { ...options, headers: { Authorization: "token " + token, ...options.headers } });
}

// until polls for what no event tells, for at most 20 s.
async function until(f, what) {
  for (const end = Date.now() + 20000; Date.now() < end; await new Promise((r) => setTimeout(r, 50))) {
    const got = await f();
    if (got) return got;
  }
  throw new Error("waited 20 s: " + what);
}

// run executes code and returns what came of it.
async function run(kernel, code, options = {}) {
  const got = { stdout: "", stderr: "", outputs: [], states: [] };
  const future = kernel.requestExecute({ code, ...options }, false);
  future.onIOPub = (m) => {
    if (m.header.msg_type === "stream") got[m.content.name] += m.content.text;
    else if (m.header.msg_type === "status") got.states.push(m.content.execution_state);
    else got.outputs.push(m);
  };
  if (options.answer !== undefined) {
    future.onStdin = (m) => {
      got.prompt = m.content.prompt;
      kernel.sendInputReply({ status: "ok", value: options.answer }, m.header);
    };
  }
  if (options.meanwhile) options.meanwhile(future);
  got.reply = (await future.done).content;
  return got;
}

async function kernels() {
  const specs = new KernelSpecManager({ serverSettings });
  await specs.ready;
  await check("kernelspecs", async () => {
    assert.equal(specs.specs.default, "python3");
    assert.ok(specs.specs.kernelspecs.python3.language === "python");
    const logo = Object.values(specs.specs.kernelspecs.python3.resources)[0];
    assert.equal((await fetch(new URL(logo, url), { headers: { Authorization: "token " + token } })).headers.get("content-type").split("/")[0], "image");
    assert.equal((await ask("api/kernelspecs/nothing")).status, 404);
    assert.equal((await ask("kernelspecs/python3/..%2Fkernel.json")).status, 404);
  });
  const manager = new KernelManager({ serverSettings });
  await manager.ready;
  const kernel = await manager.startNew({ name: "python3" });
  await check("a kernel answers", async () => {
    const info = await kernel.info;
    assert.equal(info.implementation, "ipython");
    const got = await run(kernel, "import sys\nprint('out'); print('err', file=sys.stderr); 6*7");
    assert.equal(got.stdout, "out\n");
    assert.equal(got.stderr, "err\n");
    assert.equal(got.outputs.at(-1).content.data["text/plain"], "42");
    assert.deepEqual(got.states, ["busy", "idle"]);
    assert.equal(got.reply.status, "ok");
  });
  await check("a print of 5 MB arrives whole", async () => {
    const got = await run(kernel, "print('x' * 5_000_000)");
    assert.equal(got.stdout.length, 5_000_001);
  });
  await check("200,000 lines arrive whole and in order", async () => {
    const got = await run(kernel, "for i in range(200_000): print(i)");
    const lines = got.stdout.split("\n");
    assert.equal(lines.length, 200_001);
    assert.ok(lines.every((l, i) => i === 200_000 || l === String(i)), "out of order");
  });
  await check("completion, inspection, history, is_complete", async () => {
    await run(kernel, "apricot = 1", { store_history: true });
    assert.ok((await kernel.requestComplete({ code: "apri", cursor_pos: 4 })).content.matches.includes("apricot"));
    assert.ok((await kernel.requestInspect({ code: "len", cursor_pos: 3, detail_level: 0 })).content.found);
    const history = await kernel.requestHistory({ output: false, raw: true, hist_access_type: "tail", n: 3 });
    assert.ok(history.content.history.some((h) => h[2] === "apricot = 1"));
    assert.equal((await kernel.requestIsComplete({ code: "for i in x:" })).content.status, "incomplete");
  });
  await check("input", async () => {
    const got = await run(kernel, "print('hello', input('who? '))", { allow_stdin: true, answer: "ann" });
    assert.equal(got.prompt, "who? ");
    assert.equal(got.stdout, "hello ann\n");
  });
  await check("interrupt", async () => {
    const started = Date.now();
    const got = await run(kernel, "import time\nprint('begun', flush=True)\ntime.sleep(50)", {
      meanwhile: (f) => {
        const before = f.onIOPub;
        f.onIOPub = (m) => {
          before(m);
          if (m.header.msg_type === "stream") void kernel.interrupt();
        };
      },
    });
    assert.equal(got.reply.ename, "KeyboardInterrupt");
    assert.ok(Date.now() - started < 20000);
  });
  await check("comms with buffers, both ways", async () => {
    await run(kernel, `
def opened(comm, message):
    comm.on_msg(lambda m: comm.send({'got': m['content']['data']}, buffers=[bytes(m['buffers'][0])[::-1], b'']))
get_ipython().kernel.comm_manager.register_target('echo', opened)`);
    const comm = kernel.createComm("echo");
    const answer = new Promise((yes) => (comm.onMsg = yes));
    await comm.open({}).done;
    comm.send({ n: 1 }, {}, [new Uint8Array([1, 2, 3]).buffer]);
    const m = await answer;
    assert.deepEqual(m.content.data, { got: { n: 1 } });
    assert.equal(m.buffers.length, 2);
    assert.deepEqual([...new Uint8Array(m.buffers[0].buffer ?? m.buffers[0], m.buffers[0].byteOffset ?? 0, 3)], [3, 2, 1]);
  });
  await check("the debugger's channel", async () => {
    const reply = await kernel.requestDebug({ seq: 1, type: "request", command: "debugInfo", arguments: {} }).done;
    assert.equal(reply.content.success, true);
  });
  await check("the kernel's model", async () => {
    const model = await KernelAPI.getKernelModel(kernel.id, serverSettings);
    await until(async () => (await KernelAPI.getKernelModel(kernel.id, serverSettings)).execution_state === "idle", "idle");
    assert.equal(model.connections, 1);
    assert.ok(Math.abs(Date.now() - Date.parse(model.last_activity)) < 60000);
    const first = manager.connectTo({ model: kernel.model });
    await first.info;
    assert.equal((await KernelAPI.getKernelModel(kernel.id, serverSettings)).connections, 2);
    first.dispose();
    await until(async () => (await KernelAPI.getKernelModel(kernel.id, serverSettings)).connections === 1, "one connection is left");
    const busy = kernel.requestExecute({ code: "import time; time.sleep(1)" });
    await until(async () => (await KernelAPI.getKernelModel(kernel.id, serverSettings)).execution_state === "busy", "busy");
    await busy.done;
  });
  await check("two clients see one another's outputs, and only their own replies", async () => {
    const other = manager.connectTo({ model: kernel.model });
    await other.info;
    const seen = [];
    other.anyMessage.connect((_, a) => a.direction === "recv" && seen.push([a.msg.channel, a.msg.header.msg_type]));
    await run(kernel, "print('for all')");
    await run(other, "pass");
    assert.ok(seen.some(([c, t]) => c === "iopub" && t === "stream"));
    assert.equal(seen.filter(([, t]) => t === "execute_reply").length, 1);
    other.dispose();
  });
  await check("restart", async () => {
    await run(kernel, "left = 1");
    await kernel.restart();
    await kernel.info;
    const got = await run(kernel, "left");
    assert.equal(got.reply.ename, "NameError");
    assert.equal((await KernelAPI.getKernelModel(kernel.id, serverSettings)).id, kernel.id);
  });
  await check("a dead kernel says why, and can be started again", async () => {
    const dead = new Promise((yes) => kernel.statusChanged.connect((_, s) => s === "dead" && yes()));
    const got = await run(kernel, "import os\nprint('last words', flush=True)\nimport time; time.sleep(.5)\nos.kill(os.getpid(), 9)").catch((err) => ({ canceled: String(err) }));
    await dead;
    if (got.reply) {
      assert.equal(got.reply.ename, "KernelDied");
      assert.match(got.outputs.at(-1).content.evalue, /signal 9 \(SIGKILL\)/);
      assert.equal(got.stdout, "last words\n");
    }
    const model = await (await ask("api/kernels/" + kernel.id)).json();
    assert.equal(model.execution_state, "dead");
    assert.match(model.reason, /killed by signal 9 \(SIGKILL\)/);
    assert.equal((await ask(`api/kernels/${kernel.id}/restart`, { method: "POST" })).status, 200);
    const again = manager.connectTo({ model: { id: kernel.id, name: "python3" } });
    assert.equal((await run(again, "print('alive')")).stdout, "alive\n");
    await again.shutdown();
    assert.equal((await ask("api/kernels/" + kernel.id)).status, 404);
  });
  await check("what is not there", async () => {
    const none = "api/kernels/11111111-2222-3333-4444-555555555555";
    for (const [path, method] of [[none, "GET"], [none, "DELETE"], [none + "/restart", "POST"], [none + "/interrupt", "POST"]]) {
      const answer = await ask(path, { method });
      assert.equal(answer.status, 404, path);
      assert.ok((await answer.json()).message);
    }
    await refused(KernelAPI.startNew({ name: "nothing" }, serverSettings), 404);
    const closed = await new Promise((yes) => {
      const ws = new WebSocket(`${wsUrl}${none}/channels?token=${token}`);
      ws.on("unexpected-response", (_, res) => yes(res.statusCode));
      ws.on("open", () => yes("open"));
    });
    assert.equal(closed, 404);
  });
  manager.dispose();
  specs.dispose();
}

// A raw client of one framing, to see frames and to lose connections.
function raw(kernelId, session, protocol) {
  const ws = new WebSocket(`${wsUrl}api/kernels/${kernelId}/channels?session_id=${session}&token=${token}`, protocol ? [protocol] : []);
  const client = { ws, messages: [], text: "" };
  client.opened = new Promise((yes, no) => ws.on("open", yes).on("error", no));
  ws.on("message", (data, binary) => {
    if (protocol) return client.messages.push(data);
    assert.equal(binary, false);
    const m = JSON.parse(data.toString());
    client.messages.push(m);
    if (m.msg_type === "stream") client.text += m.content.text;
  });
  client.execute = (id, code) =>
    ws.send(JSON.stringify({
      channel: "shell", parent_header: {}, metadata: {}, buffers: [],
      header: { msg_id: id, msg_type: "execute_request", session, username: "", version: "5.4", date: new Date().toISOString() },
      content: { code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false, stop_on_error: true },
    }));
  return client;
}

async function framing() {
  const { id } = await (await ask("api/kernels", { method: "POST", body: "{}" })).json();
  await check("the default framing", async () => {
    const c = raw(id, "one");
    await c.opened;
    assert.equal(c.ws.protocol, "");
    c.execute("m1", "1+1");
    const has = (t) => c.messages.some((m) => m.msg_type === t && m.parent_header.msg_id === "m1");
    await until(() => has("execute_reply") && has("execute_result"), "the answer");
    const result = c.messages.find((m) => m.msg_type === "execute_result");
    assert.equal(result.channel, "iopub");
    assert.deepEqual(result.buffers, []);
    assert.equal(result.msg_id, result.header.msg_id);
    assert.equal(result.content.data["text/plain"], "2");
    c.ws.terminate();
  });
  await check("the v1 framing is agreed on, another protocol is not", async () => {
    const c = raw(id, "two", "v1.kernel.websocket.jupyter.org");
    await c.opened;
    assert.equal(c.ws.protocol, "v1.kernel.websocket.jupyter.org");
    c.ws.terminate();
  });
  await check("a lost connection gets what it missed, once and in order", async () => {
    let c = raw(id, "three");
    await c.opened;
    c.execute("m2", "import time\nfor i in range(300):\n    print(i, flush=True)\n    if i % 100 == 99: time.sleep(2)");
    let text = "";
    const replies = [];
    for (let round = 1; round <= 3; round++) {
      await until(() => (text + c.text).split("\n").length > 100 * round, "some output");
      await new Promise((r) => setTimeout(r, 1000)); // in the pause a ping confirms what came
      if (round === 3) await until(() => c.messages.some((m) => m.msg_type === "execute_reply"), "the reply");
      c.ws.terminate();
      text += c.text;
      replies.push(...c.messages.filter((m) => m.msg_type === "execute_reply"));
      await new Promise((r) => setTimeout(r, 200 + 1500 * (round % 2))); // shorter and longer than the pause
      c = raw(id, "three");
      await c.opened;
    }
    c.ws.terminate();
    assert.equal(text, [...Array(300).keys()].join("\n") + "\n");
    assert.equal(replies.length, 1);
  });
  await check("a kernel lives on without clients, and keeps what it said", async () => {
    let c = raw(id, "four");
    await c.opened;
    c.execute("m3", "import time\ntime.sleep(1)\nprint('y' * 3_000_000)");
    await until(() => c.messages.some((m) => m.msg_type === "execute_input"), "the start");
    c.ws.terminate();
    await until(async () => (await (await ask("api/kernels/" + id)).json()).connections === 0, "nobody is connected");
    await until(async () => (await (await ask("api/kernels/" + id)).json()).execution_state === "idle", "the end");
    c = raw(id, "four");
    // The reply has a channel of its own and may overtake what was printed; the
    // kernel's "idle" comes behind that. Clients wait for both.
    const idle = (m) => m.msg_type === "status" && m.content.execution_state === "idle" && m.parent_header.msg_id === "m3";
    await until(() => c.messages.some((m) => m.msg_type === "execute_reply") && c.messages.some(idle), "the reply and the end");
    assert.equal(c.text.length, 3_000_001);
    c.ws.terminate();
  });
  await ask("api/kernels/" + id, { method: "DELETE" });
}

async function sessions() {
  const kernelManager = new KernelManager({ serverSettings });
  const manager = new SessionManager({ serverSettings, kernelManager });
  await manager.ready;
  const contents = new ContentsManager({ serverSettings });
  await check("a session starts its kernel in the notebook's folder", async () => {
    await contents.save("deep", { type: "directory" });
    const session = await manager.startNew({ path: "deep/a.ipynb", name: "a.ipynb", type: "notebook", kernel: { name: "python3" } });
    const got = await run(session.kernel, "import os; print(os.path.basename(os.getcwd()), os.path.basename(os.environ['JPY_SESSION_NAME']))");
    assert.equal(got.stdout, "deep a.ipynb\n");
    const again = await ask("api/sessions", { method: "POST", body: JSON.stringify({ path: "deep/a.ipynb", name: "", type: "notebook", kernel: {} }) });
    assert.equal(again.status, 201);
    assert.equal((await again.json()).id, session.id);
    await session.setPath("deep/b.ipynb");
    const model = await (await ask("api/sessions/" + session.id)).json();
    assert.deepEqual(model.notebook, { path: "deep/b.ipynb", name: "a.ipynb" });
    const before = session.kernel.id;
    await session.changeKernel({ name: "python3" });
    assert.notEqual(session.kernel.id, before);
    assert.equal((await ask("api/kernels/" + before)).status, 404);
    await session.shutdown();
    assert.equal((await ask("api/sessions/" + session.id)).status, 404);
    assert.deepEqual(await (await ask("api/sessions")).json(), []);
    assert.deepEqual(await (await ask("api/kernels")).json(), []);
  });
  await check("sessions that cannot be", async () => {
    const post = (body) => ask("api/sessions", { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
    assert.equal((await post({ type: "notebook" })).status, 400);
    assert.equal((await post({ path: "x" })).status, 400);
    assert.equal((await post("{")).status, 400);
    const none = await post({ path: "x.ipynb", type: "notebook", kernel: { name: "nothing" } });
    assert.equal(none.status, 501);
    assert.ok((await none.json()).short_message);
    assert.equal((await ask("api/sessions/none", { method: "DELETE" })).status, 404);
  });
  manager.dispose();
  kernelManager.dispose();
}

async function terminals() {
  const manager = new TerminalManager({ serverSettings });
  await manager.ready;
  await check("a terminal", async () => {
    const term = await manager.startNew({ cwd: "deep" });
    let text = "";
    term.messageReceived.connect((_, m) => m.type === "stdout" && (text += m.content[0]));
    await until(() => term.connectionStatus === "connected", "connected");
    term.send({ type: "set_size", content: [33, 101, 0, 0] });
    term.send({ type: "stdin", content: ["stty size; basename $PWD; echo w\\ö\\r\\l\\d; exec 2>&1; sleep 1000 & echo job $!\n"] });
    await until(() => /33 101/.test(text) && /\ndeep/.test(text) && /wörld/.test(text) && /job \d+/.test(text), "output, got " + text);
    const job = Number(/job (\d+)/.exec(text)[1]);
    const other = manager.connectTo({ model: term.model });
    let replay = "";
    other.messageReceived.connect((_, m) => m.type === "stdout" && (replay += m.content[0]));
    await until(() => /wörld/.test(replay), "what was said before");
    other.dispose();
    const gone = new Promise((yes) => term.disposed.connect(yes));
    term.send({ type: "stdin", content: ["exit\n"] });
    await gone;
    await until(async () => (await (await ask("api/terminals")).json()).length === 0, "the list is empty");
    await until(() => { try { process.kill(job, 0); return false; } catch { return true; } }, "the shell's job has ended");
  });
  await check("ending a terminal", async () => {
    const term = await manager.startNew({ name: "mine" });
    assert.equal(term.name, "mine");
    assert.equal((await ask("api/terminals", { method: "POST", body: '{"name":"mine"}' })).status, 409);
    assert.equal((await ask("api/terminals/mine", { method: "DELETE" })).status, 204);
    assert.equal((await ask("api/terminals/mine")).status, 404);
    assert.equal((await ask("api/terminals", { method: "POST", body: '{"name":"../x"}' })).status, 400);
  });
  manager.dispose();
}

async function others() {
  await check("who I am", async () => {
    globalThis.window = { localStorage: { getItem: () => null, setItem: () => {} } }; // it keeps a colour there
    const user = new UserManager({ serverSettings });
    await user.ready;
    delete globalThis.window;
    assert.equal(user.identity.username, "ann");
    assert.equal((await ask("api/me?permissions=x")).status, 400);
    user.dispose();
  });
  await check("settings", async () => {
    const section = await ConfigSection.create({ name: "notebook", serverSettings });
    await section.update({ a: { b: 1, c: 2 }, d: 3 });
    await section.update({ a: { b: null } });
    const again = await ConfigSection.create({ name: "notebook", serverSettings });
    assert.deepEqual(again.data, { a: { c: 2 }, d: 3 });
    assert.equal((await ask("api/config/..%2Fx")).status, 400);
  });
  await check("exports", async () => {
    const formats = await new NbConvertManager({ serverSettings }).getExportFormats();
    assert.ok(formats.html && formats.script && formats.markdown);
    const contents = new ContentsManager({ serverSettings });
    await contents.save("e.ipynb", { type: "notebook", format: "json", content: {
      cells: [{ cell_type: "code", id: "a", metadata: {}, execution_count: null, outputs: [], source: "print(1)" }], metadata: {}, nbformat: 4, nbformat_minor: 5 } });
    const html = await ask("nbconvert/html/e.ipynb");
    assert.match(html.headers.get("content-security-policy"), /^sandbox/);
    assert.match(await html.text(), /<!doctype html>/i);
    assert.match(await (await ask("nbconvert/script/e.ipynb?download=true")).text(), /print\(1\)/);
    assert.equal((await ask("nbconvert/tea/e.ipynb")).status, 404);
    assert.equal((await ask("nbconvert/html/none.ipynb")).status, 404);
    assert.equal(await (await ask("files/e.ipynb")).status, 200);
  });
  await check("events", async () => {
    const events = new EventManager({ serverSettings });
    const got = [];
    void (async () => { for await (const e of events.stream) got.push(e); })();
    await until(async () => {
      await events.emit({ schema_id: "https://example.org/e", version: "1", data: { n: 1 } });
      return got.some((e) => e.schema_id === "https://example.org/e" && e.n === 1);
    }, "the event");
    events.dispose();
  });
  await check("status and metrics", async () => {
    const before = await (await ask("api/status")).json();
    assert.ok(Date.parse(before.started) && before.kernels === 0);
    assert.deepEqual(before.last_activity, (await (await ask("api/status")).json()).last_activity);
    assert.match(await (await ask("metrics")).text(), /quire_http_request_duration_seconds/);
  });
}

async function doors() {
  const bare = (path, headers = {}, method = "GET", body = undefined) => fetch(url + path, { method, headers, body, redirect: "manual" });
  await check("who sends no token is refused", async () => {
    for (const path of ["api/status", "api/kernels", "api/sessions", "api/terminals", "api/me", "api/contents", "files/x", "metrics", "api/config/x"]) {
      const answer = await bare(path);
      assert.equal(answer.status, 403, path);
      assert.ok((await answer.json()).message, path);
    }
    assert.equal((await bare("api")).status, 200);
    assert.equal((await bare("api/status", { Authorization: "token " + "x".repeat(30) })).status, 403);
    assert.equal((await bare("api/status", { Authorization: "BEARER " + token })).status, 200);
    assert.equal((await bare("api/status?token=" + token)).status, 200);
  });
  await check("signing in as VS Code does, and acting with the cookie", async () => {
    const page = await bare("login?");
    const xsrf = /_xsrf=([^;]+)/.exec(page.headers.get("set-cookie"))[1];
    const form = new URLSearchParams({ _xsrf: xsrf, password: token });
    assert.equal((await bare("login", { Cookie: "_xsrf=" + xsrf }, "POST", new URLSearchParams({ _xsrf: xsrf, password: "wrong-wrong-wrong" }))).status, 403);
    const signed = await bare("login", { Cookie: "_xsrf=" + xsrf }, "POST", form);
    assert.equal(signed.status, 302);
    const cookie = signed.headers.getSetCookie().map((c) => c.split(";")[0]).find((c) => !c.startsWith("_xsrf"));
    const Cookie = `${cookie}; _xsrf=${xsrf}`;
    assert.equal((await bare("api/status", { Cookie })).status, 200);
    const put = (headers) => bare("api/config/door", { Cookie, ...headers }, "PUT", "{}");
    assert.equal((await put({})).status, 403);
    assert.equal((await put({ "X-XSRFToken": "x".repeat(26) })).status, 403);
    assert.equal((await put({ "X-XSRFToken": xsrf })).status, 204);
    assert.equal((await put({ Origin: new URL(url).origin })).status, 204);
    assert.equal((await put({ Origin: "http://evil.example", "X-XSRFToken": xsrf })).status, 403);
    assert.equal((await bare("logout", { Cookie })).status, 302);
    assert.equal((await bare("api/status", { Cookie })).status, 403);
  });
  await check("WebSockets from elsewhere and under another name", async () => {
    const open = (headers, query = "") =>
      new Promise((yes) => {
        const ws = new WebSocket(wsUrl + "api/events/subscribe" + query, { headers });
        ws.on("unexpected-response", (_, res) => yes(res.statusCode));
        ws.on("open", () => { ws.terminate(); yes(101); });
      });
    assert.equal(await open({}), 403);
    assert.equal(await open({}, "?token=" + token), 101);
    assert.equal(await open({ Origin: "http://evil.example" }, "?token=" + token), 403);
    assert.equal(await open({ Host: "evil.example" }, "?token=" + token), 421);
  });
}

(async () => {
  await kernels();
  await framing();
  await sessions();
  await terminals();
  await others();
  await doors();
  console.log("done " + checks);
  process.exit(0);
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
