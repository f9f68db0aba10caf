package viewer

import (
	"math"
	"strconv"
	"strings"

	nethtml "golang.org/x/net/html"

	"quire/internal/chart"
	"quire/internal/notebook"
)

// A Table is what a tabular output holds: values as they are in JSON, nil for
// none, and what of the whole is not in it.
type Table struct {
	Names []string
	Rows  [][]any
	// Whole is how many rows the author's table had, where the output says so and
	// holds fewer; 0 otherwise.
	Whole int
}

// ReadTable returns the table in an output: a data resource, or the first table
// of its HTML. It returns nil when there is none.
func ReadTable(o *notebook.Output) *Table {
	if o.Data[mimeTable] != nil && len(dataText(o, mimeTable)) <= maxTableJSON {
		return resourceTable(o)
	}
	if src, ok := o.Data[mimeHTML].(string); ok && len(src) <= maxTableJSON {
		return htmlTable(src)
	}
	return nil
}

// maxTableJSON is how large a table may be that is read, in bytes.
const maxTableJSON = 32 << 20

func resourceTable(o *notebook.Output) *Table {
	v := o.Data[mimeTable]
	if raw, ok := v.(notebook.Raw); ok {
		v = decoded(raw)
	}
	res := object(v)
	rows := list(res["data"])
	t := &Table{}
	for _, f := range list(lookup(res, "schema", "fields")) {
		if name := stringAt(object(f), "name"); len(t.Names) < chart.MaxColumns {
			t.Names = append(t.Names, name)
		}
	}
	if len(t.Names) == 0 && len(rows) > 0 {
		t.Names = sortedKeys(object(rows[0]))
		t.Names = t.Names[:min(len(t.Names), chart.MaxColumns)]
	}
	for _, r := range rows[:min(len(rows), chart.MaxRows)] {
		from := object(r)
		row := make([]any, len(t.Names))
		for c, name := range t.Names {
			row[c] = plainValue(from[name])
		}
		t.Rows = append(t.Rows, row)
	}
	if len(rows) > len(t.Rows) {
		t.Whole = len(rows)
	}
	if len(t.Names) == 0 {
		return nil
	}
	return t
}

// plainValue returns a value of a notebook as package chart knows it.
func plainValue(v any) any {
	if n, ok := v.(notebook.Number); ok {
		return finite(n.Float64(), string(n))
	}
	if raw, ok := v.(notebook.Raw); ok {
		return decoded(raw)
	}
	return v
}

// finite returns a number, nothing where it is none, and text where JSON has no
// number for it.
func finite(f float64, text string) any {
	switch {
	case math.IsNaN(f):
		return nil
	case math.IsInf(f, 0):
		return text
	}
	return f
}

// Chart returns the table as what charts are drawn of.
func (t *Table) Chart() *chart.Table {
	return chart.NewTable(t.Names, len(t.Rows), func(r, c int) any {
		if c < len(t.Rows[r]) {
			return t.Rows[r][c]
		}
		return nil
	})
}

// htmlTable reads the first table of HTML as pandas, polars, R and others write
// data frames: the last line of the head names the columns.
func htmlTable(src string) *Table {
	doc, err := nethtml.Parse(strings.NewReader(src))
	if err != nil {
		return nil
	}
	var table *nethtml.Node
	for n := range doc.Descendants() {
		if n.Type == nethtml.ElementNode && n.Data == "table" {
			table = n
			break
		}
	}
	if table == nil {
		return nil
	}
	g := &tableGrid{}
	g.walk(table, false, 0)
	t := g.table()
	if t == nil || len(t.Rows) == 0 {
		return nil
	}
	if whole := wholeRows(doc); whole > len(t.Rows) {
		t.Whole = whole
	}
	return t
}

// A tableGrid is the cells of an HTML table where they stand.
type tableGrid struct {
	head, body [][]gridCell
	spans      map[int]*gridSpan // what hangs down into the next rows, by column
	cells      int
}

type gridCell struct {
	text   string
	header bool
}

