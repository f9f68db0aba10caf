package viewer

import (
	"time"

	"quire/internal/notebook"
)

// commentsKey is where the editor keeps comments in a cell's metadata.
const commentsKey = "quire_comments"

// Bounds of the comments of one cell: what is over them is not shown.
const (
	maxComments    = 200
	maxCommentText = 4000
)

// comments writes what people said of a cell and is not resolved. Anybody may
// have written anything there.
func (p *page) comments(c *notebook.Cell) {
	list, _ := c.Metadata[commentsKey].([]any)
	begun := false
	for i, v := range list {
		one := object(v)
		text, _ := one["text"].(string)
		if i >= maxComments || text == "" || boolAt(one, "resolved") {
			continue
		}
		if !begun {
			p.str(`<aside class="q-comments" aria-label="Comments">`, "\n")
			begun = true
		}
		author, _ := one["author"].(string)
		author, _ = cutText(oneLine(author), 80)
		p.str(`<p><b>`)
		p.text(author)
		p.str(`</b> `)
		if at, err := time.Parse(time.RFC3339, stringAt(one, "at")); err == nil {
			stamp := at.UTC().Format(time.RFC3339)
			p.str(`<time datetime="`, stamp, `">`, at.UTC().Format("2006-01-02 15:04 UTC"), `</time>`)
		}
		text, _ = cutText(text, maxCommentText)
		p.str(`</p><p class="q-comment">`)
		p.text(text)
		p.str("</p>\n")
	}
	if begun {
		p.str("</aside>\n")
	}
}
