package notebook

import (
	"bytes"
	"fmt"
	"math/bits"
	"sort"
	"unicode/utf8"

	"quire/internal/problem"
)

// Limits on what is read. Everything else is bounded by memory only: a notebook
// takes about twice its file's size while it is read.
const (
	// MaxBytes is the size in bytes of the largest notebook that is read.
	MaxBytes = 1<<31 - 1
	// MaxDepth is how deep arrays and objects may nest. Python's json gives up
	// at about the same depth.
	MaxDepth = 1000
)

// A container is one array or object of a checked document, in the order of
// their opening brackets.
type container struct {
	end  int32 // offset of the closing bracket
	next int32 // the number of the first container that opens after end
}

// A checker finds the first place where a document is not JSON as Python reads
// it: strict JSON plus NaN, Infinity and -Infinity.
type checker struct {
	buf   []byte
	pos   int
	depth int
	keep  bool        // fill tape
	tape  []container // every container, when keep is set
	mark  bool        // fill big
	big   []span      // the containers longer than bigSpan bytes, when mark is set
}

// A span is the place of a container in a document.
type span struct{ start, end int32 }

const bigSpan = 256 // bytes

// check returns nil when buf holds exactly one JSON value in valid UTF-8.
func check(buf []byte) error {
	c := checker{buf: buf}
	return c.document()
}

// checked returns a decoder for doc when check has nothing against it, and
// doc without the space before its value.
func checked(doc []byte) (*decoder, []byte, error) {
	c := checker{buf: doc, mark: true}
	if err := c.document(); err != nil {
		return nil, nil, err
	}
	d := &decoder{doc: doc, big: c.big, nbformat: CurrentFormat, minor: CurrentMinor, output: -1}
	return d, doc[skipSpace(doc, 0):], nil
}

func (c *checker) document() error {
	if len(c.buf) > MaxBytes {
		return problem.New(problem.TooLarge, "%d bytes of JSON: at most %d are read", len(c.buf), MaxBytes)
	}
	if err := checkEncoding(c.buf); err != nil {
		return err
	}
	c.space()
	if c.pos == len(c.buf) {
		return problem.New(problem.Invalid, "empty: want a JSON document")
	}
	if err := c.value(); err != nil {
		return err
	}
	c.space()
	if c.pos < len(c.buf) {
		return c.fail(c.pos, "%s after the end of the document", describe(c.buf[c.pos:]))
	}
	return nil
}

func checkEncoding(buf []byte) error {
	switch {
	case bytes.HasPrefix(buf, []byte("\xef\xbb\xbf")):
		return problem.New(problem.Invalid, "byte 0: a UTF-8 byte order mark: save the file as UTF-8 without one")
	case bytes.HasPrefix(buf, []byte("\xff\xfe")), bytes.HasPrefix(buf, []byte("\xfe\xff")):
		return problem.New(problem.Invalid, "byte 0: the file is UTF-16: save it as UTF-8")
	}
	if utf8.Valid(buf) {
		return nil
	}
	for i := 0; i < len(buf); {
		r, n := utf8.DecodeRune(buf[i:])
		if r == utf8.RuneError && n == 1 {
			return syntaxError(buf, i, "byte 0x%02x is not valid UTF-8", buf[i])
		}
		i += n
	}
	return nil
}

func (c *checker) fail(off int, format string, args ...any) error {
	if off >= len(c.buf) {
		line, _ := lineColumn(c.buf, len(c.buf))
		return problem.New(problem.Invalid, "line %d (byte %d): the document ends too early: it is cut off",
			line, len(c.buf))
	}
	return syntaxError(c.buf, off, format, args...)
}

func syntaxError(buf []byte, off int, format string, args ...any) error {
	line, col := lineColumn(buf, off)
	return problem.New(problem.Invalid, "line %d, column %d (byte %d): %s",
		line, col, off, fmt.Sprintf(format, args...))
}

