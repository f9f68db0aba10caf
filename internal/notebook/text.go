package notebook

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// unhex holds the value of every hex digit, -1 for other bytes.
var unhex = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range 10 {
		t['0'+i] = int8(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = int8(10+i), int8(10+i)
	}
	return t
}()

func hex4(b []byte) rune {
	return rune(unhex[b[0]])<<12 | rune(unhex[b[1]])<<8 | rune(unhex[b[2]])<<4 | rune(unhex[b[3]])
}

// unquote decodes a checked JSON string, quotes included. A half of a surrogate
// pair that stands alone is kept in three bytes, as UTF-8 would encode it if it
// could (WTF-8), and is written again as the escape that it was.
func unquote(q []byte) string {
	if bytes.IndexByte(q, '\\') < 0 {
		return string(q[1 : len(q)-1])
	}
	var j joiner
	j.b.Grow(unquotedLen(q))
	j.add(q)
	return j.done()
}

// unquotedLen returns the length in bytes of the string that q decodes to.
func unquotedLen(q []byte) int {
	q = q[1 : len(q)-1]
	n := 0
	for {
		i := bytes.IndexByte(q, '\\')
		if i < 0 {
			return n + len(q)
		}
		n += i
		if q[i+1] != 'u' {
			n++
			q = q[i+2:]
			continue
		}
		r := hex4(q[i+2:])
		q = q[i+6:]
		switch {
		case utf16.IsSurrogate(r) && r < 0xdc00 && len(q) >= 6 && q[0] == '\\' && q[1] == 'u' && isLow(hex4Low(q)):
			n += 4
			q = q[6:]
		case utf16.IsSurrogate(r):
			n += 3
		default:
			n += utf8.RuneLen(r)
		}
	}
}

// hex4Low returns the code unit of the \u escape at the start of q.
func hex4Low(q []byte) rune { return hex4(q[2:]) }

func isLow(r rune) bool { return 0xdc00 <= r && r <= 0xdfff }

// A joiner decodes strings one after the other into one.
type joiner struct {
	b    strings.Builder
	high rune // the first half of a surrogate pair that waits for the second; 0 for none
}

// add decodes the checked JSON string q, quotes included, and appends it.
func (j *joiner) add(q []byte) {
	q = q[1 : len(q)-1]
	for len(q) > 0 {
		i := bytes.IndexByte(q, '\\')
		if i != 0 {
			j.flush()
		}
		if i < 0 {
			j.b.Write(q)
			return
		}
		j.b.Write(q[:i])
		if q[i+1] == 'u' {
			j.unit(hex4(q[i+2:]))
			q = q[i+6:]
			continue
		}
		j.flush()
		j.b.WriteByte(unescape(q[i+1]))
		q = q[i+2:]
	}
}

// unit appends one UTF-16 code unit.
func (j *joiner) unit(r rune) {
	switch {
	case j.high != 0 && isLow(r):
		j.b.WriteRune(utf16.DecodeRune(j.high, r))
		j.high = 0
	case utf16.IsSurrogate(r) && !isLow(r):
		j.flush()
		j.high = r
	default:
		j.flush()
		if utf16.IsSurrogate(r) {
			j.surrogate(r)
			return
		}
		j.b.WriteRune(r)
	}
}

func (j *joiner) surrogate(r rune) {
	j.b.Write([]byte{0xed, byte(0x80 | r>>6&0x3f), byte(0x80 | r&0x3f)})
}

func (j *joiner) flush() {
	if j.high != 0 {
		j.surrogate(j.high)
		j.high = 0
	}
}

func (j *joiner) done() string {
	j.flush()
	return j.b.String()
}

