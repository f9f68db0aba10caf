package ydoc

import (
	"bytes"
	"maps"
	"slices"
	"unicode/utf8"

	"quire/internal/problem"
)

// Apply reads an update of version 1 and makes it part of the document. What
// builds on something unknown waits; see Pending. An update that cannot be read
// is refused whole, with kind Invalid; one that breaks a limit is refused with
// kind TooLarge, and its first part may stay. update may be used again
// afterwards.
func (d *Doc) Apply(update []byte, origin any) error {
	if d.open {
		return problem.New(problem.Internal, "an update was applied within a transaction")
	}
	r := &reader{b: update}
	incoming, order := d.readStructs(r)
	deleted := readDeleteSet(r)
	if err := r.end("update"); err != nil {
		return err
	}
	d.begin(origin, false)
	defer d.end()
	d.work = 1<<23 + 8*len(update)
	err := d.takeIn(incoming, order, deleted)
	if err != nil {
		d.DropPending() // it may hold the rest of this update
	}
	return err
}

// takeIn integrates what was read, and keeps what cannot be yet.
func (d *Doc) takeIn(items []incoming, order []uint64, deleted map[uint64][]span) (err error) {
	if d.pending.count == 0 && len(order) == 1 {
		if items, err = d.integrateAll(items); err != nil {
			return err
		}
	}
	if err := d.integrateQueued(items); err != nil {
		return err
	}
	if err := d.retryDeletes(); err != nil {
		return err
	}
	for client, spans := range deleted {
		if err := d.applyDeletes(client, spans); err != nil {
			return err
		}
	}
	return d.boundDeletes()
}

