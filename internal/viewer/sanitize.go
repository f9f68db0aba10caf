package viewer

import (
	"crypto/sha256"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/microcosm-cc/bluemonday"
	nethtml "golang.org/x/net/html"
)

// maxElementDepth bounds how deep foreign HTML may nest; deeper elements are
// dropped and their text is kept. Browsers and parsers stop at 512.
const maxElementDepth = 100

// idPrefix is put before every id that comes from a notebook, so that none can
// stand for one of ours or shadow a global of a script.
const idPrefix = "n-"

// foreignElements are the elements that may come from a notebook. There is no
// element that loads, runs, styles or submits, and none that changes how a
// parser reads what follows it (svg, math, style, select, noscript, template).
var foreignElements = map[string]bool{
	"a": true, "abbr": true, "b": true, "bdi": true, "bdo": true, "blockquote": true, "br": true,
	"caption": true, "cite": true, "code": true, "col": true, "colgroup": true, "dd": true, "del": true,
	"details": true, "dfn": true, "div": true, "dl": true, "dt": true, "em": true, "figcaption": true,
	"figure": true, "h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "hr": true,
	"i": true, "img": true, "ins": true, "kbd": true, "li": true, "mark": true, "ol": true, "p": true,
	"pre": true, "q": true, "s": true, "samp": true, "small": true, "span": true, "strike": true,
	"strong": true, "sub": true, "summary": true, "sup": true, "table": true, "tbody": true, "td": true,
	"tfoot": true, "th": true, "thead": true, "time": true, "tr": true, "tt": true, "u": true, "ul": true,
	"var": true, "wbr": true,
}

// droppedContent are the elements whose content goes with them. The content of
// any other element that is not allowed is kept.
var droppedContent = map[string]bool{
	"applet": true, "audio": true, "canvas": true, "embed": true, "frameset": true, "head": true,
	"iframe": true, "math": true, "noembed": true, "noframes": true, "noscript": true, "object": true,
	"plaintext": true, "script": true, "select": true, "style": true, "svg": true, "template": true,
	"textarea": true, "title": true, "video": true, "xmp": true,
}

var voidElements = map[string]bool{"br": true, "col": true, "hr": true, "img": true, "wbr": true}

// A reference is an address in a document, and how it is used.
type reference struct {
	// link maps the address of a link; "" drops it. Nil keeps it.
	link func(ref string) string
	// image maps the relative address of an image to one that may be loaded;
	// "" drops it. Nil drops every one.
	image func(ref string) string
	// restore gives an attribute its text back where a formula in it was set
	// aside. Nil changes nothing.
	restore func(s string) string
}

// sanitize returns foreign HTML as balanced HTML of the allowed elements: what
// it opens it closes, and it closes nothing that it did not open, so that it
// cannot leave the element that holds it. sanitize(sanitize(x)) is sanitize(x).
func sanitize(src string, refs reference) string {
	clean, _ := sanitizeHTML(src, refs)
	return clean
}

// maxCleanBytes is how long HTML may be for its sanitized form to be kept.
const maxCleanBytes = 256 << 10

// sanitize is the function of that name. What it made of HTML is kept where it
// is the same on every page: where no address is in it that a page has a say in.
func (c *Cache) sanitize(src string, refs reference) string {
	if c == nil || len(src) > maxCleanBytes {
		return sanitize(src, refs)
	}
	key := sha256.Sum256([]byte("\x00html\x00" + src)) // no language has that name
	if clean, ok := c.get(key); ok {
		return clean
	}
	clean, constant := sanitizeHTML(src, refs)
	if lower := strings.ToLower(src); constant && !strings.Contains(lower, "src") && !strings.Contains(lower, "href") {
		c.put(key, clean)
	}
	return clean
}

// sanitizeHTML is sanitize; constant is true when nothing in the result is of
// the author's choice but text.
func sanitizeHTML(src string, refs reference) (clean string, constant bool) {
	// A tag cannot be there without "<"; escaped text is its own fixed point.
	if !strings.ContainsAny(src, "<>&'\"\x00\r") {
		return src, true
	}
	b := balance(src, refs)
	if !b.free {
		// Names of elements and attributes are constants of ours, and so is
		// every value: there is nothing for a second look to find.
		return b.dst.String(), true
	}
	return policy().Sanitize(b.dst.String()), false
}

