package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"quire/internal/fault"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/storage"
)

// The cost of rewriting the notebook while it runs.
const (
	// saveShare is the part of the wall time that rewriting may take: after a save
	// of d the next one waits 19 d.
	saveShare = 20
	// minSaveWait is the least time between two rewrites.
	minSaveWait = time.Second
	// syncWait is the least time between two syncs of the journal: what a loss of
	// power may cost. A killed process loses nothing.
	syncWait = 10 * time.Millisecond
)

// A File keeps the output of a run at one path: a local file, or an object in a
// store.
//
// Finished cells go to a journal at once, so a process that is killed loses
// nothing that has run; the journal is synced to the disk in the background, at
// most one sync behind. The notebook itself is replaced atomically at the
// start, at the end, and between them as often as a twentieth of the time
// allows, in the background. The journal lies beside a local notebook, and in the
// folder that FileOptions names for a store; it is removed at the end.
type File struct {
	target  target
	journal string // path
	spills  string // folder for overflow, "" when there is none
	ref     string // the same, relative to the notebook
	onSave  func(Saved)

	j *journal // nil before Begin

	mu      sync.Mutex
	shadow  *notebook.Notebook // as far as it is known here; its cells are never edited
	changed bool
	cost    time.Duration
	ended   time.Time
	stopped bool

	syncs chan struct{}
	saves chan struct{}
	quit  chan struct{}
	wg    sync.WaitGroup
	tmp   string // folder of the journal of a store

	journals string // FileOptions.Journals
}

var _ Output = (*File)(nil)

// FileOptions are the choices of NewFile and NewStoreFile. The zero value
// replaces what is there.
type FileOptions struct {
	// WriteOnce refuses an output that exists.
	WriteOnce bool
	// Journals is the folder in which NewStoreFile keeps the journal, in a folder
	// of its own for each output, so that RecoverStore finds it after a kill. ""
	// means a temporary folder, where nobody finds it.
	Journals string
	// Saved, when not nil, is called from another goroutine after each rewrite in
	// the background.
	Saved func(Saved)
}

// NewFile returns the output for a local path. Nothing is touched before Begin.
func NewFile(path string, opt FileOptions) *File {
	t := &fileTarget{path: path, writeOnce: opt.WriteOnce}
	f := &File{target: t, onSave: opt.Saved}
	real := t.resolve()
	f.journal = journalName(real)
	f.ref = strings.TrimSuffix(filepath.Base(real), ".ipynb") + ".outputs"
	f.spills = filepath.Join(filepath.Dir(real), f.ref)
	return f
}

// NewStoreFile returns the output for a path in a store. Overflowing outputs
// and the journal are kept in a folder of their own while it runs; the overflow is
// put beside the notebook by Finish.
func NewStoreFile(store storage.Store, path string, opt FileOptions) *File {
	return &File{
		target: &storeTarget{store: store, path: path, writeOnce: opt.WriteOnce},
		onSave: opt.Saved, journals: opt.Journals,
	}
}

// Location names the output.
func (f *File) Location() string { return f.target.location() }

// Begin puts the pending notebook and starts the journal.
func (f *File) Begin(ctx context.Context, nb *notebook.Notebook) error {
	f.shadow = shareCells(nb)
	if t, ok := f.target.(*fileTarget); ok && !t.regular() {
		_, err := os.Stat(filepath.Dir(t.resolve()))
		return problem.WrapAs(fileKind(err), err, "writing %s", t.path)
	}
	if err := f.place(); err != nil {
		return err
	}
	// A local journal lies in the notebook's folder: say first what is wrong there.
	if t, ok := f.target.(*fileTarget); ok {
		if err := t.check(); err != nil {
			return err
		}
	}
	if err := f.leftBehind(ctx); err != nil {
		return err
	}
	j, err := createJournal(f.journal, runID(nb), len(nb.Cells), time.Now())
	if err != nil {
		return err
	}
	if f.tmp != "" {
		_ = os.RemoveAll(filepath.Join(f.tmp, "outputs")) // of a run that was killed
	}
	start := time.Now()
	if _, err := f.target.put(ctx, f.shadow); err != nil {
		j.discard()
		f.removeTemp()
		return err
	}
	f.j = j
	f.cost, f.ended = time.Since(start), time.Now()
	f.syncs, f.saves, f.quit = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
	f.wg.Add(2)
	go f.syncLoop()
	go f.saveLoop()
	return nil
}

