package viewer

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/renderer"
	ghtml "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Bounds of one markdown text. One that is over them is shown as it was
// written.
const (
	maxMarkdownBytes = 1 << 20
	maxMarkdownDepth = 60       // block quotes and lists within each other
	maxMarkdownWork  = 50 << 20 // bytes of a paragraph times the signs in it that open something
)

// A Heading is one line of a document's outline.
type Heading struct {
	Level int    // 1 to 6
	Text  string // plain text
	ID    string // what a link to it names, without "#"
	Cell  int    // index of the cell it stands in; -1 outside of notebooks
}

// A scribe renders the texts of one document and knows what they share: the
// ids that are taken and the headings so far. It is not safe for concurrent use.
type scribe struct {
	opts     Options
	nonce    string
	ids      map[string]int
	headings []Heading
	cell     int
}

func newScribe(opts Options) *scribe {
	var b [12]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("viewer: the system's random source: " + err.Error())
	}
	return &scribe{opts: opts, nonce: "qz" + hex.EncodeToString(b[:]) + "x", ids: map[string]int{}, cell: -1}
}

// markdown returns a markdown text as sanitized HTML. attach maps the name of
// an attachment to a data address, "" when there is none. What is the same on
// every page is kept in the cache.
func (s *scribe) markdown(src string, attach func(name string) string) string {
	if len(src) > maxMarkdownBytes || tooDeep(src) || tooCostly(src) {
		cut, _ := cutText(src, maxMarkdownBytes)
		return "<pre>" + esc(cut) + "</pre><p>This text is too large or too deeply nested to be formatted.</p>"
	}
	cached := s.opts.Cache != nil && attach == nil && len(src) <= maxCleanBytes
	var key [32]byte
	if cached {
		key = sha256.Sum256([]byte("\x00markdown\x00" + src)) // no language has that name
		if p, ok := s.opts.Cache.writing(key); ok {
			return s.place(p)
		}
	}
	p, constant := s.write(src, attach)
	if cached && constant {
		s.opts.Cache.putWriting(key, p)
	}
	return s.place(p)
}

// A writing is a text as sanitized HTML that may stand on any page: the ids of
// its headings are left open, because a page gives each id once.
type writing struct {
	parts []string  // HTML; between two parts stands the id of a heading
	ids   []int     // which heading's, by its place in heads
	heads []Heading // without ID and Cell
}

// place gives the headings of a text their ids on this page.
func (s *scribe) place(p *writing) string {
	ids := make([]string, len(p.heads))
	for i, h := range p.heads {
		ids[i] = s.uniqueID(slug(h.Text))
		h.ID, h.Cell = idPrefix+ids[i], s.cell
		s.headings = append(s.headings, h)
	}
	if len(p.parts) == 1 {
		return p.parts[0]
	}
	var out strings.Builder
	for i, part := range p.parts {
		out.WriteString(part)
		if i < len(p.ids) {
			out.WriteString(ids[p.ids[i]])
		}
	}
	return out.String()
}

// write formats a text. constant is true when it comes out the same on every
// page: when it has no address in it that a page has a say in.
func (s *scribe) write(src string, attach func(name string) string) (p *writing, constant bool) {
	sh := &shelf{nonce: s.nonce}
	source := []byte(sh.shelveMath(strings.ToValidUTF8(src, "\uFFFD")))
	doc := markdownParser().Parser().Parse(text.NewReader(source))
	p = &writing{heads: s.settle(doc, source, sh, attach)}
	var buf bytes.Buffer
	buf.Grow(len(source) * 3 / 2)
	if err := markdownParser().Renderer().Render(&buf, source, doc); err != nil {
		return &writing{parts: []string{"<pre>" + esc(src) + "</pre>"}}, false
	}
	refs := s.references(sh, attach)
	constant = true
	link, image := refs.link, refs.image
	refs.link = func(ref string) string {
		constant = false
		if link == nil {
			return ref
		}
		return link(ref)
	}
	refs.image = func(ref string) string {
		constant = false
		return image(ref)
	}
	p.cut(sh.fill(sanitize(buf.String(), refs)), s.headingMark())
	return p, constant
}

