package notebook

import (
	"bytes"
	"errors"
	"io"
	"os"

	"quire/internal/problem"
)

// Bounds of a Book, in bytes.
const (
	bookWindow   = 64 << 10
	bookSkeleton = 16 << 20 // everything but the cells
	keptOutputs  = 4 << 10  // outputs of a cell that the Notebook of a Book holds
)

// A Book is a notebook in a file that is too large to hold in memory: its cells
// are read one at a time. It may be used by several goroutines when the reader
// allows that, as a file does.
type Book struct {
	// Notebook is the notebook as Read returns it, without the large outputs: of
	// a cell with more than 4 KiB of them only those of errors are there.
	Notebook *Notebook
	r        io.ReaderAt
	at       []extent
	format   decoder // the version, which decides how cells are read
}

// An extent is where a cell lies in the file, in bytes.
type extent struct{ from, to int64 }

// errNoBook says that a document must be read as a whole.
var errNoBook = errors.New("not laid out as a book")

// OpenBook reads all of a notebook of size bytes, cell by cell, and keeps little
// of it. Notebooks of nbformat 2 and 3, and what is not laid out as notebooks
// are, are read by Read, with its errors. The reader must stay open, and its
// bytes the same, for as long as the Book is used.
func OpenBook(r io.ReaderAt, size int64) (*Book, error) {
	if size > MaxBytes {
		return nil, problem.New(problem.TooLarge, "the notebook has %d bytes: at most %d are read", size, MaxBytes)
	}
	b := &Book{r: r}
	err := b.open(size)
	if err == nil {
		return b, nil
	}
	// Whatever is wrong, Read says it best; and what it can read is read.
	nb, err := Read(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	return &Book{Notebook: nb}, nil
}

// bookBytes is how large a file is that ReadBook reads cell by cell. A smaller
// one is faster read at once.
const bookBytes = 4 << 20

// ReadBook is OpenBook for a large file on the disk, and Read for all else.
func ReadBook(r io.Reader) (*Book, error) {
	if file, ok := r.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > bookBytes {
			return OpenBook(file, info.Size())
		}
	}
	nb, err := Read(r)
	if err != nil {
		return nil, err
	}
	return &Book{Notebook: nb}, nil
}

func (b *Book) open(size int64) error {
	s := splitter{r: io.NewSectionReader(b.r, 0, size)}
	if err := s.split(); err != nil {
		return err
	}
	d, val, err := checked(s.skeleton.Bytes())
	if err != nil {
		return err
	}
	nb, err := d.notebook(val)
	if err != nil {
		return err
	}
	if d.nbformat != CurrentFormat || len(nb.Cells) > 0 {
		return errNoBook
	}
	b.at, b.format = s.cells, *d
	warnings := d.warnings
	for i := range b.at {
		c, d, err := b.decode(i)
		if err != nil {
			return err
		}
		if b.at[i].to-b.at[i].from > keptOutputs {
			c.Outputs = errorOutputs(c.Outputs)
		}
		nb.Cells = append(nb.Cells, c)
		if room := maxWarnings - len(warnings); room > 0 {
			warnings = append(warnings, d.warnings[:min(room, len(d.warnings))]...)
		}
	}
	b.Notebook, nb.Warnings = nb, warnings
	nb.repairIDs(RandomID, false)
	v := validator{nb: nb, uniqueIDs: true}
	v.notebook()
	for _, is := range v.issues {
		if is.wrongType {
			return errNoBook
		}
		nb.warn("%s", is.text)
	}
	return nil
}

func errorOutputs(all []*Output) []*Output {
	kept := []*Output{}
	for _, o := range all {
		if o.Type == ErrorOutput {
			kept = append(kept, o)
		}
	}
	return kept
}

// Whole returns the notebook with all its outputs. It reads them all when the
// Book does not hold them.
func (b *Book) Whole() (*Notebook, error) {
	if b.r == nil {
		return b.Notebook, nil
	}
	nb := *b.Notebook
	nb.Cells = make([]*Cell, len(b.at))
	for i := range nb.Cells {
		var err error
		if nb.Cells[i], err = b.Cell(i); err != nil {
			return nil, err
		}
	}
	return &nb, nil
}

