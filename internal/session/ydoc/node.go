package ydoc

import (
	"iter"
	"maps"
	"slices"
	"unicode/utf8"
)

// A node is what a Map, an Array or a Text is.
type node struct {
	doc     *Doc
	item    *item  // what holds it; nil at the top level
	name    string // of the top level, or of an XML element
	kind    byte
	depth   int
	start   *item            // the list
	entries map[string]*item // the newest item of each key
	len     uint64           // visible elements of the list

	marked   *item  // an item of the list that was looked up, nil when none is remembered
	markedAt uint64 // and the elements before it
}

// A Map is a set of keys with values. Of two values that are set at once for one
// key, one wins everywhere.
type Map node

// An Array is a list of values.
type Array node

// A Text is a string that several people edit. Positions and lengths count
// UTF-16 units, as JavaScript's strings do.
type Text node

func (n *node) typed() any {
	switch n.kind {
	case kindMap:
		return (*Map)(n)
	case kindArray:
		return (*Array)(n)
	case kindText:
		return (*Text)(n)
	}
	return nil
}

// path leads from the document to n.
func (n *node) path() []any {
	var steps []any
	for ; n.item != nil; n = n.item.parent {
		if n.item.hasSub {
			steps = append(steps, n.item.sub)
			continue
		}
		index := 0
		for x := n.item.left; x != nil; x = x.left {
			if x.visible() {
				index += int(x.len)
			}
		}
		steps = append(steps, index)
	}
	steps = append(steps, n.name)
	slices.Reverse(steps)
	return steps
}

func (n *node) json() any {
	switch n.kind {
	case kindMap:
		m := make(map[string]any, len(n.entries))
		for key, x := range n.entries {
			if !x.deleted {
				m[key] = plain(x.value(x.len - 1))
			}
		}
		return m
	case kindText:
		return n.text()
	case kindArray:
		list := make([]any, 0, min(n.len, 1024))
		for x := n.start; x != nil; x = x.right {
			if x.visible() {
				for v := range x.values() {
					list = append(list, plain(v))
				}
			}
		}
		return list
	}
	return nil
}

// plain returns the JSON value of a type, and every other value as it is.
func plain(v any) any {
	switch v := v.(type) {
	case *Map:
		return (*node)(v).json()
	case *Array:
		return (*node)(v).json()
	case *Text:
		return (*node)(v).json()
	case Undefined:
		return nil
	}
	return v
}

func (n *node) text() string {
	size := 0
	for x := n.start; x != nil; x = x.right {
		if x.kind == contentString && !x.deleted {
			size += len(x.data)
		}
	}
	b := make([]byte, 0, size)
	for x := n.start; x != nil; x = x.right {
		if x.kind == contentString && !x.deleted {
			b = append(b, x.data...)
		}
	}
	return string(b)
}

// seek returns the visible item that holds element index, and how many elements
// are before it; at the end of the list the last item and its index.
func (n *node) seek(index uint64) (x *item, at uint64) {
	x = n.start
	if n.marked != nil && index >= n.markedAt/2 {
		x, at = n.marked, n.markedAt
	}
	if x == nil {
		return nil, 0
	}
	for at > index && x.left != nil {
		x = x.left
		if x.visible() {
			at -= x.len
		}
	}
	for x.right != nil {
		if x.visible() {
			if index < at+x.len {
				break
			}
			at += x.len
		}
		x = x.right
	}
	n.marked, n.markedAt = x, at
	return x, at
}

// between returns the items that element index is to be inserted between. It
// cuts an item in two where it must.
func (n *node) between(index uint64) (left, right *item) {
	if index == 0 {
		return nil, n.start
	}
	x, at := n.seek(index - 1)
	end := at + x.len
	if !x.visible() {
		end = at
	}
	if index < end {
		d := n.doc
		id := ID{x.id.Client, x.id.Clock + (index - at)}
		right, _ = d.startingAt(id) // our own edits may cost what they cost
		return x, right
	}
	return x, x.right
}

// insert puts x before element index.
func (n *node) insert(index uint64, x *item) {
	left, right := n.between(index)
	n.doc.place(n, left, right, x)
	n.marked, n.markedAt = x, index
}

