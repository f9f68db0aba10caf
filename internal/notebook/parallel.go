package notebook

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Big notebooks are decoded and formatted on several cores, in batches of cells
// that follow each other. What comes out is what one core would have made, byte
// for byte and message for message.
const (
	atOnceBytes = 1 << 20   // smaller notebooks are left to one core
	readBatch   = 512 << 10 // bytes of JSON in a batch; a larger cell makes one of its own
	writeBatch  = 128 << 10 // bytes of text in a batch
	batchCells  = 2000      // cells in a batch
	batchRoom   = 3         // full buffers of a batch that wait for their turn
	maxWorkers  = 4
)

// workers returns how many goroutines share the work on a notebook.
func workers() int { return min(runtime.GOMAXPROCS(0), maxWorkers) }

// A cellRun is a batch of cells to decode.
type cellRun struct {
	pos      int // where the walk over the cells goes on
	first, n int // its first cell, counted from 0, and how many there are
	warnings []string
}

// cellsAtOnce decodes a big list of cells in as many goroutines as it is told. It reports false when
// the list is small or anything is wrong with a cell: then nothing has happened,
// and decoding one cell after the other finds out what is wrong first.
func (d *decoder) cellsAtOnce(nb *Notebook, list []byte, goroutines int) bool {
	if len(list) < atOnceBytes || goroutines < 2 {
		return false
	}
	runs, n := d.cut(list)
	cells := make([]*Cell, n)
	var total, next atomic.Int64
	var failed atomic.Bool
	total.Store(d.cost)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			defer func() {
				if recover() != nil { // will come up again, in the caller's goroutine
					failed.Store(true)
				}
			}()
			for k := next.Add(1) - 1; int(k) < len(runs) && !failed.Load(); k = next.Add(1) - 1 {
				part := &decoder{doc: d.doc, big: d.big, nbformat: d.nbformat, minor: d.minor, output: -1, shared: &total}
				if !part.cellRun(&runs[k], list, cells) {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() || total.Load() > d.mostCost() {
		return false
	}
	d.cost = total.Load()
	for _, r := range runs {
		for _, text := range r.warnings {
			d.addWarning(text)
		}
	}
	nb.Cells = cells
	return true
}

// cut returns the batches of a list of cells and how many cells it has.
func (d *decoder) cut(list []byte) (runs []cellRun, n int) {
	runs = make([]cellRun, 0, 1+len(list)/readBatch)
	e := d.each(list)
	r := cellRun{pos: e.pos}
	for e.next() {
		n++
		r.n++
		if e.pos-r.pos >= readBatch || r.n == batchCells {
			runs = append(runs, r)
			r = cellRun{pos: e.pos, first: n}
		}
	}
	if r.n > 0 {
		runs = append(runs, r)
	}
	return runs, n
}

// cellRun decodes a batch into its place in cells and reports whether it could.
func (d *decoder) cellRun(r *cellRun, list []byte, cells []*Cell) bool {
	e := elements{d: d, buf: list, pos: r.pos}
	for i := r.first; i < r.first+r.n && e.next(); i++ {
		d.cell = i + 1
		c, err := d.oneCell(e.val)
		if err != nil {
			return false
		}
		cells[i] = c
	}
	r.warnings = d.warnings
	return d.spent() <= d.mostCost()
}

// A batch is a batch of cells to write.
type batch struct {
	first, end int         // the cells, counted from 0
	pieces     chan []byte // its text, in order; closed at the end
	err        error       // why there is no more; set before pieces is closed
	broken     string      // what a panic said
	s          *spread
}

// A spread is the writing of a list of cells on several cores.
type spread struct {
	cells []*Cell
	level int
	todo  chan *batch   // to the workers
	turn  chan *batch   // to the one who writes, in order; its room bounds how far the workers are ahead
	free  chan []byte   // used buffers
	stop  chan struct{} // closed when nobody wants more
}

var errStopped = errors.New("stopped")

// cellsAtOnce writes the items of a big list of cells in n goroutines. It
// reports false, and has written nothing, when the list is small. All its
// goroutines have ended when it returns.
func (w *writer) cellsAtOnce(cells []*Cell, n int) bool {
	if n < 2 || !isBig(cells) {
		return false
	}
	if w.flush(); w.err != nil {
		return true
	}
	s := &spread{
		cells: cells, level: w.level,
		todo: make(chan *batch), turn: make(chan *batch, n),
		free: make(chan []byte, (2*n+2)*(batchRoom+1)), stop: make(chan struct{}),
	}
	var wg sync.WaitGroup
	wg.Go(s.feed)
	for range n {
		wg.Go(func() {
			for b := range s.todo {
				b.write()
			}
		})
	}
	broken := ""
	for b := range s.turn {
		if text := w.collect(b); broken == "" {
			broken = text
		}
	}
	wg.Wait()
	if broken != "" {
		panic(broken)
	}
	return true
}

// collect writes a batch's pieces and returns the panic that ended it, if any.
func (w *writer) collect(b *batch) (broken string) {
	done := w.err != nil
	for p := range b.pieces {
		w.put(p)
		if w.err != nil && !done {
			done = true
			close(b.s.stop)
		}
		b.s.release(p)
	}
	if done {
		return ""
	}
	if w.err = b.err; w.err != nil {
		close(b.s.stop)
	}
	return b.broken
}

// feed cuts the cells into batches.
func (s *spread) feed() {
	defer close(s.turn)
	defer close(s.todo)
	for first := 0; first < len(s.cells); {
		b := &batch{first: first, end: first, pieces: make(chan []byte, batchRoom), s: s}
		for size := 0; b.end < len(s.cells) && size < writeBatch && b.end-first < batchCells; b.end++ {
			size += s.cells[b.end].size()
		}
		first = b.end
		select {
		case s.todo <- b:
			s.turn <- b
		case <-s.stop:
			return
		}
	}
}

// write formats the batch's cells.
func (b *batch) write() {
	defer close(b.pieces)
	defer func() {
		if r := recover(); r != nil {
			b.err = errStopped
			b.broken = fmt.Sprintf("%v\n\n%s", r, debug.Stack())
		}
	}()
	w := writer{out: b, pretty: true, level: b.s.level, buf: b.s.buffer()}
	w.cells(b.s.cells, b.first, b.end)
	w.flush()
	b.s.release(w.buf)
	b.err = w.err
}

func (s *spread) buffer() []byte {
	select {
	case buf := <-s.free:
		return buf
	default:
		return make([]byte, 0, bufferSize)
	}
}

func (s *spread) release(buf []byte) {
	select {
	case s.free <- buf[:0]:
	default:
	}
}

// handOver sends the buffer on and takes an empty one.
func (w *writer) handOver() {
	if w.err != nil || len(w.buf) == 0 {
		w.buf = w.buf[:0]
		return
	}
	select {
	case <-w.out.s.stop:
		w.err = errStopped
		w.buf = w.buf[:0]
		return
	default:
	}
	w.out.pieces <- w.buf // taken in its turn, to the last
	w.buf = w.out.s.buffer()
}

// isBig reports whether it pays to write the cells on several cores.
func isBig(cells []*Cell) bool {
	size := 0
	for _, c := range cells {
		if size += c.size(); size >= atOnceBytes {
			return true
		}
	}
	return false
}

// size returns about how long a cell's text is, without its metadata.
func (c *Cell) size() int {
	const fields = 150
	if c == nil {
		return fields
	}
	n := fields + len(c.Source)
	for _, o := range c.Outputs {
		n += fields
		if o == nil {
			continue
		}
		n += len(o.Text)
		for _, data := range o.Data {
			switch data := data.(type) {
			case string:
				n += len(data)
			case Raw:
				n += len(data)
			}
		}
	}
	return n
}
