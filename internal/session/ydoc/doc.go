// Package ydoc is a replica of a Yjs document: the data model of live notebooks
// (maps, arrays and texts that several people edit at once and that end equal
// everywhere), its updates on the wire (version 1) and the messages of
// y-protocols that carry them.
//
// A replica here and yjs in a browser that have seen the same updates, in any
// order and however often, hold the same document, and encode it to the same
// bytes. Deleted content is given up as yjs does it with gc on; runs of items
// are merged as yjs merges them.
//
// What comes from outside is hostile: lengths, counts, clocks, depths and the
// work that one update may cause are bounded, and nothing read can panic. What
// is kept takes at most a fixed multiple of what was read. An update that is
// refused halfway leaves a sound document that holds its first part.
//
// Not here, because notebooks have none: formatting of rich text is carried
// along but not cleaned up, subdocuments and XML are carried along unread.
package ydoc

import (
	"maps"
	"slices"

	"quire/internal/problem"
)

// Limits on what is read and held.
const (
	// MaxClient is the largest id of a client, and the largest clock.
	MaxClient = 1<<53 - 1
	// MaxDepth is how deep maps, arrays and texts may nest in one another.
	MaxDepth = 64
	// MaxValueDepth is how deep arrays and objects may nest in one plain value; a
	// notebook that holds it is below its own limit then.
	MaxValueDepth = 900
	// MaxStructs is how many items a document may hold, the deleted ones included.
	MaxStructs = 4 << 20
	// MaxPending is how many items and deletions may wait for what they build on.
	MaxPending = 1 << 17
	// MaxPendingBytes is how many bytes of content the waiting items may hold.
	MaxPendingBytes = 32 << 20
)

// A Doc is one replica of a document. The zero value is not usable; see New. It
// is not safe for concurrent use.
type Doc struct {
	// Changed, when not nil, is told of every transaction that changed what was
	// there before, while what was deleted in it can still be counted. It must not
	// change the document.
	Changed func(Event)
	// Updated, when not nil, gets what each transaction added, as an update that
	// brings every replica that had the state before to the state after. It must
	// not change the document.
	Updated func(update []byte, origin any)

	client  uint64
	roots   map[string]*node
	clients map[uint64]*structs
	count   int // items held

	tx      transaction
	open    bool   // a transaction is under way
	mark    uint64 // source of item.mark
	work    int    // steps that the update under way may still cause
	pending pending
	names   map[string]string // keys that were read, each once
}

// New returns an empty document whose own edits carry the id client, 0 to
// MaxClient. No two replicas may edit under one id; 0 is for content that is
// built from a file, see the package session.
func New(client uint64) *Doc {
	return &Doc{
		client:  client & MaxClient,
		roots:   map[string]*node{},
		clients: map[uint64]*structs{},
		names:   map[string]string{},
	}
}

// Client returns the id that the document's own edits carry.
func (d *Doc) Client() uint64 { return d.client }

// Map returns the top-level map of that name, which is empty at first.
func (d *Doc) Map(name string) *Map { return (*Map)(d.root(name, kindMap)) }

// Array returns the top-level array of that name, which is empty at first.
func (d *Doc) Array(name string) *Array { return (*Array)(d.root(name, kindArray)) }

// Text returns the top-level text of that name, which is empty at first.
func (d *Doc) Text(name string) *Text { return (*Text)(d.root(name, kindText)) }

// root returns the top-level type of that name. A type that an update brought
// takes the kind that it is first asked for as.
func (d *Doc) root(name string, kind byte) *node {
	n := d.roots[name]
	if n == nil {
		n = &node{doc: d, name: name, kind: kindUnknown}
		d.roots[name] = n
	}
	if n.kind == kindUnknown {
		n.kind = kind
	}
	return n
}

// JSON returns the whole document: an object with the value of every top-level
// type. What no one asked for by its kind is left out.
func (d *Doc) JSON() map[string]any {
	all := map[string]any{}
	for name, n := range d.roots {
		if n.kind != kindUnknown {
			all[name] = n.json()
		}
	}
	return all
}

