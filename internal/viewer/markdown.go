package viewer

import (
	"bytes"
	"crypto/rand"
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
// an attachment to a data address, "" when there is none.
func (s *scribe) markdown(src string, attach func(name string) string) string {
	if len(src) > maxMarkdownBytes || tooDeep(src) || tooCostly(src) {
		cut, _ := cutText(src, maxMarkdownBytes)
		return "<pre>" + esc(cut) + "</pre><p>This text is too large or too deeply nested to be formatted.</p>"
	}
	sh := &shelf{nonce: s.nonce}
	source := []byte(sh.shelveMath(strings.ToValidUTF8(src, "\uFFFD")))
	doc := markdownParser().Parser().Parse(text.NewReader(source))
	s.settle(doc, source, sh, attach)
	var buf bytes.Buffer
	buf.Grow(len(source) * 3 / 2)
	if err := markdownParser().Renderer().Render(&buf, source, doc); err != nil {
		return "<pre>" + esc(src) + "</pre>"
	}
	return sh.fill(sanitize(buf.String(), s.references(sh, attach)))
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

// settle gives headings their ids and replaces what we write ourselves: code
// blocks, attached images, task boxes.
func (s *scribe) settle(doc ast.Node, source []byte, sh *shelf, attach func(string) string) {
	type change struct{ old, new ast.Node }
	var changes []change
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			s.heading(n, source, sh)
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

func (s *scribe) heading(n *ast.Heading, source []byte, sh *shelf) {
	label := strings.TrimSpace(sh.plain(nodeText(n, source)))
	if label == "" {
		return
	}
	id := s.uniqueID(slug(label))
	n.SetAttributeString("id", []byte(id))
	if len(label) > 200 {
		label, _ = cutText(label, 200)
	}
	s.headings = append(s.headings, Heading{Level: n.Level, Text: label, ID: idPrefix + id, Cell: s.cell})
	anchor := `<a class="q-anchor" href="#` + esc(idPrefix+id) + `" aria-label="Link to this heading">#</a>`
	n.AppendChild(n, &markNode{mark: sh.put(anchor, "")})
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
