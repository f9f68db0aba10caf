package viewer

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// DefaultMaxOutputBytes is how much of one output a page shows, in bytes.
const DefaultMaxOutputBytes = 64 << 10

// Options say how a page is made. The zero value makes a complete document
// that links the stylesheet at /static/quire.css and shows no script output.
type Options struct {
	// Title is the title of the page. Empty takes the notebook's own, its first
	// heading or "Notebook".
	Title string
	// Lang is the language of the page's text as in the lang attribute; empty is "en".
	Lang string
	// Fragment leaves out the document around the article: no html, head or body.
	Fragment bool
	// Standalone makes a document that needs no other file: the stylesheet is in
	// it, its policy allows that stylesheet by hash and no script at all, and
	// images are data. Outputs that need script show their static form.
	Standalone bool
	// StylesheetURL is where the stylesheet is served; empty is /static/quire.css.
	StylesheetURL string
	// HideCode starts the page with the code folded away. The code is still in
	// the page: this is for readers, not for secrets.
	HideCode bool
	// MaxOutputBytes is how much of one output is shown; 0 is DefaultMaxOutputBytes.
	MaxOutputBytes int
	// FrameURL returns the address of a page that holds one output and nothing
	// else (RenderFrame, served with FrameCSP from an origin of its own), "" when
	// it may not be shown. cell and output count from 0. Nil shows the static
	// form of outputs that need script.
	FrameURL func(cell, output int) string
	// OutputURL returns the address of the whole of one output in one media
	// type. Nil says only how much is not shown.
	OutputURL func(cell, output int, mime string) string
	// TableURL returns the address of the values of a tabular output, for a script
	// that makes of it a table to sort, filter and draw. Nil is none.
	TableURL func(cell, output int) string
	// ImageURL maps the relative address of an image in a text to one that this
	// host serves (it must begin with "/"), "" when there is none. Nil shows the
	// image's description instead.
	ImageURL func(ref string) string
	// LinkURL maps the relative address of a link in a text, "" drops the link.
	// Nil keeps it.
	LinkURL func(ref string) string
	// Actions are the buttons in the head of the page.
	Actions []Action
	// Lead writes trusted HTML between the head of the page and its content. Nil
	// writes nothing. An error ends the page.
	Lead func(w io.Writer) error
	// Byline are short facts under the title: author, path, version.
	Byline []string
	// Cell reads a cell, counted from 0, when its turn comes, for a notebook whose
	// own cells lack large outputs (notebook.Book). Nil takes the notebook's.
	Cell func(i int) (*notebook.Cell, error)
	// Cache keeps coloured code between pages. Nil keeps none.
	Cache *Cache
}

// An Action is one button of a page. URL must be one of ours: it is written as
// it is.
type Action struct {
	Label   string
	URL     string
	Primary bool
	Post    bool     // a form that is sent, for what changes something
	Menu    []Action // shown under Label, which then has no URL of its own
}

// cellPrefix is what the id of every cell's section begins with.
const cellPrefix = "cell-"

// Render writes the notebook as one HTML page. It writes as it goes: the head
// is flushed before the first cell is rendered, and no more than one output is
// held in memory at a time. It stops at the first error of w. The notebook is
// not changed, and may be rendered by several goroutines at once.
func Render(w io.Writer, nb *notebook.Notebook, opts Options) error {
	p := newPage(w, nb, opts)
	p.documentHead()
	p.head()
	p.flush()
	for i := range nb.Cells {
		p.cell(i)
		if i == 0 || p.sink.err != nil {
			p.flush()
		}
		if p.sink.err != nil {
			break
		}
	}
	p.foot()
	p.flush()
	return problem.Wrap(p.sink.err, "writing the page of notebook %q", p.title)
}

// RenderCell writes one cell as Render does, for a page that is filled while
// the notebook runs. index counts from 0. Headings get the same ids as on the
// page when no other cell has a heading of the same text.
func RenderCell(w io.Writer, nb *notebook.Notebook, index int, opts Options) error {
	if index < 0 || index >= len(nb.Cells) {
		return problem.New(problem.NotFound, "cell %d: the notebook has %d cells", index+1, len(nb.Cells))
	}
	p := newPage(w, nb, opts)
	p.cell(index)
	p.flush()
	return problem.Wrap(p.sink.err, "writing cell %d", index+1)
}

// CellName is notebook.CellName at the beginning of a line: "Cell 5".
func CellName(number int) string { return capital(notebook.CellName(number)) }

func capital(words string) string { return strings.ToUpper(words[:1]) + words[1:] }

// Anchors returns the id of each cell's section on the page, by the cell's index.
// It is the same in a source, in its output while it runs and afterwards.
func Anchors(nb *notebook.Notebook) []string {
	seen := make(map[string]bool, len(nb.Cells))
	ids, numbers := make([]string, len(nb.Cells)), nb.Numbers()
	for i, c := range nb.Cells {
		id := cellPrefix + c.ID
		if !plainID(c.ID) || seen[id] {
			id = cellPrefix + "n" + strconv.Itoa(numbers[i])
			if numbers[i] == 0 {
				id = cellPrefix + "run" // puts it in
			}
			for seen[id] {
				id += "-"
			}
		}
		seen[id] = true
		ids[i] = id
	}
	return ids
}

