package viewer

import (
	"bufio"
	"html"
	"strconv"
	"strings"
)

// An ansiState is the look of terminal text at one point.
type ansiState struct {
	fg, bg                                int // 0 none, otherwise colour + 1
	bold, dim, italic, underlined, struck bool
	reverse                               bool
}

// writeANSI writes terminal text as escaped HTML: colours and weights as
// classes, every other control sequence left out, backspaces and carriage
// returns carried out as a terminal would.
func writeANSI(w *bufio.Writer, text string) {
	text = overstrike(text)
	var state ansiState
	plain := func(s string) {
		if s == "" {
			return
		}
		class := state.class()
		if class != "" {
			w.WriteString(`<span class="` + class + `">`)
		}
		escape(w, s)
		if class != "" {
			w.WriteString("</span>")
		}
	}
	for {
		i := strings.IndexByte(text, 0x1b)
		if i < 0 {
			plain(text)
			return
		}
		plain(text[:i])
		params, final, rest := escapeSequence(text[i:])
		if final == 'm' {
			state.apply(params)
		}
		text = rest
	}
}

// escapeSequence splits the control sequence at the start of s from the rest.
// final is 0 for a sequence that has no meaning here.
func escapeSequence(s string) (params string, final byte, rest string) {
	if len(s) < 2 {
		return "", 0, ""
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s) && i < 256; i++ {
			if c := s[i]; c >= 0x40 && c <= 0x7e {
				return s[2:i], c, s[i+1:]
			} else if c < 0x20 {
				return "", 0, s[i:]
			}
		}
		return "", 0, s[2:]
	case ']', 'P', '_', '^', 'X': // a string, ended by BEL or ESC \
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return "", 0, s[i+1:]
			}
			if s[i] == 0x1b {
				if i+1 < len(s) && s[i+1] == '\\' {
					return "", 0, s[i+2:]
				}
				return "", 0, s[i:]
			}
			if s[i] == '\n' {
				return "", 0, s[i:]
			}
		}
		return "", 0, ""
	case '(', ')', '#', '%':
		return "", 0, s[min(3, len(s)):]
	}
	if s[1] >= 0x80 || s[1] == 0x1b || s[1] < 0x20 {
		return "", 0, s[1:]
	}
	return "", 0, s[2:]
}

func (a *ansiState) apply(params string) {
	codes := make([]int, 0, 8)
	for _, p := range strings.FieldsFunc(params, func(r rune) bool { return r == ';' || r == ':' }) {
		n, err := strconv.Atoi(p)
		if err != nil || len(codes) > 32 {
			return
		}
		codes = append(codes, n)
	}
	if len(codes) == 0 {
		codes = append(codes, 0)
	}
	for i := 0; i < len(codes); i++ {
		switch c := codes[i]; {
		case c == 0:
			*a = ansiState{}
		case c == 1:
			a.bold = true
		case c == 2:
			a.dim = true
		case c == 3:
			a.italic = true
		case c == 4:
			a.underlined = true
		case c == 7:
			a.reverse = true
		case c == 9:
			a.struck = true
		case c == 22:
			a.bold, a.dim = false, false
		case c == 23:
			a.italic = false
		case c == 24:
			a.underlined = false
		case c == 27:
			a.reverse = false
		case c == 29:
			a.struck = false
		case c >= 30 && c <= 37:
			a.fg = c - 30 + 1
		case c == 39:
			a.fg = 0
		case c >= 40 && c <= 47:
			a.bg = c - 40 + 1
		case c == 49:
			a.bg = 0
		case c >= 90 && c <= 97:
			a.fg = c - 90 + 9
		case c >= 100 && c <= 107:
			a.bg = c - 100 + 9
		case c == 38 || c == 48:
			colour, used := extendedColour(codes[i+1:])
			i += used
			if c == 38 {
				a.fg = colour
			} else {
				a.bg = colour
			}
		}
	}
}