// policy is the last word on what passes. It allows what balance lets through
// and is kept apart from it, so that a mistake must be made twice.
var policy = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	names := make([]string, 0, len(foreignElements))
	for name := range foreignElements {
		names = append(names, name)
	}
	p.AllowElements(names...)
	p.AllowNoAttrs().OnElements(names...)
	p.AllowURLSchemes("http", "https", "mailto")
	p.AllowRelativeURLs(true)
	p.RequireParseableURLs(true)
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	p.AddTargetBlankToFullyQualifiedLinks(true)
	p.AllowDataURIImages()
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("src").Matching(imageSource).OnElements("img")
	p.AllowAttrs("alt").OnElements("img")
	p.AllowAttrs("loading").Matching(regexp.MustCompile(`^lazy$`)).OnElements("img")
	number := regexp.MustCompile(`^[0-9]{1,4}$`)
	p.AllowAttrs("width", "height").Matching(number).OnElements("img")
	p.AllowAttrs("colspan", "rowspan").Matching(number).OnElements("td", "th")
	p.AllowAttrs("span").Matching(number).OnElements("col", "colgroup")
	p.AllowAttrs("start").Matching(number).OnElements("ol")
	p.AllowAttrs("value").Matching(number).OnElements("li")
	p.AllowAttrs("open").Matching(regexp.MustCompile(`^$`)).OnElements("details")
	p.AllowAttrs("align").Matching(regexp.MustCompile(`^(left|right|center)$`)).OnElements("td", "th", "p", "div", "h1", "h2", "h3", "h4", "h5", "h6")
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^(alert|alert-[a-z]+|dataframe)( (alert|alert-[a-z]+|dataframe))*$`)).OnElements("div", "table", "p")
	p.AllowAttrs("id").Matching(regexp.MustCompile(`^` + idPrefix + `[^\s<>"'&]{1,200}$`)).Globally()
	p.AllowAttrs("title").Globally()
	p.AllowAttrs("lang").Matching(regexp.MustCompile(`^[a-zA-Z-]{1,20}$`)).Globally()
	p.AllowAttrs("dir").Matching(regexp.MustCompile(`^(ltr|rtl|auto)$`)).Globally()
	return p
})

// imageSource is what an image of foreign HTML may be loaded from: itself, or a
// path on our own host that Options.ImageURL made.
var imageSource = regexp.MustCompile(`^(data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=]*|/[^/\\].*)$`)

// A balancer rewrites foreign HTML tag by tag.
type balancer struct {
	dst  strings.Builder
	refs reference
	open []string // elements written and not yet closed, outermost first
	skip []string // elements opened and left out because they are too deep
	free bool     // an attribute was written whose value the author chose
}

func balance(src string, refs reference) *balancer {
	b := &balancer{refs: refs}
	b.dst.Grow(len(src) + len(src)/16)
	z := nethtml.NewTokenizer(strings.NewReader(src))
	z.SetMaxBuf(64 << 20)
	dropping, depth := "", 0 // the element whose content is dropped, and how often it is open
	for {
		kind := z.Next()
		if kind == nethtml.ErrorToken {
			break
		}
		name := ""
		var attrs bool
		if kind == nethtml.StartTagToken || kind == nethtml.EndTagToken || kind == nethtml.SelfClosingTagToken {
			raw, more := z.TagName()
			name, attrs = elementName(raw), more
		}
		if dropping != "" {
			switch {
			case name != dropping:
			case kind == nethtml.StartTagToken:
				depth++
			case kind == nethtml.EndTagToken:
				if depth--; depth == 0 {
					dropping = ""
				}
			}
			continue
		}
		switch kind {
		case nethtml.TextToken:
			b.text(z)
		case nethtml.StartTagToken, nethtml.SelfClosingTagToken:
			if droppedContent[name] {
				if kind == nethtml.StartTagToken && name != "embed" {
					dropping, depth = name, 1
				}
				continue
			}
			b.start(z, name, attrs)
		case nethtml.EndTagToken:
			b.end(name)
		}
	}
	for i := len(b.open) - 1; i >= 0; i-- {
		b.close(b.open[i])
	}
	return b
}

var elementNames = func() map[string]string {
	m := map[string]string{}
	for name := range foreignElements {
		m[name] = name
	}
	for name := range droppedContent {
		m[name] = name
	}
	return m
}()

// elementName returns the name without keeping the tokenizer's buffer.
func elementName(raw []byte) string {
	if name, ok := elementNames[string(raw)]; ok {
		return name
	}
	return "other" // neither kept nor dropped with its content
}

