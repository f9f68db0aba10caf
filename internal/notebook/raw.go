package notebook

import (
	"bytes"
	"sort"
)

// A rawMember is one member of an object in a Raw.
type rawMember struct {
	key, keyEnd int32 // with its quotes
	val         int32
	container   int32 // the number of the first container at or after val
}

// A rawWriter writes one checked JSON text in Python's form.
type rawWriter struct {
	w       *writer
	buf     []byte
	tape    []container
	members []rawMember // those of all objects being written, one after the other
}

func (w *writer) rawValue(r Raw) {
	c := checker{buf: r, keep: true}
	if err := c.document(); err != nil {
		w.fail("a value is not JSON: %v", err)
		return
	}
	rw := rawWriter{w: w, buf: r, tape: c.tape}
	rw.value(skipSpace(r, 0), 0)
}

// value writes the value at offset i; n is the number of the first container at
// or after i. It returns both for the place after the value.
func (rw *rawWriter) value(i int, n int32) (int, int32) {
	switch rw.buf[i] {
	case '{':
		rw.object(i, n)
		return int(rw.tape[n].end) + 1, rw.tape[n].next
	case '[':
		rw.array(i, n)
		return int(rw.tape[n].end) + 1, rw.tape[n].next
	}
	end := skipScalar(rw.buf, i)
	switch rw.buf[i] {
	case '"':
		rw.str(rw.buf[i:end])
	case 't', 'f', 'n':
		rw.w.room()
		rw.w.buf = append(rw.w.buf, rw.buf[i:end]...)
	default:
		rw.w.number(rw.buf[i:end])
	}
	return end, n
}

func (rw *rawWriter) str(q []byte) {
	if bytes.IndexByte(q, '\\') >= 0 {
		rw.w.str(unquote(q))
		return
	}
	for len(q) > chunk && rw.w.err == nil {
		rw.w.room()
		rw.w.buf = append(rw.w.buf, q[:chunk]...)
		q = q[chunk:]
	}
	if rw.w.err != nil {
		return
	}
	rw.w.room()
	rw.w.buf = append(rw.w.buf, q...)
}

// after returns the offset after the value at i and the container number there.
func (rw *rawWriter) after(i int, n int32) (int, int32) {
	if b := rw.buf[i]; b == '{' || b == '[' {
		return int(rw.tape[n].end) + 1, rw.tape[n].next
	}
	return skipScalar(rw.buf, i), n
}

func (rw *rawWriter) array(i int, n int32) {
	end := int(rw.tape[n].end)
	n++
	items := 0
	rw.w.open('[')
	for i = skipSpace(rw.buf, i+1); i < end && rw.w.err == nil; i = skipSpace(rw.buf, i) {
		if rw.buf[i] == ',' {
			i = skipSpace(rw.buf, i+1)
		}
		rw.w.item(items)
		i, n = rw.value(i, n)
		items++
	}
	rw.w.close(']', items)
}

func (rw *rawWriter) object(i int, n int32) {
	base := len(rw.members)
	end := int(rw.tape[n].end)
	n++
	for i = skipSpace(rw.buf, i+1); i < end; i = skipSpace(rw.buf, i) {
		if rw.buf[i] == ',' {
			i = skipSpace(rw.buf, i+1)
		}
		k := skipString(rw.buf, i)
		v := skipSpace(rw.buf, skipSpace(rw.buf, k)+1)
		rw.members = append(rw.members, rawMember{key: int32(i), keyEnd: int32(k), val: int32(v), container: n})
		i, n = rw.after(v, n)
	}
	own := rw.members[base:]
	sort.SliceStable(own, func(a, b int) bool { return bytes.Compare(rw.keyOf(own[a]), rw.keyOf(own[b])) < 0 })
	items := 0
	rw.w.open('{')
	for k := base; k < base+len(own) && rw.w.err == nil; k++ {
		m := rw.members[k]
		if k+1 < base+len(own) && bytes.Equal(rw.keyOf(m), rw.keyOf(rw.members[k+1])) {
			continue // a later member has the same key: the last one holds
		}
		rw.w.item(items)
		rw.str(rw.buf[m.key:m.keyEnd])
		rw.w.colon()
		rw.value(int(m.val), m.container)
		items++
	}
	rw.w.close('}', items)
	rw.members = rw.members[:base]
}

func (rw *rawWriter) keyOf(m rawMember) []byte { return keyText(rw.buf[m.key:m.keyEnd]) }
