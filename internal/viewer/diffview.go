package viewer

import (
	"bufio"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// contextLines is how many equal lines are shown around a change.
const contextLines = 3

// RenderDiff writes a difference as a page. Of opts, FrameURL, OutputURL,
// TableURL and ImageURL are not used: they know one notebook only.
func RenderDiff(w io.Writer, d *Diff, opts Options) error {
	opts.FrameURL, opts.OutputURL, opts.TableURL, opts.ImageURL = nil, nil, nil, nil
	if opts.Title == "" {
		opts.Title = "Difference of two notebooks"
	}
	p := newPage(w, d.b, opts)
	left := *p
	left.nb, left.lang = d.a, language(d.a)
	left.widgets = object(lookup(d.a.Metadata, "widgets", "application/vnd.jupyter.widget-state+json", "state"))
	p.documentHead()
	p.str("<article class=\"q-page\">\n<header class=\"q-head\">\n<h1>")
	p.text(oneLine(p.title))
	p.str("</h1>\n<p class=\"q-byline\"><span>")
	p.text(d.Summary)
	p.str("</span>")
	for _, fact := range opts.Byline {
		p.str("<span>")
		p.text(oneLine(fact))
		p.str("</span>")
	}
	p.str("</p>\n</header>\n")
	p.lead()
	p.str("<main class=\"q-main\" id=\"q-cells\">\n")
	p.valueChanges("Parameters", d.Parameters, true)
	same := 0
	for n, c := range d.Cells {
		if c.Change == Same {
			same++
			continue
		}
		p.sameCells(same)
		same = 0
		p.cellDiff(&left, d, n)
		if p.sink.err != nil {
			break
		}
	}
	p.sameCells(same)
	p.valueChanges("Metadata of the notebook", d.Metadata, false)
	p.str("</main>\n</article>\n")
	if !opts.Fragment {
		p.str("</body>\n</html>\n")
	}
	p.flush()
	return problem.Wrap(p.sink.err, "writing the difference of two notebooks")
}

func (p *page) sameCells(n int) {
	switch {
	case n == 1:
		p.str("<p class=\"q-same\">1 cell is the same.</p>\n")
	case n > 1:
		p.str("<p class=\"q-same\">", strconv.Itoa(n), " cells are the same.</p>\n")
	}
}

func (p *page) valueChanges(title string, changes []ValueChange, open bool) {
	if len(changes) == 0 {
		return
	}
	if open {
		p.str("<section class=\"q-diff\"><h2>", title, "</h2>\n")
		defer p.str("</section>\n")
	} else {
		p.str("<details class=\"q-diff\"><summary>", title, "</summary>\n")
		defer p.str("</details>\n")
	}
	p.str("<div class=\"q-scroll\"><table class=\"q-table\"><thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Before</th><th scope=\"col\">After</th></tr></thead><tbody>\n")
	for i, c := range changes {
		if i == 500 {
			break
		}
		p.str("<tr><td>")
		p.text(shortText(c.Name, 200))
		for _, v := range []any{c.A, c.B} {
			p.str("</td><td>")
			if v == nil {
				p.str("–")
				continue
			}
			p.str("<code>")
			p.text(valueText(v, 500))
			p.str("</code>")
		}
		p.str("</td></tr>\n")
	}
	p.str("</tbody></table></div>\n")
}

// changeWords say what became of a thing, with the sign that goes with it.
var changeWords = map[Change]string{Changed: "≠ changed", Added: "+ added", Removed: "− removed", Same: "= same"}

func (c CellDiff) name() string {
	kind := map[notebook.CellType]string{notebook.Code: "code", notebook.Markdown: "text", notebook.RawCell: "raw text"}[c.Type]
	place := ""
	switch {
	case c.A < 0:
		place = strconv.Itoa(c.B + 1)
	case c.B < 0 || c.A == c.B:
		place = strconv.Itoa(c.A + 1)
	default:
		place = strconv.Itoa(c.A+1) + " → " + strconv.Itoa(c.B+1)
	}
	return "Cell " + place + ", " + kind
}

func (p *page) cellDiff(left *page, d *Diff, n int) {
	c := d.Cells[n]
	p.str("<section class=\"q-diff\" id=\"q-change-", strconv.Itoa(n+1), "\"><h2><span>", c.name(), "</span><span>", changeWords[c.Change], "</span></h2>\n")
	if len(c.Source) > 0 {
		p.edits(c.Source)
	}
	for _, o := range c.Outputs {
		p.str("<h3>Output, ")
		p.text(shortText(o.Kind, 100))
		p.str(", ", changeWords[o.Change], "</h3>\n")
		if len(o.Text) > 0 {
			p.edits(o.Text)
			continue
		}
		p.str("<div class=\"q-pair\"><div>")
		if o.A >= 0 {
			p.str("<h4>Before</h4>")
			left.output(c.A, o.A, d.a.Cells[c.A].Outputs[o.A])
		}
		p.str("</div><div>")
		if o.B >= 0 {
			p.str("<h4>After</h4>")
			p.output(c.B, o.B, d.b.Cells[c.B].Outputs[o.B])
		}
		p.str("</div></div>\n")
	}
	p.valueChanges("Metadata of the cell", c.Metadata, false)
	p.str("</section>\n")
}

// shownEdits calls line for each edit to show and skip for each run of equal
// lines that is left out.
func shownEdits(edits []Edit, line func(Edit), skip func(n int)) {
	near := make([]bool, len(edits))
	last := -contextLines - 1
	for i, e := range edits {
		if e.Op != " " {
			last = i
		}
		near[i] = i-last <= contextLines
	}
	last = len(edits) + contextLines + 1
	for i := len(edits) - 1; i >= 0; i-- {
		if edits[i].Op != " " {
			last = i
		}
		near[i] = near[i] || last-i <= contextLines
	}
	for i := 0; i < len(edits); {
		if near[i] {
			line(edits[i])
			i++
			continue
		}
		n := 0
		for ; i < len(edits) && !near[i]; i++ {
			n++
		}
		skip(n)
	}
}

// edits writes a line difference as a table.
func (p *page) edits(edits []Edit) {
	shown := 0
	p.str("<table class=\"q-edits\"><colgroup><col class=\"n\"><col class=\"n\"><col class=\"g\"><col></colgroup><tbody>\n")
	shownEdits(edits, func(e Edit) {
		if shown += len(e.Text) + 40; shown > 4*p.opts.MaxOutputBytes {
			return
		}
		class, sign := "", " "
		switch e.Op {
		case "+":
			class, sign = " class=\"add\"", "+"
		case "-":
			class, sign = " class=\"del\"", "−"
		}
		p.str("<tr", class, "><td class=\"n\">", lineNumber(e.A), "</td><td class=\"n\">", lineNumber(e.B), "</td><td class=\"g\">", sign, "</td><td>")
		text, cut := cutText(e.Text, 4000)
		p.text(strings.ToValidUTF8(text, "\uFFFD"))
		if cut {
			p.str("…")
		}
		p.str("</td></tr>\n")
	}, func(n int) {
		p.str("<tr class=\"skip\"><td colspan=\"4\">", count(n, "equal line"), "</td></tr>\n")
	})
	p.str("</tbody></table>\n")
	if shown > 4*p.opts.MaxOutputBytes {
		p.str("<p class=\"q-more\">The rest of this difference is too large to show.</p>\n")
	}
}

func lineNumber(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// WriteText writes the difference for a terminal; colour adds escape sequences.
// What comes from the notebooks can send no control sequence to the terminal.
func (d *Diff) WriteText(w io.Writer, colour bool) error {
	b := bufio.NewWriter(w)
	paint := func(code, s string) string {
		if !colour {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	b.WriteString(paint("1", d.Summary) + "\n")
	values := func(title string, changes []ValueChange) {
		if len(changes) == 0 {
			return
		}
		b.WriteString("\n" + paint("1", title) + "\n")
		for _, c := range changes {
			b.WriteString("  " + printable(c.Name) + ": " + paint("31", printable(valueOrNone(c.A))) + " → " + paint("32", printable(valueOrNone(c.B))) + "\n")
		}
	}
	edits := func(list []Edit) {
		shownEdits(list, func(e Edit) {
			line := e.Op + " " + printable(e.Text)
			switch e.Op {
			case "+":
				line = paint("32", line)
			case "-":
				line = paint("31", line)
			}
			b.WriteString("  " + line + "\n")
		}, func(n int) { b.WriteString("  " + paint("2", "… "+count(n, "equal line")) + "\n") })
	}
	values("Parameters", d.Parameters)
	for _, c := range d.Cells {
		if c.Change == Same {
			continue
		}
		b.WriteString("\n" + paint("1", c.name()+", "+changeWords[c.Change]) + "\n")
		edits(c.Source)
		for _, o := range c.Outputs {
			b.WriteString("  " + paint("36", "output, "+printable(o.Kind)+", "+changeWords[o.Change]) + "\n")
			edits(o.Text)
		}
	}
	return problem.Wrap(b.Flush(), "writing the difference of two notebooks")
}

func valueOrNone(v any) string {
	if v == nil {
		return "–"
	}
	return valueText(v, 200)
}

// printable returns text that a terminal shows as it is.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// WriteJSON writes the difference as one JSON document.
func (d *Diff) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return problem.Wrap(enc.Encode(d), "writing the difference of two notebooks")
}
