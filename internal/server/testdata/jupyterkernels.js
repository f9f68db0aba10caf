// Drives the kernels of other languages, comms, and a cut of the network with
// JupyterLab's own client. WHAT names one of the groups at the end. It prints
// "done N" when all N checks held, and fails at the first that did not.
"use strict";
const assert = require("node:assert/strict");
const net = require("node:net");
const { KernelManager, ServerConnection } = require("@jupyterlab/services");
const WebSocket = require("ws");

const [url, token] = [process.env.SERVER_URL, process.env.SERVER_TOKEN];
const serverSettings = ServerConnection.makeSettings({ baseUrl: url, wsUrl: url.replace("http", "ws"), token });

let checks = 0;
async function check(name, f, seconds = 60) {
  let timer;
  try {
    await Promise.race([f(), new Promise((_, no) => (timer = setTimeout(() => no(new Error(`took over ${seconds} s`)), 1000 * seconds)))]);
  } catch (err) {
    throw new Error(`${name}: ${err.stack}`);
  } finally {
    clearTimeout(timer);
  }
  checks++;
}

async function ask(path, options = {}) {
  return fetch(url + path, { ...options, headers: { Authorization: "token " + token } });
}

// run executes code and returns what came of it; on is called for each output.
async function run(kernel, code, { answer, on } = {}) {
  const got = { text: "", outputs: [] };
  const future = kernel.requestExecute({ code, allow_stdin: answer !== undefined }, false);
  // Not the future's own: Deno publishes output after its idle, when that is over.
  kernel.iopubMessage.connect((_, m) => {
    if (m.parent_header.msg_id !== future.msg.header.msg_id) return;
    if (m.header.msg_type === "stream") got.text += m.content.text;
    got.outputs.push(m);
    if (on) on(m, got);
  });
  future.onStdin = (m) => {
    got.prompt = m.content.prompt;
    kernel.sendInputReply({ status: "ok", value: answer }, m.header);
  };
  got.reply = (await future.done).content;
  return got;
}

// waited asks until there is an answer, for ten seconds, and returns it.
async function waited(f) {
  for (let i = 0; i < 200 && !f(); i++) await new Promise((r) => setTimeout(r, 50));
  return f();
}

// printed runs code and waits for text that it prints.
async function printed(kernel, code, pattern, options) {
  const got = await run(kernel, code, options);
  await waited(() => pattern.test(got.text));
  assert.match(got.text, pattern);
  return got;
}

// What differs between the kernels. One without "input" has no stdin, one
// without "sleep" cannot be interrupted.
const languages = {
  ir: {
    implementation: "IRkernel", print: "cat('hello\\n')", value: "6 * 7", fail: "stop('boom')",
    set: "apricot <- 1", get: "cat(exists('apricot'))", left: "FALSE", complete: "apri", inspect: "mean",
    input: "cat('hello', readline('who? '))",
    sleep: "cat('begun\\n'); flush.console(); for (i in 1:600) Sys.sleep(0.1)",
    die: "cat('last words\\n'); flush.console(); Sys.sleep(0.5); .Internal(quit('no', 3L, FALSE))",
  },
  deno: {
    implementation: "Deno kernel", print: "console.log('hello')", value: "6 * 7", fail: "throw new TypeError('boom')",
    set: "var apricot = 1", get: "console.log(typeof apricot)", left: "undefined", complete: "apri",
    input: "console.log('hello ' + prompt('who? '))",
    // No "sleep": Deno's kernel has no handler for an interrupt, and ends with it.
    die: "console.log('last words'); await new Promise((r) => setTimeout(r, 500)); Deno.exit(3)",
  },
};

