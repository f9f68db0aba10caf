package session

import (
	"bytes"
	"unicode/utf8"

	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/session/ydoc"
)

// A paper is the file that a document is of: what it was when both were last
// equal, and how one becomes the other.
type paper interface {
	// parse reads another state of the same file.
	parse(data []byte) (paper, error)
	// fill puts the file into an empty document, the same each time.
	fill(d *ydoc.Doc)
	// snapshot returns the file that the document is now; its bytes may be asked
	// for elsewhere while the document changes.
	snapshot(d *ydoc.Doc) paper
	bytes() ([]byte, error)
	// merge brings into the document what theirs changed, which was made from one
	// of candidates, the likeliest first; given says that they are what clients
	// were given. It returns what stayed as it is in the document because both
	// changed it.
	merge(d *ydoc.Doc, theirs paper, candidates []paper, given bool) []string
}

// newPaper reads a file of the kind "notebook" or "file".
func newPaper(b *blobs, kind string, data []byte) (paper, error) {
	if kind == kindNotebook {
		return notebookPaper{blobs: b}.parse(data)
	}
	return textPaper("").parse(data)
}

type notebookPaper struct {
	nb    *notebook.Notebook // its large outputs are short ones that refer to blobs
	blobs *blobs
}

func (p notebookPaper) parse(data []byte) (paper, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		nb := notebook.New()
		nb.Minor = 5
		return notebookPaper{nb, p.blobs}, nil
	}
	nb, err := notebook.Parse(data)
	if err != nil {
		return nil, err
	}
	giveIDs(nb, p.nb)
	for _, c := range nb.Cells {
		for i, o := range c.Outputs {
			if c.Outputs[i], err = p.blobs.shrink(o); err != nil {
				return nil, err
			}
		}
	}
	return notebookPaper{nb, p.blobs}, nil
}

func (p notebookPaper) fill(d *ydoc.Doc) { fill(d, p.nb) }

func (p notebookPaper) snapshot(d *ydoc.Doc) paper {
	nb := render(d, p.nb)
	giveIDs(nb, p.nb) // a client may have written two cells with one id
	return notebookPaper{nb, p.blobs}
}

func (p notebookPaper) bytes() ([]byte, error) {
	full, err := p.blobs.expandAll(p.nb)
	if err != nil {
		return nil, err
	}
	return withoutIDs(full).Bytes()
}

func (p notebookPaper) merge(d *ydoc.Doc, theirs paper, candidates []paper, given bool) []string {
	other, ok := theirs.(notebookPaper)
	if !ok {
		return nil
	}
	bases := []*notebook.Notebook{}
	for _, c := range candidates {
		if c, ok := c.(notebookPaper); ok {
			bases = append(bases, c.nb)
		}
	}
	return mergeOutside(d, bases[closest(other.nb, bases, given)], other.nb)
}

type textPaper string

func (p textPaper) parse(data []byte) (paper, error) {
	if !utf8.Valid(data) {
		return nil, problem.New(problem.Invalid, "the file is not UTF-8 text")
	}
	return textPaper(data), nil
}

func (p textPaper) fill(d *ydoc.Doc) { d.Text(rootSource).Insert(0, string(p)) }

func (p textPaper) snapshot(d *ydoc.Doc) paper { return textPaper(d.Text(rootSource).String()) }

func (p textPaper) bytes() ([]byte, error) { return []byte(p), nil }

func (p textPaper) merge(d *ydoc.Doc, theirs paper, candidates []paper, given bool) []string {
	other, _ := theirs.(textPaper)
	base, least := textPaper(""), -1
	for _, c := range candidates {
		c, _ := c.(textPaper)
		if n := changedBytes(string(c), string(other)); least < 0 || (!given && n < least) {
			base, least = c, n
		}
	}
	text := d.Text(rootSource)
	merged, ok := merge3(string(base), text.String(), string(other))
	text.Replace(merged)
	if !ok {
		return []string{"the text"}
	}
	return nil
}