func unescape(b byte) byte {
	switch b {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return b // '"', '\\', '/'
}

// lone returns the surrogate half that s starts with in its three bytes.
func lone(s string) (rune, bool) {
	if len(s) >= 3 && s[0] == 0xed && s[1] >= 0xa0 && s[1] <= 0xbf && s[2]&0xc0 == 0x80 {
		return 0xd000 | rune(s[1]&0x3f)<<6 | rune(s[2]&0x3f), true
	}
	return 0, false
}

// Line ends are what Python's str.splitlines takes for one.
const (
	lineNo    = iota // not a line end
	lineEnd          // a line end of one byte
	lineCR           // \r, which takes a following \n with it
	lineMaybe        // the first byte of U+0085, U+2028 or U+2029, perhaps
)

var lineClass = func() (t [256]uint8) {
	for _, b := range "\n\v\f\x1c\x1d\x1e" {
		t[b] = lineEnd
	}
	t['\r'] = lineCR
	t[0xc2], t[0xe2] = lineMaybe, lineMaybe
	return t
}()

// noLineEnd reports whether all eight bytes of x are printable ASCII.
func noLineEnd(x uint64) bool { return (x|(x-ones*0x20))&high == 0 }

// firstLine returns the length of s's first line with its end, as Python's
// splitlines(True) cuts it.
func firstLine(s string) int {
	for i := 0; i < len(s); i++ {
		for i+8 < len(s) && noLineEnd(loadString(s[i:])) {
			i += 8
		}
		switch lineClass[s[i]] {
		case lineEnd:
			return i + 1
		case lineCR:
			if i+1 < len(s) && s[i+1] == '\n' {
				return i + 2
			}
			return i + 1
		case lineMaybe:
			if strings.HasPrefix(s[i:], "\u0085") {
				return i + 2
			}
			if strings.HasPrefix(s[i:], "\u2028") || strings.HasPrefix(s[i:], "\u2029") {
				return i + 3
			}
		}
	}
	return len(s)
}

// splitLines cuts s as Python's s.splitlines() does, without the line ends.
func splitLines(s string) []string {
	var lines []string
	for s != "" {
		n := firstLine(s)
		line := s[:n]
		s = s[n:]
		for _, end := range []string{"\r\n", "\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\r", "\u0085", "\u2028", "\u2029"} {
			if cut, ok := strings.CutSuffix(line, end); ok {
				line = cut
				break
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// appendNumber appends the checked JSON number text as Python's json.dumps
// writes the number that json.loads reads from it: integers of any size as they
// are, floats in Python's repr.
func appendNumber(dst, text []byte) []byte {
	dot, exponent := -1, false
	for i, b := range text {
		switch {
		case b == '.':
			dot = i
		case b|0x20 == 'e':
			exponent = true
		case b == 'N' || b == 'I':
			return append(dst, text...)
		}
	}
	switch {
	case dot < 0 && !exponent:
		if len(text) == 2 && text[0] == '-' && text[1] == '0' {
			return append(dst, '0')
		}
		return append(dst, text...)
	case !exponent && isShortFloat(text, dot), exponent && isShortPower(text):
		return append(dst, text...)
	}
	f, _ := strconv.ParseFloat(string(text), 64) // out of range is ±Inf, as in Python
	return appendFloat(dst, f)
}

// isShortFloat reports whether text, a plain decimal with its point at dot, has
// so few digits that Python's repr of it can only be itself.
func isShortFloat(text []byte, dot int) bool {
	frac := text[dot+1:]
	if text[0] == '-' {
		text = text[1:]
	}
	if len(text) > 16 || frac[len(frac)-1] == '0' && len(frac) > 1 {
		return false
	}
	if text[0] != '0' {
		return true
	}
	return len(frac) == 1 || frac[0] != '0' || frac[1] != '0' || len(frac) > 2 && frac[2] != '0'
}

// isShortPower reports whether text, a number with an exponent, has so few digits
// and such an exponent that Python's repr of it can only be itself: 1.5e-07.
func isShortPower(text []byte) bool {
	if text[0] == '-' {
		text = text[1:]
	}
	n := len(text) - 4
	if n < 1 || n > 16 || text[n] != 'e' || text[0] == '0' {
		return false
	}
	if n > 1 && (n == 2 || text[1] != '.' || text[n-1] == '0') {
		return false
	}
	power := 10*(text[n+2]-'0') + text[n+3] - '0'
	return text[n+1] == '-' && power >= 5 || text[n+1] == '+' && power >= 16
}

// appendFloat appends f as Python's repr writes it, and NaN, Infinity and
// -Infinity as Python's json.dumps does.
func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	n := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if bytes.IndexByte(dst[n:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}
