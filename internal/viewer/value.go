package viewer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/notebook"
)

// maxRawValue is the largest undecoded JSON value that is decoded to be shown
// as other than text, in bytes.
const maxRawValue = 4 << 20

// object returns v as an object, nil when it is none.
func object(v any) notebook.Object {
	switch v := v.(type) {
	case notebook.Object:
		return v
	case map[string]any:
		return v
	case notebook.Raw:
		if len(v) > maxRawValue {
			return nil
		}
		o, _ := decoded(v).(map[string]any)
		return o
	}
	return nil
}

// decoded returns a Raw value as Go values, numbers as json.Number; nil when it
// is not JSON as Go reads it.
func decoded(raw notebook.Raw) any {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	return v
}

// list returns v as a list, nil when it is none.
func list(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case notebook.Raw:
		if len(v) <= maxRawValue {
			l, _ := decoded(v).([]any)
			return l
		}
	}
	return nil
}

// lookup returns the value at a path of object keys, nil when there is none.
func lookup(o notebook.Object, path ...string) any {
	var v any = o
	for _, key := range path {
		m := object(v)
		if m == nil {
			return nil
		}
		v = m[key]
	}
	return v
}

func stringAt(o notebook.Object, path ...string) string {
	s, _ := lookup(o, path...).(string)
	return s
}

func boolAt(o notebook.Object, path ...string) bool {
	b, _ := lookup(o, path...).(bool)
	return b
}

func numberAt(o notebook.Object, path ...string) (float64, bool) {
	return number(lookup(o, path...))
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case notebook.Number:
		f, err := strconv.ParseFloat(string(v), 64)
		return f, err == nil
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	}
	return 0, false
}

// tags returns the tags of a cell.
func tags(c *notebook.Cell) []string {
	var out []string
	switch v := c.Metadata["tags"].(type) {
	case []string:
		out = v
	case []any:
		for _, t := range v {
			if s, ok := t.(string); ok {
				out = append(out, s)
			}
		}
	}
	if len(out) > 50 {
		out = out[:50]
	}
	return out
}

func hasTag(c *notebook.Cell, tag string) bool { return slices.Contains(tags(c), tag) }

// valueText returns a JSON value on one line, at most limit bytes of it.
func valueText(v any, limit int) string {
	s, cut := cutText(compact(v, 0), limit)
	if cut {
		s += "…"
	}
	return s
}

func compact(v any, depth int) string {
	if depth > 20 {
		return "…"
	}
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(v)
		return strings.TrimSpace(b.String())
	case notebook.Raw:
		return string(v)
	case json.RawMessage:
		return string(v)
	case notebook.Object:
		return compactObject(v, depth)
	case map[string]any:
		return compactObject(v, depth)
	case []any:
		parts := make([]string, 0, min(len(v), 1000))
		for _, e := range v[:min(len(v), 1000)] {
			parts = append(parts, compact(e, depth+1))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

func compactObject(o map[string]any, depth int) string {
	var parts []string
	for _, k := range sortedKeys(o) {
		parts = append(parts, compact(k, depth+1)+": "+compact(o[k], depth+1))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// duration returns seconds in words: "0.4 s", "3 m 12 s", "2 h 5 m".
func duration(seconds float64) string {
	switch {
	case seconds < 0 || seconds > 1e10 || seconds != seconds:
		return "?"
	case seconds < 0.0005:
		return "0 s"
	case seconds < 1:
		return strconv.Itoa(max(1, int(seconds*1000+0.5))) + " ms"
	case seconds < 60:
		return strconv.FormatFloat(seconds, 'f', 1, 64) + " s"
	}
	s := int64(seconds + 0.5)
	if s < 3600 {
		return fmt.Sprintf("%d m %d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %d m", s/3600, s%3600/60)
}

// byteSize returns a size in words: "12 KB", "3.4 MB". A KB is 1024 bytes.
func byteSize(n int) string {
	switch {
	case n < 1<<10:
		return strconv.Itoa(n) + " bytes"
	case n < 1<<20:
		return strconv.Itoa((n+512)>>10) + " KB"
	}
	return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MB"
}

// instant reads a time as Papermill and Jupyter write it.
func instant(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// jsonNumber returns a number as JSON has it, and as text where JSON has none
// (NaN and the infinities).
func jsonNumber(s string) any {
	if json.Valid([]byte(s)) {
		return json.Number(s)
	}
	return s
}