// Cell returns cell i, counted from 0, with all its outputs. It is the caller's
// own.
func (b *Book) Cell(i int) (*Cell, error) {
	if b.r == nil {
		return b.Notebook.Cells[i], nil
	}
	c, _, err := b.decode(i)
	if err != nil {
		return nil, problem.Wrap(err, "reading cell %d again", i+1)
	}
	c.ID = b.Notebook.Cells[i].ID
	return c, nil
}

func (b *Book) decode(i int) (*Cell, *decoder, error) {
	data := make([]byte, b.at[i].to-b.at[i].from)
	if _, err := b.r.ReadAt(data, b.at[i].from); err != nil {
		return nil, nil, err
	}
	d, val, err := checked(data)
	if err != nil {
		return nil, nil, err
	}
	d.nbformat, d.minor, d.cell = b.format.nbformat, b.format.minor, i+1
	c, err := d.oneCell(val)
	return c, d, err
}

// A splitter finds the cells of a notebook without holding them. It looks at
// brackets and strings only: what it cuts out is checked when it is decoded.
type splitter struct {
	r        io.Reader
	skeleton bytes.Buffer // the document with an empty list of cells
	cells    []extent

	pos     int64 // of the byte being looked at
	depth   int
	text    bool // in a string
	escaped bool // after a backslash
	key     []byte
	inCells bool
	seen    bool  // the list of cells
	from    int64 // of the cell that was begun; 0 between cells
	bad     bool  // a comma too many
}

func (s *splitter) split() error {
	window := make([]byte, bookWindow)
	for {
		n, err := s.r.Read(window)
		if err := s.chunk(window[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if !s.seen || s.depth != 0 || s.text || s.bad {
		return errNoBook
	}
	return nil
}

// chunk looks at the next bytes. Long strings in cells are passed over.
func (s *splitter) chunk(b []byte) error {
	for i := 0; i < len(b); i++ {
		if s.text && s.inCells && !s.escaped {
			n := bytes.IndexAny(b[i:], "\"\\")
			if n < 0 {
				s.pos += int64(len(b) - i)
				return nil
			}
			i += n
			s.pos += int64(n)
		}
		if err := s.next(b[i]); err != nil {
			return err
		}
		s.pos++
	}
	return nil
}

func (s *splitter) next(c byte) error {
	switch {
	case s.text:
		s.inText(c)
	case c == '"':
		s.text = true
		if s.depth == 1 {
			s.key = s.key[:0]
		}
		s.beginCell()
	case c == '[' || c == '{':
		if err := s.open(c); err != nil {
			return err
		}
	case c == ']' || c == '}':
		s.close()
	case c == ',' && s.inCells && s.depth == 2:
		s.endCell()
	case c != ' ' && c != '\n' && c != '\r' && c != '\t':
		s.beginCell()
	}
	if s.inCells && s.depth >= 2 {
		return nil
	}
	s.skeleton.WriteByte(c)
	if s.skeleton.Len() > bookSkeleton {
		return errNoBook
	}
	return nil
}

func (s *splitter) inText(c byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case c == '\\':
		s.escaped = true
	case c == '"':
		s.text = false
		return
	}
	if s.depth == 1 && len(s.key) <= len("cells") {
		s.key = append(s.key, c)
	}
}

func (s *splitter) open(c byte) error {
	s.beginCell()
	s.depth++
	if s.depth > MaxDepth {
		return errNoBook
	}
	if s.depth == 2 && c == '[' && string(s.key) == "cells" {
		if s.seen {
			return errNoBook // which of the two counts, Read says
		}
		s.seen, s.inCells = true, true
		s.skeleton.WriteByte('[')
	}
	return nil
}

func (s *splitter) close() {
	if s.inCells && s.depth == 2 {
		if s.from > 0 || len(s.cells) > 0 {
			s.endCell()
		}
		s.inCells = false
	}
	s.depth--
}

func (s *splitter) beginCell() {
	if s.inCells && s.depth == 2 && s.from == 0 {
		s.from = s.pos
	}
}

func (s *splitter) endCell() {
	if s.from == 0 {
		s.bad = true
		return
	}
	s.cells = append(s.cells, extent{s.from, s.pos})
	s.from = 0
}