// lineColumn counts lines and columns from 1, columns in bytes.
func lineColumn(buf []byte, off int) (line, col int) {
	off = min(off, len(buf))
	head := buf[:off]
	return 1 + bytes.Count(head, []byte("\n")), off - bytes.LastIndexByte(head, '\n')
}

// describe quotes the start of what was found, for an error message.
func describe(b []byte) string {
	const most = 24
	if i := bytes.IndexByte(b, '\n'); i > 0 {
		b = b[:i]
	}
	if len(b) <= most {
		return fmt.Sprintf("found %q", b)
	}
	n := most
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return fmt.Sprintf("found %q", b[:n])
}

func (c *checker) space() { c.pos = skipSpace(c.buf, c.pos) }

func (c *checker) value() error {
	if c.pos >= len(c.buf) {
		return c.fail(c.pos, "")
	}
	switch b := c.buf[c.pos]; b {
	case '{':
		return c.nested((*checker).object)
	case '[':
		return c.nested((*checker).array)
	case '"':
		return c.str()
	case 't':
		return c.word("true")
	case 'f':
		return c.word("false")
	case 'n':
		return c.word("null")
	case 'N':
		return c.word("NaN")
	case 'I':
		return c.word("Infinity")
	default:
		if b == '-' || isDigit(b) {
			return c.number()
		}
		return c.fail(c.pos, "want a JSON value, %s", describe(c.buf[c.pos:]))
	}
}

func (c *checker) nested(body func(*checker) error) error {
	c.depth++
	if c.depth > MaxDepth {
		line, _ := lineColumn(c.buf, c.pos)
		return problem.New(problem.TooLarge, "line %d (byte %d): nested deeper than %d levels", line, c.pos, MaxDepth)
	}
	n, b, start := len(c.tape), len(c.big), c.pos
	if c.keep {
		c.tape = append(c.tape, container{})
	}
	if c.mark {
		c.big = append(c.big, span{})
	}
	c.pos++
	if err := body(c); err != nil {
		return err
	}
	if c.keep {
		c.tape[n] = container{end: int32(c.pos - 1), next: int32(len(c.tape))}
	}
	if c.mark {
		c.big[b] = span{int32(start), int32(c.pos)}
		if c.pos-start <= bigSpan {
			c.big = c.big[:b]
		}
	}
	c.depth--
	return nil
}

func (c *checker) object() error {
	c.space()
	if c.pos < len(c.buf) && c.buf[c.pos] == '}' {
		c.pos++
		return nil
	}
	for {
		c.space()
		if c.pos >= len(c.buf) || c.buf[c.pos] != '"' {
			return c.fail(c.pos, "want a key in double quotes, %s", describe(c.rest()))
		}
		if err := c.str(); err != nil {
			return err
		}
		c.space()
		if c.pos >= len(c.buf) || c.buf[c.pos] != ':' {
			return c.fail(c.pos, "want a colon after the key, %s", describe(c.rest()))
		}
		c.pos++
		c.space()
		if err := c.value(); err != nil {
			return err
		}
		if done, err := c.separator('}'); done || err != nil {
			return err
		}
	}
}

func (c *checker) array() error {
	c.space()
	if c.pos < len(c.buf) && c.buf[c.pos] == ']' {
		c.pos++
		return nil
	}
	for {
		c.space()
		if err := c.value(); err != nil {
			return err
		}
		if done, err := c.separator(']'); done || err != nil {
			return err
		}
	}
}

func (c *checker) separator(end byte) (done bool, err error) {
	c.space()
	if c.pos >= len(c.buf) {
		return false, c.fail(c.pos, "")
	}
	switch c.buf[c.pos] {
	case ',':
		c.pos++
		return false, nil
	case end:
		c.pos++
		return true, nil
	}
	return false, c.fail(c.pos, "want a comma or %q, %s", end, describe(c.rest()))
}

func (c *checker) rest() []byte { return c.buf[min(c.pos, len(c.buf)):] }