async function language(name) {
  const lang = languages[name];
  const manager = new KernelManager({ serverSettings });
  await manager.ready;
  const kernel = await manager.startNew({ name });
  await check("it answers", async () => {
    assert.equal((await kernel.info).implementation, lang.implementation);
    await printed(kernel, lang.print, /^hello\r?\n$/);
    const got = await run(kernel, lang.value);
    const result = await waited(() => got.outputs.find((m) => m.content.data));
    assert.match(result.content.data["text/plain"], /42/);
    assert.equal(got.reply.status, "ok");
  });
  await check("an error", async () => {
    const got = await run(kernel, lang.fail);
    assert.equal(got.reply.status, "error");
    assert.ok(await waited(() => got.outputs.some((m) => m.header.msg_type === "error" && /boom/.test(JSON.stringify(m.content)))));
  });
  await check("completion, inspection, history, is_complete", async () => {
    await run(kernel, lang.set);
    assert.ok((await kernel.requestComplete({ code: lang.complete, cursor_pos: 4 })).content.matches.includes("apricot"));
    if (lang.inspect) {
      assert.ok((await kernel.requestInspect({ code: lang.inspect, cursor_pos: 3, detail_level: 0 })).content.found);
    }
    const history = await kernel.requestHistory({ output: false, raw: true, hist_access_type: "tail", n: 3 });
    assert.ok(Array.isArray(history.content.history));
    assert.ok((await kernel.requestIsComplete({ code: lang.value })).content.status);
  });
  if (lang.input) {
    await check("input", async () => {
      const got = await printed(kernel, lang.input, /hello ann/, { answer: "ann" });
      assert.equal(got.prompt, "who? ");
    });
  }
  if (lang.sleep) {
    await check("interrupt", async () => {
      const started = Date.now();
      const got = await run(kernel, lang.sleep, { on: (m) => m.header.msg_type === "stream" && void kernel.interrupt() });
      assert.ok(Date.now() - started < 20000);
      assert.notEqual(got.reply.status, "ok");
      assert.match((await run(kernel, lang.print)).text, /hello/);
    });
  }
  await check("restart", async () => {
    await kernel.restart();
    await kernel.info;
    await printed(kernel, lang.get, new RegExp(lang.left));
    assert.equal((await (await ask("api/kernels/" + kernel.id)).json()).name, name);
  });
  await check("its death is told, and it can be started again", async () => {
    const dead = new Promise((yes) => kernel.statusChanged.connect((_, s) => s === "dead" && yes()));
    let text = "";
    await run(kernel, lang.die, { on: (_, got) => (text = got.text) }).catch(() => {}); // a dead kernel's cells are cancelled
    await dead;
    assert.match(text, /last words/);
    const model = await (await ask("api/kernels/" + kernel.id)).json();
    assert.equal(model.execution_state, "dead");
    assert.match(model.reason, /exited with code 3/);
    assert.equal((await ask(`api/kernels/${kernel.id}/restart`, { method: "POST" })).status, 200);
    const again = manager.connectTo({ model: { id: kernel.id, name } });
    await printed(again, lang.print, /hello/);
    await again.shutdown();
  });
}

async function comms() {
  const manager = new KernelManager({ serverSettings });
  await manager.ready;
  const kernel = await manager.startNew({ name: "python3" });
  const watcher = manager.connectTo({ model: kernel.model });
  await Promise.all([kernel.info, watcher.info]);
  await check("a comm that the kernel opens, as a widget does", async () => {
    const opened = new Promise((yes) =>
      kernel.registerCommTarget("widget", (comm, m) => {
        comm.onMsg = (m) => comm.send({ echo: m.content.data });
        comm.onClose = (m) => yes({ comm, open: m0, closed: m.content.data });
        const m0 = m.content.data;
      }));
    const got = await run(kernel, `
from comm import create_comm
heard = []
c = create_comm(target_name='widget', data={'state': {'value': 1}}, buffers=[b'abc'])
c.on_msg(lambda m: heard.append(m['content']['data']))
c.send({'method': 'update', 'state': {'value': 2}})`);
    assert.equal(got.reply.status, "ok", JSON.stringify(got.reply));
    // What the page answers runs in the kernel before the next cell.
    await run(kernel, "pass");
    assert.match((await run(kernel, "print(heard)")).text, /'echo': \{'method': 'update', 'state': \{'value': 2\}\}/);
    await run(kernel, "c.close({'bye': 1})");
    const { open, closed } = await opened;
    assert.deepEqual(open, { state: { value: 1 } });
    assert.deepEqual(closed, { bye: 1 });
  });
  await check("the comms that are open, for who joins late", async () => {
    kernel.registerCommTarget("late", () => {}); // a client closes a comm that it does not know
    await run(kernel, "d = create_comm(target_name='late')");
    const reply = await watcher.requestCommInfo({ target_name: "late" });
    assert.equal(Object.keys(reply.content.comms).length, 1);
  });
  await kernel.shutdown();
}