// Transact runs do and makes one transaction of all its edits: one update, one
// event. origin is handed to Updated and Changed. Within do it may be called
// again; the outermost call counts.
func (d *Doc) Transact(origin any, do func()) {
	if d.open {
		do()
		return
	}
	d.begin(origin, true)
	defer d.end()
	do()
}

// Pending reports whether something that was read waits for what it builds on.
func (d *Doc) Pending() bool { return d.pending.count > 0 || d.pending.deleted.spans() > 0 }

// DropPending forgets what waits for what it builds on.
func (d *Doc) DropPending() { d.pending = pending{} }

// Structs returns how many items the document holds, the deleted ones included:
// a measure of its memory, about 200 bytes each besides their content.
func (d *Doc) Structs() int { return d.count }

// state returns the next clock of a client: everything below is known.
func (d *Doc) state(client uint64) uint64 {
	if s := d.clients[client]; s != nil {
		return s.state()
	}
	return 0
}

// find returns the struct that holds id, nil when it is not known.
func (d *Doc) find(id ID) *item {
	s := d.clients[id.Client]
	if s == nil || id.Clock >= s.state() {
		return nil
	}
	return s.at(s.find(id.Clock))
}

// A transaction is what changes between two states that others see.
type transaction struct {
	origin  any
	local   bool
	before  map[uint64]uint64 // state before, of the clients that have new items
	deleted deleteSet
	merge   []ID             // where runs may have come to touch
	changed map[*node]*edits // types that were there before and what changed in them
}

func (d *Doc) begin(origin any, local bool) {
	d.open = true
	d.tx.origin, d.tx.local = origin, local
	if d.tx.before == nil {
		d.tx.before = map[uint64]uint64{}
		d.tx.deleted = deleteSet{}
		d.tx.changed = map[*node]*edits{}
	}
	if local {
		d.work = 1 << 40 // our own edits are as many as we make
	}
}

// end finishes a transaction as yjs does: observers, then deleted content goes,
// then runs are merged, then the update is made.
func (d *Doc) end() {
	tx := &d.tx
	tx.deleted.normalize()
	if d.Changed != nil && len(tx.changed) > 0 {
		d.Changed(Event{Origin: tx.origin, Local: tx.local, doc: d})
	}
	d.collect()
	d.mergeRuns()
	if d.Updated != nil && (len(tx.before) > 0 || len(tx.deleted) > 0) {
		d.Updated(d.transactionUpdate(), tx.origin)
	}
	clear(tx.before)
	clear(tx.deleted)
	clear(tx.changed)
	tx.merge = tx.merge[:0]
	tx.origin = nil
	d.open = false
}

// collect gives up the content of what the transaction deleted.
func (d *Doc) collect() {
	for client, spans := range d.tx.deleted {
		s := d.clients[client]
		if s == nil {
			continue
		}
		for _, span := range spans {
			for at := s.find(span.clock); s.valid(at); at = s.next(at) {
				x := s.at(at)
				if x.id.Clock >= span.end() {
					break
				}
				if x.deleted && x.kind != contentGC {
					x.collect(false)
				}
			}
		}
	}
}

// mergeRuns joins items that touch, where the transaction changed something.
func (d *Doc) mergeRuns() {
	for client, spans := range d.tx.deleted {
		if s := d.clients[client]; s != nil {
			for _, span := range spans {
				d.mergeRange(s, span.clock, span.end())
			}
		}
	}
	for client, before := range d.tx.before {
		if s := d.clients[client]; s != nil && s.state() > before {
			d.mergeRange(s, before, s.state())
		}
	}
	for _, id := range slices.Backward(d.tx.merge) {
		s := d.clients[id.Client]
		x := s.at(s.find(id.Clock))
		d.mergeRange(s, x.id.Clock, x.id.Clock+x.len)
	}
}

