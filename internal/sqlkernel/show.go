package sqlkernel

import (
	"encoding/json"
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"quire/internal/query"
)

// What of a result is put into a notebook; kragle's limits.
const (
	maxColumns  = 200
	maxValue    = 2000    // characters of one value
	maxResource = 1 << 20 // bytes of the rows for data explorers
	maxHTMLRows = 100
	maxTextRows = 40
	maxTextCell = 60 // characters
)

// bundle is a result for frontends: for data explorers, as HTML and as text.
func bundle(page query.Page, q query.Query) map[string]any {
	width := min(len(page.Columns), maxColumns)
	columns := page.Columns[:width]
	rows := make([][]string, 0, len(page.Rows)) // as text
	names, fields := fieldsOf(columns)
	data, size := []map[string]json.RawMessage{}, 0
	for _, values := range page.Rows {
		row, texts := map[string]json.RawMessage{}, make([]string, width)
		for i := range width {
			if i >= len(values) {
				break
			}
			texts[i] = textOf(values[i])
			row[names[i]] = plainOf(values[i], fields[i]["type"])
			size += len(row[names[i]]) + len(names[i]) + 4
		}
		if size > maxResource && len(data) > 0 {
			break
		}
		rows, data = append(rows, texts), append(data, row)
	}
	return map[string]any{
		"application/vnd.dataresource+json": map[string]any{"schema": map[string]any{"fields": fields}, "data": data},
		"text/html":                         htmlTable(columns, rows, note(q, page, len(data), maxHTMLRows, len(data))),
		"text/plain":                        textTable(columns, rows, note(q, page, len(data), maxTextRows, 0)),
	}
}

// fieldsOf are the columns as a table schema has them. Names are made unique:
// the rows are objects.
func fieldsOf(columns []query.Column) (names []string, fields []map[string]string) {
	seen := map[string]bool{}
	fields = []map[string]string{}
	for _, c := range columns {
		name := c.Name
		for n := 2; seen[name]; n++ {
			name = c.Name + "_" + strconv.Itoa(n)
		}
		seen[name] = true
		names = append(names, name)
		fields = append(fields, map[string]string{"name": name, "type": fieldType(c.Type)})
	}
	return names, fields
}

// fieldType is a type of Arrow in the words of a table schema.
func fieldType(arrow string) string {
	switch {
	case strings.HasPrefix(arrow, "int"), strings.HasPrefix(arrow, "uint"):
		return "integer"
	case strings.HasPrefix(arrow, "float"), strings.HasPrefix(arrow, "double"), strings.HasPrefix(arrow, "decimal"):
		return "number"
	case strings.HasPrefix(arrow, "bool"):
		return "boolean"
	case strings.HasPrefix(arrow, "timestamp"):
		return "datetime"
	case strings.HasPrefix(arrow, "date"):
		return "date"
	case strings.HasPrefix(arrow, "time"):
		return "time"
	}
	return "string"
}

// plainOf is a value for a data explorer, clipped. Decimals become numbers.
func plainOf(raw json.RawMessage, fieldType string) json.RawMessage {
	var text string
	if len(raw) == 0 || raw[0] == '"' && json.Unmarshal(raw, &text) != nil {
		return json.RawMessage("null")
	}
	if raw[0] == '"' && fieldType == "number" {
		if json.Valid([]byte(text)) && text != "" && strings.Trim(text, "+-0123456789.eE") == "" {
			return json.RawMessage(text)
		}
		return json.RawMessage("null") // NaN and infinity
	}
	if raw[0] == '{' || raw[0] == '[' {
		text = string(raw)
	}
	if raw[0] != '"' && text == "" || raw[0] == '"' && len(text) <= maxValue {
		return raw
	}
	out, err := json.Marshal(clip(text, maxValue))
	if err != nil {
		return json.RawMessage("null")
	}
	return out
}

// textOf is a value as text.
func textOf(raw json.RawMessage) string {
	var text string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return clip(text, maxValue)
	}
	if len(raw) == 0 || string(raw) == "null" {
		return "NULL"
	}
	return clip(string(raw), maxValue)
}

func clip(text string, limit int) string {
	if len(text) <= limit || utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}

func plural(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return grouped(n) + " " + word + "s"
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// note says what of a result is shown: shown rows in this form, and held ones
// for an explorer (0: nothing is said of it).
func note(q query.Query, page query.Page, rows, shown, held int) string {
	total := max(q.Rows, int64(rows))
	parts := []string{plural(total, "row") + " × " + plural(int64(len(page.Columns)), "column")}
	if n := int64(min(rows, shown)); n < total {
		parts = append(parts, "the first "+grouped(n)+" are shown")
	}
	if held > shown && int64(held) < total {
		parts = append(parts, "the first "+grouped(int64(held))+" can be explored")
	}
	if len(page.Columns) > maxColumns {
		parts = append(parts, fmt.Sprintf("the first %d columns are shown", maxColumns))
	}
	if q.Truncated {
		parts = append(parts, "the statement gave more: it was ended at the connection's limit of rows")
	}
	if q.Cached != nil {
		parts = append(parts, "kept from "+q.Cached.At.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	parts = append(parts, fmt.Sprintf("%.2f s", float64(q.DurationMs)/1000))
	if q.Connection != "" {
		parts = append(parts, q.Connection)
	}
	return strings.Join(parts, " · ")
}

func htmlTable(columns []query.Column, rows [][]string, note string) string {
	var b strings.Builder
	b.WriteString("<table><thead><tr>")
	for _, c := range columns {
		b.WriteString("<th>" + html.EscapeString(c.Name) + "</th>")
	}
	b.WriteString("</tr></thead><tbody>\n")
	for _, row := range rows[:min(len(rows), maxHTMLRows)] {
		b.WriteString("<tr>")
		for _, text := range row {
			b.WriteString("<td>" + html.EscapeString(text) + "</td>")
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</tbody></table>\n<p><small>" + html.EscapeString(note) + "</small></p>")
	return b.String()
}

func textTable(columns []query.Column, rows [][]string, note string) string {
	lines := [][]string{make([]string, len(columns))}
	for i, c := range columns {
		lines[0][i] = oneLine(c.Name)
	}
	for _, row := range rows[:min(len(rows), maxTextRows)] {
		line := make([]string, len(row))
		for i, text := range row {
			line[i] = oneLine(text)
		}
		lines = append(lines, line)
	}
	widths := make([]int, len(columns))
	for _, line := range lines {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	var b strings.Builder
	for n, line := range lines {
		for i, text := range line {
			right := strings.HasPrefix(fieldType(columns[i].Type), "int") || fieldType(columns[i].Type) == "number"
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			switch {
			case right:
				text = pad + text
			case i < len(line)-1:
				text += pad
			}
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(text)
		}
		b.WriteByte('\n')
		if n == 0 {
			for i, w := range widths {
				b.WriteString(strings.Repeat("-", w))
				if i < len(widths)-1 {
					b.WriteString("  ")
				}
			}
			b.WriteByte('\n')
		}
	}
	b.WriteString(note)
	return b.String()
}

// oneLine is a value for a cell of a text table: no controls, not too long.
func oneLine(text string) string {
	return clip(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text), maxTextCell)
}