// integrateAll is the short way of an update of one client: it integrates items
// until one needs something that is missing, and returns the rest.
func (d *Doc) integrateAll(items []incoming) ([]incoming, error) {
	for i := range items {
		if _, missing := d.missing(&items[i]); missing {
			return items[i:], nil
		}
		if err := d.integrate(&items[i]); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// integrateQueued puts what was read behind what waits and integrates all that
// can be.
func (d *Doc) integrateQueued(items []incoming) error {
	order := []uint64{}
	byAge := func(a, b incoming) int {
		if a.x.id.Client != b.x.id.Client {
			return -compare(a.x.id.Client, b.x.id.Client)
		}
		return compare(a.x.id.Clock, b.x.id.Clock)
	}
	if !slices.IsSortedFunc(items, byAge) {
		slices.SortStableFunc(items, byAge)
	}
	for len(items) > 0 {
		client, n := items[0].x.id.Client, 1
		for n < len(items) && items[n].x.id.Client == client {
			n++
		}
		d.pending.put(client, items[:n])
		order = append(order, client)
		items = items[n:]
	}
	if d.pending.count == 0 {
		return nil
	}
	for client, q := range d.pending.queues {
		if q.blocked && q.needs.Clock < d.state(q.needs.Client) {
			q.blocked = false
			order = append(order, client)
		}
	}
	slices.SortFunc(order, func(a, b uint64) int { return -compare(a, b) })
	if err := d.advanceAll(slices.Compact(order)); err != nil {
		return err
	}
	if d.pending.count > MaxPending || d.pending.bytes > MaxPendingBytes {
		return tooLarge("more than %d items, or %d bytes, wait for what they build on", MaxPending, MaxPendingBytes)
	}
	return nil
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// readStructs reads the items of an update, and the clients that they are of.
func (d *Doc) readStructs(r *reader) (items []incoming, order []uint64) {
	for clients := r.uint(); clients > 0 && r.err == nil; clients-- {
		count, client, clock := r.uint(), r.id53(), r.id53()
		order = append(order, client)
		for ; count > 0 && r.err == nil; count-- {
			in, skip := d.readStruct(r, ID{client, clock})
			switch {
			case r.err != nil:
				return nil, nil
			case skip > 0:
				clock += skip
			default:
				clock += in.x.len
				items = append(items, in)
			}
			if clock > MaxClient {
				r.fail("a clock is over %d", uint64(MaxClient))
			}
		}
	}
	return items, order
}

// readStruct reads one item, or the length of a gap.
func (d *Doc) readStruct(r *reader, id ID) (in incoming, skip uint64) {
	head := r.byte()
	kind := head & 31
	switch kind {
	case contentGC:
		return incoming{x: &item{id: id, len: r.len(), kind: contentGC, deleted: true}}, 0
	case contentSkip:
		return incoming{}, r.len()
	}
	x := &item{id: id, kind: kind, len: 1}
	if head&0x80 != 0 {
		x.origin, x.hasOrigin = r.id(), true
	}
	if head&0x40 != 0 {
		x.rightOrigin, x.hasRightOrigin = r.id(), true
	}
	in.x = x
	if head&0xc0 == 0 {
		if r.uint() == 1 {
			in.parent = parentRef{kind: parentRoot, root: d.intern(r.string())}
		} else {
			in.parent = parentRef{kind: parentItem, id: r.id()}
		}
		if head&0x20 != 0 {
			x.sub, x.hasSub = d.intern(r.string()), true
		}
	}
	for _, ref := range []struct {
		id  ID
		has bool
	}{{x.origin, x.hasOrigin}, {x.rightOrigin, x.hasRightOrigin}, {in.parent.id, in.parent.kind == parentItem}} {
		if ref.has && ref.id.Client == id.Client && ref.id.Clock >= id.Clock {
			r.fail("element %d of client %d builds on itself or on a later one", id.Clock, id.Client)
		}
	}
	readContent(r, x)
	return in, 0
}

// readContent reads what is in an item.
func readContent(r *reader, x *item) {
	from := r.at
	switch x.kind {
	case contentDeleted:
		x.len, x.deleted = r.len(), true
		return
	case contentJSON:
		x.len = r.len()
		from = r.at
		for n := x.len; n > 0 && r.err == nil; n-- {
			r.string()
		}
	case contentAny:
		x.len = r.len()
		from = r.at
		for n := x.len; n > 0 && r.err == nil; n-- {
			r.skipValue(0)
		}
	case contentString:
		text := r.string()
		if x.len = utf16Len(text); x.len == 0 {
			r.fail("a string is empty")
		}
		x.ascii = x.len == uint64(len(text))
		x.data = bytes.Clone(text)
		return
	case contentBinary, contentEmbed:
		r.bytes()
	case contentFormat:
		r.string()
		r.string()
	case contentType:
		kind := r.uint()
		if kind > kindXMLText {
			r.fail("there is no type number %d", kind)
			return
		}
		x.node = &node{kind: byte(kind)}
		if kind == kindElement || kind == kindHook {
			x.node.name = string(r.string())
		}
		return
	case contentDoc:
		r.string()
		r.skipValue(0)
	default:
		r.fail("there is no content number %d", x.kind)
		return
	}
	if r.err == nil {
		x.data = bytes.Clone(r.b[from:r.at])
	}
}

// intern returns text as a string that is kept once.
func (d *Doc) intern(text []byte) string {
	if s, ok := d.names[string(text)]; ok {
		return s
	}
	s := string(text)
	if len(s) <= 64 && len(d.names) < 4096 {
		d.names[s] = s
	}
	return s
}

func readDeleteSet(r *reader) map[uint64][]span {
	var deleted map[uint64][]span
	for clients := r.uint(); clients > 0 && r.err == nil; clients-- {
		client := r.id53()
		for count := r.uint(); count > 0 && r.err == nil; count-- {
			s := span{r.id53(), r.len()}
			if s.end() > MaxClient {
				r.fail("a deletion reaches over %d", uint64(MaxClient))
			}
			if deleted == nil {
				deleted = map[uint64][]span{}
			}
			deleted[client] = append(deleted[client], s)
		}
	}
	return deleted
}

// StateVector returns, encoded, what the document knows of each client: what
// another replica needs to say what is missing here.
func (d *Doc) StateVector() []byte {
	w := &writer{}
	w.uint(uint64(len(d.clients)))
	for _, client := range descending(d.clients) {
		w.uint(client)
		w.uint(d.state(client))
	}
	return w.b
}

// Update returns, encoded, all that a replica with the given state vector does
// not have; a nil vector is that of an empty document. What waits for something
// unknown is not in it.
func (d *Doc) Update(vector []byte) ([]byte, error) {
	known := map[uint64]uint64{}
	if len(vector) > 0 {
		r := &reader{b: vector}
		for n := r.uint(); n > 0 && r.err == nil; n-- {
			client := r.id53()
			known[client] = r.id53()
		}
		if err := r.end("state vector"); err != nil {
			return nil, err
		}
	}
	w := &writer{}
	d.writeStructs(w, known, d.clients)
	deleted := deleteSet{}
	for client, s := range d.clients {
		for p := s.first(); s.valid(p); p = s.next(p) {
			if x := s.at(p); x.deleted {
				deleted.add(client, x.id.Clock, x.len)
			}
		}
	}
	writeDeleteSet(w, deleted)
	return w.b, nil
}

// transactionUpdate encodes what the transaction under way changed.
func (d *Doc) transactionUpdate() []byte {
	w := &writer{}
	d.writeStructs(w, d.tx.before, d.tx.before)
	writeDeleteSet(w, d.tx.deleted)
	return w.b
}

// writeStructs writes what is not known of those clients. Those with larger ids
// come first, as yjs has it.
func (d *Doc) writeStructs(w *writer, known map[uint64]uint64, of any) {
	var clients []uint64
	switch m := of.(type) {
	case map[uint64]*structs:
		clients = descending(m)
	case map[uint64]uint64:
		clients = descending(m)
	}
	clients = slices.DeleteFunc(clients, func(c uint64) bool { return d.state(c) <= known[c] })
	w.uint(uint64(len(clients)))
	for _, client := range clients {
		s, clock := d.clients[client], known[client]
		start := s.find(clock)
		count := uint64(0)
		for p := start; s.valid(p); p = (place{p.chunk + 1, 0}) {
			count += uint64(len(s.chunks[p.chunk]) - p.i)
		}
		w.uint(count)
		w.uint(client)
		w.uint(clock)
		offset := clock - s.at(start).id.Clock
		for p := start; s.valid(p); p = s.next(p) {
			s.at(p).write(w, offset)
			offset = 0
		}
	}
}

func writeDeleteSet(w *writer, deleted deleteSet) {
	w.uint(uint64(len(deleted)))
	for _, client := range descending(deleted) {
		w.uint(client)
		w.uint(uint64(len(deleted[client])))
		for _, s := range deleted[client] {
			w.uint(s.clock)
			w.uint(s.len)
		}
	}
}

func descending[V any](m map[uint64]V) []uint64 {
	return slices.SortedFunc(maps.Keys(m), func(a, b uint64) int { return -compare(a, b) })
}

// write encodes x without its first offset elements.
func (x *item) write(w *writer, offset uint64) {
	if x.kind == contentGC {
		w.byte(contentGC)
		w.uint(x.len - offset)
		return
	}
	origin, hasOrigin := x.origin, x.hasOrigin
	if offset > 0 {
		origin, hasOrigin = ID{x.id.Client, x.id.Clock + offset - 1}, true
	}
	head := x.kind
	if hasOrigin {
		head |= 0x80
	}
	if x.hasRightOrigin {
		head |= 0x40
	}
	if x.hasSub {
		head |= 0x20
	}
	w.byte(head)
	if hasOrigin {
		w.id(origin)
	}
	if x.hasRightOrigin {
		w.id(x.rightOrigin)
	}
	if !hasOrigin && !x.hasRightOrigin {
		if p := x.parent; p.item == nil {
			w.uint(1)
			w.string(p.name)
		} else {
			w.uint(0)
			w.id(p.item.id)
		}
		if x.hasSub {
			w.string(x.sub)
		}
	}
	x.writeContent(w, offset)
}

func (x *item) writeContent(w *writer, offset uint64) {
	switch x.kind {
	case contentDeleted:
		w.uint(x.len - offset)
	case contentString:
		text := x.data
		if offset > 0 {
			_, text = cutString(x.data, offset, x.ascii)
		}
		w.string(string(text))
	case contentType:
		w.uint(uint64(x.node.kind))
		if x.node.kind == kindElement || x.node.kind == kindHook {
			w.string(x.node.name)
		}
	case contentAny:
		w.uint(x.len - offset)
		w.raw(x.data[skipValues(x.data, offset):])
	case contentJSON:
		w.uint(x.len - offset)
		w.raw(x.data[skipStrings(x.data, offset):])
	default:
		w.raw(x.data)
	}
}

// reader reads lib0's encoding. After its first error everything it returns is
// zero.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = problem.New(problem.Invalid, "at byte %d: "+format, append([]any{r.at}, args...)...)
	}
}

// end returns the first error; bytes that are left over are one.
func (r *reader) end(what string) error {
	if r.err == nil && r.at != len(r.b) {
		r.fail("%d bytes too many", len(r.b)-r.at)
	}
	return problem.WrapAs(problem.Invalid, r.err, "reading a %s", what)
}

func (r *reader) byte() byte {
	if r.err != nil || r.at >= len(r.b) {
		r.fail("it ends too early")
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) uint() uint64 {
	var v uint64
	for shift := 0; ; shift += 7 {
		b := r.byte()
		if r.err != nil {
			return 0
		}
		if shift > 49 || (shift == 49 && b > 0x0f) {
			r.fail("a number is over %d", uint64(MaxClient))
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

// id53 reads a client id or a clock, which uint bounds.
func (r *reader) id53() uint64 { return r.uint() }

// len reads a length, which is at least 1.
func (r *reader) len() uint64 {
	n := r.uint()
	if n == 0 {
		r.fail("a length is 0")
	}
	return n
}

func (r *reader) id() ID {
	client := r.id53()
	return ID{client, r.id53()}
}

// bytes reads a length and that many bytes, which are part of the input.
func (r *reader) bytes() []byte {
	n := r.uint()
	if r.err == nil && n > uint64(len(r.b)-r.at) {
		r.fail("%d bytes are said to follow, and %d do", n, len(r.b)-r.at)
	}
	if r.err != nil {
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at : r.at]
}

// string is bytes, which must be UTF-8.
func (r *reader) string() []byte {
	b := r.bytes()
	if !utf8.Valid(b) {
		r.fail("a string is not UTF-8")
		return nil
	}
	return b
}

// writer writes lib0's encoding.
type writer struct{ b []byte }

func (w *writer) byte(b byte)  { w.b = append(w.b, b) }
func (w *writer) raw(b []byte) { w.b = append(w.b, b...) }

func (w *writer) uint(v uint64) {
	for v >= 0x80 {
		w.b = append(w.b, byte(v)|0x80)
		v >>= 7
	}
	w.b = append(w.b, byte(v))
}

func (w *writer) string(s string) {
	w.uint(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) id(id ID) {
	w.uint(id.Client)
	w.uint(id.Clock)
}
