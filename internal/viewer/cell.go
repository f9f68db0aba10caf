package viewer

import (
	"strconv"
	"strings"

	"quire/internal/notebook"
)

// maxSourceBytes is how much of one cell's source a page shows.
const maxSourceBytes = 1 << 20

// cell writes one cell as a section with its own address and label.
func (p *page) cell(i int) {
	c := p.nb.Cells[i]
	if p.opts.Cell != nil {
		whole, err := p.opts.Cell(i)
		if err != nil {
			p.str(`<div class="q-callout q-bad"><p>`)
			p.text(err.Error())
			p.str("</p></div>\n")
		} else {
			c = whole
		}
	}
	p.scribe.cell = i
	kind, class := "raw text", "q-raw"
	var status Status
	switch c.Type {
	case notebook.Code:
		kind, class = "code", "q-code"
		status = cellStatus(c)
		if status.Class == "q-bad" {
			class += " q-failed"
		}
		if hasTag(c, "parameters") || hasTag(c, "injected-parameters") {
			class += " q-params"
		}
	case notebook.Markdown:
		kind, class = "text", "q-md"
	}
	label := capital(p.cellName(i)) + ", " + kind
	if w := cellWord(c, status); w != "" {
		label += ", " + w
	}
	p.str(`<section class="q-cell `, class, `" id="`, p.anchors[i], `" aria-label="`, label, "\">\n")
	p.gutter(i, c)
	p.str(`<div class="q-cellbody">`, "\n")
	switch c.Type {
	case notebook.Code:
		p.code(i, c, status)
	case notebook.Markdown:
		p.markdownCell(i, c)
	default:
		p.band(c)
		src, cut := cutText(c.Source, maxSourceBytes)
		p.str(`<div class="q-source"><pre>`)
		p.text(src)
		p.str("</pre></div>\n")
		p.cutNotice(cut, len(src), len(c.Source), "")
	}
	p.comments(c)
	p.str("</div>\n</section>\n")
}

// cellWord is a cell's status in the label of its section.
func cellWord(c *notebook.Cell, s Status) string {
	switch {
	case c.Type != notebook.Code:
		return ""
	case s.Class == "q-bad":
		return "failed"
	case s.Word == "Running":
		return "running"
	case s.Word == "Not run" || s.Word == "" && c.ExecutionCount == nil && len(c.Outputs) == 0:
		return "not run"
	case s.Word == "Skipped":
		return "skipped"
	}
	return "done"
}

// cellName names the cell with an index. An output that is rendered alone stands
// in no notebook.
func (p *page) cellName(i int) string {
	if i >= len(p.numbers) {
		return notebook.CellName(i + 1)
	}
	if hasTag(p.nb.Cells[i], notebook.MarkerTag) {
		return "a note of the run"
	}
	return notebook.CellName(p.numbers[i])
}

// gutter writes the execution count, which links to the cell.
func (p *page) gutter(i int, c *notebook.Cell) {
	mark := "¶"
	if c.Type == notebook.Code {
		mark = "[ ]"
		if c.ExecutionCount != nil {
			mark = "[" + strconv.FormatInt(*c.ExecutionCount, 10) + "]"
		} else if cellStatus(c).Word == "Running" {
			mark = "[*]"
		}
	}
	p.str(`<div class="q-gutter"><a href="#`, p.anchors[i], `" aria-label="`, mark, `, link to `, p.cellName(i), `">`, mark, "</a></div>\n")
}

// band writes what a cell is marked with: its part in the run and its tags.
func (p *page) band(c *notebook.Cell) {
	all := tags(c)
	if len(all) == 0 && c.Type == notebook.Code {
		return
	}
	var title string
	var rest []string
	for _, t := range all {
		switch t {
		case "parameters":
			title = "Parameters"
		case "injected-parameters":
			title = "Parameters of this run"
		default:
			rest = append(rest, t)
		}
	}
	if c.Type == notebook.RawCell && title == "" {
		title = "Raw"
		if format, _ := c.Metadata["format"].(string); format != "" {
			format, _ = cutText(oneLine(format), 60)
			title += " " + format
		}
	}
	p.str(`<div class="q-band">`)
	if title != "" {
		p.str("<b>")
		p.text(title)
		p.str("</b>")
	}
	for _, t := range rest {
		t, _ = cutText(oneLine(t), 60)
		p.str(`<span class="q-tag">`)
		p.text(t)
		p.str("</span>")
	}
	p.str("</div>\n")
}

