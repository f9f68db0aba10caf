// What JupyterLab does with a live notebook, against the server at SERVER_URL:
// its document model over y-websocket. The argument is the directory whose
// node_modules has them. Prints "done N" when N checks held.
import assert from 'node:assert/strict'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'

const modules = join(process.argv[2], 'node_modules')
const load = (file) => import(pathToFileURL(join(modules, file)).href)
const { YNotebook } = await load('@jupyter/ydoc/lib/index.js')
const { WebsocketProvider } = await load('y-websocket/src/y-websocket.js')
const WebSocket = (await load('ws/wrapper.mjs')).default

const base = process.env.SERVER_URL
const token = process.env.SERVER_TOKEN
let checks = 0

const ask = async (method, path, body) => {
  const answer = await fetch(base + path, {
    method,
    headers: { Authorization: `token ${token}`, 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await answer.text()
  return { status: answer.status, body: text ? JSON.parse(text) : null }
}

const until = async (what, holds) => {
  const end = Date.now() + 30_000
  while (!(await holds())) {
    if (Date.now() > end) throw new Error('it never came to this: ' + what)
    await new Promise((done) => setTimeout(done, 10))
  }
  checks++
}

const connect = (session, nb = new YNotebook()) => {
  const provider = new WebsocketProvider(
    base.replace(/^http/, 'ws') + 'api/collaboration/room',
    `${session.format}:${session.type}:${session.fileId}`,
    nb.ydoc,
    { disableBc: true, params: { sessionId: session.sessionId, token }, WebSocketPolyfill: WebSocket, awareness: nb.awareness },
  )
  return { nb, provider, source: (i) => nb.cells[i]?.source, leave: () => provider.destroy() }
}

const file = async () => (await ask('GET', 'api/contents/live.ipynb')).body.content
const notebook = {
  cells: [
    { cell_type: 'code', id: 'one', execution_count: null, metadata: {}, outputs: [], source: 'x = 1' },
    { cell_type: 'code', id: 'two', execution_count: null, metadata: {}, outputs: [], source: "import time\nfor i in range(5):\n    print('line', i, '😀')\n    time.sleep(0.2)\nx + 41" },
    { cell_type: 'code', id: 'dies', execution_count: null, metadata: {}, outputs: [], source: 'import os, signal, time\nprint("so far", flush=True)\ntime.sleep(0.5)\nos.kill(os.getpid(), signal.SIGKILL)' },
  ],
  metadata: { kernelspec: { name: 'python3', display_name: 'Python 3' } },
  nbformat: 4,
  nbformat_minor: 5,
}

await ask('PUT', 'api/contents/live.ipynb', { type: 'notebook', format: 'json', content: notebook })
const first = await ask('PUT', 'api/collaboration/session/live.ipynb', { format: 'json', type: 'notebook' })
assert.equal(first.status, 201)
const session = first.body
const again = await ask('PUT', 'api/collaboration/session/live.ipynb', { format: 'json', type: 'notebook' })
assert.deepEqual([again.status, again.body], [200, session])
assert.equal((await ask('PUT', 'api/collaboration/session/none.ipynb', { format: 'json', type: 'notebook' })).status, 404)
checks++

const ann = connect(session)
const bob = connect(session)
await until('both see the notebook', () => ann.provider.synced && bob.provider.synced && ann.nb.cells.length === 3 && bob.nb.cells.length === 3)
assert.equal(ann.nb.getState ? ann.nb.state.path : 'live.ipynb', 'live.ipynb')
ann.nb.awareness.setLocalStateField('user', { name: 'Ann' })
await until('Bob sees Ann', () => [...bob.nb.awareness.getStates().values()].some((s) => s.user?.name === 'Ann'))
ann.nb.cells[0].updateSource(0, 0, '# Ann 😀\n')
bob.nb.cells[0].updateSource(5, 5, '0')
bob.nb.insertCell(3, { cell_type: 'markdown', id: 'new', source: 'by Bob', metadata: {} })
await until('both edits are everywhere', () => ann.source(0) === '# Ann 😀\nx = 10' && bob.source(0) === ann.source(0) && ann.source(3) === 'by Bob')
await until('they are in the file', async () => {
  const now = await file()
  return now.cells.length === 4 && now.cells[0].source === '# Ann 😀\nx = 10'
})

// Cells run on the server, and go on when everybody has left.
const kernel = (await ask('POST', 'api/kernels', { name: 'python3' })).body
const room = `json:notebook:${session.fileId}`
const run = (cells, more = {}) => ask('POST', `api/kernels/${kernel.id}/execute`, { document_id: room, cells: cells.map((cell_id) => ({ cell_id })), ...more })
assert.equal((await run(['nothing'])).status, 404)
const stale = await ask('POST', `api/kernels/${kernel.id}/execute`, { document_id: room, cells: [{ cell_id: 'one', source_hash: 12345 }] })
assert.deepEqual([stale.status, stale.body.error, stale.body.cell_id], [409, 'source_mismatch', 'one'])
checks++
assert.equal((await ask('POST', `api/kernels/${kernel.id}/execute`, { document_id: room, cell_id: 'one' })).status, 200)
assert.equal((await run(['two'])).status, 200)
await until('the first line', () => bob.nb.cells[1].getOutputs()[0]?.text?.startsWith('line 0 😀'))
ann.provider.disconnect()
bob.leave()
const whole = [0, 1, 2, 3, 4].map((i) => `line ${i} 😀\n`).join('')
await until('all lines are in the file', async () => {
  const out = (await file()).cells[1].outputs
  return out.length === 2 && out[0].text === whole && out[1].data['text/plain'] === '51'
})
ann.nb.cells[3].updateSource(0, 0, 'offline, ')
ann.provider.connect()
await until('who comes back has all of it', () => {
  const out = ann.nb.cells[1].getOutputs()
  return out.length === 2 && out[0].text === whole && ann.nb.cells[1].execution_count === 2
})
await until('and what was written offline is in the file, once', async () => {
  const now = await file()
  return now.cells.length === 4 && now.cells[3].source === 'offline, by Bob'
})
const ended = await run(['dies'], { wait: true })
assert.equal(ended.body.status, 'error')
await until('the cell says why the kernel died', () => {
  const out = ann.nb.cells[2].getOutputs()
  return out[0]?.text === 'so far\n' && /SIGKILL/.test(out[1]?.evalue ?? '')
})

// A plain save meanwhile is merged.
const mine = await file()
mine.cells[3].source = 'by a plain client'
const saved = await ask('PUT', 'api/contents/live.ipynb', { type: 'notebook', format: 'json', content: mine })
assert.equal(saved.status, 200)
await until('a plain save reaches the document', () => ann.source(3) === 'by a plain client')

// A client of another history is refused.
const closed = await new Promise((done) => {
  const socket = new WebSocket(`${base.replace(/^http/, 'ws')}api/collaboration/room/${room}?sessionId=other&token=${token}`)
  socket.on('close', (code, reason) => done([code, JSON.parse(String(reason)).reason]))
})
assert.deepEqual(closed, [1003, 'unknown_session'])
checks++
ann.leave()
console.log('done', checks)
process.exit(0)
