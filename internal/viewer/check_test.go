package viewer

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"testing"

	nethtml "golang.org/x/net/html"

	"quire/internal/notebook"
)

// pageElements are the elements that a page of ours may have; "math" and its
// children besides.
var pageElements = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields("html head body meta title link article header h1 h2 h3 nav main section label input iframe time dl dt dd") {
		m[name] = true
	}
	for name := range foreignElements {
		m[name] = true
	}
	return m
}()

// faults returns everything in a page that could run, load, navigate, submit or
// pass itself off as ours.
func faults(page string) []string {
	doc, err := nethtml.Parse(strings.NewReader(page))
	if err != nil {
		return []string{err.Error()}
	}
	return treeFaults(doc)
}

// inspect returns the faults of a notebook's page, and whether anything of a
// cell left its section.
func inspect(page string, cells int) []string {
	page = strings.Replace(page, Stylesheet(), "OUR-STYLE", 1)
	doc, err := nethtml.Parse(strings.NewReader(page))
	if err != nil {
		return []string{err.Error()}
	}
	found := treeFaults(doc)
	if e := escaped(doc, cells); e != "" {
		found = append(found, e)
	}
	return found
}

func treeFaults(doc *nethtml.Node) []string {
	var found []string
	add := func(n *nethtml.Node, format string, args ...any) {
		found = append(found, "<"+n.Data+">: "+fmt.Sprintf(format, args...))
	}
	ids := map[string]bool{}
	for n := range doc.Descendants() {
		if n.Type == nethtml.CommentNode {
			add(n, "a comment")
		}
		if n.Type != nethtml.ElementNode {
			continue
		}
		if n.Namespace == "math" {
			if !strings.HasPrefix(n.Data, "m") || n.Data == "maction" || n.Data == "mglyph" {
				add(n, "not an element of ours in a formula")
			}
		} else if n.Namespace == "svg" && ourChart(n) {
			if !chartElements[n.Data] {
				add(n, "not an element of a chart")
			}
		} else if !pageElements[n.Data] && n.Data != "style" || n.Namespace != "" {
			add(n, "element is not allowed (namespace %q)", n.Namespace)
		}
		if n.Data == "style" && (n.FirstChild == nil || n.FirstChild.Data != "OUR-STYLE") {
			add(n, "a style that is not ours")
		}
		for _, a := range n.Attr {
			attributeFaults(n, a, ids, add)
		}
	}
	return found
}

// chartElements are what charts are made of.
var chartElements = map[string]bool{"svg": true, "rect": true, "line": true, "circle": true, "path": true, "text": true, "title": true}

// ourChart reports whether an element is part of a chart that we drew: only those
// stand in a figure with that class, which no author's HTML may have.
func ourChart(n *nethtml.Node) bool {
	for ; n != nil; n = n.Parent {
		if n.Data == "figure" && attr(n, "class") == "q-chart" {
			return true
		}
	}
	return false
}