type gridSpan struct {
	cell gridCell
	rows int
}

const maxGridCells = 2_000_000

func (g *tableGrid) walk(n *nethtml.Node, head bool, depth int) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type != nethtml.ElementNode || g.cells > maxGridCells || depth > 4 {
			continue
		}
		switch c.Data {
		case "thead":
			g.walk(c, true, depth+1)
		case "tbody", "tfoot":
			g.walk(c, false, depth+1)
		case "tr":
			g.row(c, head)
		}
	}
}

func (g *tableGrid) row(tr *nethtml.Node, head bool) {
	if g.spans == nil {
		g.spans = map[int]*gridSpan{}
	}
	var row []gridCell
	hang := func() {
		for s := g.spans[len(row)]; s != nil && s.rows > 0; s = g.spans[len(row)] {
			s.rows--
			row = append(row, s.cell)
		}
	}
	headers := 0
	for c := tr.FirstChild; c != nil && len(row) < 1000; c = c.NextSibling {
		if c.Type != nethtml.ElementNode || c.Data != "td" && c.Data != "th" {
			continue
		}
		hang()
		cell := gridCell{text: elementText(c), header: c.Data == "th"}
		if cell.header {
			headers++
		}
		for range max(1, min(intAttr(c, "colspan"), 200)) {
			if n := intAttr(c, "rowspan"); n > 1 {
				g.spans[len(row)] = &gridSpan{cell: cell, rows: min(n, 100_000) - 1}
			}
			row = append(row, cell)
		}
	}
	hang()
	g.cells += len(row)
	if head || len(g.body) == 0 && len(g.head) == 0 && headers == len(row) {
		g.head = append(g.head, row)
	} else {
		g.body = append(g.body, row)
	}
}

// table makes of the grid a table with named columns.
func (g *tableGrid) table() *Table {
	columns := 0
	for _, row := range g.body {
		columns = max(columns, len(row))
	}
	if columns == 0 {
		return nil
	}
	columns = min(columns, chart.MaxColumns)
	t := &Table{Names: make([]string, columns)}
	seen := map[string]int{}
	for c := range t.Names {
		name := g.name(c)
		if name == "" && c < len(g.body[0]) && g.body[0][c].header {
			name = "index"
		} else if name == "" {
			name = "column " + strconv.Itoa(c+1)
		}
		if seen[name]++; seen[name] > 1 {
			name += " " + strconv.Itoa(seen[name])
		}
		t.Names[c] = name
	}
	for _, row := range g.body[:min(len(g.body), chart.MaxRows)] {
		out := make([]any, columns)
		dots := true
		for c := range min(columns, len(row)) {
			out[c] = cellValue(row[c].text)
			dots = dots && (row[c].text == "..." || row[c].text == "…" || row[c].text == "⋮")
		}
		if !dots {
			t.Rows = append(t.Rows, out)
		}
	}
	return t
}

// name is what the head has over a column, its lines put together.
func (g *tableGrid) name(c int) string {
	var parts []string
	for _, row := range g.head {
		if c < len(row) && row[c].header && row[c].text != "" && (len(parts) == 0 || parts[len(parts)-1] != row[c].text) {
			parts = append(parts, row[c].text)
		}
	}
	return shortText(strings.Join(parts, " / "), 200)
}

// cellValue reads the text of a cell: a number, true or false, words, or nothing.
func cellValue(s string) any {
	switch s {
	case "", "NaN", "nan", "None", "null", "NaT", "<NA>", "NA":
		return nil
	case "True", "true", "TRUE":
		return true
	case "False", "false", "FALSE":
		return false
	}
	if len(s) < 40 && (s[0] >= '0' && s[0] <= '9' || s[0] == '-' || s[0] == '.' || s[0] == '+') {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return finite(f, s)
		}
	}
	if inner, ok := strings.CutPrefix(s, `"`); ok && strings.HasSuffix(inner, `"`) {
		return strings.TrimSuffix(inner, `"`) // polars
	}
	return s
}

