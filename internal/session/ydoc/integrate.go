package ydoc

import (
	"slices"

	"quire/internal/problem"
)

// A parentRef says where an item that was read belongs, when it does not say so
// by its neighbours.
type parentRef struct {
	kind byte // parentByNeighbour, parentRoot or parentItem
	root string
	id   ID
}

const (
	parentByNeighbour = iota
	parentRoot
	parentItem
)

// incoming is an item that was read and is not part of the document yet.
type incoming struct {
	x      *item
	parent parentRef
}

// errWork is the error of an update that would cost more than its size allows.
var errWork = problem.New(problem.TooLarge, "the update causes more work than an update of its size may")

// spend takes n steps from what the update under way may cause.
func (d *Doc) spend(n int) error {
	d.work -= n
	if d.work < 0 {
		return errWork
	}
	return nil
}

// split cuts the struct at p so that its right part begins at clock.
func (d *Doc) split(s *structs, p place, clock uint64) (*item, error) {
	x := s.at(p)
	if err := d.spend(x.cutCost()); err != nil {
		return nil, err
	}
	right := x.cut(clock - x.id.Clock)
	right.left, right.right = x, x.right
	x.right = right
	if right.right != nil {
		right.right.left = right
	}
	if right.hasSub && right.right == nil {
		right.parent.entries[right.sub] = right
	}
	s.insertAfter(p, right)
	d.count++
	d.tx.merge = append(d.tx.merge, right.id)
	return right, nil
}

// startingAt returns the struct that begins with id, which must be known.
func (d *Doc) startingAt(id ID) (*item, error) {
	s := d.clients[id.Client]
	p := s.find(id.Clock)
	x := s.at(p)
	if x.id.Clock == id.Clock || x.kind == contentGC {
		return x, nil
	}
	return d.split(s, p, id.Clock)
}

// endingAt returns the struct that ends with id, which must be known.
func (d *Doc) endingAt(id ID) (*item, error) {
	s := d.clients[id.Client]
	p := s.find(id.Clock)
	x := s.at(p)
	if x.last() == id || x.kind == contentGC {
		return x, nil
	}
	_, err := d.split(s, p, id.Clock+1)
	return x, err
}

// add puts x at the end of its client's structs. Our own edits are not limited:
// who makes them counts them.
func (d *Doc) add(x *item) error {
	if d.count >= MaxStructs && !d.tx.local {
		return tooLarge("the document holds %d items, which is the limit", d.count)
	}
	s := d.clients[x.id.Client]
	if s == nil {
		s = &structs{}
		d.clients[x.id.Client] = s
	}
	if _, seen := d.tx.before[x.id.Client]; !seen {
		d.tx.before[x.id.Client] = s.state()
	}
	s.push(x)
	d.count++
	return nil
}

// missing returns the id that in cannot be integrated without, false when there
// is none.
func (d *Doc) missing(in *incoming) (ID, bool) {
	x := in.x
	if s := d.state(x.id.Client); x.id.Clock > s {
		return ID{x.id.Client, x.id.Clock - 1}, true
	}
	if x.hasOrigin && x.origin.Clock >= d.state(x.origin.Client) {
		return x.origin, true
	}
	if x.hasRightOrigin && x.rightOrigin.Clock >= d.state(x.rightOrigin.Client) {
		return x.rightOrigin, true
	}
	if in.parent.kind == parentItem && in.parent.id.Clock >= d.state(in.parent.id.Client) {
		return in.parent.id, true
	}
	return ID{}, false
}

// integrate makes an item that was read part of the document. Nothing that it
// needs is missing.
func (d *Doc) integrate(in *incoming) error {
	x := in.x
	state := d.state(x.id.Client)
	if x.id.Clock+x.len <= state {
		return nil // known
	}
	if x.kind == contentGC {
		if state > x.id.Clock {
			x.len -= state - x.id.Clock
			x.id.Clock = state
		}
		return d.addGone(x)
	}
	if err := d.neighbours(in, state); err != nil {
		return err
	}
	x = in.x
	if x.parent == nil {
		return d.addGone(x)
	}
	if x.node != nil {
		if x.node.depth = x.parent.depth + 1; x.node.depth > MaxDepth {
			return tooLarge("the update nests types more than %d deep", MaxDepth)
		}
	}
	if err := d.resolve(x); err != nil {
		return err
	}
	return d.link(x)
}

