package viewer

import (
	"strconv"
	"strings"

	"quire/internal/notebook"
)

// A Status is how a run, or one cell of it, stands: a word for people with the
// sign that goes with it.
type Status struct {
	Word    string  // "Succeeded", "Failed", "Running", "Not run", ...; "" when nothing was run
	Sign    string  // ✓ ✕ ◐ ○ –
	Class   string  // q-ok, q-bad, q-warn or ""
	Reason  string  // why, in words; may be empty
	Seconds float64 // how long it took; 0 when that is not known
}

var statuses = map[string]Status{
	"succeeded":   {Word: "Succeeded", Sign: "✓", Class: "q-ok"},
	"completed":   {Word: "Succeeded", Sign: "✓", Class: "q-ok"},
	"stopped":     {Word: "Ended early", Sign: "✓", Class: "q-ok"},
	"failed":      {Word: "Failed", Sign: "✕", Class: "q-bad"},
	"running":     {Word: "Running", Sign: "◐"},
	"queued":      {Word: "Queued", Sign: "○"},
	"pending":     {Word: "Not run", Sign: "○"},
	"prepared":    {Word: "Prepared", Sign: "○"},
	"skipped":     {Word: "Skipped", Sign: "–"},
	"interrupted": {Word: "Interrupted", Sign: "■", Class: "q-warn"},
	"canceled":    {Word: "Canceled", Sign: "■", Class: "q-warn"},
	"timed_out":   {Word: "Timed out", Sign: "✕", Class: "q-bad"},
	"kernel_died": {Word: "Kernel died", Sign: "✕", Class: "q-bad"},
}

// runStatus says how the run that wrote the notebook ended, from its metadata.
func runStatus(nb *notebook.Notebook) Status {
	pm := object(nb.Metadata["papermill"])
	quire := object(nb.Metadata["quire"])
	s, known := statuses[stringAt(quire, "status")]
	if !known && pm != nil {
		_, ended := pm["end_time"].(string)
		switch {
		case boolAt(pm, "exception"):
			s = statuses["failed"]
		case ended:
			s = statuses["succeeded"]
		case stringAt(pm, "start_time") != "":
			s = statuses["running"]
		}
	}
	if s.Word == "" {
		return s
	}
	s.Reason, _ = cutText(oneLine(stringAt(quire, "reason")), 500)
	s.Seconds, _ = numberAt(pm, "duration")
	return s
}

// cellStatus says how a code cell stands.
func cellStatus(c *notebook.Cell) Status {
	pm := object(c.Metadata["papermill"])
	s := statuses[stringAt(pm, "status")]
	if q, ok := statuses[stringAt(object(c.Metadata["quire"]), "status")]; ok {
		s = q
	}
	s.Seconds, _ = numberAt(pm, "duration")
	for _, o := range c.Outputs {
		if o.Type == notebook.ErrorOutput {
			s = Status{Word: "Failed", Sign: "✕", Class: "q-bad", Seconds: s.Seconds}
		}
	}
	if boolAt(pm, "exception") && s.Class != "q-bad" {
		s = Status{Word: "Failed", Sign: "✕", Class: "q-bad", Seconds: s.Seconds}
	}
	s.Reason, _ = cutText(oneLine(stringAt(object(c.Metadata["quire"]), "reason")), 500)
	return s
}

func statusHTML(s Status) string {
	return `<span class="q-status ` + s.Class + `"><span aria-hidden="true">` + s.Sign + `</span> ` + esc(s.Word) + `</span>`
}