// extendedColour reads "5;n" or "2;r;g;b" and returns the nearest of the 16
// colours, plus 1, and how many codes it used.
func extendedColour(codes []int) (colour, used int) {
	if len(codes) >= 2 && codes[0] == 5 {
		n := codes[1]
		switch {
		case n < 0 || n > 255:
			return 0, 2
		case n < 16:
			return n + 1, 2
		case n >= 232:
			level := (n-232)*10 + 8
			return nearestColour(level, level, level) + 1, 2
		}
		n -= 16
		step := func(v int) int {
			if v == 0 {
				return 0
			}
			return 55 + 40*v
		}
		return nearestColour(step(n/36), step(n/6%6), step(n%6)) + 1, 2
	}
	if len(codes) >= 4 && codes[0] == 2 {
		return nearestColour(codes[1], codes[2], codes[3]) + 1, 4
	}
	return 0, len(codes)
}

func nearestColour(r, g, b int) int {
	high, low := max(r, g, b), min(r, g, b)
	if high-low < 40 { // a grey
		switch {
		case high < 64:
			return 0
		case high < 160:
			return 8
		case high < 224:
			return 7
		}
		return 15
	}
	mid := (high + low) / 2
	c := 0
	if r > mid {
		c |= 1
	}
	if g > mid {
		c |= 2
	}
	if b > mid {
		c |= 4
	}
	if high > 200 {
		c += 8
	}
	return c
}

func (a *ansiState) class() string {
	fg, bg := a.fg, a.bg
	if a.reverse {
		fg, bg = bg, fg
		if bg == 0 {
			bg = 8
		}
	}
	if fg == 0 && bg == 0 && !a.bold && !a.dim && !a.italic && !a.underlined && !a.struck {
		return ""
	}
	var words []string
	if fg > 0 {
		words = append(words, "a-"+strconv.Itoa(fg-1))
	}
	if bg > 0 {
		words = append(words, "a-bg-"+strconv.Itoa(bg-1))
	}
	for _, f := range []struct {
		on    bool
		class string
	}{{a.bold, "a-b"}, {a.dim, "a-d"}, {a.italic, "a-i"}, {a.underlined, "a-u"}, {a.struck, "a-s"}} {
		if f.on {
			words = append(words, f.class)
		}
	}
	return strings.Join(words, " ")
}

// overstrike carries out what carriage returns and backspaces do to a line:
// a progress bar that redraws itself a thousand times is one line.
func overstrike(text string) string {
	if !strings.ContainsAny(text, "\r\b") {
		return text
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	var out strings.Builder
	out.Grow(len(text))
	for len(text) > 0 {
		line, rest, more := strings.Cut(text, "\n")
		if i := strings.LastIndexByte(strings.TrimRight(line, "\r"), '\r'); i >= 0 {
			line = line[i+1:]
		}
		out.WriteString(backspace(strings.TrimRight(line, "\r")))
		if more {
			out.WriteByte('\n')
		}
		text = rest
	}
	return out.String()
}

func backspace(line string) string {
	if !strings.Contains(line, "\b") {
		return line
	}
	kept := make([]rune, 0, len(line))
	for _, r := range line {
		switch {
		case r != '\b':
			kept = append(kept, r)
		case len(kept) > 0:
			kept = kept[:len(kept)-1]
		}
	}
	return string(kept)
}

// stripANSI returns terminal text without its control sequences.
func stripANSI(text string) string {
	if !strings.Contains(text, "\x1b") {
		return text
	}
	var out strings.Builder
	for {
		i := strings.IndexByte(text, 0x1b)
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:i])
		_, _, text = escapeSequence(text[i:])
	}
}

// escape writes text as HTML. Control characters that no document may hold
// become the replacement character.
func escape(w *bufio.Writer, s string) {
	start := 0
	for i := 0; i < len(s); i++ {
		var rep string
		switch c := s[i]; {
		case c == '&':
			rep = "&amp;"
		case c == '<':
			rep = "&lt;"
		case c == '>':
			rep = "&gt;"
		case c == '"':
			rep = "&#34;"
		case c == '\'':
			rep = "&#39;"
		case c < 0x20 && c != '\n' && c != '\t' || c == 0x7f:
			rep = "\uFFFD"
		default:
			continue
		}
		w.WriteString(s[start:i])
		w.WriteString(rep)
		start = i + 1
	}
	w.WriteString(s[start:])
}

func esc(s string) string {
	if strings.ContainsAny(s, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x1b") {
		s = strings.Map(func(r rune) rune {
			if r < 0x20 && r != '\n' && r != '\t' {
				return '\uFFFD'
			}
			return r
		}, s)
	}
	return html.EscapeString(s)
}