// headingMark begins what stands for the id of a heading until its page is
// known. Nobody who wrote a text could have known it.
func (s *scribe) headingMark() string { return "qh" + s.nonce[len("qz"):] }

// cut splits finished HTML where ids of headings stand.
func (p *writing) cut(html, mark string) {
	for {
		before, rest, ok := strings.Cut(html, mark)
		number, after, ended := strings.Cut(rest, "z")
		n, err := strconv.Atoi(number)
		if !ok || !ended || err != nil || n < 0 || n >= len(p.heads) {
			p.parts = append(p.parts, html)
			return
		}
		p.parts, p.ids = append(p.parts, before), append(p.ids, n)
		html = after
	}
}

// references says what becomes of the addresses in a text.
func (s *scribe) references(sh *shelf, attach func(name string) string) reference {
	return reference{
		link: s.opts.LinkURL,
		image: func(ref string) string {
			if name, ok := strings.CutPrefix(ref, "attachment:"); ok {
				if attach != nil {
					return attach(name)
				}
				return ""
			}
			if s.opts.ImageURL != nil {
				return s.opts.ImageURL(ref)
			}
			return ""
		},
		restore: sh.plain,
	}
}

// tooDeep reports whether a line opens more containers than are good for a
// parser that recurses.
func tooDeep(src string) bool {
	for len(src) > 0 {
		line, rest, _ := strings.Cut(src, "\n")
		depth := 0
	count:
		for i := 0; i < len(line); i++ {
			switch c := line[i]; {
			case c == '>' || c == '+' || c == '*' || c == '-' || c == '.' || c == ')':
				depth++
			case c != ' ' && c != '\t' && (c < '0' || c > '9'):
				break count
			}
		}
		if depth > maxMarkdownDepth {
			trimmed := strings.TrimSpace(line)
			if strings.Trim(trimmed, trimmed[:1]) != "" || trimmed[0] == '>' || strings.Contains(trimmed, " ") {
				return true
			}
		}
		src = rest
	}
	return false
}

// tooCostly reports whether a paragraph has so many openings of links, emphasis
// and code for its length that a parser that looks for each one's end in the
// whole paragraph would be long at it.
func tooCostly(src string) bool {
	size, signs := 0, 0
	fence := ""
	for len(src) > 0 {
		line, rest, _ := strings.Cut(src, "\n")
		trimmed := strings.TrimLeft(line, " \t>")
		switch {
		case fence != "":
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
		case strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~"):
			fence = trimmed[:3]
			size, signs = 0, 0
		case strings.TrimSpace(line) == "":
			size, signs = 0, 0
		default:
			size += len(line)
			for _, sign := range []string{"[", "*", "_", "`", "<", "~", "@"} {
				signs += strings.Count(line, sign)
			}
			if size*signs > maxMarkdownWork {
				return true
			}
		}
		src = rest
	}
	return false
}

var markdownParser = sync.OnceValue(func() goldmark.Markdown {
	return goldmark.New(
		goldmark.WithExtensions(
			extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)),
			extension.Strikethrough,
			extension.NewLinkify(extension.WithLinkifyAllowedProtocols([]string{"http:", "https:", "mailto:"})),
			extension.TaskList,
		),
		goldmark.WithRendererOptions(
			ghtml.WithUnsafe(), // sanitize is the last step, and it is never left out
			renderer.WithNodeRenderers(util.Prioritized(markRenderer{}, 10)),
		),
	)
})

// A markNode stands for an item on the shelf.
type markNode struct {
	ast.BaseInline
	mark string
}

var kindMark = ast.NewNodeKind("QuireMark")

func (n *markNode) Kind() ast.NodeKind { return kindMark }

func (n *markNode) Dump(source []byte, level int) { ast.DumpHelper(n, source, level, nil, nil) }

type markRenderer struct{}

func (markRenderer) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(kindMark, func(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			_, err := w.WriteString(n.(*markNode).mark)
			return ast.WalkSkipChildren, err
		}
		return ast.WalkContinue, nil
	})
}