// addGone adds a struct that stands for what is gone: its parent was collected.
func (d *Doc) addGone(x *item) error {
	return d.add(&item{id: x.id, len: x.len, kind: contentGC, deleted: true})
}

// neighbours finds the items that x was inserted between and its parent, which
// stays nil when it is gone. When the first elements of x are known it goes on
// with the others.
func (d *Doc) neighbours(in *incoming, state uint64) (err error) {
	x := in.x
	if x.hasOrigin {
		if x.left, err = d.endingAt(x.origin); err != nil {
			return err
		}
	}
	if x.hasRightOrigin {
		if x.right, err = d.startingAt(x.rightOrigin); err != nil {
			return err
		}
	}
	switch {
	case x.left != nil && x.left.kind == contentGC, x.right != nil && x.right.kind == contentGC:
	case in.parent.kind == parentRoot:
		x.parent = d.root(in.parent.root, kindUnknown)
	case in.parent.kind == parentItem:
		if p := d.find(in.parent.id); p.kind == contentType {
			x.parent = p.node
		}
	case x.left != nil:
		x.parent, x.sub, x.hasSub = x.left.parent, x.left.sub, x.left.hasSub
	case x.right != nil:
		x.parent, x.sub, x.hasSub = x.right.parent, x.right.sub, x.right.hasSub
	}
	if state <= x.id.Clock {
		return nil
	}
	if err := d.spend(x.cutCost()); err != nil {
		return err
	}
	right := x.cut(state - x.id.Clock)
	right.right = x.right
	if right.left, err = d.endingAt(right.origin); err != nil {
		return err
	}
	switch l := right.left; {
	case l.kind == contentGC || right.parent == nil:
		right.parent = nil
	case l.parent != right.parent || l.sub != right.sub || l.hasSub != right.hasSub:
		return problem.New(problem.Invalid, "the update gives element %d of client %d a second place", state-1, x.id.Client)
	}
	in.x = right
	return nil
}

// resolve finds the place of x among the items that others inserted between the
// same neighbours, so that every replica finds the same: x.left is right then.
//
// Items from x.left on are looked at one by one. An item that was inserted at
// the same place stays left of x when its client's id is smaller; items that
// build on one that stays left of x stay left with it. Marks in the items take
// the place of the two sets of the published rule: what was seen has a mark above
// seen, what may still come right of x one above open.
func (d *Doc) resolve(x *item) error {
	if x.left == nil {
		if x.right != nil && x.right.left == nil {
			return nil
		}
	} else if x.left.right == x.right {
		return nil
	}
	left, o := x.left, (*item)(nil)
	if left != nil {
		o = left.right
	} else {
		var err error
		if o, err = d.leftmost(x); err != nil {
			return err
		}
	}
	seen := d.mark
	open := seen
	for ; o != nil && o != x.right; o = o.right {
		if err := d.spend(1); err != nil {
			return err
		}
		d.mark++
		o.mark = d.mark
		if sameOrigin(x, o) {
			if o.id.Client < x.id.Client {
				left, open = o, d.mark
			} else if sameRightOrigin(x, o) {
				break
			}
			continue
		}
		if !o.hasOrigin {
			break
		}
		before := d.find(o.origin)
		if before == nil || before.mark <= seen {
			break
		}
		if before.mark <= open {
			left, open = o, d.mark
		}
	}
	x.left = left
	return nil
}

func sameOrigin(a, b *item) bool {
	return a.hasOrigin == b.hasOrigin && (!a.hasOrigin || a.origin == b.origin)
}

func sameRightOrigin(a, b *item) bool {
	return a.hasRightOrigin == b.hasRightOrigin && (!a.hasRightOrigin || a.rightOrigin == b.rightOrigin)
}

// leftmost returns the first item of the list that x goes into; nil when x has
// an item on its left, which is all that link needs to know then.
func (d *Doc) leftmost(x *item) (*item, error) {
	if x.left != nil {
		return nil, nil
	}
	if !x.hasSub {
		return x.parent.start, nil
	}
	o := x.parent.entries[x.sub]
	for o != nil && o.left != nil {
		if err := d.spend(1); err != nil {
			return nil, err
		}
		o = o.left
	}
	return o, nil
}

