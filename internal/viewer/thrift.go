package viewer

import (
	"encoding/binary"

	"quire/internal/problem"
)

// A thriftWalker goes through a value in Thrift's compact protocol, in which
// Parquet describes files, and sees that no list or text is longer than what is
// left of the bytes: readers of the protocol make room for as many as it says.
type thriftWalker struct {
	data []byte
	pos  int
}

const maxThriftDepth = 32

// Types of the compact protocol.
const (
	thriftTrue, thriftFalse, thriftByte            = 1, 2, 3
	thriftI16, thriftI32, thriftI64, thriftDouble  = 4, 5, 6, 7
	thriftBinary, thriftList, thriftSet, thriftMap = 8, 9, 10, 11
	thriftStruct, thriftUUID                       = 12, 13
)

func (w *thriftWalker) wrong(what string) error {
	return problem.New(problem.Invalid, "its description is damaged at byte %d: %s", w.pos, what)
}

func (w *thriftWalker) byte() (byte, error) {
	if w.pos >= len(w.data) {
		return 0, w.wrong("it ends too early")
	}
	w.pos++
	return w.data[w.pos-1], nil
}

func (w *thriftWalker) skip(n uint64) error {
	if n > uint64(len(w.data)-w.pos) {
		return w.wrong("it ends too early")
	}
	w.pos += int(n)
	return nil
}

func (w *thriftWalker) varint() (uint64, error) {
	v, n := binary.Uvarint(w.data[w.pos:])
	if n <= 0 {
		return 0, w.wrong("a number has no end")
	}
	w.pos += n
	return v, nil
}

// structure walks the fields of a structure up to its end.
func (w *thriftWalker) structure(depth int) error {
	if depth > maxThriftDepth {
		return w.wrong("it is nested too deeply")
	}
	for {
		head, err := w.byte()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 { // the field's number is written out
			if _, err := w.varint(); err != nil {
				return err
			}
		}
		kind := head & 15
		if kind == thriftTrue || kind == thriftFalse {
			continue // the value is in the type
		}
		if err := w.value(kind, depth); err != nil {
			return err
		}
	}
}

func (w *thriftWalker) value(kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		return w.skip(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftUUID:
		return w.skip(16)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return w.pairs(depth)
	case thriftStruct:
		return w.structure(depth + 1)
	}
	return w.wrong("it has a type that there is not")
}

func (w *thriftWalker) list(depth int) error {
	head, err := w.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	if n > uint64(len(w.data)-w.pos) { // each takes a byte or more
		return w.wrong("a list is longer than what is left")
	}
	if depth >= maxThriftDepth {
		return w.wrong("it is nested too deeply")
	}
	for range n {
		if err := w.value(head&15, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *thriftWalker) pairs(depth int) error {
	n, err := w.varint()
	if err != nil || n == 0 {
		return err
	}
	kinds, err := w.byte()
	if err != nil {
		return err
	}
	if n > uint64(len(w.data)-w.pos)/2 {
		return w.wrong("a map is longer than what is left")
	}
	if depth >= maxThriftDepth {
		return w.wrong("it is nested too deeply")
	}
	for range n {
		for _, kind := range []byte{kinds >> 4, kinds & 15} {
			if err := w.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
