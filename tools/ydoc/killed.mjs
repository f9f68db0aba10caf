// Two people type into one live notebook while its server is killed again and
// again: node killed.mjs MODULES ROUNDS. For each round it prints "kill", and
// goes on when a line comes back: the server at SERVER_URL was killed and another
// has taken its place. Prints "done SEEN ROUNDS": what one typed and the other saw.
import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const modules = join(process.argv[2], 'node_modules')
const load = (file) => import(pathToFileURL(join(modules, file)).href)
const { YNotebook } = await load('@jupyter/ydoc/lib/index.js')
const { WebsocketProvider } = await load('y-websocket/src/y-websocket.js')
const WebSocket = (await load('ws/wrapper.mjs')).default
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

const base = process.env.SERVER_URL
const token = process.env.SERVER_TOKEN
const headers = { Authorization: `token ${token}`, 'Content-Type': 'application/json' }
const ask = async (method, path, body) => {
  const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const until = async (what, holds) => {
  for (const end = Date.now() + 60_000; !(await holds()); await sleep(10)) {
    if (Date.now() > end) throw new Error('it never came to this: ' + what)
  }
}

const cell = (id) => ({ cell_type: 'markdown', id, metadata: {}, source: '' })
await ask('PUT', 'api/contents/live.ipynb', { type: 'notebook', format: 'json', content: { cells: [cell('a'), cell('b')], metadata: {}, nbformat: 4, nbformat_minor: 5 } })
const session = await ask('PUT', 'api/collaboration/session/live.ipynb', { format: 'json', type: 'notebook' })
const room = `${session.format}:${session.type}:${session.fileId}`
const connect = () => {
  const nb = new YNotebook()
  const provider = new WebsocketProvider(base.replace(/^http/, 'ws') + 'api/collaboration/room', room, nb.ydoc,
    { disableBc: true, maxBackoffTime: 50, params: { sessionId: session.sessionId, token }, WebSocketPolyfill: WebSocket, awareness: nb.awareness })
  return { nb, provider }
}

const people = [connect(), connect()]
await until('both see the notebook', () => people.every((p) => p.provider.synced && p.nb.cells.length === 2))
let typing = true
const typed = [0, 0]
const type = async (i) => {
  while (typing) {
    const at = people[i].nb.cells[i]
    at.updateSource(at.source.length, at.source.length, `${i}.${typed[i]++},`)
    await sleep(5)
  }
}
const typists = [type(0), type(1)]

// An edit that the other has seen is in the server's log: a room that knows
// nothing of it would not have sent it.
let seen = 0
for (let round = 0; round < Number(process.argv[3]); round++) {
  const before = people[1].nb.cells[0].source.length
  await until('an edit to reach the other', () => people[1].nb.cells[0].source.length > before)
  await sleep(20 + Math.random() * 60)
  console.log('kill')
  await lines.next()
  // Somebody new knows only what the server knows: what one has seen of the other must be there.
  const had = people[1].nb.cells[0].source
  const stranger = connect()
  await until('the stranger to see the notebook', () => stranger.provider.synced && stranger.nb.cells.length === 2)
  await until('what was seen to be there', () => stranger.nb.cells[0].source.startsWith(had))
  seen = had.split(',').length - 1
  stranger.provider.destroy()
}
typing = false
await Promise.all(typists)
const whole = typed.map((n, i) => Array.from({ length: n }, (_, k) => `${i}.${k},`).join(''))
for (const p of people) await until('everything, once and in order', () => p.provider.synced && whole.every((text, i) => p.nb.cells[i].source === text))
await until('it is in the file', async () => {
  const { content } = await ask('GET', 'api/contents/live.ipynb')
  return whole.every((text, i) => content.cells[i].source === text)
})
assert.equal(people[0].nb.cells.length, 2)
for (const p of people) p.provider.destroy()
console.log(`done ${seen} ${process.argv[3]}`)
process.exit(0)