// text writes text escaped as the HTML parser's own writer does.
func (b *balancer) text(z *nethtml.Tokenizer) {
	s := z.Text()
	start := 0
	for i, c := range s {
		var rep string
		switch c {
		case '&':
			rep = "&amp;"
		case '<':
			rep = "&lt;"
		case '>':
			rep = "&gt;"
		case '"':
			rep = "&#34;"
		case '\'':
			rep = "&#39;"
		case '\r':
			rep = "&#13;"
		default:
			continue
		}
		b.dst.Write(s[start:i])
		b.dst.WriteString(rep)
		start = i + 1
	}
	b.dst.Write(s[start:])
}

func (b *balancer) start(z *nethtml.Tokenizer, name string, attrs bool) {
	if !foreignElements[name] {
		return
	}
	if len(b.open) >= maxElementDepth && !voidElements[name] {
		if len(b.skip) < 4*maxElementDepth {
			b.skip = append(b.skip, name)
		}
		return
	}
	var kept []nethtml.Attribute
	for n := 0; attrs && n < 64; n++ {
		var key, val []byte
		key, val, attrs = z.TagAttr()
		if a, ok := b.attribute(name, string(key), string(val)); ok {
			kept = append(kept, a)
		}
	}
	if name == "img" {
		var ok bool
		if kept, ok = b.image(kept); !ok {
			return
		}
	}
	b.dst.WriteByte('<')
	b.dst.WriteString(name)
	for i, a := range kept {
		if slices.ContainsFunc(kept[:i], func(e nethtml.Attribute) bool { return e.Key == a.Key }) {
			continue
		}
		switch a.Key {
		case "class", "open", "colspan", "rowspan", "span", "start", "value", "width", "height":
		default:
			b.free = true
		}
		b.dst.WriteByte(' ')
		b.dst.WriteString(a.Key)
		b.dst.WriteString(`="`)
		b.dst.WriteString(nethtml.EscapeString(a.Val))
		b.dst.WriteByte('"')
	}
	b.dst.WriteByte('>')
	if !voidElements[name] {
		b.open = append(b.open, name)
	}
}

// image decides on an img element: true to write it. One that may not be
// loaded becomes its text, with a link when there is somewhere to go.
func (b *balancer) image(attrs []nethtml.Attribute) ([]nethtml.Attribute, bool) {
	src, alt := "", ""
	for _, a := range attrs {
		switch a.Key {
		case "src":
			src = a.Val
		case "alt":
			alt = a.Val
		}
	}
	if imageSource.MatchString(src) {
		return attrs, true
	}
	if alt == "" {
		alt = "image"
	}
	inLink := false
	for _, name := range b.open {
		inLink = inLink || name == "a"
	}
	if u := safeURL(src); u != "" && !inLink && strings.HasPrefix(u, "http") {
		b.free = true
		b.dst.WriteString(`<a href="` + nethtml.EscapeString(u) + `">` + nethtml.EscapeString(alt) + `</a>`)
	} else {
		b.dst.WriteString(nethtml.EscapeString(alt))
	}
	return nil, false
}

func (b *balancer) end(name string) {
	if !foreignElements[name] || voidElements[name] {
		return
	}
	if n := len(b.skip); n > 0 && b.skip[n-1] == name {
		b.skip = b.skip[:n-1]
		return
	}
	for i := len(b.open) - 1; i >= 0; i-- {
		if b.open[i] != name {
			continue
		}
		for j := len(b.open) - 1; j >= i; j-- {
			b.close(b.open[j])
		}
		b.open = b.open[:i]
		b.skip = b.skip[:0]
		return
	}
}

func (b *balancer) close(name string) {
	b.dst.WriteString("</")
	b.dst.WriteString(name)
	b.dst.WriteByte('>')
}

var classWord = regexp.MustCompile(`^(alert|alert-(info|success|warning|danger|block)|dataframe)$`)