// place chooses where the journal of a store's notebook lies.
func (f *File) place() error {
	if f.journal != "" {
		return nil
	}
	if f.journals != "" {
		dir := storeJournalDir(f.journals, f.target.location())
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return problem.WrapAs(fileKind(err), err, "making the folder for the run's journal")
		}
		f.tmp, f.journal = dir, filepath.Join(dir, "journal")
		return nil
	}
	dir, err := os.MkdirTemp("", "quire-run-")
	if err != nil {
		return problem.WrapAs(fileKind(err), err, "making a temporary folder for the run")
	}
	f.tmp, f.journal = dir, filepath.Join(dir, "journal")
	return nil
}

func (f *File) removeTemp() {
	if f.tmp != "" {
		_ = os.RemoveAll(f.tmp)
		f.tmp, f.journal = "", ""
	}
}

// Update appends the changes to the journal and lets the background do the
// rest.
func (f *File) Update(changes []Change) error {
	if f.j == nil {
		return nil
	}
	durable, err := f.record(changes)
	if fault.On(fault.JournalHeldBack) {
		return err
	}
	if werr := f.j.flush(); err == nil {
		err = werr
	}
	f.mu.Lock()
	for _, c := range changes {
		if c.Cell != nil && c.Index >= 0 && c.Index < len(f.shadow.Cells) {
			f.shadow.Cells[c.Index] = c.Cell
		}
		if c.Metadata != nil {
			f.shadow.Metadata = c.Metadata
		}
	}
	f.changed = true
	f.mu.Unlock()
	if durable {
		wake(f.syncs)
	}
	wake(f.saves)
	return err
}

// record writes the changes as journal entries; durable tells whether one of
// them is worth a sync.
func (f *File) record(changes []Change) (durable bool, err error) {
	for _, c := range changes {
		switch {
		case c.Partial:
		case c.Cell != nil && cellStatus(c.Cell) == cellRunning:
			err = errors.Join(err, f.j.add(entry{Type: entryStart, Index: c.Index, At: time.Now().UTC()}))
		case c.Cell != nil:
			text, merr := c.Cell.MarshalJSON()
			if merr != nil {
				err = errors.Join(err, problem.Wrap(merr, "encoding cell %d for the journal", c.Index+1))
				break
			}
			err = errors.Join(err, f.j.add(entry{Type: entryCell, Index: c.Index, cell: text}))
			durable = true
		}
		if c.Metadata != nil {
			text, merr := notebook.MarshalCell(&notebook.Cell{Type: notebook.RawCell, Metadata: c.Metadata})
			if merr != nil {
				err = errors.Join(err, problem.Wrap(merr, "encoding the metadata for the journal"))
				continue
			}
			err = errors.Join(err, f.j.add(entry{Type: entryMeta, Index: -1, cell: text}))
		}
	}
	return durable, err
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// syncLoop brings the journal to the disk, one sync at a time.
func (f *File) syncLoop() {
	defer f.wg.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-f.quit:
			return
		case <-f.syncs:
			_ = f.j.sync() // a disk that fails here fails the final write too
		}
		timer.Reset(syncWait)
		select {
		case <-f.quit:
			return
		case <-timer.C:
		}
	}
}

// saveLoop rewrites the notebook when something has changed and the last
// rewrite has been paid for.
func (f *File) saveLoop() {
	defer f.wg.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-f.quit:
			return
		case <-f.saves:
		}
		f.mu.Lock()
		wait := max(minSaveWait, f.cost*(saveShare-1)) - time.Since(f.ended)
		f.mu.Unlock()
		if wait > 0 {
			timer.Reset(wait)
			select {
			case <-f.quit:
				return
			case <-timer.C:
			}
		}
		f.save()
	}
}

// save rewrites the notebook now.
func (f *File) save() {
	f.mu.Lock()
	if !f.changed || f.stopped {
		f.mu.Unlock()
		return
	}
	f.changed = false
	nb := *f.shadow
	nb.Cells = append([]*notebook.Cell(nil), f.shadow.Cells...)
	f.mu.Unlock()
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	n, err := f.target.put(ctx, &nb)
	cancel()
	took := time.Since(start)
	f.mu.Lock()
	f.cost, f.ended = took, time.Now()
	if err != nil {
		f.changed = true
	}
	f.mu.Unlock()
	if f.onSave != nil {
		f.onSave(Saved{Bytes: n, Seconds: took.Seconds(), Err: err})
	}
}

