package chart

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bounds of a table that is drawn.
const (
	MaxRows    = 100_000
	MaxColumns = 200
)

// A Kind says what the values of a column are.
type Kind int

// The kinds of columns.
const (
	Text   Kind = iota // words, and whatever is nothing else
	Number             // numbers and true and false
	Time               // points in time
)

// A Column is the values under one name. Of each row, Num holds the number, the
// time in milliseconds since 1970 in UTC, or NaN, and Text what a person reads.
type Column struct {
	Name string
	Kind Kind
	Num  []float64
	Text []string
}

// A Table is columns of the same length.
type Table struct {
	Columns []Column
	Rows    int
}

// NewTable makes a table of values row by row: strings, numbers of Go or of
// encoding/json, booleans, times, nil for none. What a column holds is read off
// its values. Rows and columns over the bounds are left out.
func NewTable(names []string, rows int, value func(row, column int) any) *Table {
	rows = min(rows, MaxRows)
	t := &Table{Rows: rows}
	for c, name := range names[:min(len(names), MaxColumns)] {
		col := Column{Name: name, Num: make([]float64, rows), Text: make([]string, rows)}
		var numbers, times, texts int
		for r := range rows {
			v := value(r, c)
			n, s, kind, some := read(v)
			col.Num[r], col.Text[r] = n, s
			switch {
			case !some:
			case kind == Number:
				numbers++
			case kind == Time:
				times++
			default:
				texts++
			}
		}
		switch {
		case texts > 0 || numbers > 0 && times > 0:
		case numbers > 0:
			col.Kind = Number
		case times > 0:
			col.Kind = Time
		}
		t.Columns = append(t.Columns, col)
	}
	return t
}

// Column returns the column of a name, nil when there is none.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// read returns a value as a number and as text; some is false for none.
func read(v any) (n float64, s string, kind Kind, some bool) {
	switch v := v.(type) {
	case nil:
		return math.NaN(), "", Text, false
	case float64:
		return finite(v), strconv.FormatFloat(v, 'g', -1, 64), Number, !math.IsNaN(v)
	case int:
		return float64(v), strconv.Itoa(v), Number, true
	case int64:
		return float64(v), strconv.FormatInt(v, 10), Number, true
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			f = math.NaN()
		}
		return finite(f), clip(v.String()), Number, true
	case bool:
		return map[bool]float64{true: 1}[v], strconv.FormatBool(v), Number, true
	case time.Time:
		return float64(v.UnixMilli()), v.UTC().Format(time.RFC3339), Time, true
	case string:
		if t, ok := parseTime(v); ok {
			return float64(t.UnixMilli()), clip(v), Time, true
		}
		return math.NaN(), clip(v), Text, v != ""
	}
	text, _ := json.Marshal(v) //nolint:errchkjson // what cannot be written has no text
	return math.NaN(), clip(string(text)), Text, true
}

// finite keeps numbers that can be drawn.
func finite(v float64) float64 {
	if math.IsInf(v, 0) || math.Abs(v) > 1e300 {
		return math.NaN()
	}
	return v
}

// clip bounds the text of one value.
func clip(s string) string {
	const limit = 200
	if len(s) > limit {
		s = s[:limit-3] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

var timeForms = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "2006-01"}

// parseTime reads the forms of time that data frames are written with.
func parseTime(s string) (time.Time, bool) {
	if len(s) < 7 || len(s) > 35 || s[0] < '0' || s[0] > '9' || s[4] != '-' {
		return time.Time{}, false
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