// place gives x its id and its place, and links it.
func (d *Doc) place(n *node, left, right *item, x *item) {
	x.id = ID{d.client, d.state(d.client)}
	x.parent, x.left, x.right = n, left, right
	if left != nil {
		x.origin, x.hasOrigin = left.last(), true
	}
	if right != nil {
		x.rightOrigin, x.hasRightOrigin = right.id, true
	}
	if x.node != nil {
		x.node.depth = n.depth + 1
	}
	if err := d.link(x); err != nil {
		panic("ydoc: " + err.Error()) // only what others send can break a limit
	}
}

// remove deletes n elements from index on.
func (n *node) remove(index, count uint64) {
	_, x := n.between(index)
	d := n.doc
	for x != nil && count > 0 {
		if x.visible() {
			if count < x.len {
				_, _ = d.startingAt(ID{x.id.Client, x.id.Clock + count})
			}
			count -= x.len
			d.remove(x)
		}
		x = x.right
	}
	n.marked = nil
}

// check panics when a position is not in the list, as a slice expression does.
func (n *node) check(index, count int) {
	if index < 0 || count < 0 || uint64(index)+uint64(count) > n.len {
		panic("ydoc: a position outside of the list")
	}
}

// add makes a new type inside of n.
func (n *node) add(kind byte, put func(x *item)) *node {
	c := &node{doc: n.doc, kind: kind}
	n.doc.Transact(n.doc.tx.origin, func() { put(&item{len: 1, kind: contentType, node: c}) })
	return c
}

// get returns the value under key.
func (n *node) get(key string) (any, bool) {
	x := n.entries[key]
	if x == nil || x.deleted {
		return nil, false
	}
	return x.value(x.len - 1), true
}

// put makes x the value under key.
func (n *node) put(key string, x *item) {
	x.sub, x.hasSub = key, true
	n.doc.place(n, n.entries[key], nil, x)
}

// Len returns how many keys are set.
func (m *Map) Len() int {
	count := 0
	for _, x := range m.entries {
		if !x.deleted {
			count++
		}
	}
	return count
}

// Keys returns the sorted keys that are set.
func (m *Map) Keys() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.entries)), func(key string) bool { return m.entries[key].deleted })
}

// Get returns the value under key: a *Map, *Array or *Text, or a plain value as
// Value describes it. It is nil and false when there is none.
func (m *Map) Get(key string) (any, bool) { return (*node)(m).get(key) }

// Map returns the map under key, nil when there is none.
func (m *Map) Map(key string) *Map { v, _ := m.Get(key); t, _ := v.(*Map); return t }

// Array returns the array under key, nil when there is none.
func (m *Map) Array(key string) *Array { v, _ := m.Get(key); t, _ := v.(*Array); return t }

// Text returns the text under key, nil when there is none.
func (m *Map) Text(key string) *Text { v, _ := m.Get(key); t, _ := v.(*Text); return t }

// String returns the string under key, "" when there is none.
func (m *Map) String(key string) string { v, _ := m.Get(key); s, _ := v.(string); return s }

// Set sets a plain value; see Value.
func (m *Map) Set(key string, value any) {
	m.doc.Transact(m.doc.tx.origin, func() { (*node)(m).put(key, newItem([]any{value})) })
}

// SetMap sets a new map and returns it.
func (m *Map) SetMap(key string) *Map { return (*Map)(m.setType(key, kindMap)) }

// SetArray sets a new array and returns it.
func (m *Map) SetArray(key string) *Array { return (*Array)(m.setType(key, kindArray)) }

// SetText sets a new text and returns it.
func (m *Map) SetText(key string) *Text { return (*Text)(m.setType(key, kindText)) }

func (m *Map) setType(key string, kind byte) *node {
	return (*node)(m).add(kind, func(x *item) { (*node)(m).put(key, x) })
}

// Delete removes key; it need not be set.
func (m *Map) Delete(key string) {
	if x := m.entries[key]; x != nil && !x.deleted {
		m.doc.Transact(m.doc.tx.origin, func() { m.doc.remove(x) })
	}
}

// JSON returns the map with everything in it as plain values.
func (m *Map) JSON() map[string]any { v, _ := (*node)(m).json().(map[string]any); return v }