// runBlock writes what failed, and the parameters and facts of the run.
func (p *page) runBlock() {
	p.failure()
	pm, quire := object(p.nb.Metadata["papermill"]), object(p.nb.Metadata["quire"])
	params := runParameters(p.nb)
	if len(params) > 0 {
		p.str("<section class=\"q-run\" aria-labelledby=\"q-params\">\n<h2 id=\"q-params\">Parameters</h2>\n<dl class=\"q-facts\">\n")
		for i, name := range sortedKeys(params) {
			if i == 500 {
				p.str("<dt>…</dt><dd>", strconv.Itoa(len(params)-i), " more</dd>\n")
				break
			}
			p.str("<dt>")
			p.text(name)
			p.str("</dt><dd><code>")
			p.text(valueText(params[name], 2000))
			p.str("</code></dd>\n")
		}
		p.str("</dl>\n</section>\n")
	}
	facts := runFacts(pm, quire)
	if len(facts) == 0 {
		return
	}
	p.str("<details class=\"q-run\">\n<summary>About this run</summary>\n<dl class=\"q-facts\">\n")
	for _, f := range facts {
		p.str("<dt>", f[0], "</dt><dd>")
		if t, ok := instant(f[1]); ok {
			p.str(`<time datetime="`, t.Format("2006-01-02T15:04:05Z"), `">`, t.Format("2 January 2006, 15:04:05"), " UTC</time>")
		} else {
			p.text(f[1])
		}
		p.str("</dd>\n")
	}
	p.str("</dl>\n</details>\n")
}

// runParameters returns the parameters that the run was given, by name.
func runParameters(nb *notebook.Notebook) notebook.Object {
	if o := object(lookup(nb.Metadata, "papermill", "parameters")); len(o) > 0 {
		return o
	}
	return object(lookup(nb.Metadata, "quire", "parameters"))
}

// runFacts returns what else is known of a run as pairs of label and value.
func runFacts(pm, quire notebook.Object) [][2]string {
	var facts [][2]string
	add := func(label string, v any) {
		var s string
		switch v := v.(type) {
		case nil:
			return
		case string:
			s = v
		default:
			s = valueText(v, 500)
		}
		if s, _ = cutText(oneLine(s), 500); s != "" {
			facts = append(facts, [2]string{label, s})
		}
	}
	add("Source", pm["input_path"])
	add("Source version", lookup(quire, "source", "version"))
	add("Output", pm["output_path"])
	add("Started", pm["start_time"])
	add("Ended", pm["end_time"])
	if seconds, ok := numberAt(pm, "duration"); ok {
		add("Took", duration(seconds))
	}
	add("Run", quire["run_id"])
	environment := object(quire["environment"])
	add("Kernel", lookup(environment, "kernel", "name"))
	add("Git commit", lookup(environment, "git", "commit"))
	add("Host", environment["host"])
	add("Quire", quire["version"])
	if quire == nil {
		add("Papermill", pm["version"])
	}
	return facts
}

// failure writes what made the run fail, with a link to the cell.
func (p *page) failure() {
	status := runStatus(p.nb)
	for i, c := range p.nb.Cells {
		if c.Type != notebook.Code || hasTag(c, "raises-exception") {
			continue
		}
		for _, o := range c.Outputs {
			if o.Type != notebook.ErrorOutput {
				continue
			}
			p.str(`<div class="q-callout q-bad"><p>`, statusHTML(statuses["failed"]), ` at <a href="#`, p.anchors[i], `">`, notebook.CellName(p.numbers[i]), `</a></p><p><b>`)
			p.text(shortText(o.Ename, 200))
			p.str("</b>")
			if msg := shortText(o.Evalue, 500); msg != "" {
				p.str(": ")
				p.text(msg)
			}
			p.str("</p>")
			if status.Reason != "" {
				p.str("<p>")
				p.text(status.Reason)
				p.str("</p>")
			}
			p.str("</div>\n")
			return
		}
	}
	if status.Class == "q-bad" || status.Class == "q-warn" {
		p.str(`<div class="q-callout q-bad"><p>`, statusHTML(status))
		if status.Reason != "" {
			p.str(": ")
			p.text(status.Reason)
		}
		p.str("</p></div>\n")
	}
}

// shortText returns terminal text as plain text on one line.
func shortText(s string, limit int) string {
	s, _ = cutText(s, 8*limit)
	s, cut := cutText(oneLine(strings.ToValidUTF8(stripANSI(s), "\uFFFD")), limit)
	if cut {
		s += "…"
	}
	return s
}
