package viewer

import (
	"bufio"
	"strconv"
	"strings"

	"quire/internal/notebook"
)

// DocumentCSP returns the policy under which a page that is not Standalone is
// served: our stylesheet and our scripts by address, images of ours and in the
// page, frames only from frameOrigin ("" for none), nothing else.
func DocumentCSP(frameOrigin string) string {
	frames := "'none'"
	if frameOrigin != "" {
		frames = frameOrigin
	}
	return "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
		"frame-src " + frames + "; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// standaloneCSP is the policy that a page saved as one file carries in itself.
func standaloneCSP() string {
	return "default-src 'none'; style-src '" + StylesheetHash() + "'; img-src data:; form-action 'none'; base-uri 'none'"
}

// documentHead writes everything before the article, unless the page is a fragment.
func (p *page) documentHead() {
	if p.opts.Fragment {
		return
	}
	writeDocumentHead(p.w, p.title, p.opts)
}

func writeDocumentHead(w *bufio.Writer, title string, opts Options) {
	lang := "en"
	if opts.Lang != "" {
		lang = opts.Lang
	}
	w.WriteString("<!doctype html>\n<html lang=\"" + esc(lang) + "\">\n<head>\n<meta charset=\"utf-8\">\n")
	if opts.Standalone {
		w.WriteString(`<meta http-equiv="Content-Security-Policy" content="` + esc(standaloneCSP()) + "\">\n")
	}
	w.WriteString("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
		"<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n")
	w.WriteString("<title>" + esc(oneLine(title)) + "</title>\n")
	if opts.Standalone {
		w.WriteString("<style>" + Stylesheet() + "</style>\n")
	} else {
		href := opts.StylesheetURL
		if href == "" {
			href = "/static/quire.css"
		}
		w.WriteString(`<link rel="stylesheet" href="` + esc(href) + "\">\n")
	}
	w.WriteString("</head>\n<body>\n")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// head writes the start of the article: title, facts of the run, switches.
func (p *page) head() {
	outlined := p.hasHeadings()
	p.str(`<a class="q-skip" href="#q-cells">Skip to the notebook</a>`, "\n<article class=\"q-page\">\n<header class=\"q-head\">\n<h1")
	if p.titled {
		p.str(` id="`, esc(idPrefix+p.scribe.uniqueID(slug(p.title))), `"`)
	}
	p.str(">")
	p.text(oneLine(p.title))
	p.str("</h1>\n")
	p.byline()
	p.str(`<div class="q-bar">`)
	p.actions()
	p.str(`<span class="q-gap"></span>`)
	if outlined {
		p.str(`<a class="q-button q-to-outline" href="#q-outline">Outline</a>`)
	}
	if p.hasCode() {
		checked := ""
		if p.opts.HideCode {
			checked = " checked"
		}
		p.str(`<label class="q-switch"><input type="checkbox" id="q-code-off"`, checked, `> Hide code</label>`)
	}
	p.str("</div>\n</header>\n")
	p.lead()
	p.runBlock()
	class := "q-columns"
	if outlined {
		class += " q-with-outline"
	}
	p.str(`<div class="`, class, "\">\n<main class=\"q-main\" id=\"q-cells\">\n")
	if len(p.nb.Cells) == 0 {
		p.str("<p class=\"q-empty\">This notebook has no cells.</p>\n")
	}
}

// actions writes the buttons of the page.
func (p *page) actions() {
	for _, a := range p.opts.Actions {
		if len(a.Menu) == 0 {
			p.action(a, "q-button")
			continue
		}
		p.str(`<details class="q-menu"><summary class="q-button">`, esc(a.Label), "</summary><ul>")
		for _, item := range a.Menu {
			p.str("<li>")
			p.action(item, "q-item")
			p.str("</li>")
		}
		p.str("</ul></details>")
	}
}

func (p *page) action(a Action, class string) {
	if a.Primary {
		class += " q-primary"
	}
	if a.Post {
		p.str(`<form method="post" action="`, esc(a.URL), `"><button class="`, class, `">`, esc(a.Label), "</button></form>")
		return
	}
	p.str(`<a class="`, class, `" href="`, esc(a.URL), `">`, esc(a.Label), "</a>")
}

// lead writes what the page's owner has to say before the content.
func (p *page) lead() {
	if p.opts.Lead == nil {
		return
	}
	if err := p.opts.Lead(p.w); err != nil && p.sink.err == nil {
		p.sink.err = err
	}
}

func (p *page) hasCode() bool {
	for _, c := range p.nb.Cells {
		if c.Type == notebook.Code {
			return true
		}
	}
	return false
}

// hasHeadings guesses whether there will be an outline, before any text is
// parsed. A wrong guess costs an empty column, nothing else.
func (p *page) hasHeadings() bool {
	for _, c := range p.nb.Cells {
		if c.Type == notebook.Markdown && (strings.HasPrefix(c.Source, "#") || strings.Contains(c.Source, "\n#")) {
			return true
		}
	}
	return false
}

func (p *page) byline() {
	p.str(`<p class="q-byline">`)
	if s := runStatus(p.nb); s.Word != "" {
		p.str(statusHTML(s))
		if s.Seconds > 0 {
			p.str("<span>", duration(s.Seconds), "</span>")
		}
	}
	for _, fact := range p.opts.Byline {
		p.str("<span>")
		p.text(oneLine(fact))
		p.str("</span>")
	}
	if names := authors(p.nb.Metadata); names != "" {
		p.str("<span>by ")
		p.text(names)
		p.str("</span>")
	}
	kernel := stringAt(p.nb.Metadata, "kernelspec", "display_name")
	if kernel == "" {
		kernel = p.lang
	}
	if kernel != "" {
		kernel, _ = cutText(oneLine(kernel), 80)
		p.str("<span>")
		p.text(kernel)
		p.str("</span>")
	}
	p.str("<span>", count(len(p.nb.Cells), "cell"), "</span></p>\n")
}

func authors(meta notebook.Object) string {
	var names []string
	for _, a := range list(meta["authors"]) {
		name, _ := a.(string)
		if name == "" {
			name = stringAt(object(a), "name")
		}
		if name = oneLine(name); name != "" && len(names) < 10 {
			name, _ = cutText(name, 100)
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// foot writes the outline, which is known only now, and ends the document. The
// stylesheet puts the outline beside the text where there is room.
func (p *page) foot() {
	p.str("</main>\n")
	if hs := p.scribe.headings; len(hs) > 0 {
		p.str(`<nav class="q-outline" id="q-outline" aria-label="Outline">`, "\n<h2>Outline</h2>\n<ol>\n")
		for _, h := range hs {
			p.str(`<li><a class="q-l`, strconv.Itoa(h.Level), `" href="#`, esc(h.ID), `">`)
			p.text(oneLine(h.Text))
			p.str("</a></li>\n")
		}
		p.str("</ol>\n</nav>\n")
	}
	p.str("</div>\n</article>\n")
	if !p.opts.Fragment {
		p.str("</body>\n</html>\n")
	}
}
