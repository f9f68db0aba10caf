package viewer

import (
	"bufio"
	"encoding/json"
	"html"
	"strconv"
	"strings"

	"quire/internal/notebook"
)

// Bounds of a JSON tree.
const (
	maxTreeNodes = 2000
	maxTreeDepth = 30
	maxTableRows = 500
	maxTableCols = 100
)

// A treeWriter writes JSON as lists that fold, reading it once.
type treeWriter struct {
	w     *bufio.Writer
	dec   *json.Decoder
	nodes int
	cut   bool
}

// writeJSONTree writes JSON text as a tree. It reports whether something was
// left out. Text that is not JSON is shown as it is.
func writeJSONTree(w *bufio.Writer, text string, limit int) (cut bool) {
	if len(text) > maxRawValue || !json.Valid([]byte(text)) {
		shown, cut := cutText(text, limit)
		w.WriteString("<pre>")
		escape(w, strings.ToValidUTF8(shown, "\uFFFD"))
		w.WriteString("</pre>")
		return cut
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	t := &treeWriter{w: w, dec: dec}
	t.value("", 0)
	return t.cut
}

// value writes the next value, with the name it has where it stands. Past the
// bounds it only reads.
func (t *treeWriter) value(name string, depth int) {
	tok, err := t.dec.Token()
	if err != nil {
		return
	}
	t.nodes++
	switch tok := tok.(type) {
	case json.Delim:
		if depth >= maxTreeDepth || t.nodes > maxTreeNodes {
			t.cut = true
			t.skip()
			t.name(name)
			t.w.WriteString("…")
			return
		}
		t.container(tok, name, depth)
		return
	}
	t.name(name)
	switch tok := tok.(type) {
	case string:
		s, cut := cutText(tok, 2000)
		t.scalar("s", strconv.Quote(s))
		if cut {
			t.cut = true
			t.w.WriteString("…")
		}
	case json.Number:
		t.scalar("m", tok.String())
	case bool:
		t.scalar("kc", strconv.FormatBool(tok))
	case nil:
		t.scalar("kc", "null")
	}
}

func (t *treeWriter) name(name string) {
	if name != "" {
		t.scalar("k", name)
		t.w.WriteString(": ")
	}
}

func (t *treeWriter) scalar(class, s string) {
	t.w.WriteString(`<span class="` + class + `">`)
	escape(t.w, s)
	t.w.WriteString("</span>")
}

func (t *treeWriter) container(open json.Delim, name string, depth int) {
	word, sign := "list", "[ ]"
	if open == '{' {
		word, sign = "object", "{ }"
	}
	if !t.dec.More() {
		_, _ = t.dec.Token()
		t.name(name)
		t.w.WriteString("<span>" + sign + "</span>")
		return
	}
	t.w.WriteString("<details")
	if depth < 2 {
		t.w.WriteString(" open")
	}
	t.w.WriteString("><summary>")
	t.name(name)
	t.w.WriteString(word + "</summary><ul>")
	for n := 0; t.dec.More(); n++ {
		if t.nodes > maxTreeNodes {
			t.cut = true
			t.skip()
			t.w.WriteString("<li>…</li></ul></details>")
			return
		}
		t.w.WriteString("<li>")
		item := strconv.Itoa(n)
		if open == '{' {
			key, err := t.dec.Token()
			if err != nil {
				break
			}
			item, _ = key.(string)
			if item, _ = cutText(item, 500); item == "" {
				item = `""`
			}
		}
		t.value(item, depth+1)
		t.w.WriteString("</li>")
	}
	_, _ = t.dec.Token()
	t.w.WriteString("</ul></details>")
}

// skip reads to the end of the container that is open.
func (t *treeWriter) skip() {
	for depth := 1; depth > 0; {
		tok, err := t.dec.Token()
		if err != nil {
			return
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// dataTable writes a table in the form of the data explorer.
func (p *page) dataTable(i, j int, o *notebook.Output) {
	res := object(o.Data[mimeTable])
	rows := list(res["data"])
	var columns []string
	for _, f := range list(lookup(res, "schema", "fields")) {
		if name := stringAt(object(f), "name"); len(columns) < maxTableCols {
			columns = append(columns, name)
		}
	}
	if len(columns) == 0 && len(rows) > 0 {
		columns = sortedKeys(object(rows[0]))
		columns = columns[:min(len(columns), maxTableCols)]
	}
	p.str(`<div class="q-out q-scroll" tabindex="0"><table class="q-table"><thead><tr>`)
	for _, c := range columns {
		p.str(`<th scope="col">`)
		p.text(shortText(c, 200))
		p.str("</th>")
	}
	p.str("</tr></thead><tbody>\n")
	for _, r := range rows[:min(len(rows), maxTableRows)] {
		row := object(r)
		p.str("<tr>")
		for _, c := range columns {
			v := row[c]
			s, isText := v.(string)
			if !isText && v != nil {
				s = valueText(v, 500)
			}
			if _, num := number(v); num {
				p.str(`<td class="q-num">`)
			} else {
				p.str("<td>")
			}
			s, _ = cutText(s, 500)
			p.text(strings.ToValidUTF8(s, "\uFFFD"))
			p.str("</td>")
		}
		p.str("</tr>\n")
	}
	p.str("</tbody></table></div>\n")
	if len(rows) > maxTableRows {
		p.str(`<p class="q-more">The first `, count(maxTableRows, "row"), " of ", strconv.Itoa(len(rows)), ".")
		if url := p.outputURL(i, j, mimeTable); url != "" {
			p.str(` <a href="`, esc(url), `">Load all</a>`)
		}
		p.str("</p>\n")
	}
}

// widgetText returns a widget's stored state in words, or the text that its
// kernel sent along; "" when there is neither.
func (p *page) widgetText(o *notebook.Output) string {
	id := stringAt(object(o.Data[mimeWidget]), "model_id")
	var b strings.Builder
	p.writeWidget(&b, id, 0)
	if b.Len() > 0 {
		return strings.TrimRight(b.String(), "\n")
	}
	s, _ := cutText(dataText(o, mimeText), 2000)
	return stripANSI(s)
}

func (p *page) writeWidget(b *strings.Builder, id string, depth int) {
	model := object(p.widgets[id])
	state := object(model["state"])
	if state == nil || depth > 8 || b.Len() > 4000 {
		return
	}
	text := func(key string) string { return shortText(stringAt(state, key), 500) }
	value := ""
	switch v := state["value"].(type) {
	case nil:
	case string:
		value = shortText(textOnly(v), 500)
	default:
		value = valueText(v, 200)
		if m, ok := numberAt(state, "max"); ok && strings.Contains(stringAt(model, "model_name"), "Progress") {
			value += " of " + strconv.FormatFloat(m, 'f', -1, 64)
		}
	}
	if d := text("description"); d != "" || value != "" {
		b.WriteString(strings.Repeat("  ", depth))
		b.WriteString(strings.TrimSpace(d + " " + value))
		b.WriteByte('\n')
	}
	for _, child := range list(state["children"]) {
		if ref, ok := child.(string); ok {
			p.writeWidget(b, strings.TrimPrefix(ref, "IPY_MODEL_"), depth+1)
		}
	}
}

// textOnly returns the text of HTML.
func textOnly(src string) string {
	src, _ = cutText(src, 64<<10)
	clean := sanitize(src, reference{})
	var b strings.Builder
	for {
		i := strings.IndexByte(clean, '<')
		if i < 0 {
			b.WriteString(clean)
			break
		}
		b.WriteString(clean[:i])
		end := strings.IndexByte(clean[i:], '>')
		if end < 0 {
			break
		}
		clean = clean[i+end+1:]
	}
	return html.UnescapeString(b.String())
}