// attribute returns the attribute as it may stay on the element.
func (b *balancer) attribute(element, key, val string) (nethtml.Attribute, bool) {
	if b.refs.restore != nil {
		val = b.refs.restore(val)
	}
	keep := func(ok bool) (nethtml.Attribute, bool) {
		return nethtml.Attribute{Key: key, Val: val}, ok
	}
	switch key {
	case "href":
		val = b.linkTarget(val)
		return keep(element == "a" && val != "")
	case "src":
		val = b.imageTarget(val)
		return keep(element == "img")
	case "id", "name":
		if key == "name" && element != "a" {
			return keep(false)
		}
		key, val = "id", prefixID(val)
		return keep(val != "")
	case "class":
		var words []string
		for _, w := range strings.Fields(val) {
			if classWord.MatchString(w) && len(words) < 4 {
				words = append(words, w)
			}
		}
		val = strings.Join(words, " ")
		return keep(val != "" && (element == "div" || element == "table" || element == "p"))
	case "open":
		val = ""
		return keep(element == "details")
	case "align", "dir":
		val = strings.ToLower(strings.TrimSpace(val))
		return keep(true)
	case "colspan", "rowspan", "span", "start", "value", "width", "height":
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(val), "px"))
		val = strconv.Itoa(n)
		return keep(err == nil && n >= 0 && n < 10000)
	case "alt", "title", "lang", "loading":
		return keep(len(val) <= 2000)
	}
	return keep(false)
}

// prefixID returns an id of a notebook as it stands on the page, "" for none.
func prefixID(id string) string {
	id = strings.TrimPrefix(strings.TrimSpace(id), idPrefix)
	if id == "" || len(id) > 180 || strings.ContainsAny(id, " \t\r\n\f<>\"'&\x00") {
		return ""
	}
	return idPrefix + id
}

func (b *balancer) linkTarget(ref string) string {
	ref = safeURL(ref)
	if strings.HasPrefix(ref, "#") {
		frag, err := url.PathUnescape(ref[1:])
		if err != nil {
			return ""
		}
		if strings.HasPrefix(frag, cellPrefix) {
			return ref
		}
		if id := prefixID(frag); id != "" {
			return "#" + (&url.URL{Path: id}).EscapedPath()
		}
		return ""
	}
	if ref != "" && isRelative(ref) && b.refs.link != nil {
		return safeURL(b.refs.link(ref))
	}
	return ref
}

func (b *balancer) imageTarget(ref string) string {
	ref = strings.TrimSpace(ref)
	if imageData(ref) {
		if head, body, ok := strings.Cut(ref, ","); ok {
			return strings.ToLower(head) + "," + stripSpace(body)
		}
	}
	if ref = safeURL(ref); ref == "" || !isRelative(ref) {
		return ref
	}
	if b.refs.image == nil {
		return ""
	}
	return safeURL(b.refs.image(ref))
}

// imageData reports whether ref holds an image of a kind that we show, in
// base64.
func imageData(ref string) bool {
	const longest = len("data:image/svg+xml;base64,")
	head := strings.ToLower(ref[:min(len(ref), longest)])
	for _, kind := range []string{"png", "jpeg", "gif", "webp", "svg+xml"} {
		if strings.HasPrefix(head, "data:image/"+kind+";base64,") {
			return true
		}
	}
	return false
}

// ImageData returns ref as an address that holds a picture itself, "" when it is
// none or is damaged.
func ImageData(ref string) string {
	ref = strings.TrimSpace(ref)
	if !imageData(ref) {
		return ""
	}
	head, body, _ := strings.Cut(ref, ",")
	if body = stripSpace(body); !validBase64(body) {
		return ""
	}
	return strings.ToLower(head) + "," + body
}

func stripSpace(s string) string {
	if !strings.ContainsAny(s, " \t\r\n\f") {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n', '\f':
			return -1
		}
		return r
	}, s)
}

// safeURL returns the address as a browser would read it when it leads to the
// web, to mail or is relative to the page, and "" when it leads anywhere else.
func safeURL(ref string) string {
	ref = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1 // browsers drop tabs and newlines inside a scheme
		}
		return r
	}, strings.TrimSpace(ref))
	if ref == "" || len(ref) > 4096 || strings.HasPrefix(ref, "//") || strings.Contains(ref, "\\") {
		return ""
	}
	u, err := url.Parse(ref)
	if err != nil {
		return ""
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https":
		if u.Host == "" || u.Opaque != "" {
			return ""
		}
		return ref
	case "mailto":
		return ref
	case "":
		if u.Host != "" {
			return ""
		}
		return ref
	}
	return ""
}

// isRelative reports whether an address that safeURL let through is relative.
func isRelative(ref string) bool {
	u, err := url.Parse(ref)
	return err == nil && u.Scheme == ""
}
