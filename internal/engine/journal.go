package engine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// A journal is the file beside an output notebook that holds what has run since
// the notebook was written: one line per finished cell, appended, each with its
// checksum. Appending costs as much as the cell is large, however large the
// notebook is.
//
// A line is the CRC-32C in eight hexadecimal digits of what follows, a space,
// the JSON text of an entry, a tab and a cell in JSON where the entry has one,
// and a newline. The cell stands apart because it may hold NaN, which
// encoding/json refuses; JSON text holds no raw tab.

// journalName returns the path of the journal of a notebook.
func journalName(path string) string {
	dir, name := filepath.Split(path)
	return filepath.Join(dir, "."+name+".quire-journal")
}

// The kinds of entry.
const (
	entryRun   = "run"   // the first line: which run this is
	entryStart = "start" // a cell has started
	entryCell  = "cell"  // a cell as it is now
	entryMeta  = "meta"  // the notebook's metadata as it is now
)

type entry struct {
	Type    string    `json:"t"`
	Version int       `json:"v,omitempty"`
	Run     string    `json:"run,omitempty"`
	Cells   int       `json:"cells,omitempty"`
	Index   int       `json:"i"`
	At      time.Time `json:"at,omitzero"`

	cell []byte // the cell, or for entryMeta a cell with the notebook's metadata
}

const (
	journalVersion = 1
	// maxJournalLine bounds one line when a journal is read.
	maxJournalLine = 1 << 30
)

// lockTries is how often the lock of a journal is asked for, once a millisecond: who
// reads the journal has it, too, for a moment, and so has a program that is just
// being started by whoever had it.
const lockTries = 500

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A journal being written. Not safe for concurrent use, except sync.
type journal struct {
	path string
	f    *os.File
	buf  []byte
	err  error // the first failure: what follows would have a hole before it
}

// createJournal starts a journal and locks it. A journal that another engine
// holds is a Conflict; one that nobody holds is replaced.
func createJournal(path string, run string, cells int, at time.Time) (*journal, error) {
	f, err := openLocked(path)
	if err != nil {
		return nil, err
	}
	j := &journal{path: path, f: f}
	if err := f.Truncate(0); err != nil {
		j.discard()
		return nil, problem.WrapAs(fileKind(err), err, "emptying the journal %s", path)
	}
	if err := j.add(entry{Type: entryRun, Version: journalVersion, Run: run, Cells: cells, At: at.UTC()}); err != nil {
		j.discard()
		return nil, err
	}
	if err := j.flush(); err != nil {
		j.discard()
		return nil, err
	}
	return j, nil
}

// openLocked opens the file of a journal, and holds its lock. Who reads a journal
// has the lock, too, for as long as that takes, and may take the file away.
func openLocked(path string) (*os.File, error) {
	for range lockTries {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, problem.WrapAs(fileKind(err), err, "creating the journal beside the output")
		}
		if lockFile(f) && names(path, f) {
			return f, nil
		}
		_ = f.Close()
		time.Sleep(time.Millisecond)
	}
	return nil, problem.New(problem.Conflict, "another run is writing this notebook now (it holds %s)", path)
}

// lockSoon takes the lock of an open journal, and reports false when another one has
// it for longer than for a moment.
func lockSoon(f *os.File) bool {
	for range lockTries {
		if lockFile(f) {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// names reports whether a path still leads to an open file.
func names(path string, f *os.File) bool {
	there, err1 := os.Stat(path)
	ours, err2 := f.Stat()
	return err1 == nil && err2 == nil && os.SameFile(there, ours)
}

// add appends an entry to the buffer; flush writes it.
func (j *journal) add(e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return problem.Wrap(err, "encoding a journal entry")
	}
	if e.cell != nil {
		text = append(append(text, '\t'), e.cell...)
	}
	j.line(text)
	return nil
}

func (j *journal) line(text []byte) {
	j.buf = fmt.Appendf(j.buf, "%08x ", crc32.Checksum(text, castagnoli))
	j.buf = append(j.buf, text...)
	j.buf = append(j.buf, '\n')
}

// flush writes the buffer to the file. After a failure, say a full disk, it
// writes again from the end of the last whole line when asked the next time.
func (j *journal) flush() error {
	if len(j.buf) == 0 {
		return nil
	}
	n, err := j.f.Write(j.buf)
	if err != nil {
		j.buf = j.buf[n:]
		j.err = err
		return problem.WrapAs(fileKind(err), err, "writing the journal %s", j.path)
	}
	j.err = nil
	if cap(j.buf) > 1<<20 {
		j.buf = nil
	} else {
		j.buf = j.buf[:0]
	}
	return nil
}

// sync makes what was written survive a loss of power.
func (j *journal) sync() error { return syncData(j.f) }

// remove deletes the journal: the notebook holds all of it.
func (j *journal) remove() {
	_ = os.Remove(j.path)
	_ = j.f.Close()
}

// discard gives up a journal that could not be started.
func (j *journal) discard() { j.remove() }

// A journalContent is what a journal says.
type journalContent struct {
	run      string
	cells    int
	started  map[int]time.Time
	finished map[int]*notebook.Cell
	metadata notebook.Object
	torn     bool // the last line was not whole: its write was cut short
	running  int  // the cell that was running, -1
}

// readJournal reads all whole lines. A line that is torn or damaged ends the
// reading: nothing after it can be trusted.
func readJournal(f io.Reader) (*journalContent, error) {
	content := &journalContent{
		started: map[int]time.Time{}, finished: map[int]*notebook.Cell{}, running: -1,
	}
	br := bufio.NewReaderSize(f, 1<<20)
	for first := true; ; first = false {
		line, err := readLine(br)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			if first {
				content.torn = true
			}
			return content, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, problem.Wrap(err, "reading the journal")
		}
		e, ok := parseLine(line)
		if !ok || err != nil {
			content.torn = true
			return content, nil
		}
		if first && (e.Type != entryRun || e.Version != journalVersion) {
			return nil, problem.New(problem.Invalid, "the journal is not of a version that this Quire reads")
		}
		if err := content.take(e); err != nil {
			content.torn = true
			return content, nil
		}
	}
}

func readLine(br *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxJournalLine {
			return nil, problem.New(problem.TooLarge, "a line of the journal is over %d bytes", maxJournalLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func parseLine(line []byte) (entry, bool) {
	var e entry
	text, ok := bytes.CutSuffix(line, []byte("\n"))
	if !ok || len(text) < 10 || text[8] != ' ' {
		return e, false
	}
	if fmt.Sprintf("%08x", crc32.Checksum(text[9:], castagnoli)) != string(text[:8]) {
		return e, false
	}
	head, cell, _ := bytes.Cut(text[9:], []byte{'\t'})
	e.cell = cell
	return e, json.Unmarshal(head, &e) == nil
}

func (c *journalContent) take(e entry) error {
	switch e.Type {
	case entryRun:
		c.run, c.cells = e.Run, e.Cells
	case entryStart:
		c.started[e.Index] = e.At
		c.running = e.Index
	case entryCell:
		cell, err := notebook.UnmarshalCell(e.cell)
		if err != nil {
			return err
		}
		c.finished[e.Index] = cell
		if c.running == e.Index {
			c.running = -1
		}
	case entryMeta:
		carrier, err := notebook.UnmarshalCell(e.cell)
		if err != nil {
			return err
		}
		c.metadata = carrier.Metadata
	}
	return nil
}