// code writes a code cell: source, how long it took, outputs.
func (p *page) code(i int, c *notebook.Cell, status Status) {
	p.band(c)
	jupyter := object(c.Metadata["jupyter"])
	if !hasTag(c, "remove-input") && !hasTag(c, "remove_input") && strings.TrimSpace(c.Source) != "" {
		folded := boolAt(jupyter, "source_hidden") || boolAt(c.Metadata, "hide_input") || hasTag(c, "hide-input") || hasTag(c, "hide_input")
		p.source(c, folded)
	}
	if status.Seconds >= 0.1 {
		p.str(`<p class="q-time">`, duration(status.Seconds), "</p>\n")
	}
	if status.Reason != "" {
		p.str(`<p class="q-notice">`)
		p.text(status.Reason)
		p.str("</p>\n")
	}
	if len(c.Outputs) == 0 || hasTag(c, "remove-output") || hasTag(c, "remove_output") {
		return
	}
	if boolAt(jupyter, "outputs_hidden") || boolAt(c.Metadata, "collapsed") {
		p.str(`<details class="q-outputs"><summary>`, count(len(c.Outputs), "output"), "</summary>\n")
		defer p.str("</details>\n")
	} else {
		p.str(`<div class="q-outputs">`, "\n")
		defer p.str("</div>\n")
	}
	p.views = object(c.Metadata["dx"])
	for j, o := range c.Outputs {
		p.output(i, j, o)
	}
}

func (p *page) source(c *notebook.Cell, folded bool) {
	src, cut := cutText(strings.TrimRight(c.Source, "\n"), maxSourceBytes)
	if folded {
		p.str(`<details class="q-source q-hideable"><summary>Code, `, count(strings.Count(src, "\n")+1, "line"), "</summary>")
		defer p.str("</details>\n")
	} else {
		p.str(`<div class="q-source q-hideable">`)
		defer p.str("</div>\n")
	}
	lang := p.lang
	if l := stringAt(c.Metadata, "vscode", "languageId"); l != "" {
		lang = l
	}
	p.str(`<pre class="q-hl" tabindex="0"><code>`, p.opts.Cache.source(strings.ToValidUTF8(src, "\uFFFD"), lang), "</code></pre>")
	p.cutNotice(cut, len(src), len(c.Source), "")
}

// markdownCell writes a text. A text that Papermill put in to mark a failure
// is left to the failure's own block, but its anchors stay.
func (p *page) markdownCell(i int, c *notebook.Cell) {
	if len(tags(c)) > 0 && !hasTag(c, "papermill-error-cell-tag") {
		p.band(c)
	}
	if p.titled && i == firstCell(p.nb) {
		_, rest, _ := strings.Cut(c.Source, "\n")
		p.scribe.headings = append(p.scribe.headings, Heading{Level: 1, Text: p.title, ID: idPrefix + slug(p.title)})
		p.str(`<div class="q-text">`, p.scribe.markdown(rest, attachments(c)), "</div>\n")
		return
	}
	p.str(`<div class="q-text">`, p.scribe.markdown(c.Source, attachments(c)), "</div>\n")
}

// attachments returns how the names of a cell's attachments become addresses.
func attachments(c *notebook.Cell) func(string) string {
	if len(c.Attachments) == 0 {
		return nil
	}
	return func(name string) string {
		bundle := object(c.Attachments[name])
		for _, mime := range imageTypes {
			data, _ := bundle[mime].(string)
			if data == "" {
				continue
			}
			if mime == "image/svg+xml" {
				return svgData(data)
			}
			if data = stripSpace(data); validBase64(data) {
				return "data:" + mime + ";base64," + data
			}
		}
		return ""
	}
}

// cutNotice says that not everything is shown, with a link to the rest.
func (p *page) cutNotice(cut bool, shown, whole int, url string) {
	if !cut {
		return
	}
	p.str(`<p class="q-more">The first `, byteSize(shown), " of ", byteSize(whole), ".")
	if url != "" {
		p.str(` <a href="`, esc(url), `">Load `, byteSize(whole), "</a>")
	}
	p.str("</p>\n")
}
