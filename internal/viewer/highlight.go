package viewer

import (
	"crypto/sha256"
	"embed"
	"html"
	"io/fs"
	"strings"
	"sync"

	"github.com/alecthomas/chroma/v2"
)

// Bounds of coloured code. What is over them is shown in one colour.
const (
	maxHighlightBytes = 64 << 10 // of languages that chroma reads, at about 2 MB/s
	maxPythonBytes    = 1 << 20  // of Python, which is read here, at about 100 MB/s
)

// A Cache keeps what cells become on a page by the hash of their text, so that
// pages that show the same cell pay for it once. A nil Cache keeps nothing. It is safe for
// concurrent use.
type Cache struct {
	mu     sync.Mutex
	limit  int
	size   int
	recent map[[32]byte]kept
	older  map[[32]byte]kept
}

// A kept thing is a piece of HTML, or a text whose headings have no ids yet.
type kept struct {
	html    string
	writing *writing
}

func (k kept) size() int {
	n := len(k.html) + 64
	if k.writing != nil {
		for _, part := range k.writing.parts {
			n += len(part) + 32
		}
		for _, h := range k.writing.heads {
			n += len(h.Text) + 64
		}
	}
	return n
}

// NewCache returns a cache of up to about limit bytes; 0 means 16 MiB.
func NewCache(limit int) *Cache {
	if limit <= 0 {
		limit = 16 << 20
	}
	return &Cache{limit: limit, recent: map[[32]byte]kept{}}
}

// get and put keep two generations: when the recent one has half of the limit
// it becomes the older one, and what was in the older one goes.
func (c *Cache) get(key [32]byte) (string, bool) {
	k, ok := c.find(key)
	return k.html, ok
}

func (c *Cache) put(key [32]byte, html string) { c.keep(key, kept{html: html}) }

func (c *Cache) writing(key [32]byte) (*writing, bool) {
	k, ok := c.find(key)
	return k.writing, ok && k.writing != nil
}

func (c *Cache) putWriting(key [32]byte, p *writing) { c.keep(key, kept{writing: p}) }

func (c *Cache) find(key [32]byte) (kept, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.recent[key]; ok {
		return k, true
	}
	k, ok := c.older[key]
	if ok {
		c.add(key, k)
	}
	return k, ok
}

func (c *Cache) keep(key [32]byte, k kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, k)
}

func (c *Cache) add(key [32]byte, k kept) {
	if _, ok := c.recent[key]; ok {
		return
	}
	c.recent[key] = k
	if c.size += k.size(); c.size > c.limit/2 {
		c.older, c.recent, c.size = c.recent, map[[32]byte]kept{}, 0
	}
}

// highlight returns code as escaped HTML with the classes of Pygments.
func (c *Cache) highlight(code, lang string) string {
	lang = strings.ToLower(lang)
	colour := chromaHTML
	switch {
	case isPython(lang) && len(code) <= maxPythonBytes:
		colour = func(code, _ string) string { return highlightPython(code) }
	case lang == "" || len(code) > maxHighlightBytes || len(lang) > 40:
		return esc(code)
	}
	if c == nil || len(code) > maxHighlightBytes {
		return colour(code, lang)
	}
	key := sha256.Sum256([]byte(lang + "\x00" + code))
	if v, ok := c.get(key); ok {
		return v
	}
	v := colour(code, lang)
	c.put(key, v)
	return v
}

func isPython(lang string) bool {
	switch lang {
	case "python", "python3", "py", "ipython", "ipython3", "python2", "pyspark":
		return true
	}
	return false
}

// chromaNames maps what notebooks call a language to what chroma calls it.
var chromaNames = map[string]string{
	"c++11": "cpp", "c++14": "cpp", "c++17": "cpp", "c++20": "cpp", "f#": "fsharp", ".net-csharp": "csharp",
	"nodejs": "javascript", "ir": "r", "sqlite": "sql", "presto": "sql", "spark": "sql", "sparksql": "sql", "sh": "bash",
}

// lexerFiles are the languages that code is coloured in, from chroma. Its own
// package of them reads all 280 at every start of this program, and so of every
// container; these are read when the first code is coloured.
//
//go:embed lexers/*.xml
var lexerFiles embed.FS

// lexers are those of lexerFiles, by each of their names. Asking chroma for a name
// that it does not know makes it try the name on the file patterns of every lexer.
var lexers = sync.OnceValue(func() map[string]chroma.Lexer {
	registry, known := chroma.NewLexerRegistry(), map[string]chroma.Lexer{}
	files, err := fs.Glob(lexerFiles, "lexers/*.xml")
	if err != nil {
		panic(err) // the pattern is ours
	}
	for _, file := range files {
		lexer := registry.Register(chroma.MustNewXMLLexer(lexerFiles, file))
		for _, name := range append([]string{lexer.Config().Name}, lexer.Config().Aliases...) {
			known[strings.ToLower(name)] = lexer
		}
	}
	return known
})

func chromaHTML(code, lang string) string {
	if name, ok := chromaNames[lang]; ok {
		lang = name
	}
	lexer := lexers()[lang]
	if lexer == nil {
		return esc(code)
	}
	tokens, err := chroma.Coalesce(lexer).Tokenise(nil, code)
	if err != nil {
		return esc(code)
	}
	var out strings.Builder
	out.Grow(len(code) * 2)
	for t := tokens(); t != chroma.EOF; t = tokens() {
		class := tokenClass(t.Type)
		if class == "" {
			out.WriteString(html.EscapeString(t.Value))
			continue
		}
		out.WriteString(`<span class="` + class + `">`)
		out.WriteString(html.EscapeString(t.Value))
		out.WriteString(`</span>`)
	}
	s := out.String()
	if !strings.HasSuffix(code, "\n") { // some lexers add one
		s = strings.TrimSuffix(s, "\n")
	}
	return s
}

func tokenClass(t chroma.TokenType) string {
	for _, try := range []chroma.TokenType{t, t.SubCategory(), t.Category()} {
		if class, ok := chroma.StandardTypes[try]; ok {
			switch class {
			case "n", "w", "p", "err", "", "chroma":
				return ""
			}
			return class
		}
	}
	return ""
}

// magics maps a cell magic of IPython to the language of what follows it.
var magics = map[string]string{
	"sql": "sql", "bash": "bash", "sh": "bash", "script": "bash", "html": "html", "HTML": "html", "javascript": "javascript",
	"js": "javascript", "latex": "latex", "R": "r", "perl": "perl", "ruby": "ruby", "svg": "xml", "SVG": "xml", "markdown": "markdown",
	"sparksql": "sql", "spark": "scala", "cython": "python", "writefile": "", "file": "",
}

// source returns the code of a cell, coloured; the first line may be a magic
// that says what language the others are in.
func (c *Cache) source(code, lang string) string {
	trimmed := strings.TrimLeft(code, " \t\r\n")
	if !strings.HasPrefix(trimmed, "%%") {
		return c.highlight(code, lang)
	}
	head := len(code) - len(trimmed)
	end := strings.IndexByte(trimmed, '\n')
	if end < 0 {
		return code[:head] + `<span class="nd">` + esc(trimmed) + `</span>`
	}
	line, rest := trimmed[:end+1], trimmed[end+1:]
	name, _, _ := strings.Cut(strings.TrimSpace(line[2:]), " ")
	if l, ok := magics[name]; ok {
		lang = l
	}
	return code[:head] + `<span class="nd">` + esc(line) + `</span>` + c.highlight(rest, lang)
}