// halt stops the background and waits for it.
func (f *File) halt() {
	f.mu.Lock()
	already := f.stopped || f.quit == nil
	f.stopped = true
	f.mu.Unlock()
	if !already {
		close(f.quit)
	}
	f.wg.Wait()
}

// Finish writes the notebook for good and removes the journal. When that fails
// the journal stays: what has run is not lost.
func (f *File) Finish(ctx context.Context, nb *notebook.Notebook) error {
	f.halt()
	if err := f.putSpills(ctx); err != nil {
		return err
	}
	if _, err := f.target.put(ctx, nb); err != nil {
		if f.j != nil {
			_ = f.j.sync()
			return problem.Wrap(err, "what has run is kept in %s; storing the output", f.journal)
		}
		return err
	}
	if f.j != nil {
		f.j.remove()
		f.j = nil
	}
	f.removeTemp()
	return nil
}

// Close stops the background. The journal of an unfinished run stays.
func (f *File) Close() error {
	f.halt()
	if f.j != nil {
		err := f.j.f.Close()
		f.j = nil
		return err
	}
	return nil
}

// Overflow creates a file in the folder "NAME.outputs" beside the notebook.
func (f *File) Overflow(name string) (io.WriteCloser, string, error) {
	dir, ref := f.spills, f.ref
	if st, ok := f.target.(*storeTarget); ok {
		if f.tmp == "" {
			if err := f.place(); err != nil {
				return nil, "", err
			}
		}
		dir = filepath.Join(f.tmp, "outputs")
		ref = strings.TrimSuffix(lastElement(st.path), ".ipynb") + ".outputs"
	}
	if dir == "" || strings.ContainsAny(name, "/\\") {
		return nil, "", problem.New(problem.Internal, "no place for the overflow file %q", name)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, "", problem.WrapAs(fileKind(err), err, "making the folder for large outputs")
	}
	w, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, "", problem.WrapAs(fileKind(err), err, "creating a file for a large output")
	}
	return w, ref + "/" + name, nil
}

// putSpills brings overflow files to the store.
func (f *File) putSpills(ctx context.Context) error {
	st, ok := f.target.(*storeTarget)
	if !ok || f.tmp == "" {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(f.tmp, "outputs"))
	if err != nil {
		return nil // there are none
	}
	prefix := strings.TrimSuffix(st.path, ".ipynb") + ".outputs/"
	for _, e := range entries {
		if err := putFile(ctx, st.store, prefix+e.Name(), filepath.Join(f.tmp, "outputs", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func putFile(ctx context.Context, store storage.Store, path, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return problem.WrapAs(fileKind(err), err, "reading a large output")
	}
	defer func() { _ = src.Close() }()
	_, err = store.Put(ctx, path, src, storage.PutOptions{})
	return problem.Wrap(err, "storing the large output %s", store.Location(path))
}

func lastElement(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// check says what is wrong with the output's folder, before anything is made
// in it.
func (t *fileTarget) check() error {
	path := t.resolve()
	dir := filepath.Dir(path)
	st, err := os.Stat(dir)
	switch {
	case err != nil && fileKind(err) == problem.NotFound, err == nil && !st.IsDir():
		return problem.New(problem.NotFound, "output folder %s doesn't exist.", dir)
	case err != nil:
		return problem.WrapAs(fileKind(err), err, "writing %s", t.path)
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return problem.New(problem.Invalid, "output %s is a folder", t.path)
	} else if err == nil && t.writeOnce && !t.made {
		return problem.New(problem.Exists, "output %s exists already and is to be written once", t.path)
	}
	return nil
}

// regular reports whether the path is, or will be, a file: not a pipe or a
// device, which are written once at the end.
func (t *fileTarget) regular() bool {
	st, err := os.Stat(t.resolve())
	return err != nil || st.Mode().IsRegular() || st.IsDir()
}

// shareCells returns a notebook of its own list of cells, each as it is now.
func shareCells(nb *notebook.Notebook) *notebook.Notebook {
	copied := *nb
	copied.Cells = make([]*notebook.Cell, len(nb.Cells))
	for i, c := range nb.Cells {
		copied.Cells[i] = snapshotCell(c, c.Outputs)
	}
	copied.Metadata = copyObject(nb.Metadata)
	return &copied
}

func cellStatus(c *notebook.Cell) string {
	s, _ := lookup(c.Metadata, "papermill")["status"].(string)
	return s
}

func runID(nb *notebook.Notebook) string {
	own := lookup(nb.Metadata, "quire")
	if own == nil {
		return ""
	}
	return fmt.Sprint(own["run"])
}