func elementText(n *nethtml.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == nethtml.TextNode && b.Len() < 2000 {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func intAttr(n *nethtml.Node, key string) int {
	for _, a := range n.Attr {
		if a.Key == key {
			v, _ := strconv.Atoi(strings.TrimSpace(a.Val))
			return v
		}
	}
	return 0
}

// wholeRows reads "1000 rows × 3 columns", which pandas writes below a frame.
func wholeRows(doc *nethtml.Node) int {
	for n := range doc.Descendants() {
		if n.Type != nethtml.ElementNode || n.Data != "p" {
			continue
		}
		rows, _, ok := strings.Cut(elementText(n), " rows ×")
		if n, err := strconv.Atoi(rows); ok && err == nil {
			return n
		}
	}
	return 0
}

// dxOf returns the choice of a chart that is kept for an output: in the
// metadata of its cell, where it outlives the output, or where nteract has it.
func (p *page) dxOf(j int, o *notebook.Output) []byte { return choiceOf(p.views, j, o) }

// ChartOf returns the choice of a chart that is kept for output j of a cell, nil for
// none; see DrawTable.
func ChartOf(c *notebook.Cell, j int) []byte {
	return choiceOf(object(c.Metadata["dx"]), j, c.Outputs[j])
}

func choiceOf(views notebook.Object, j int, o *notebook.Output) []byte {
	for _, v := range []any{lookup(views, strconv.Itoa(j)), lookup(o.Metadata, mimeTable, "dx"), o.Metadata["dx"]} {
		if dx := object(v); dx != nil {
			return []byte(compact(dx, 0))
		}
	}
	return nil
}

// chart writes the chart that somebody chose for a tabular output. It reports
// whether there was one to write.
func (p *page) chart(j int, o *notebook.Output) bool {
	dx := p.dxOf(j, o)
	if dx == nil {
		return false
	}
	pic, err := DrawTable(o, dx)
	if err != nil {
		p.str(`<p class="q-notice">The chart of this table cannot be drawn: `)
		p.text(shortText(err.Error(), 300))
		p.str("</p>\n")
		return false
	}
	if pic == nil {
		return false
	}
	p.str(`<div class="q-out">`, pic.Figure(), "</div>\n")
	return true
}

// DrawTable draws the table in an output as dx, a choice in the form of
// nteract's data explorer, says. It returns nil when dx asks for the table itself
// or the output holds none.
func DrawTable(o *notebook.Output, dx []byte) (*chart.Picture, error) {
	choice, ok, err := chart.ParseChoice(dx)
	if err != nil || !ok {
		return nil, err
	}
	t := ReadTable(o)
	if t == nil {
		return nil, nil //nolint:nilnil // there is nothing to draw, and nothing went wrong
	}
	pic, err := chart.Draw(t.Chart(), choice, chart.Options{})
	if err != nil {
		return nil, err
	}
	if t.Whole > 0 {
		pic.Notes = append(pic.Notes, "The output holds "+count(len(t.Rows), "row")+" of "+strconv.Itoa(t.Whole)+"; only these are drawn.")
	}
	return &pic, nil
}

// A Rendered is one output as it stands on a page.
type Rendered struct {
	HTML string
	// Frame is the media type that is to be shown in a frame of its own instead,
	// "" for none. See Shell.
	Frame string
}

// RenderOutput returns one output as it stands in the page of a notebook: the
// same choice of a form, the same bounds and the same care. number is its cell's,
// from 1; dx is the chart that is chosen for it, nil for none.
func RenderOutput(o *notebook.Output, number int, dx []byte, opts Options) Rendered {
	opts.FrameURL = nil
	if mime := ScriptType(o); mime != "" {
		return Rendered{Frame: mime}
	}
	var b strings.Builder
	p := newPage(&b, emptyNotebook(), opts)
	if dx != nil {
		p.views = notebook.Object{"0": notebook.Raw(dx)}
	}
	p.output(number-1, 0, o)
	_ = p.w.Flush() // writing to memory cannot go wrong
	return Rendered{HTML: b.String()}
}
