package viewer

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"quire/internal/chart"
	"quire/internal/notebook"
)

// Media types that have a form of their own on the page.
const (
	mimeHTML       = "text/html"
	mimeText       = "text/plain"
	mimeMarkdown   = "text/markdown"
	mimeLaTeX      = "text/latex"
	mimeSVG        = "image/svg+xml"
	mimeJSON       = "application/json"
	mimeJavaScript = "application/javascript"
	mimeWidget     = "application/vnd.jupyter.widget-view+json"
	mimeTable      = "application/vnd.dataresource+json"
	mimeBokeh      = "application/vnd.bokehjs_exec.v0+json"
	mimeBokehLoad  = "application/vnd.bokehjs_load.v0+json" // brings the library, which is here already
)

// geoTypes are the names of GeoJSON.
var geoTypes = []string{"application/geo+json", "application/vnd.geo+json"}

// imageTypes are the images that are shown, best first.
var imageTypes = []string{mimeSVG, "image/png", "image/jpeg", "image/webp", "image/gif"}

// maxInlineImage is the largest image that a page holds when the image can be
// linked instead, in bytes of base64.
const maxInlineImage = 256 << 10

// output writes one output of cell i.
func (p *page) output(i, j int, o *notebook.Output) {
	switch o.Type {
	case notebook.Stream:
		class := "q-out q-stream"
		if o.Name == "stderr" {
			class += " q-stderr"
		}
		p.terminal(class, o.Text, p.outputURL(i, j, mimeText))
	case notebook.ErrorOutput:
		p.errorOutput(i, j, o)
	default:
		p.display(i, j, o)
	}
}

func (p *page) outputURL(i, j int, mime string) string {
	if p.opts.OutputURL == nil {
		return ""
	}
	return p.opts.OutputURL(i, j, mime)
}

// terminal writes text with terminal colours.
func (p *page) terminal(class, text, url string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	shown, cut := cutText(text, p.opts.MaxOutputBytes)
	p.str(`<div class="`, class, `"><pre>`)
	writeANSI(p.w, strings.TrimRight(strings.ToValidUTF8(shown, "\uFFFD"), "\n"))
	p.str("</pre>")
	p.cutNotice(cut, len(shown), len(text), url)
	p.str("</div>\n")
}

// errorOutput writes what went wrong first; the traceback is one click away.
func (p *page) errorOutput(i, j int, o *notebook.Output) {
	p.str(`<div class="q-out q-error"><p><b>`)
	p.text(shortText(o.Ename, 200))
	p.str("</b>")
	if value, cut := cutText(strings.TrimSpace(stripANSI(o.Evalue)), 2000); value != "" {
		p.str(": ")
		p.text(strings.ToValidUTF8(value, "\uFFFD"))
		if cut {
			p.str("…")
		}
	}
	p.str("</p>")
	if len(o.Traceback) > 0 {
		var b strings.Builder
		whole := 0
		for _, part := range o.Traceback {
			whole += len(part) + 1
			if b.Len() <= p.opts.MaxOutputBytes {
				b.WriteString(part[:min(len(part), p.opts.MaxOutputBytes+1)])
				b.WriteByte('\n')
			}
		}
		shown, cut := cutText(b.String(), p.opts.MaxOutputBytes)
		shown = strings.ToValidUTF8(shown, "\uFFFD")
		p.str("<details><summary>Traceback, ", count(strings.Count(strings.TrimRight(shown, "\n"), "\n")+1, "line"), "</summary><pre>")
		writeANSI(p.w, strings.TrimRight(shown, "\n"))
		p.str("</pre>")
		p.cutNotice(cut, len(shown), whole, p.outputURL(i, j, mimeText))
		p.str("</details>")
	}
	p.str("</div>\n")
}

// display writes the best form of an output that we have for it.
func (p *page) display(i, j int, o *notebook.Output) {
	mime := p.choose(i, j, o)
	switch mime {
	case noForm:
	case "":
		if len(o.Data) > 0 {
			p.str(`<p class="q-notice">An output that can not be shown: `)
			names, _ := cutText(oneLine(strings.Join(sortedKeys(o.Data), ", ")), 200)
			p.text(names)
			p.str("</p>\n")
		}
	case mimeText:
		p.terminal("q-out", dataText(o, mime), p.outputURL(i, j, mime))
	case mimeWidget:
		p.str(`<div class="q-out"><pre>`)
		p.text(p.widgetText(o))
		p.str("</pre></div>\n")
	case mimeTable:
		p.tabular(i, j, o, func() { p.dataTable(i, j, o) })
	case mimeMarkdown:
		src, cut := cutText(dataText(o, mime), p.opts.MaxOutputBytes)
		p.str(`<div class="q-out q-text">`, p.scribe.markdown(src, nil), "</div>\n")
		p.cutNotice(cut, len(src), len(dataText(o, mime)), p.outputURL(i, j, mime))
	case mimeLaTeX:
		p.latex(dataText(o, mime))
	case mimeHTML:
		p.tabular(i, j, o, func() { p.html(i, j, dataText(o, mime)) })
	case mimeJavaScript:
		src, cut := cutText(dataText(o, mime), p.opts.MaxOutputBytes)
		p.str(`<details class="q-out"><summary>JavaScript that is not run</summary><pre class="q-hl"><code>`, p.opts.Cache.highlight(strings.ToValidUTF8(src, "\uFFFD"), "javascript"), "</code></pre>")
		p.cutNotice(cut, len(src), len(dataText(o, mime)), p.outputURL(i, j, mime))
		p.str("</details>\n")
	case frameForm:
		p.frame(i, j)
	default:
		if strings.HasPrefix(mime, "image/") {
			p.image(i, j, o, mime)
			return
		}
		if slices.Contains(geoTypes, mime) && p.shapes(o, mime) {
			return
		}
		p.str(`<div class="q-out q-json">`)
		cut := writeJSONTree(p.w, dataText(o, mime), p.opts.MaxOutputBytes)
		p.str("</div>\n")
		p.cutNotice(cut, p.opts.MaxOutputBytes, len(dataText(o, mime)), p.outputURL(i, j, mime))
	}
}

