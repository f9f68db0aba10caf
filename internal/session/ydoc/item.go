package ydoc

import (
	"bytes"
	"unicode/utf8"
)

// An ID names one element that was ever inserted: the client that did and its
// clock then.
type ID struct{ Client, Clock uint64 }

// The kinds of content, by their numbers on the wire.
const (
	contentGC      = 0 // deleted with its parent: nothing but a length
	contentDeleted = 1 // deleted: its place is kept
	contentJSON    = 2 // values as JSON texts, of old clients
	contentBinary  = 3
	contentString  = 4
	contentEmbed   = 5
	contentFormat  = 6
	contentType    = 7
	contentAny     = 8
	contentDoc     = 9
	contentSkip    = 10 // on the wire only
)

// The kinds of types, by their numbers on the wire.
const (
	kindArray   = 0
	kindMap     = 1
	kindText    = 2
	kindElement = 3
	kindHook    = 5
	kindXMLText = 6
	kindUnknown = 255 // a top-level type that nobody asked for yet
)

// An item is one run of elements that were inserted together, or that were
// merged since. It lies in two lists: its client's structs by clock, and its
// parent's list by position (or by age, under one key of a map).
type item struct {
	id          ID
	len         uint64 // elements; UTF-16 units of a string; at least 1
	origin      ID     // what was left of it when it was inserted
	rightOrigin ID     // what was right of it
	left, right *item
	parent      *node
	sub         string // the key, for items of a map
	mark        uint64 // see resolve
	data        []byte // the content: UTF-8, or the values as they are on the wire
	node        *node  // the content of contentType

	kind           byte
	deleted        bool
	hasOrigin      bool
	hasRightOrigin bool
	hasSub         bool
	ascii          bool // data of a string has one byte a unit
}

// last returns the id of the last element.
func (x *item) last() ID { return ID{x.id.Client, x.id.Clock + x.len - 1} }

// countable reports whether the elements count as elements of the parent.
func (x *item) countable() bool {
	return x.kind != contentGC && x.kind != contentDeleted && x.kind != contentFormat
}

// visible reports whether the elements are there for a reader.
func (x *item) visible() bool { return !x.deleted && x.countable() }

// cut takes the elements from offset on (1 to len-1) out of x and returns them
// as an item of their own that is in no list yet.
func (x *item) cut(offset uint64) *item {
	right := &item{
		id: ID{x.id.Client, x.id.Clock + offset}, len: x.len - offset,
		origin: ID{x.id.Client, x.id.Clock + offset - 1}, hasOrigin: true,
		rightOrigin: x.rightOrigin, hasRightOrigin: x.hasRightOrigin,
		parent: x.parent, sub: x.sub, hasSub: x.hasSub,
		kind: x.kind, deleted: x.deleted, ascii: x.ascii,
	}
	switch x.kind {
	case contentString:
		x.data, right.data = cutString(x.data, offset, x.ascii)
	case contentAny:
		n := skipValues(x.data, offset)
		x.data, right.data = x.data[:n:n], x.data[n:]
	case contentJSON:
		n := skipStrings(x.data, offset)
		x.data, right.data = x.data[:n:n], x.data[n:]
	}
	x.len = offset
	return right
}

// cutCost is how many steps a cut takes.
func (x *item) cutCost() int {
	if x.kind == contentString && x.ascii {
		return 1
	}
	return 1 + len(x.data)/64
}

// joins reports whether right, the next struct of the client, continues x.
func (x *item) joins(right *item) bool {
	if x.kind != right.kind || x.deleted != right.deleted {
		return false
	}
	switch x.kind {
	case contentGC:
		return true
	case contentDeleted, contentString, contentAny, contentJSON:
	default:
		return false
	}
	return right.hasOrigin && right.origin == x.last() && x.right == right &&
		x.hasRightOrigin == right.hasRightOrigin && (!x.hasRightOrigin || x.rightOrigin == right.rightOrigin)
}

// join appends right to x; the caller takes right out of the client's structs.
func (x *item) join(right *item) {
	if x.kind != contentGC {
		n := x.parent
		if n.marked == right {
			n.marked = x
			if x.visible() {
				n.markedAt -= x.len
			}
		}
		if right.hasSub && n.entries[right.sub] == right {
			n.entries[right.sub] = x
		}
		x.right = right.right
		if x.right != nil {
			x.right.left = x
		}
		if len(right.data) > 0 {
			x.data = append(x.data, right.data...)
		}
		x.ascii = x.ascii && right.ascii
	}
	x.len += right.len
}

// collect gives up the content of a deleted item. With its parent gone it
// becomes a bare length.
func (x *item) collect(parentGone bool) {
	if n := x.node; n != nil {
		for c := n.start; c != nil; {
			next := c.right
			c.collect(true)
			c = next
		}
		for _, c := range n.entries {
			for c != nil {
				before := c.left
				c.collect(true)
				c = before
			}
		}
		n.start, n.entries, n.marked = nil, nil, nil
	}
	if parentGone {
		*x = item{id: x.id, len: x.len, kind: contentGC, deleted: true}
		return
	}
	x.kind, x.data, x.node, x.ascii = contentDeleted, nil, nil, false
}

// utf16Len counts the UTF-16 units of valid UTF-8.
func utf16Len(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		if c&0xc0 != 0x80 {
			n++
		}
		if c >= 0xf0 {
			n++
		}
	}
	return n
}

// byteOffset returns where the UTF-16 unit number offset begins in b, and
// whether it is the second half of a surrogate pair, whose first byte is meant
// then.
func byteOffset(b []byte, offset uint64) (at int, half bool) {
	for at < len(b) && offset > 0 {
		c := b[at]
		switch {
		case c < 0x80:
			at++
		case c < 0xe0:
			at += 2
		case c < 0xf0:
			at += 3
		case offset == 1:
			return at, true
		default:
			at += 4
			offset--
		}
		offset--
	}
	return at, false
}

var replacement = []byte(string(utf8.RuneError))

// cutString cuts b at a UTF-16 offset. As yjs does it, a surrogate pair that is
// cut in two becomes two replacement characters.
func cutString(b []byte, offset uint64, ascii bool) (left, right []byte) {
	if ascii {
		return b[:offset:offset], b[offset:]
	}
	at, half := byteOffset(b, offset)
	if !half {
		return b[:at:at], b[at:]
	}
	left = append(bytes.Clone(b[:at]), replacement...)
	right = append(bytes.Clone(replacement), b[at+4:]...)
	return left, right
}