// A cable passes bytes on to the server until it is cut: then every connection
// ends and none is taken.
class Cable {
  constructor() {
    this.ends = new Set();
    this.up = true;
    this.server = net.createServer((near) => {
      if (!this.up) return near.resetAndDestroy();
      const far = net.connect(Number(new URL(url).port), "127.0.0.1");
      for (const [a, b] of [[near, far], [far, near]]) {
        this.ends.add(a);
        a.setNoDelay(true);
        a.pipe(b);
        a.on("error", () => b.destroy()).on("close", () => { this.ends.delete(a); b.destroy(); });
      }
    });
  }
  listen() {
    return new Promise((yes) => this.server.listen(0, "127.0.0.1", () => yes(this.server.address().port)));
  }
  cut() {
    this.up = false;
    for (const end of this.ends) end.resetAndDestroy();
  }
}

async function cut() {
  const cable = new Cable();
  const port = await cable.listen();
  const there = new URL(url);
  class Through extends WebSocket {
    constructor(address, protocols) {
      super(address, protocols, { headers: { Host: there.host } });
    }
  }
  const manager = new KernelManager({
    serverSettings: ServerConnection.makeSettings({ baseUrl: url, wsUrl: `ws://127.0.0.1:${port}${there.pathname}`, token, WebSocket: Through }),
  });
  await manager.ready;
  const kernel = await manager.startNew({ name: "python3" });
  await kernel.info;

  // cutOff runs a cell that prints 0 to n-1, cuts the cable at a line, and
  // returns what the client was given.
  async function cutOff(code, at, wait, seconds) {
    const seen = [];
    const listen = (_, a) => a.direction === "recv" && seen.push(a.msg);
    kernel.anyMessage.connect(listen);
    let lost;
    const got = await run(kernel, code, {
      on: (_, got) => {
        if (lost || got.text.split("\n").length <= at) return;
        lost = (async () => {
          await new Promise((r) => setTimeout(r, wait));
          cable.cut();
          const before = seen.length;
          await new Promise((r) => setTimeout(r, 1000 * seconds));
          assert.equal(seen.length, before, "messages came through a cable that is cut");
          cable.up = true;
          // The client gives up after seven tries; then a person clicks.
          if (kernel.connectionStatus === "disconnected") await kernel.reconnect();
        })();
      },
    });
    await lost;
    kernel.anyMessage.disconnect(listen);
    const mine = seen.filter((m) => ["stream", "execute_reply"].includes(m.header.msg_type));
    const ids = new Set();
    const once = mine.filter((m) => !ids.has(m.header.msg_id) && ids.add(m.header.msg_id));
    return {
      got, twice: mine.length - once.length,
      once: once.filter((m) => m.header.msg_type === "stream").map((m) => m.content.text).join(""),
      replies: once.filter((m) => m.header.msg_type === "execute_reply").length,
    };
  }
  const lines = (n) => [...Array(n).keys()].join("\n") + "\n";
  const stream = (n, pauseAt) => `
import time
for i in range(${n}):
    print(i, flush=True)
    time.sleep(${pauseAt === undefined ? "0.02" : `3 if i == ${pauseAt} else 0.02`})`;

  await check("30 s without a network, cut in a pause: nothing missing, nothing twice", async () => {
    const seen = await cutOff(stream(1000, 99), 100, 1000, 30);
    assert.equal(seen.got.text, lines(1000));
    assert.equal(seen.twice, 0);
    assert.equal(seen.replies, 1);
  }, 180);
  await check("cut in the middle of a stream: nothing missing; what comes twice has the same id", async () => {
    const seen = await cutOff(stream(400), 100, 0, 2);
    assert.equal(seen.once, lines(400));
    assert.ok(seen.twice <= 10, `${seen.twice} messages came twice`);
    console.log(`${seen.twice} messages came twice`);
    assert.equal(seen.replies, 1);
  }, 180);
  await kernel.shutdown();
}

