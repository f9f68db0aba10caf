package engine

import (
	"strings"
	"time"

	"quire/internal/notebook"
)

// outputCost is what an output counts for beyond its text and data, so that a
// cell with a million empty outputs is bounded too.
const outputCost = 256

// maxErrors is how many error outputs of a cell are kept beyond MaxOutput.
const maxErrors = 10

// An item is one output of a cell while it may still change. Its Output is
// never edited once it was part of a snapshot: it is replaced.
type item struct {
	out  *notebook.Output
	text *strings.Builder // stream outputs: the text so far
	size int64
}

// A cellState is a code cell and its outputs while the run may change them.
// The run's mutex guards it.
type cellState struct {
	index int
	cell  *notebook.Cell

	items     []*item
	clearNext bool
	kept      int64 // bytes of the outputs in items, as bounded by MaxOutput
	dirty     bool  // changed since the last snapshot
	done      bool  // finished: what comes now is late output

	streams map[string]*streamMask
	spills  map[string]*spill
	cleared map[string]bool // display ids that clear_output took away

	errors      int      // error outputs so far
	falseChecks []string // names of records with value false, for cells tagged check
	checkpoint  bool     // the cell published a checkpoint
	timing      notebook.Object
	reply       *reply
	errorOutput *notebook.Output // the last error output of this attempt
}

// A reply is what matters of an execute_reply.
type reply struct {
	Status    string   `json:"status"`
	Ename     string   `json:"ename"`
	Evalue    string   `json:"evalue"`
	Traceback []string `json:"traceback"`
	at        time.Time
}

// reset forgets the outputs of an attempt.
func (c *cellState) reset() {
	c.items, c.kept, c.clearNext = nil, 0, false
	c.streams = map[string]*streamMask{}
	c.cleared = nil
	c.reply, c.errorOutput, c.falseChecks = nil, nil, nil
	c.timing = notebook.Object{}
	c.dirty = true
}

// snapshot returns the outputs as they are now, safe to hand to another
// goroutine.
func (c *cellState) snapshot() []*notebook.Output {
	outputs := make([]*notebook.Output, len(c.items))
	for i, it := range c.items {
		if it.text != nil {
			o := *it.out
			o.Text = it.text.String()
			outputs[i] = &o
			continue
		}
		outputs[i] = it.out
	}
	return outputs
}

// clear is clear_output: now, or before the next output.
func (r *run) clear(c *cellState, wait bool) {
	if wait {
		c.clearNext = true
		return
	}
	c.clearNext = false
	r.flushStreams(c)
	for id, items := range r.displays {
		kept := items[:0]
		for _, d := range items {
			if d.cell == c {
				if c.cleared == nil {
					c.cleared = map[string]bool{}
				}
				c.cleared[id] = true
				continue
			}
			kept = append(kept, d)
		}
		r.displays[id] = kept
	}
	c.items, c.kept = nil, 0
	c.dirty = true
}

// appendStream adds text to the cell's outputs: to the last output when that
// is the same stream. A carriage return is kept, as nbclient keeps it.
func (r *run) appendStream(c *cellState, name, text string) {
	if c.clearNext {
		r.clear(c, false)
	}
	m := c.streams[name]
	if m == nil {
		m = &streamMask{m: r.mask}
		if c.streams == nil {
			c.streams = map[string]*streamMask{}
		}
		c.streams[name] = m
	}
	r.storeStream(c, name, m.write(text))
}

// flushStreams stores what the masks held back: the text cannot go on.
func (r *run) flushStreams(c *cellState) {
	for _, name := range []string{"stdout", "stderr"} {
		if m := c.streams[name]; m != nil {
			r.storeStream(c, name, m.flush())
		}
	}
}

func (r *run) storeStream(c *cellState, name, text string) {
	if text == "" {
		return
	}
	r.emitText(c.index, string(notebook.Stream), name, text)
	c.dirty = true
	if s := c.spills[name]; s != nil {
		s.write(text)
		if c.done {
			s.updateNotice(r.maxOutput)
		}
		return
	}
	if c.kept+int64(len(text)) > r.maxOutput {
		r.spillStream(c, name, text)
		return
	}
	c.kept += int64(len(text))
	if n := len(c.items); n > 0 {
		if last := c.items[n-1]; last.text != nil && last.out.Name == name {
			last.text.WriteString(text)
			return
		}
	}
	it := &item{out: &notebook.Output{Type: notebook.Stream, Name: name}, text: &strings.Builder{}}
	it.text.WriteString(text)
	c.items = append(c.items, it)
	c.kept += outputCost
}

// appendOutput adds a display_data, execute_result or error output.
func (r *run) appendOutput(c *cellState, o *notebook.Output) *item {
	r.flushStreams(c)
	if c.clearNext {
		r.clear(c, false)
	}
	c.dirty = true
	size := outputSize(o)
	if o.Type == notebook.ErrorOutput {
		c.errors++
	}
	// The error that ends a cell is always kept; boundLines has cut it.
	if (o.Type != notebook.ErrorOutput || c.errors > maxErrors) && c.kept+size > r.maxOutput {
		r.spillOutput(c, o)
		return nil
	}
	it := &item{out: o, size: size}
	c.items = append(c.items, it)
	c.kept += size
	return it
}

// outputSize is what an output counts towards MaxOutput.
func outputSize(o *notebook.Output) int64 {
	n := int64(outputCost + len(o.Text) + len(o.Ename) + len(o.Evalue))
	for _, line := range o.Traceback {
		n += int64(len(line))
	}
	for k, v := range o.Data {
		n += int64(len(k))
		switch v := v.(type) {
		case string:
			n += int64(len(v))
		case notebook.Raw:
			n += int64(len(v))
		}
	}
	return n
}