// link puts x behind x.left into its parent.
func (d *Doc) link(x *item) error {
	first, err := d.leftmost(x)
	if err != nil {
		return err
	}
	if err := d.add(x); err != nil {
		return err
	}
	p := x.parent
	if x.left != nil {
		x.right = x.left.right
		x.left.right = x
	} else {
		x.right = first
		if !x.hasSub {
			p.start = x
		}
	}
	switch {
	case x.right != nil:
		x.right.left = x
	case x.hasSub:
		if p.entries == nil {
			p.entries = map[string]*item{}
		}
		p.entries[x.sub] = x
		if x.left != nil {
			d.remove(x.left)
		}
	}
	if !x.hasSub {
		if x.visible() {
			p.len += x.len
		}
		p.marked = nil
	}
	if x.node != nil {
		x.node.item, x.node.doc = x, d
	}
	if x.kind == contentDeleted {
		x.deleted = true
		d.tx.deleted.add(x.id.Client, x.id.Clock, x.len)
	}
	d.touched(p, x.sub, x.hasSub)
	if (p.item != nil && p.item.deleted) || (x.hasSub && x.right != nil) {
		d.remove(x)
	}
	return nil
}

// remove marks x and all that is in it as deleted.
func (d *Doc) remove(x *item) {
	if x.deleted {
		return
	}
	p := x.parent
	if !x.hasSub {
		if x.countable() {
			p.len -= x.len
		}
		p.marked = nil
	}
	x.deleted = true
	d.tx.deleted.add(x.id.Client, x.id.Clock, x.len)
	d.touched(p, x.sub, x.hasSub)
	if n := x.node; n != nil {
		for c := n.start; c != nil; c = c.right {
			d.removeChild(c)
		}
		for _, c := range n.entries {
			d.removeChild(c)
		}
		delete(d.tx.changed, n)
	}
}

// removeChild deletes an item of a type that is being deleted. What was deleted
// before becomes a bare length with the others, and may touch them then.
func (d *Doc) removeChild(c *item) {
	switch {
	case !c.deleted:
		d.remove(c)
	case !d.isNew(c):
		d.tx.merge = append(d.tx.merge, c.id)
	}
}

// pending is what was read and builds on something that was not.
type pending struct {
	queues  map[uint64]*queue
	count   int // items
	bytes   int // of their content
	deleted deleteSet
}

// A queue is what waits of one client, in the order of clocks.
type queue struct {
	items   []incoming
	at      int // the first that waits
	blocked bool
	needs   ID // what the first one needs, when blocked
}

// put adds items of one client, in the order of their clocks, to what waits.
func (p *pending) put(client uint64, items []incoming) {
	q := p.queue(client)
	q.blocked = false
	for i := range items {
		p.bytes += len(items[i].x.data)
	}
	p.count += len(items)
	old := q.items[q.at:]
	q.at = 0
	if len(old) == 0 || old[len(old)-1].x.id.Clock <= items[0].x.id.Clock {
		q.items = append(old, items...)
		return
	}
	q.items = make([]incoming, 0, len(old)+len(items))
	for len(old) > 0 && len(items) > 0 {
		if old[0].x.id.Clock <= items[0].x.id.Clock {
			q.items, old = append(q.items, old[0]), old[1:]
		} else {
			q.items, items = append(q.items, items[0]), items[1:]
		}
	}
	q.items = append(append(q.items, old...), items...)
}

func (p *pending) queue(client uint64) *queue {
	q := p.queues[client]
	if q == nil {
		if p.queues == nil {
			p.queues = map[uint64]*queue{}
		}
		q = &queue{}
		p.queues[client] = q
	}
	return q
}