// memory puts the server, and so the kernels that it starts from then on, into
// the control group GROUP, which has a limit.
async function memory() {
  const manager = new KernelManager({ serverSettings });
  await manager.ready;
  const first = await manager.startNew({ name: "python3" });
  const moved = await run(first, `import os; print(open(${JSON.stringify(process.env.GROUP + "/cgroup.procs")}, 'w').write(str(os.getppid())))`);
  assert.equal(moved.reply.status, "ok", JSON.stringify(moved.reply));
  const kernel = await manager.startNew({ name: "python3" });
  await check("a kernel that the system killed for memory says so", async () => {
    const got = await run(kernel, "x = []\nfor i in range(60): x.append(b'z' * 10_000_000)").catch(() => {});
    const { reason } = await (await ask("api/kernels/" + kernel.id)).json();
    assert.match(reason, /SIGKILL\): out of memory, peak [0-9.]+ MiB of a 238.4 MiB limit/);
    if (got) assert.match(got.reply.evalue, /out of memory/);
  });
  await first.shutdown();
}

// debug goes through what a debugger does: it stops in a cell at a line, looks at
// a variable, and goes on.
async function debug() {
  const manager = new KernelManager({ serverSettings });
  await manager.ready;
  const kernel = await manager.startNew({ name: "python3" });
  assert.ok((await kernel.info).supported_features?.includes("debugger") ?? (await kernel.info).debugger);
  let seq = 0;
  const ask = async (command, args) => {
    const reply = (await kernel.requestDebug({ seq: ++seq, type: "request", command, arguments: args }).done).content;
    assert.ok(reply.success, `${command}: ${JSON.stringify(reply)}`);
    return reply.body;
  };
  const stopped = new Promise((yes) => kernel.iopubMessage.connect((_, m) => m.header.msg_type === "debug_event" && m.content.event === "stopped" && yes(m.content.body)));
  const code = "def f(n):\n    m = n + 1\n    return m\nprint('got', f(41))";
  let path;
  await check("it starts, and takes a breakpoint in a cell", async () => {
    await ask("initialize", {
      clientID: "test", clientName: "test", adapterID: "", pathFormat: "path", linesStartAt1: true, columnsStartAt1: true,
      supportsVariableType: true, supportsVariablePaging: true, supportsRunInTerminalRequest: true, locale: "en",
    });
    await ask("attach", {});
    path = (await ask("dumpCell", { code })).sourcePath;
    const { breakpoints } = await ask("setBreakpoints", { breakpoints: [{ line: 3 }], source: { path }, sourceModified: false });
    assert.ok(breakpoints[0].verified);
    await ask("configurationDone", {});
    assert.equal((await ask("debugInfo", {})).isStarted, true);
  });
  const ran = run(kernel, code);
  await check("it stops there, shows a variable, and goes on", async () => {
    const { threadId } = await stopped;
    const { stackFrames } = await ask("stackTrace", { threadId });
    assert.equal(stackFrames[0].line, 3);
    const { scopes } = await ask("scopes", { frameId: stackFrames[0].id });
    const { variables } = await ask("variables", { variablesReference: scopes[0].variablesReference });
    assert.equal(variables.find((v) => v.name === "m").value, "42");
    await ask("continue", { threadId });
    assert.equal((await ran).text, "got 42\n");
  });
  await check("it ends", () => ask("disconnect", { restart: false, terminateDebuggee: false }));
  await kernel.shutdown();
}

const groups = { debug, ir: () => language("ir"), deno: () => language("deno"), comms, cut, memory };
groups[process.env.WHAT]().then(
  () => {
    console.log("done " + checks);
    process.exit(0);
  },
  (err) => {
    console.error(err);
    process.exit(1);
  },
);
