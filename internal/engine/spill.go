package engine

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"quire/internal/notebook"
)

const (
	// DefaultMaxOutput is what a notebook keeps of one cell's outputs, in bytes,
	// when Request.MaxOutput is zero.
	DefaultMaxOutput = 64 << 20
	// maxSpill bounds one overflow file: a cell that prints for ever must not
	// fill the disk. What is beyond it is counted and the notice says so.
	maxSpill = 16 << 30
)

// A spill is the file beside the output notebook that holds in full what is
// too large for the notebook.
type spill struct {
	name    string // stdout, stderr or outputs
	ref     string // how a reader finds the file, relative to the notebook
	w       *bufio.Writer
	closer  io.Closer
	bytes   int64 // written
	dropped int64 // not written: over maxSpill, or the disk did not take it
	err     error
	notice  *item
}

func (s *spill) write(text string) {
	if s.closer == nil || s.err != nil || s.bytes+int64(len(text)) > maxSpill {
		s.dropped += int64(len(text))
		return
	}
	n, err := s.w.WriteString(text)
	s.bytes += int64(n)
	if err != nil {
		s.err = err
		s.dropped += int64(len(text) - n)
	}
}

// openSpill starts the overflow file of one kind for a cell and puts its notice
// among the cell's outputs.
func (r *run) openSpill(c *cellState, name, file string) *spill {
	s := &spill{name: name}
	if r.req.Output != nil {
		w, ref, err := r.req.Output.Overflow(file)
		if err == nil && w != nil {
			s.w, s.closer, s.ref = bufio.NewWriterSize(w, 64<<10), w, ref
		}
		s.err = err
	}
	s.notice = &item{out: &notebook.Output{Type: notebook.Stream, Name: "stderr"}, text: &strings.Builder{}}
	c.items = append(c.items, s.notice)
	if c.spills == nil {
		c.spills = map[string]*spill{}
	}
	c.spills[name] = s
	s.updateNotice(r.maxOutput)
	return s
}

// spillStream moves a stream over to a file: all that the notebook holds of it,
// then the new text, so that the file is whole.
func (r *run) spillStream(c *cellState, name, text string) {
	s := r.openSpill(c, name, fmt.Sprintf("cell-%d.%s.txt", c.index+1, name))
	for _, it := range c.items {
		if it != s.notice && it.text != nil && it.out.Name == name {
			s.write(it.text.String())
		}
	}
	s.write(text)
}

// spillOutput appends an output that is too large as one line of JSON.
func (r *run) spillOutput(c *cellState, o *notebook.Output) {
	s := c.spills["outputs"]
	if s == nil {
		s = r.openSpill(c, "outputs", fmt.Sprintf("cell-%d.outputs.jsonl", c.index+1))
	}
	line, err := notebook.MarshalOutput(o)
	if err != nil {
		s.err = err
		return
	}
	s.write(string(line))
	s.write("\n")
}

// updateNotice says in the notebook what is where.
func (s *spill) updateNotice(limit int64) {
	var b strings.Builder
	fmt.Fprintf(&b, "[quire] The outputs of this cell are over %s. ", formatBytes(limit))
	what := "All of " + s.name
	if s.name == "outputs" {
		what = "The other outputs"
	}
	switch {
	case s.w == nil:
		fmt.Fprintf(&b, "There is no place beside this notebook for the rest: %s of %s are not kept.\n", formatBytes(s.dropped), s.name)
	case s.err != nil:
		fmt.Fprintf(&b, "%s is in %s up to %s; then writing failed (%v) and %s are not kept.\n",
			what, s.ref, formatBytes(s.bytes), s.err, formatBytes(s.dropped))
	case s.dropped > 0:
		fmt.Fprintf(&b, "%s is in %s up to %s; %s more are not kept.\n", what, s.ref, formatBytes(s.bytes), formatBytes(s.dropped))
	default:
		fmt.Fprintf(&b, "%s is in %s (%s).\n", what, s.ref, formatBytes(s.bytes))
	}
	s.notice.text = &strings.Builder{}
	s.notice.text.WriteString(b.String())
}

// closeSpills ends the overflow files of a cell and brings their notices up to
// date.
func (r *run) closeSpills(c *cellState) {
	for _, s := range c.spills {
		if s.w == nil {
			continue
		}
		if err := s.w.Flush(); err != nil && s.err == nil {
			s.err = err
		}
		if s.closer != nil {
			if err := s.closer.Close(); err != nil && s.err == nil {
				s.err = err
			}
			s.closer = nil
		}
		s.updateNotice(r.maxOutput)
		if s.err != nil {
			r.warn(fmt.Sprintf("%s: writing %s: %v", r.label(c.index), s.ref, s.err))
		}
	}
}

// formatBytes writes a size for a person.
func formatBytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