// advance integrates of client's queue, and of the queues that it needs, all
// that can be. A queue that stays is marked blocked.
func (d *Doc) advance(client uint64) error {
	stack := []uint64{client}
	waiting := map[uint64]bool{client: true}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		q := d.pending.queues[top]
		var next uint64
		var descend bool
		for q != nil && q.at < len(q.items) && !q.blocked {
			in := &q.items[q.at]
			if needs, missing := d.missing(in); missing {
				other := d.pending.queues[needs.Client]
				if needs.Client == top || waiting[needs.Client] || other == nil || other.blocked || other.at == len(other.items) {
					q.blocked, q.needs = true, needs
					break
				}
				next, descend = needs.Client, true
				break
			}
			d.pending.count--
			d.pending.bytes -= len(in.x.data)
			q.at++
			err := d.integrate(in)
			*in = incoming{}
			if err != nil {
				d.tidy(q, top)
				return err
			}
		}
		if descend {
			stack = append(stack, next)
			waiting[next] = true
			continue
		}
		d.tidy(q, top)
		stack = stack[:len(stack)-1]
		delete(waiting, top)
	}
	return nil
}

// tidy gives back what an advanced queue no longer needs.
func (d *Doc) tidy(q *queue, client uint64) {
	switch {
	case q == nil:
	case q.at == len(q.items):
		delete(d.pending.queues, client)
	case q.at > len(q.items)/2:
		q.items = slices.Clone(q.items[q.at:])
		q.at = 0
	}
}

// advanceAll integrates all that can be, and goes on while that makes more
// possible.
func (d *Doc) advanceAll(order []uint64) error {
	for len(order) > 0 {
		for _, client := range order {
			if err := d.advance(client); err != nil {
				return err
			}
		}
		order = order[:0]
		if err := d.spend(len(d.pending.queues)); err != nil {
			return err
		}
		for client, q := range d.pending.queues {
			if q.blocked && q.needs.Clock < d.state(q.needs.Client) {
				q.blocked = false
				order = append(order, client)
			}
		}
		slices.Sort(order)
	}
	return nil
}

// applyDeletes deletes what the spans name and is known, and keeps the rest for
// later.
func (d *Doc) applyDeletes(client uint64, spans []span) error {
	s, state := d.clients[client], d.state(client)
	for _, sp := range spans {
		if sp.end() > state {
			rest := span{max(sp.clock, state), 0}
			rest.len = sp.end() - rest.clock
			if d.pending.deleted == nil {
				d.pending.deleted = deleteSet{}
			}
			d.pending.deleted.add(client, rest.clock, rest.len)
			if sp.clock >= state {
				continue
			}
		}
		if err := d.deleteKnown(s, sp.clock, min(sp.end(), state)); err != nil {
			return err
		}
	}
	return nil
}

// deleteKnown deletes the elements of one client from clock from up to to.
func (d *Doc) deleteKnown(s *structs, from, to uint64) error {
	p := s.find(from)
	if x := s.at(p); !x.deleted && x.id.Clock < from {
		if _, err := d.split(s, p, from); err != nil {
			return err
		}
		p = s.find(from)
	}
	for ; s.valid(p); p = s.next(p) {
		x := s.at(p)
		if x.id.Clock >= to {
			break
		}
		if err := d.spend(1); err != nil {
			return err
		}
		if x.deleted {
			continue
		}
		if x.id.Clock+x.len > to {
			if _, err := d.split(s, p, to); err != nil {
				return err
			}
			p = s.find(x.id.Clock)
		}
		d.remove(x)
	}
	return nil
}

// retryDeletes applies the waiting deletions that became possible.
func (d *Doc) retryDeletes() error {
	if len(d.pending.deleted) == 0 {
		return nil
	}
	for client := range d.tx.before {
		spans := d.pending.deleted[client]
		if len(spans) == 0 {
			continue
		}
		delete(d.pending.deleted, client)
		if err := d.applyDeletes(client, spans); err != nil {
			return err
		}
	}
	return d.boundDeletes()
}

// boundDeletes keeps the waiting deletions below their limit.
func (d *Doc) boundDeletes() error {
	if len(d.pending.deleted) == 0 || d.pending.deleted.spans() <= MaxPending {
		return nil
	}
	d.pending.deleted.normalize()
	if n := d.pending.deleted.spans(); n > MaxPending {
		d.pending.deleted = nil
		return tooLarge("%d deletions wait for what they delete; the limit is %d", n, MaxPending)
	}
	return nil
}
