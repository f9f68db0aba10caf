// Replicas of documents in real yjs, driven by the tests of internal/session/ydoc.
// One line in is a list of commands as JSON, one line out the list of answers.
// The argument is the directory whose node_modules has yjs and @jupyter/ydoc.
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'

const modules = join(process.argv[2], 'node_modules')
const load = (file) => import(pathToFileURL(join(modules, file)).href)
const Y = await load('yjs/dist/yjs.mjs')
const { YNotebook } = await load('@jupyter/ydoc/lib/index.js')
const awareness = await load('y-protocols/awareness.js')

const b64 = (bytes) => Buffer.from(bytes).toString('base64')
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'))

// xorshift, so that a round can be had again by its seed.
const random = (seed) => {
  let s = seed >>> 0 || 1
  return (n) => {
    s ^= s << 13
    s >>>= 0
    s ^= s >>> 17
    s ^= s << 5
    s >>>= 0
    return s % n
  }
}

const letters = ['a', 'b', '\n', 'é', '中', '😀', '𝒳', 'x = 1', '']
const word = (pick) => Array.from({ length: 1 + pick(4) }, () => letters[pick(letters.length)]).join('')
const values = [null, true, 0, -1, 1.5, 2 ** 40, 'text', [1, [2]], { a: { b: 1 } }, '😀']

const output = (pick) => {
  const out = new Y.Map()
  if (pick(2)) {
    out.set('output_type', 'stream')
    out.set('name', 'stdout')
    const text = new Y.Text()
    text.insert(0, word(pick) + '.')
    out.set('text', text)
  } else {
    out.set('output_type', 'display_data')
    out.set('data', { 'text/plain': word(pick) })
    out.set('metadata', {})
  }
  return out
}

const cell = (pick, id, source) => {
  const c = new Y.Map()
  c.set('source', new Y.Text(source))
  c.set('metadata', new Y.Map())
  c.set('cell_type', 'code')
  c.set('id', id)
  c.set('outputs', new Y.Array())
  c.set('execution_count', null)
  return c
}

// One random edit of a plain replica.
const edit = (doc, pick) => {
  const cells = doc.getArray('cells')
  const at = cells.length ? pick(cells.length) : -1
  const kind = at < 0 ? 2 : pick(12)
  const c = at < 0 ? null : cells.get(at)
  const source = c && c.get('source')
  switch (kind) {
    case 0:
    case 1:
      source.insert(pick(source.length + 1), word(pick))
      break
    case 2:
      cells.insert(pick(cells.length + 1), [cell(pick, 'n' + pick(1e6), word(pick))])
      break
    case 3:
      cells.delete(at, Math.min(1 + pick(2), cells.length - at))
      break
    case 4: {
      const moved = cell(pick, c.get('id'), source.toString())
      cells.delete(at, 1)
      cells.insert(pick(cells.length + 1), [moved])
      break
    }
    case 5:
      c.get('outputs')?.insert(c.get('outputs').length, [output(pick)])
      break
    case 6: {
      const outputs = c.get('outputs')
      const text = outputs?.length ? outputs.get(outputs.length - 1).get('text') : undefined
      if (text) text.insert(text.length, word(pick))
      break
    }
    case 7:
      c.get('outputs')?.delete(0, c.get('outputs').length)
      break
    case 8:
      c.get('metadata').set('k' + pick(3), values[pick(values.length)])
      break
    case 9:
      c.get('metadata').delete('k' + pick(3))
      break
    case 10:
      if (source.length) {
        const from = pick(source.length)
        source.delete(from, Math.min(1 + pick(4), source.length - from))
      }
      break
    case 11:
      doc.getMap('meta').get('metadata')?.set('m' + pick(3), values[pick(values.length)])
      break
  }
}