// mergeRange joins what can be joined from the struct before clock from to the
// struct that begins at clock to. Runs grow to their right, so that n items cost
// n steps.
func (d *Doc) mergeRange(s *structs, from, to uint64) {
	at := s.find(from)
	for {
		before := s.prev(at)
		if !s.valid(before) {
			break
		}
		joins := s.at(before).joins(s.at(at))
		at = before
		if !joins {
			break
		}
	}
	for s.valid(at) {
		next := s.next(at)
		if !s.valid(next) || s.at(next).id.Clock > to {
			return
		}
		if left, right := s.at(at), s.at(next); left.joins(right) {
			left.join(right)
			at = s.remove(next)
			d.count--
			continue
		}
		at = next
	}
}

// touched notes that something in n changed, under key or, without one, in its
// list. Types that are new in this transaction are part of their parent's change.
func (d *Doc) touched(n *node, key string, keyed bool) {
	if d.Changed == nil {
		return
	}
	if x := n.item; x != nil && (x.deleted || d.isNew(x)) {
		return
	}
	e := d.tx.changed[n]
	if e == nil {
		e = &edits{}
		d.tx.changed[n] = e
	}
	if !keyed {
		e.list = true
		return
	}
	if e.keys == nil {
		e.keys = map[string]struct{}{}
	}
	e.keys[key] = struct{}{}
}

// isNew reports whether x came in the transaction under way.
func (d *Doc) isNew(x *item) bool {
	before, grew := d.tx.before[x.id.Client]
	return grew && x.id.Clock >= before
}

// An Event tells of one transaction. It may only be read while Changed runs.
type Event struct {
	Origin any  // what the transaction was begun with
	Local  bool // the transaction was begun here, not by an update

	doc *Doc
}

// Changes returns the types that were there before and changed, those nearer to
// the root first. What is new shows as a change of what it was put into.
func (e Event) Changes() []Change {
	changes := make([]Change, 0, len(e.doc.tx.changed))
	for n, what := range e.doc.tx.changed {
		if n.item == nil || !n.item.deleted {
			changes = append(changes, Change{n: n, edits: what})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return a.n.depth - b.n.depth })
	return changes
}

// A Change is what changed in one type.
type Change struct {
	n     *node
	edits *edits
}

type edits struct {
	list bool
	keys map[string]struct{}
}

// Path leads from the document to the type: the name of the top level, then
// string keys of maps and int indexes of arrays.
func (c Change) Path() []any { return c.n.path() }

// Type returns what changed: a *Map, *Array or *Text, nil for other kinds.
func (c Change) Type() any { return c.n.typed() }

// Keys returns the sorted keys that were set or deleted.
func (c Change) Keys() []string { return slices.Sorted(maps.Keys(c.edits.keys)) }

// A Delta is one step through a changed list: exactly one field is not 0.
type Delta struct {
	Retain int // elements, or UTF-16 units of a text, that stayed
	Insert int // elements or units that are new here
	Delete int // elements or units that were deleted here
}

// Delta returns what changed in the list of an array or text, nil when only keys
// changed.
func (c Change) Delta() []Delta {
	if !c.edits.list {
		return nil
	}
	var steps []Delta
	last := func() *Delta {
		if len(steps) == 0 {
			return nil
		}
		return &steps[len(steps)-1]
	}
	d := c.n.doc
	for x := c.n.start; x != nil; x = x.right {
		if !x.countable() {
			continue
		}
		l, n := last(), int(x.len)
		switch isNew := d.isNew(x); {
		case x.deleted && !isNew && d.tx.deleted.has(x.id):
			if l == nil || l.Delete == 0 {
				steps = append(steps, Delta{})
			}
			last().Delete += n
		case x.deleted:
		case isNew:
			if l == nil || l.Insert == 0 {
				steps = append(steps, Delta{})
			}
			last().Insert += n
		default:
			if l == nil || l.Retain == 0 {
				steps = append(steps, Delta{})
			}
			last().Retain += n
		}
	}
	if l := last(); l != nil && l.Retain > 0 {
		steps = steps[:len(steps)-1]
	}
	return steps
}

// tooLarge is the error of what is over a limit.
func tooLarge(format string, args ...any) error {
	return problem.New(problem.TooLarge, format, args...)
}
