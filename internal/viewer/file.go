package viewer

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"quire/internal/problem"
)

// Bounds of a file that is shown, in bytes. What is over them is cut, and the
// page says so.
const (
	maxFileBytes  = 1 << 20 // of text, code, JSON and markdown
	maxTableBytes = 8 << 20 // of a table that is read to show its first rows
	maxImageBytes = 4 << 20 // of an image that the page holds
)

// A FileKind is how a file is shown.
type FileKind string

// The kinds of files.
const (
	FileMarkdown FileKind = "markdown"
	FileCode     FileKind = "code"
	FileTable    FileKind = "table"
	FileJSON     FileKind = "json"
	FileImage    FileKind = "image"
	FileText     FileKind = "text"
	FileBinary   FileKind = "binary"
	FileNotebook FileKind = "notebook"
)

// fileKinds maps an extension to its kind and to the language or media type.
var fileKinds = map[string][2]string{
	".ipynb": {"notebook", ""}, ".md": {"markdown", ""}, ".markdown": {"markdown", ""}, ".rmd": {"markdown", ""},
	".csv": {"table", ","}, ".tsv": {"table", "\t"}, ".parquet": {"table", "parquet"}, ".pq": {"table", "parquet"}, ".json": {"json", ""}, ".geojson": {"json", ""},
	".png": {"image", "image/png"}, ".jpg": {"image", "image/jpeg"}, ".jpeg": {"image", "image/jpeg"}, ".gif": {"image", "image/gif"},
	".webp": {"image", "image/webp"}, ".svg": {"image", "image/svg+xml"},
	".py": {"code", "python"}, ".pyx": {"code", "python"}, ".r": {"code", "r"}, ".scala": {"code", "scala"}, ".sql": {"code", "sql"},
	".js": {"code", "javascript"}, ".mjs": {"code", "javascript"}, ".ts": {"code", "typescript"}, ".tsx": {"code", "tsx"}, ".go": {"code", "go"},
	".java": {"code", "java"}, ".c": {"code", "c"}, ".h": {"code", "c"}, ".cpp": {"code", "cpp"}, ".rs": {"code", "rust"}, ".jl": {"code", "julia"},
	".sh": {"code", "bash"}, ".yaml": {"code", "yaml"}, ".yml": {"code", "yaml"}, ".toml": {"code", "toml"}, ".ini": {"code", "ini"},
	".xml": {"code", "xml"}, ".html": {"code", "html"}, ".css": {"code", "css"}, ".tex": {"code", "latex"}, ".rb": {"code", "ruby"}, ".proto": {"code", "protobuf"},
	".txt": {"text", ""}, ".log": {"text", ""}, "": {"text", ""},
}

// KindOfFile says from its name how a file is shown. A name that says nothing
// is FileText: RenderFile finds out whether it is.
func KindOfFile(name string) FileKind {
	if k, ok := fileKinds[strings.ToLower(path.Ext(name))]; ok {
		return FileKind(k[0])
	}
	switch strings.ToLower(path.Base(name)) {
	case "makefile", "dockerfile":
		return FileCode
	}
	return FileText
}

// RenderFile writes a file that is not a notebook as a page. It reads at most a
// few megabytes of r. rawURL is where the file itself is, for what is not shown
// and for images; "" when it is nowhere. HTML and SVG are shown as code and as
// an image, never as a part of the page.
func RenderFile(w io.Writer, name string, r io.Reader, rawURL string, opts Options) error {
	if opts.Title == "" {
		opts.Title = path.Base(name)
	}
	p := newPage(w, emptyNotebook(), opts)
	p.documentHead()
	p.str("<article class=\"q-page\">\n<header class=\"q-head\">\n<h1>")
	p.text(oneLine(p.title))
	p.str("</h1>\n<p class=\"q-byline\">")
	for _, fact := range opts.Byline {
		p.str("<span>")
		p.text(oneLine(fact))
		p.str("</span>")
	}
	p.str("</p>\n<div class=\"q-bar\">")
	p.actions()
	p.str("</div>\n</header>\n")
	p.lead()
	p.str("<main class=\"q-main\" id=\"q-cells\">\n")
	p.flush()
	err := p.fileBody(name, r, rawURL)
	p.str("</main>\n</article>\n")
	if !opts.Fragment {
		p.str("</body>\n</html>\n")
	}
	p.flush()
	if err != nil {
		return problem.Wrap(err, "showing %s", name)
	}
	return problem.Wrap(p.sink.err, "writing the page of %s", name)
}

func (p *page) fileBody(name string, r io.Reader, rawURL string) error {
	kind := KindOfFile(name)
	detail := fileKinds[strings.ToLower(path.Ext(name))][1]
	if kind == FileImage {
		return p.imageFile(name, r, detail, rawURL)
	}
	if kind == FileTable && detail == "parquet" {
		return p.parquetTable(r, rawURL)
	}
	if kind == FileTable {
		return p.table(r, rune(detail[0]), rawURL)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return err
	}
	if isBinary(data) {
		p.str("<p class=\"q-empty\">This file is not text.")
		p.rawLink(rawURL, "Download")
		p.str("</p>\n")
		return nil
	}
	text, cut := cutText(strings.ToValidUTF8(string(data), "\uFFFD"), maxFileBytes)
	switch {
	case kind == FileMarkdown:
		p.str(`<div class="q-text">`, Lower(p.scribe.markdown(text, nil)), "</div>\n")
	case kind == FileJSON && !cut:
		p.str(`<div class="q-json">`)
		writeJSONTree(p.w, text, maxFileBytes)
		p.str("</div>\n")
	default:
		p.numbered(text, detail)
	}
	if cut {
		p.str("<p class=\"q-more\">The first ", byteSize(len(text)), ".")
		p.rawLink(rawURL, "The whole file")
		p.str("</p>\n")
	}
	return nil
}