// tabular writes a table, below the chart that is chosen for it where there is one.
// A page that says where its values are has it in an element that says so, too.
func (p *page) tabular(i, j int, o *notebook.Output, table func()) {
	if p.opts.TableURL != nil && explorable(o) {
		p.str(`<div data-table="`, esc(p.opts.TableURL(i, j)), `" data-label="Table of `, p.cellName(i), "\">\n")
		defer p.str("</div>\n")
	}
	if !p.chart(j, o) {
		table()
		return
	}
	p.str("<details><summary>Table</summary>\n")
	table()
	p.str("</details>\n")
}

// explorable reports whether an output holds a table that somebody may want to look
// at in other ways; web/src/outputs/choose.ts has the same.
func explorable(o *notebook.Output) bool {
	if o.Data[mimeTable] != nil {
		return true
	}
	src, _ := o.Data[mimeHTML].(string)
	return len(src) <= maxFrameHTML && dataFrame.MatchString(src)
}

// maxFrameHTML is how much HTML is looked through for a data frame, in bytes.
const maxFrameHTML = 16 << 20

// dataFrame is how pandas, polars and others mark the HTML of a data frame.
var dataFrame = regexp.MustCompile(`(?i)<table[^>]{0,200}\bdataframe\b`)

// shapes draws GeoJSON; what cannot be drawn is shown as JSON.
func (p *page) shapes(o *notebook.Output, mime string) bool {
	pic, err := chart.Map([]byte(dataText(o, mime)))
	if err != nil {
		return false
	}
	p.str(`<div class="q-out">`, pic.Figure(), "</div>\n")
	return true
}

// frameForm is what choose returns for an output that is shown in a frame.
const frameForm = "frame"

// noForm is what choose returns for an output that is not there to be seen.
const noForm = "none"

// choose returns the media type of the form to show, best first; frameForm for
// a frame, "" when there is none.
func (p *page) choose(i, j int, o *notebook.Output) string {
	has := func(mime string) bool { return o.Data[mime] != nil }
	if has(mimeBokehLoad) {
		return noForm
	}
	framed := p.opts.FrameURL != nil && p.opts.FrameURL(i, j) != ""
	if framed && p.widgets[stringAt(object(o.Data[mimeWidget]), "model_id")] != nil {
		return frameForm
	}
	if has(mimeWidget) && p.widgetText(o) != "" {
		return mimeWidget
	}
	script := ScriptType(o)
	if script != "" && framed {
		return frameForm
	}
	if has(mimeTable) && len(dataText(o, mimeTable)) <= maxRawValue {
		return mimeTable
	}
	if has(mimeHTML) && (script == "" || script != mimeHTML) {
		return mimeHTML
	}
	for _, mime := range geoTypes {
		if has(mime) {
			return mime
		}
	}
	if has(mimeMarkdown) {
		return mimeMarkdown
	}
	for _, mime := range imageTypes {
		if has(mime) {
			return mime
		}
	}
	if has(mimeLaTeX) {
		return mimeLaTeX
	}
	if script == mimeHTML && sanitizedHasContent(dataText(o, mimeHTML)) {
		return mimeHTML
	}
	if has(mimeJSON) {
		return mimeJSON
	}
	if has(mimeJavaScript) {
		return mimeJavaScript
	}
	if has(mimeText) {
		return mimeText
	}
	for _, mime := range sortedKeys(o.Data) {
		if strings.HasSuffix(mime, "+json") {
			return mime
		}
	}
	for _, mime := range sortedKeys(o.Data) {
		if s, ok := o.Data[mime].(string); ok && strings.HasPrefix(mime, "text/") && s != "" {
			return mime
		}
	}
	return ""
}

