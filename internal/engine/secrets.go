package engine

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"io"
	"maps"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"

	"quire/internal/notebook"
)

const (
	// maskText stands where a secret was.
	maskText = "********"
	// minMasked is the length in bytes from which a secret's value is masked:
	// shorter ones would blank out innocent text.
	minMasked = 4
	// minMaskedLine is the same for one line of a secret of several lines.
	minMaskedLine = 8
)

// A masker replaces known secret values, and their usual encodings, by
// asterisks. A nil masker changes nothing. It is safe for concurrent use.
//
// It knows each value as it is, in base64 (standard and URL alphabets, with and
// without padding), hexadecimal, percent-encoded, HTML-escaped, JSON-escaped
// and as Python's repr shows it; of a value of several lines also each line. A
// program that means to give a secret away can always do so: this guards
// against accidents.
type masker struct {
	patterns []string // longest first
}

// newMasker returns a masker for the given values, nil when there is nothing
// to mask.
func newMasker(secrets map[string]string, hidden ...string) *masker {
	seen := map[string]bool{}
	for _, v := range hidden {
		addForms(seen, v, minMasked)
	}
	for _, v := range secrets {
		addForms(seen, v, minMasked)
		trimmed := strings.TrimSpace(v)
		addForms(seen, trimmed, minMasked)
		if strings.ContainsAny(trimmed, "\r\n") {
			for _, line := range strings.FieldsFunc(trimmed, func(c rune) bool { return c == '\n' || c == '\r' }) {
				addForms(seen, strings.TrimSpace(line), minMaskedLine)
			}
		}
	}
	if len(seen) == 0 {
		return nil
	}
	m := &masker{}
	for p := range seen {
		m.patterns = append(m.patterns, p)
	}
	sort.Slice(m.patterns, func(i, j int) bool {
		a, b := m.patterns[i], m.patterns[j]
		if len(a) != len(b) {
			return len(a) > len(b)
		}
		return a < b
	})
	return m
}

func addForms(seen map[string]bool, v string, least int) {
	if len(v) < least {
		return
	}
	forms := []string{
		v,
		base64.StdEncoding.EncodeToString([]byte(v)), base64.RawStdEncoding.EncodeToString([]byte(v)),
		base64.URLEncoding.EncodeToString([]byte(v)), base64.RawURLEncoding.EncodeToString([]byte(v)),
		hex.EncodeToString([]byte(v)),
		url.QueryEscape(v), url.PathEscape(v), percentEncode(v),
		html.EscapeString(v),
		asciiEscape(v, `"`), asciiEscape(v, `'`), asciiEscape(v, ""),
	}
	if text, err := json.Marshal(v); err == nil {
		forms = append(forms, string(text[1:len(text)-1]))
	}
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) == nil {
		forms = append(forms, strings.TrimSuffix(plain.String(), "\n")[1:plain.Len()-2])
	}
	quoted := strconv.Quote(v)
	forms = append(forms, quoted[1:len(quoted)-1])
	for _, f := range forms {
		if len(f) >= least {
			seen[f] = true
		}
	}
}