// Eight bytes at a time: high marks the top bit of every byte, ones the lowest.
const (
	ones = 0x0101010101010101
	high = 0x8080808080808080
)

// special marks, in the top bits, whether one of the eight bytes of x is no plain
// byte. Which one it is may be marked wrongly.
func special(x uint64) uint64 {
	quote, slash := x^(ones*'"'), x^(ones*'\\')
	return ((x - ones*0x20) &^ x & high) | ((quote - ones) &^ quote & high) | ((slash - ones) &^ slash & high)
}

func load(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func loadString(b string) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// plain holds the bytes that stand for themselves inside a string.
var plain = func() (t [256]bool) {
	for i := range t {
		t[i] = i >= 0x20 && i != '"' && i != '\\'
	}
	return t
}()

func (c *checker) str() error {
	buf, i := c.buf, c.pos+1
	for {
		for i+8 <= len(buf) && special(load(buf[i:])) == 0 {
			i += 8
		}
		for i < len(buf) && plain[buf[i]] {
			i++
		}
		if i >= len(buf) {
			return c.fail(i, "")
		}
		switch buf[i] {
		case '"':
			c.pos = i + 1
			return nil
		case '\\':
			n, err := c.escape(i)
			if err != nil {
				return err
			}
			i += n
		default:
			return c.fail(i, "control character 0x%02x inside a string", buf[i])
		}
	}
}

// escape checks the escape at i and returns its length in bytes.
func (c *checker) escape(i int) (int, error) {
	if i+1 >= len(c.buf) {
		return 0, c.fail(i+1, "")
	}
	switch c.buf[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	case 'u':
		for k := i + 2; k < i+6; k++ {
			if k >= len(c.buf) {
				return 0, c.fail(k, "")
			}
			if unhex[c.buf[k]] < 0 {
				return 0, c.fail(i, `bad escape: want four hex digits after \u`)
			}
		}
		return 6, nil
	}
	return 0, c.fail(i, "bad escape %q in a string", c.buf[i:i+2])
}

func (c *checker) word(w string) error {
	rest := c.rest()
	if len(rest) >= len(w) {
		if string(rest[:len(w)]) == w {
			c.pos += len(w)
			return nil
		}
	} else if w[:len(rest)] == string(rest) {
		return c.fail(len(c.buf), "")
	}
	return c.fail(c.pos, "want a JSON value, %s", describe(rest))
}

func (c *checker) number() error {
	start := c.pos
	if c.buf[c.pos] == '-' {
		c.pos++
		if c.pos < len(c.buf) && c.buf[c.pos] == 'I' {
			return c.word("Infinity")
		}
	}
	switch {
	case c.pos >= len(c.buf):
		return c.fail(c.pos, "")
	case c.buf[c.pos] == '0':
		c.pos++
	case c.digits() == 0:
		return c.fail(start, "bad number, %s", describe(c.buf[start:]))
	}
	if c.pos < len(c.buf) && c.buf[c.pos] == '.' {
		c.pos++
		if c.digits() == 0 {
			return c.fail(c.pos, "bad number, %s", describe(c.buf[start:]))
		}
	}
	if c.pos < len(c.buf) && c.buf[c.pos]|0x20 == 'e' {
		c.pos++
		if c.pos < len(c.buf) && (c.buf[c.pos] == '+' || c.buf[c.pos] == '-') {
			c.pos++
		}
		if c.digits() == 0 {
			return c.fail(c.pos, "bad number, %s", describe(c.buf[start:]))
		}
	}
	return nil
}

func (c *checker) digits() int {
	start := c.pos
	for c.pos < len(c.buf) && isDigit(c.buf[c.pos]) {
		c.pos++
	}
	return c.pos - start
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// What follows walks documents that check has accepted.

// skipSpace returns the offset of the first byte at or after i that is no space.
func skipSpace(buf []byte, i int) int {
	if i < len(buf) && buf[i] <= ' ' {
		return skipSpaces(buf, i)
	}
	return i
}

// skipSpaces is skipSpace for more than one space, as in front of a line: the
// blanks are taken eight at a time.
func skipSpaces(buf []byte, i int) int {
	for i < len(buf) {
		switch buf[i] {
		case ' ', '\n', '\t', '\r':
			i++
		default:
			return i
		}
		for i+8 <= len(buf) {
			x := load(buf[i:]) ^ ones*' '
			if x != 0 {
				i += bits.TrailingZeros64(x) / 8
				break
			}
			i += 8
		}
	}
	return i
}

// skipString returns the offset after the string that starts at i.
func skipString(buf []byte, i int) int {
	i++
	for i < len(buf) {
		n := bytes.IndexByte(buf[i:], '"')
		if n < 0 {
			return len(buf)
		}
		q := i + n
		k := q
		for k > i && buf[k-1] == '\\' {
			k--
		}
		if (q-k)%2 == 0 {
			return q + 1
		}
		i = q + 1
	}
	return i
}

// skipScalar returns the offset after the string, number or word at i.
func skipScalar(buf []byte, i int) int {
	if buf[i] == '"' {
		return skipString(buf, i)
	}
	for i < len(buf) && !delimiter[buf[i]] {
		i++
	}
	return i
}

// delimiter holds the bytes that end a number or a word.
var delimiter = func() (t [256]bool) {
	for _, b := range []byte(",]}: \n\t\r") {
		t[b] = true
	}
	return t
}()

// skip returns the offset after the value that starts at buf[i]. buf is a part
// of the document, whose big containers are skipped in one step.
func (d *decoder) skip(buf []byte, i int) int {
	if buf[i] != '{' && buf[i] != '[' {
		return skipScalar(buf, i)
	}
	start, depth := i, 0
	for i < len(buf) {
		if i-start > bigSpan {
			if n := d.bigSpan(cap(d.doc) - cap(buf) + start); n > 0 {
				return start + n
			}
		}
		switch buf[i] {
		case '"':
			i = skipString(buf, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return i
}

// bigSpan returns the length of the big container that starts at off, 0 when
// there is none.
func (d *decoder) bigSpan(off int) int {
	k := sort.Search(len(d.big), func(k int) bool { return int(d.big[k].start) >= off })
	if k == len(d.big) || int(d.big[k].start) != off {
		return 0
	}
	return int(d.big[k].end - d.big[k].start)
}

// members walks an object's members: for m := d.walk(obj); m.next(); { m.key, m.val }.
type members struct {
	d   *decoder
	buf []byte
	pos int
	key []byte // with its quotes
	val []byte
}

// walk starts at an object. The bytes of its values are parts of obj.
func (d *decoder) walk(obj []byte) members { return members{d: d, buf: obj, pos: 1} }

func (m *members) next() bool {
	i := skipSpace(m.buf, m.pos)
	if i < len(m.buf) && m.buf[i] == ',' {
		i = skipSpace(m.buf, i+1)
	}
	if i >= len(m.buf) || m.buf[i] != '"' {
		return false
	}
	k := skipString(m.buf, i)
	m.key = m.buf[i:k]
	v := skipSpace(m.buf, skipSpace(m.buf, k)+1)
	m.pos = m.d.skip(m.buf, v)
	m.val = m.buf[v:m.pos]
	return true
}

// elements walks an array's elements: for e := d.each(arr); e.next(); { e.val }.
type elements struct {
	d   *decoder
	buf []byte
	pos int
	val []byte
}

func (d *decoder) each(arr []byte) elements { return elements{d: d, buf: arr, pos: 1} }

func (e *elements) next() bool {
	i := skipSpace(e.buf, e.pos)
	if i < len(e.buf) && e.buf[i] == ',' {
		i = skipSpace(e.buf, i+1)
	}
	if i >= len(e.buf) || e.buf[i] == ']' {
		return false
	}
	e.pos = e.d.skip(e.buf, i)
	e.val = e.buf[i:e.pos]
	return true
}