// dataText returns the data of one media type as text.
func dataText(o *notebook.Output, mime string) string {
	switch v := o.Data[mime].(type) {
	case string:
		return v
	case notebook.Raw:
		return string(v)
	case nil:
		return ""
	default:
		return compact(v, 0)
	}
}

// html writes sanitized HTML: tables and other static content.
func (p *page) html(i, j int, src string) {
	shown, cut := cutHTML(src, p.opts.MaxOutputBytes)
	sh := &shelf{nonce: p.scribe.nonce}
	clean := p.opts.Cache.sanitize(strings.ToValidUTF8(shown, "\uFFFD"), p.scribe.references(sh, nil))
	if needsFrame(src) {
		p.str(`<p class="q-notice">The static part of an interactive output.</p>`, "\n")
	}
	p.str(`<div class="q-out q-html q-text">`, clean, "</div>\n")
	p.cutNotice(cut, len(shown), len(src), p.outputURL(i, j, mimeHTML))
}

// cutHTML cuts HTML between two rows or, where there are none, two tags.
func cutHTML(src string, limit int) (string, bool) {
	if len(src) <= limit {
		return src, false
	}
	for limit > 0 && !utf8.RuneStart(src[limit]) {
		limit--
	}
	src = src[:limit]
	if i := strings.LastIndex(src, "</tr>"); i > limit/2 {
		return src[:i+len("</tr>")], true
	}
	if i := strings.LastIndexByte(src, '<'); i > limit/2 {
		return src[:i], true
	}
	return src, true
}

// image writes an image as an img element, whatever its kind.
func (p *page) image(i, j int, o *notebook.Output, mime string) {
	data := dataText(o, mime)
	src := ""
	if url := p.outputURL(i, j, mime); url != "" && len(data) > maxInlineImage {
		src = url
	} else if mime == mimeSVG {
		src = svgData(data)
	} else if !validBase64(data) {
		data = stripSpace(data) // most have no lines to join
		if validBase64(data) {
			src = "data:" + mime + ";base64," + data
		}
	} else {
		src = "data:" + mime + ";base64," + data
	}
	if src == "" {
		p.str(`<p class="q-notice">An image that is damaged: its data is not base64.</p>`, "\n")
		return
	}
	meta := object(o.Metadata[mime])
	alt := stringAt(meta, "alt")
	if alt == "" {
		alt = stringAt(o.Metadata, "alt")
	}
	if alt == "" {
		alt = "Plot output of " + p.cellName(i)
	}
	alt, _ = cutText(oneLine(alt), 1000)
	p.str(`<div class="q-out q-image"><img src="`)
	if strings.HasPrefix(src, "data:") {
		p.str(src)
	} else {
		p.text(src)
	}
	p.str(`" alt="`)
	p.text(alt)
	p.str(`"`)
	for _, side := range []string{"width", "height"} {
		n, ok := numberAt(meta, side)
		if !ok {
			n, ok = numberAt(o.Metadata, side)
		}
		if ok && n >= 1 && n <= 10000 {
			p.str(" ", side, `="`, strconv.Itoa(int(n)), `"`)
		}
	}
	p.str(" loading=\"lazy\" decoding=\"async\"></div>\n")
}

// svgData returns an SVG as the address of an image. Only an img may use it:
// there, no browser runs its scripts or loads what it names.
func svgData(svg string) string {
	return "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(svg))
}

func validBase64(s string) bool {
	if s == "" {
		return false
	}
	body := strings.TrimRight(s, "=")
	if len(s)-len(body) > 2 {
		return false
	}
	for i := range len(body) {
		if !base64Bytes[body[i]] {
			return false
		}
	}
	return true
}

var base64Bytes = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = true
	}
	return t
}()

// latex writes a formula that a cell displayed.
func (p *page) latex(src string) {
	src, _ = cutText(strings.TrimSpace(src), p.opts.MaxOutputBytes)
	tex := src
	for _, pair := range [][2]string{{"$$", "$$"}, {"$", "$"}, {`\[`, `\]`}, {`\(`, `\)`}} {
		if inner, ok := strings.CutPrefix(src, pair[0]); ok && strings.HasSuffix(inner, pair[1]) && len(inner) >= len(pair[1]) {
			tex = strings.TrimSuffix(inner, pair[1])
			break
		}
	}
	tex = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(tex), `\displaystyle`))
	p.str(`<div class="q-out q-text">`, formulaHTML(strings.ToValidUTF8(tex, "\uFFFD"), true), "</div>\n")
}

// frame writes the frame that shows an output that needs script. It may run
// script and nothing else: no origin, no forms, no windows, no navigation.
func (p *page) frame(i, j int) {
	class := "q-frame"
	if storedWidget(p.nb, p.nb.Cells[i].Outputs[j]) != "" {
		class = "q-frame q-low"
	}
	p.str(`<div class="q-out"><iframe class="`, class, `" sandbox="allow-scripts" referrerpolicy="no-referrer" loading="lazy" title="Interactive output of `,
		p.cellName(i), `" src="`, esc(p.opts.FrameURL(i, j)), "\"></iframe></div>\n")
}