func attributeFaults(n *nethtml.Node, a nethtml.Attribute, ids map[string]bool, add func(*nethtml.Node, string, ...any)) {
	val := strings.ToLower(strings.TrimSpace(a.Val))
	switch a.Key {
	case "style", "srcset", "srcdoc", "action", "formaction", "background", "poster", "ping", "xlink:href", "data", "is", "slot":
		add(n, "attribute %s=%q", a.Key, a.Val)
	case "src":
		if !strings.HasPrefix(val, "data:image/") && !strings.HasPrefix(val, "/files/") && !(n.Data == "iframe" && strings.HasPrefix(val, "https://frames.test/")) {
			add(n, "loads %q", a.Val)
		}
		if n.Data == "iframe" && attr(n, "sandbox") != "allow-scripts" {
			add(n, "frame with sandbox=%q", attr(n, "sandbox"))
		}
	case "href":
		if n.Data == "link" {
			if a.Val != "/static/quire.css" {
				add(n, "stylesheet %q", a.Val)
			}
			return
		}
		u, err := url.Parse(a.Val)
		if err != nil || n.Data != "a" || (u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "mailto") || strings.HasPrefix(a.Val, "//") || strings.Contains(a.Val, `\`) {
			add(n, "link to %q", a.Val)
			return
		}
		if u.Scheme != "" && u.Scheme != "mailto" {
			for _, rel := range []string{"noopener", "noreferrer", "nofollow"} {
				if !strings.Contains(attr(n, "rel"), rel) {
					add(n, "link to %q without rel=%s", a.Val, rel)
				}
			}
		}
	case "http-equiv":
		if a.Val != "Content-Security-Policy" {
			add(n, "http-equiv %q", a.Val)
		}
	case "id":
		if ids[a.Val] && !strings.HasPrefix(a.Val, idPrefix) {
			add(n, "id %q twice", a.Val)
		}
		ids[a.Val] = true
		if !strings.HasPrefix(a.Val, idPrefix) && !strings.HasPrefix(a.Val, cellPrefix) && !strings.HasPrefix(a.Val, "q-") {
			add(n, "id %q is not prefixed", a.Val)
		}
	case "type":
		if n.Data == "input" && a.Val != "checkbox" {
			add(n, "input of type %q", a.Val)
		}
	default:
		if strings.HasPrefix(a.Key, "on") {
			add(n, "handler %s=%q", a.Key, a.Val)
		}
		if strings.Contains(val, "javascript:") && a.Key != "title" && a.Key != "alt" && a.Key != "aria-label" && a.Key != "class" {
			add(n, "%s=%q", a.Key, a.Val)
		}
	}
}

func attr(n *nethtml.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// escaped reports whether something of a cell left its section: the cells and
// nothing else must be the children of main.
func escaped(doc *nethtml.Node, cells int) string {
	seen := 0
	for n := range doc.Descendants() {
		if n.Type != nethtml.ElementNode || n.Data != "main" {
			continue
		}
		if p := n.Parent; p.Data != "div" || !strings.HasPrefix(attr(p, "class"), "q-columns") {
			return "main is not where it belongs"
		}
		for c := range n.ChildNodes() {
			if c.Type == nethtml.TextNode && strings.TrimSpace(c.Data) == "" {
				continue
			}
			if c.Data != "section" {
				return "in main: <" + c.Data + ">"
			}
			seen++
			last := c.LastChild
			for last != nil && last.Type == nethtml.TextNode {
				last = last.PrevSibling
			}
			if last == nil || attr(last, "class") != "q-cellbody" {
				return "a cell does not end with its body"
			}
		}
	}
	if seen != cells {
		return fmt.Sprintf("%d cells in main, want %d", seen, cells)
	}
	return ""
}

func render(t *testing.T, nb *notebook.Notebook, opts Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, nb, opts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func code(source string, outputs ...*notebook.Output) *notebook.Cell {
	n := int64(1)
	return &notebook.Cell{Type: notebook.Code, Source: source, Metadata: notebook.Object{}, ExecutionCount: &n, Outputs: outputs}
}

func prose(source string) *notebook.Cell {
	return &notebook.Cell{Type: notebook.Markdown, Source: source, Metadata: notebook.Object{}}
}

func display(pairs ...string) *notebook.Output {
	o := &notebook.Output{Type: notebook.DisplayData, Data: notebook.MimeBundle{}, Metadata: notebook.Object{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		if strings.HasSuffix(pairs[i], "json") {
			o.Data[pairs[i]] = notebook.Raw(pairs[i+1])
		} else {
			o.Data[pairs[i]] = pairs[i+1]
		}
	}
	return o
}

func document(cells ...*notebook.Cell) *notebook.Notebook {
	return &notebook.Notebook{Format: 4, Minor: 5, Metadata: notebook.Object{"language_info": notebook.Object{"name": "python"}}, Cells: cells}
}