func (p *page) rawLink(url, label string) {
	if url != "" {
		p.str(` <a href="`, esc(url), `">`, label, "</a>")
	}
}

// isBinary reports whether data is nothing to read: it has a NUL in its first
// kilobytes, or is mostly not UTF-8.
func isBinary(data []byte) bool {
	head := data[:min(len(data), 8<<10)]
	if bytes.IndexByte(head, 0) >= 0 {
		return true
	}
	bad, all := 0, 0
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		if r == utf8.RuneError && n == 1 {
			bad++
		}
		all++
		head = head[n:]
	}
	return bad*4 > all
}

// numbered writes text with line numbers that links can name.
func (p *page) numbered(text, lang string) {
	text = strings.TrimSuffix(text, "\n")
	lines := strings.Count(text, "\n") + 1
	p.str(`<div class="q-lines"><pre class="q-nos">`)
	for i := 1; i <= lines; i++ {
		n := strconv.Itoa(i)
		p.str(`<a id="q-L`, n, `" href="#q-L`, n, `">`, n, "</a>\n")
	}
	p.str(`</pre><pre class="q-hl" tabindex="0"><code>`, p.opts.Cache.highlight(text, lang), "</code></pre></div>\n")
}

func (p *page) imageFile(name string, r io.Reader, mime, rawURL string) error {
	alt := esc(path.Base(name))
	if rawURL != "" && !p.opts.Standalone {
		p.str(`<div class="q-out q-image"><img src="`, esc(rawURL), `" alt="`, alt, "\"></div>\n")
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(r, maxImageBytes+1))
	if err != nil {
		return err
	}
	if len(data) > maxImageBytes {
		p.str("<p class=\"q-empty\">This image is larger than ", byteSize(maxImageBytes), ".</p>\n")
		return nil
	}
	p.str(`<div class="q-out q-image"><img src="data:`, mime, `;base64,`, base64.StdEncoding.EncodeToString(data), `" alt="`, alt, "\"></div>\n")
	return nil
}

// table writes the first rows of a file of separated values. A row that can
// not be read is named, and ends the table.
func (p *page) table(r io.Reader, comma rune, rawURL string) error {
	limited := &io.LimitedReader{R: r, N: maxTableBytes}
	in := csv.NewReader(bufio.NewReader(limited))
	in.Comma, in.FieldsPerRecord, in.LazyQuotes, in.ReuseRecord = comma, -1, true, true
	p.str(`<div class="q-scroll" tabindex="0"><table class="q-table">`)
	rows, more := 0, false
	var bad error
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			bad = err
			break
		}
		if err != nil {
			return err
		}
		if rows > maxTableRows {
			more = true
			break
		}
		p.row(record, rows)
		rows++
	}
	if rows > 0 {
		p.str("</tbody>")
	}
	p.str("</table></div>\n")
	switch {
	case bad != nil && limited.N > 0:
		p.str("<p class=\"q-notice\">The table ends here: ")
		p.text(bad.Error())
		p.str("</p>\n")
	case more || limited.N <= 0:
		p.str("<p class=\"q-more\">The first ", count(max(rows-1, 0), "row"), ".")
		p.rawLink(rawURL, "The whole file")
		p.str("</p>\n")
	case rows == 0:
		p.str("<p class=\"q-empty\">This file is empty.</p>\n")
	default:
		p.str("<p class=\"q-more\">", count(rows-1, "row"), ".</p>\n")
	}
	return nil
}

// row writes one record; the first one is the head of the table.
func (p *page) row(record []string, n int) {
	if n == 0 {
		p.str("<thead><tr><th></th>")
	} else {
		p.str(`<tr><th scope="row">`, strconv.Itoa(n), "</th>")
	}
	for i, field := range record {
		if i == maxTableCols {
			p.str("<td>…</td>")
			break
		}
		field, cut := cutText(strings.ToValidUTF8(field, "\uFFFD"), 1000)
		if cut {
			field += "…"
		}
		switch {
		case n == 0:
			p.str(`<th scope="col">`)
			p.text(strings.TrimPrefix(field, "\ufeff"))
			p.str("</th>")
			continue
		case isNumeric(field):
			p.str(`<td class="q-num">`)
		default:
			p.str("<td>")
		}
		p.text(field)
		p.str("</td>")
	}
	if n == 0 {
		p.str("</tr></thead><tbody>\n")
		return
	}
	p.str("</tr>\n")
}

func isNumeric(s string) bool {
	if s == "" || len(s) > 30 {
		return false
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// lower maps the tags of headings one level down. In sanitized HTML "<h1" can
// only begin a tag: in text it is escaped.
var lower = strings.NewReplacer(
	"<h1", "<h2", "</h1>", "</h2>", "<h2", "<h3", "</h2>", "</h3>", "<h3", "<h4", "</h3>", "</h4>",
	"<h4", "<h5", "</h4>", "</h5>", "<h5", "<h6", "</h5>", "</h6>",
)

// Lower moves the headings in HTML from RenderMarkdown one level down, for a
// page that has a title of its own.
func Lower(html string) string { return lower.Replace(html) }