func plainID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; !isLetter(c) && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// A page is one rendering under way.
type page struct {
	w       *bufio.Writer
	sink    *sink
	nb      *notebook.Notebook
	opts    Options
	scribe  *scribe
	lang    string
	title   string
	titled  bool // the title is the first heading of the first cell, which is not shown again
	anchors []string
	numbers []int // as in notebook.Numbers
	widgets notebook.Object
	views   notebook.Object // the charts that are chosen for the outputs of the cell under way, by their index
	flusher interface{ Flush() }
}

// A sink remembers the first error of a writer.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(b)
	s.err = err
	return n, err
}

func newPage(w io.Writer, nb *notebook.Notebook, opts Options) *page {
	if opts.MaxOutputBytes <= 0 {
		opts.MaxOutputBytes = DefaultMaxOutputBytes
	}
	if opts.Standalone {
		opts.FrameURL, opts.OutputURL, opts.TableURL, opts.ImageURL = nil, nil, nil, nil
	}
	s := &sink{w: w}
	p := &page{w: bufio.NewWriterSize(s, 32<<10), sink: s, nb: nb, opts: opts, scribe: newScribe(opts), lang: language(nb), anchors: Anchors(nb), numbers: nb.Numbers()}
	p.flusher, _ = w.(interface{ Flush() })
	p.title = title(nb, opts)
	p.titled = opts.Title == "" && p.title == firstHeading(nb)
	p.widgets = widgetModels(nb)
	return p
}

// flush sends what is written so far on its way.
func (p *page) flush() {
	if err := p.w.Flush(); err == nil && p.flusher != nil {
		p.flusher.Flush()
	}
}

func (p *page) str(parts ...string) {
	for _, s := range parts {
		p.w.WriteString(s)
	}
}

func (p *page) text(s string) { escape(p.w, s) }

// language returns the name of the notebook's language in lower case, "" when
// it does not say.
func language(nb *notebook.Notebook) string {
	for _, path := range [][]string{{"language_info", "name"}, {"kernelspec", "language"}, {"kernelspec", "name"}} {
		if s, _ := lookup(nb.Metadata, path...).(string); s != "" && len(s) < 40 {
			return strings.ToLower(s)
		}
	}
	return ""
}

func title(nb *notebook.Notebook, opts Options) string {
	if opts.Title != "" {
		return opts.Title
	}
	if s, _ := nb.Metadata["title"].(string); strings.TrimSpace(s) != "" {
		s, _ = cutText(s, 200)
		return s
	}
	if h := firstHeading(nb); h != "" {
		return h
	}
	return "Notebook"
}

// firstCell returns the index of the first cell that is the author's: Papermill
// puts a text before it when a run failed.
func firstCell(nb *notebook.Notebook) int {
	for i, c := range nb.Cells {
		if !hasTag(c, "papermill-error-cell-tag") {
			return i
		}
	}
	return len(nb.Cells)
}

// firstHeading returns the heading with which the first cell begins, when it is
// plain text; "" otherwise.
func firstHeading(nb *notebook.Notebook) string {
	i := firstCell(nb)
	if i >= len(nb.Cells) || nb.Cells[i].Type != notebook.Markdown {
		return ""
	}
	line, _, _ := strings.Cut(nb.Cells[i].Source, "\n")
	h, ok := strings.CutPrefix(line, "# ")
	h = strings.TrimSpace(h)
	if !ok || len(h) > 200 || strings.ContainsAny(h, "*_`#<>[]()\\$&~!") {
		return ""
	}
	return h
}

// cutText returns at most limit bytes of s, ending at a character's and, where
// one is near, at a line's end; and whether anything was cut.
func cutText(s string, limit int) (string, bool) {
	if len(s) <= limit {
		return s, false
	}
	for limit > 0 && s[limit]&0xc0 == 0x80 {
		limit--
	}
	s = s[:limit]
	if i := strings.LastIndexByte(s, '\n'); i > limit*3/4 {
		s = s[:i+1]
	}
	return s, true
}

func emptyNotebook() *notebook.Notebook {
	return &notebook.Notebook{Format: 4, Minor: 5, Metadata: notebook.Object{}}
}

// RenderMarkdown returns a markdown text as sanitized HTML, and its headings.
// Of opts, LinkURL, ImageURL and Cache are used.
func RenderMarkdown(src string, opts Options) (html string, outline []Heading) {
	s := newScribe(opts)
	html = s.markdown(src, nil)
	return html, s.headings
}

// RenderText returns the text of a markdown cell, with its attachments, as
// sanitized HTML. Of opts, LinkURL, ImageURL and Cache are used.
func RenderText(c *notebook.Cell, opts Options) string {
	return newScribe(opts).markdown(c.Source, attachments(c))
}