// Live reports whether the map is still part of the document.
func (m *Map) Live() bool { return (*node)(m).live() }

func (n *node) live() bool { return n.item == nil || !n.item.deleted }

// Len returns how many elements there are.
func (a *Array) Len() int { return int(a.len) }

// Get returns element index, as Map.Get does. It panics when there is none.
func (a *Array) Get(index int) any {
	n := (*node)(a)
	n.check(index, 1)
	x, at := n.seek(uint64(index))
	return x.value(uint64(index) - at)
}

// Map returns the map at index, nil when another value is there.
func (a *Array) Map(index int) *Map { m, _ := a.Get(index).(*Map); return m }

// All returns the elements with their indexes.
func (a *Array) All() iter.Seq2[int, any] {
	return func(yield func(int, any) bool) {
		index := 0
		for x := a.start; x != nil; x = x.right {
			if !x.visible() {
				continue
			}
			for v := range x.values() {
				if !yield(index, v) {
					return
				}
				index++
			}
		}
	}
}

// Insert puts plain values before element index, which may be the length.
func (a *Array) Insert(index int, values ...any) {
	n := (*node)(a)
	n.check(index, 0)
	n.doc.Transact(n.doc.tx.origin, func() {
		for len(values) > 0 {
			run := 1 // bytes stand alone
			if !isBytes(values[0]) {
				for run < len(values) && !isBytes(values[run]) {
					run++
				}
			}
			n.insert(uint64(index), newItem(values[:run]))
			index += run
			values = values[run:]
		}
	})
}

// InsertMap puts a new map before element index and returns it.
func (a *Array) InsertMap(index int) *Map { return (*Map)(a.insertType(index, kindMap)) }

// InsertArray puts a new array before element index and returns it.
func (a *Array) InsertArray(index int) *Array { return (*Array)(a.insertType(index, kindArray)) }

// InsertText puts a new text before element index and returns it.
func (a *Array) InsertText(index int) *Text { return (*Text)(a.insertType(index, kindText)) }

func (a *Array) insertType(index int, kind byte) *node {
	n := (*node)(a)
	n.check(index, 0)
	return n.add(kind, func(x *item) { n.insert(uint64(index), x) })
}

// Delete removes count elements from index on.
func (a *Array) Delete(index, count int) {
	n := (*node)(a)
	n.check(index, count)
	n.doc.Transact(n.doc.tx.origin, func() { n.remove(uint64(index), uint64(count)) })
}

// JSON returns the elements with everything in them as plain values.
func (a *Array) JSON() []any { v, _ := (*node)(a).json().([]any); return v }

// Len returns the length in UTF-16 units.
func (t *Text) Len() int { return int(t.len) }

// String returns the text.
func (t *Text) String() string { return (*node)(t).text() }

// Insert puts s before position index. What is not UTF-8 in s becomes U+FFFD.
func (t *Text) Insert(index int, s string) {
	n := (*node)(t)
	n.check(index, 0)
	data := []byte(s)
	if !utf8.Valid(data) {
		data = []byte(string([]rune(s)))
	}
	size := utf16Len(data)
	if size == 0 {
		return
	}
	n.doc.Transact(n.doc.tx.origin, func() {
		n.insert(uint64(index), &item{kind: contentString, len: size, data: data, ascii: size == uint64(len(data))})
	})
}

// Append is Insert at the end.
func (t *Text) Append(s string) { t.Insert(t.Len(), s) }

// Delete removes count units from index on.
func (t *Text) Delete(index, count int) {
	n := (*node)(t)
	n.check(index, count)
	n.doc.Transact(n.doc.tx.origin, func() { n.remove(uint64(index), uint64(count)) })
}

// Replace makes the text s by changing only what lies between what both begin
// and end with, so that others' cursors and edits around it stay.
func (t *Text) Replace(s string) {
	old := t.String()
	if old == s {
		return
	}
	a, b := []rune(old), []rune(s)
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	at := int(utf16Len([]byte(string(a[:head]))))
	t.doc.Transact(t.doc.tx.origin, func() {
		t.Delete(at, int(utf16Len([]byte(string(a[head:len(a)-tail])))))
		t.Insert(at, string(b[head:len(b)-tail]))
	})
}