// percentEncode escapes all but letters and digits, with upper-case digits.
func percentEncode(v string) string {
	var b strings.Builder
	for i := range len(v) {
		c := v[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte("0123456789ABCDEF"[c>>4])
		b.WriteByte("0123456789ABCDEF"[c&15])
	}
	return b.String()
}

// asciiEscape writes v as the inside of a literal: backslash escapes for
// controls, backslash and the given quote; \uXXXX for the rest beyond ASCII
// when quote is `"` (as json.dumps does).
func asciiEscape(v, quote string) string {
	var b strings.Builder
	for _, c := range v {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\\':
			b.WriteString(`\\`)
		case quote != "" && string(c) == quote:
			b.WriteString(`\` + quote)
		case c > 126 && quote == `"`:
			for _, u := range utf16.Encode([]rune{c}) {
				b.WriteString(`\u` + hex.EncodeToString([]byte{byte(u >> 8), byte(u)}))
			}
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// text masks one complete text.
func (m *masker) text(s string) string {
	if m == nil || s == "" {
		return s
	}
	shown, held := m.split(s, true)
	return shown + held
}

// split masks s and, unless s is known to be complete, holds back the end of
// it that may be the beginning of a secret.
func (m *masker) split(s string, complete bool) (shown, held string) {
	var b strings.Builder
	for {
		start, end := m.next(s)
		hold := len(s)
		if !complete {
			hold = m.holdFrom(s)
		}
		if start < 0 || start >= hold {
			if b.Len() == 0 {
				return s[:hold], s[hold:]
			}
			b.WriteString(s[:hold])
			return b.String(), s[hold:]
		}
		b.WriteString(s[:start])
		b.WriteString(maskText)
		s = s[end:]
	}
}

// next finds the first place where a pattern stands, the longest one there.
func (m *masker) next(s string) (start, end int) {
	start = -1
	for _, p := range m.patterns {
		within := s
		if start >= 0 && start+len(p) < len(s) {
			within = s[:start+len(p)]
		}
		i := strings.Index(within, p)
		if i >= 0 && (start < 0 || i < start) {
			start, end = i, i+len(p)
		}
	}
	return start, end
}

// holdFrom returns the first position from which s is the proper beginning of
// a pattern, len(s) when there is none.
func (m *masker) holdFrom(s string) int {
	if len(m.patterns) == 0 {
		return len(s)
	}
	from := max(0, len(s)-len(m.patterns[0])+1)
	for i := from; i < len(s); i++ {
		for _, p := range m.patterns {
			if len(p) > len(s)-i && p[0] == s[i] && strings.HasPrefix(p, s[i:]) {
				return i
			}
		}
	}
	return len(s)
}

// A streamMask masks a text that comes in pieces.
type streamMask struct {
	m    *masker
	held string
}

// write returns what may be shown of the text so far.
func (s *streamMask) write(text string) string {
	if s.m == nil {
		return text
	}
	shown, held := s.m.split(s.held+text, false)
	s.held = strings.Clone(held)
	return shown
}

// flush returns what was held back: the stream ends here.
func (s *streamMask) flush() string {
	held := s.held
	s.held = ""
	return s.m.text(held)
}

// A maskWriter masks what passes to a writer. Not safe for concurrent use.
type maskWriter struct {
	w io.Writer
	s streamMask
}

// Write passes on what may be shown of p; it reports all of p as written.
func (w *maskWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.w, w.s.write(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush passes on what was held back. A nil writer has nothing.
func (w *maskWriter) flush() {
	if w != nil {
		_, _ = io.WriteString(w.w, w.s.flush())
	}
}

// output masks an output in place.
func (m *masker) output(o *notebook.Output) {
	if m == nil {
		return
	}
	o.Text = m.text(o.Text)
	o.Ename = m.text(o.Ename)
	o.Evalue = m.text(o.Evalue)
	for i, line := range o.Traceback {
		o.Traceback[i] = m.text(line)
	}
	for k, v := range o.Data {
		o.Data[k] = m.value(v)
	}
	for k, v := range o.Metadata {
		o.Metadata[k] = m.value(v)
	}
}

// value masks every string in a JSON value, keys of objects too, and returns
// the value to use.
func (m *masker) value(v any) any {
	if m == nil {
		return v
	}
	switch v := v.(type) {
	case string:
		return m.text(v)
	case notebook.Number:
		if m.text(string(v)) != string(v) {
			return maskText
		}
	case json.Number:
		if m.text(string(v)) != string(v) {
			return maskText
		}
	case notebook.Raw:
		return m.raw(v)
	case json.RawMessage:
		return json.RawMessage(m.raw(notebook.Raw(v)))
	case []any:
		for i := range v {
			v[i] = m.value(v[i])
		}
	case []string:
		for i := range v {
			v[i] = m.text(v[i])
		}
	case notebook.Object:
		maskMap(m, v)
	case map[string]any:
		maskMap(m, v)
	}
	return v
}

func maskMap(m *masker, o map[string]any) {
	for _, k := range slices.Collect(maps.Keys(o)) {
		v := o[k]
		masked := m.text(k)
		if masked != k {
			delete(o, k)
		}
		o[masked] = m.value(v)
	}
}

// raw masks undecoded JSON. It decodes the text, because any character of a
// string may be escaped in it.
func (m *masker) raw(data notebook.Raw) notebook.Raw {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		// NaN and the like: not JSON for Go. What is masked becomes a string.
		masked := m.text(string(data))
		if masked == string(data) {
			return data
		}
		text, err := json.Marshal(masked)
		if err != nil {
			return notebook.Raw(`"` + maskText + `"`)
		}
		return text
	}
	before, err := json.Marshal(v)
	if err != nil {
		return notebook.Raw(`"` + maskText + `"`)
	}
	v = m.value(v)
	after, err := json.Marshal(v)
	if err != nil {
		return notebook.Raw(`"` + maskText + `"`)
	}
	if bytes.Equal(before, after) {
		return data
	}
	return after
}