// One random edit by JupyterLab's own model.
const editNotebook = (nb, pick) => {
  const n = nb.cells.length
  const at = n ? pick(n) : -1
  const c = at < 0 ? null : nb.cells[at]
  const kind = at < 0 ? 0 : pick(8)
  switch (kind) {
    case 0:
      nb.insertCell(pick(n + 1), { cell_type: ['code', 'markdown', 'raw'][pick(3)], source: word(pick), metadata: {} })
      break
    case 1:
      nb.deleteCell(at)
      break
    case 2:
      nb.moveCell(at, pick(n))
      break
    case 3:
      c.updateSource(pick(c.source.length + 1), pick(c.source.length + 1), word(pick))
      break
    case 4:
      c.setSource(word(pick))
      break
    case 5:
      c.setMetadata('k' + pick(3), values[1 + pick(values.length - 1)])
      break
    case 6:
      if (c.cell_type === 'code') {
        const outs = c.getOutputs().length
        c.updateOutputs(pick(outs + 1), outs, [{ output_type: 'stream', name: 'stdout', text: word(pick) + '.' }])
      }
      break
    case 7:
      if (c.cell_type === 'code' && c.getOutputs().length && c.getOutputs()[0].output_type === 'stream') {
        c.appendStreamOutput(0, word(pick))
      }
      break
  }
}

let replicas = []
let thrown = 0

const commands = {
  // new: plain and notebook replicas with the given client ids.
  new: ({ ids, notebooks }) => {
    for (const r of replicas) r.nb?.dispose()
    replicas = ids.map((id, i) => {
      const nb = notebooks?.[i] ? new YNotebook() : null
      const doc = nb ? nb.ydoc : new Y.Doc()
      doc.clientID = id
      for (const name of ['meta', 'state']) doc.getMap(name)
      doc.getArray('cells')
      const r = { doc, nb, made: [] }
      doc.on('update', (update, origin, _, tx) => tx.local && r.made.push(b64(update)))
      return r
    })
  },
  edit: ({ replica, seed, edits }) => {
    const r = replicas[replica]
    const pick = random(seed)
    for (let i = 0; i < edits; i++) r.nb ? editNotebook(r.nb, pick) : edit(r.doc, pick)
    return r.made.splice(0)
  },
  apply: ({ replica, updates }) => {
    for (const u of updates ?? []) {
      try {
        Y.applyUpdate(replicas[replica].doc, bytes(u), 'remote')
      } catch (err) {
        if (!replicas[replica].nb) throw err
        thrown++ // an observer of @jupyter/ydoc; the document itself is sound
      }
    }
  },
  state: ({ replica }) => {
    const { doc, nb } = replicas[replica]
    return {
      json: { cells: doc.getArray('cells').toJSON(), meta: doc.getMap('meta').toJSON() },
      model: nb ? nb.cells.map((c) => c.getSource()) : undefined,
      update: b64(Y.encodeStateAsUpdate(doc)),
      vector: b64(Y.encodeStateVector(doc)),
    }
  },
  diff: ({ replica, vector }) => b64(Y.encodeStateAsUpdate(replicas[replica].doc, bytes(vector))),
  // again: a state as yjs encodes it when it reads it into an empty document.
  again: ({ update }) => {
    const doc = new Y.Doc()
    doc.getArray('cells')
    doc.getMap('meta')
    Y.applyUpdate(doc, bytes(update))
    return b64(Y.encodeStateAsUpdate(doc))
  },
  // notebook: a notebook as JupyterLab's model reads it.
  notebook: ({ update }) => {
    const nb = new YNotebook()
    Y.applyUpdate(nb.ydoc, bytes(update))
    const json = nb.toJSON()
    nb.dispose()
    return json
  },
  awareness: ({ client, state }) => {
    const doc = new Y.Doc()
    doc.clientID = client
    const a = new awareness.Awareness(doc)
    a.setLocalState(state)
    const update = b64(awareness.encodeAwarenessUpdate(a, [client]))
    a.destroy()
    doc.destroy()
    return update
  },
  awarenessStates: ({ updates }) => {
    const a = new awareness.Awareness(new Y.Doc())
    a.setLocalState(null)
    for (const u of updates ?? []) awareness.applyAwarenessUpdate(a, bytes(u), 'remote')
    const states = Object.fromEntries(a.getStates())
    a.destroy()
    return states
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const answers = []
  let error = null
  for (const c of JSON.parse(line)) {
    try {
      answers.push(commands[c.op](c) ?? null)
    } catch (err) {
      error = String(err.stack ?? err)
      break
    }
  }
  process.stdout.write(JSON.stringify({ answers, error }) + '\n')
}
process.exit(0)