// settle marks where headings get their ids, and replaces what we write
// ourselves: code blocks, attached images, task boxes. It returns the headings.
func (s *scribe) settle(doc ast.Node, source []byte, sh *shelf, attach func(string) string) []Heading {
	var heads []Heading
	type change struct{ old, new ast.Node }
	var changes []change
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			heads = s.heading(heads, n, source, sh)
		case *ast.FencedCodeBlock:
			code := sh.plain(blockText(n, source))
			lang := ""
			if l := n.Language(source); l != nil {
				lang = string(l)
			}
			changes = append(changes, change{n, s.codeBlock(code, lang, sh)})
			return ast.WalkSkipChildren, nil
		case *ast.CodeBlock:
			changes = append(changes, change{n, s.codeBlock(sh.plain(blockText(n, source)), "", sh)})
			return ast.WalkSkipChildren, nil
		case *extast.TaskCheckBox:
			box := "☐ "
			if n.IsChecked {
				box = "☑ "
			}
			changes = append(changes, change{n, ast.NewString([]byte(box))})
		case *ast.Image:
			if name, ok := strings.CutPrefix(string(n.Destination), "attachment:"); ok && attach != nil {
				alt := sh.plain(nodeText(n, source))
				if img := attachedImage(attach(name), alt, string(n.Title)); img != "" {
					changes = append(changes, change{n, &markNode{mark: sh.put(img, alt)}})
					return ast.WalkSkipChildren, nil
				}
			}
		}
		return ast.WalkContinue, nil
	})
	for _, c := range changes {
		c.old.Parent().ReplaceChild(c.old.Parent(), c.old, c.new)
	}
	return heads
}

func attachedImage(src, alt, title string) string {
	if src == "" || !imageSource.MatchString(src) {
		return ""
	}
	if alt == "" {
		alt = "Attached image"
	}
	img := `<img src="` + src + `" alt="` + esc(alt) + `"`
	if title != "" {
		img += ` title="` + esc(title) + `"`
	}
	return img + ">"
}

func (s *scribe) codeBlock(code, lang string, sh *shelf) ast.Node {
	block := ast.NewTextBlock()
	block.AppendChild(block, &markNode{mark: sh.put(`<pre class="q-hl"><code>`+s.opts.Cache.highlight(code, lang)+`</code></pre>`, code)})
	return block
}

func (s *scribe) heading(heads []Heading, n *ast.Heading, source []byte, sh *shelf) []Heading {
	label := strings.TrimSpace(sh.plain(nodeText(n, source)))
	if label == "" {
		return heads
	}
	id := s.headingMark() + strconv.Itoa(len(heads)) + "z"
	n.SetAttributeString("id", []byte(id))
	anchor := `<a class="q-anchor" href="#` + idPrefix + id + `" aria-label="Link to this heading">#</a>`
	n.AppendChild(n, &markNode{mark: sh.put(anchor, "")})
	label, _ = cutText(label, 200)
	return append(heads, Heading{Level: n.Level, Text: label})
}

// slug is the id that Jupyter gives a heading: its text with hyphens for
// spaces; what has a meaning in addresses or HTML becomes a hyphen too.
func slug(label string) string {
	label, _ = cutText(label, 100)
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.:", r) {
			return r
		}
		return '-'
	}, label)
}

func (s *scribe) uniqueID(id string) string {
	s.ids[id]++
	if n := s.ids[id]; n > 1 {
		return s.uniqueID(id + "-" + strconv.Itoa(n))
	}
	return id
}

func blockText(n ast.Node, source []byte) string {
	var b strings.Builder
	lines := n.Lines()
	for i := range lines.Len() {
		line := lines.At(i)
		b.Write(line.Value(source))
	}
	return b.String()
}

// nodeText returns the text within n without its markup.
func nodeText(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(c ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch c := c.(type) {
		case *ast.Text:
			b.Write(util.UnescapePunctuations(c.Segment.Value(source)))
			if c.SoftLineBreak() || c.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(c.Value)
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}
