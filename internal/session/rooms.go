package session

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/session/ydoc"
)

// The kinds of documents.
const (
	kindNotebook = "notebook"
	kindFile     = "file"
)

// PresenceRoom is the room of everybody who is at the server at all. It has no
// document.
const PresenceRoom = "JupyterLab:globalAwareness"

// A Config is what Rooms needs. Volume, User and Dir are required.
type Config struct {
	Volume *contents.Volume
	User   auth.User // who reads and saves the files
	Dir    string    // keeps the documents' logs; made when it is not there

	SaveDelay time.Duration            // from the last change to the save; zero is 1 s
	PollEvery time.Duration            // between looks at the file; zero is 1 s
	IdleAfter time.Duration            // how long a room without clients stays; zero is 60 s
	Shown     func(path string) string // a file's path as clients know it; nil is that on the volume
	Busy      func(path string) bool   // keeps a room without clients, such as one whose kernel runs; may be nil
	// Attach connects a document again to a kernel in which its cells ran when the
	// server was killed; nil when the kernel is gone. A nil Attach knows none.
	Attach func(kernelID, room string) Kernel
	Now    func() time.Time // nil is time.Now
	Log    *slog.Logger     // nil discards

	blobs *blobs
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.SaveDelay, time.Second}, {&c.PollEvery, time.Second}, {&c.IdleAfter, time.Minute}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Shown == nil {
		c.Shown = func(path string) string { return path }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// tick is how often a room looks what is due.
func (c *Config) tick() time.Duration {
	return max(min(c.SaveDelay, c.PollEvery, time.Second)/4, time.Millisecond)
}

// Rooms is the live documents of a volume. It is safe for concurrent use. Close
// ends it.
type Rooms struct {
	cfg    Config
	root   *os.Root
	ctx    context.Context // ends with Rooms
	cancel context.CancelFunc
	moves  func() // ends the watch over renames

	mu     sync.Mutex
	closed bool
	ids    map[string]string // of files, by path
	open   map[string]*opening
	wg     sync.WaitGroup
}

// An opening is a room that is being opened or is open.
type opening struct {
	ready chan struct{}
	room  *Room
	err   error
}

// New returns the live documents of cfg.Volume; none is open yet.
func New(cfg Config) (*Rooms, error) {
	cfg.setDefaults()
	if err := os.MkdirAll(filepath.Join(cfg.Dir, blobDir), 0o700); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making the folder of live documents")
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "opening the folder of live documents")
	}
	cfg.blobs = &blobs{root: root}
	s := &Rooms{cfg: cfg, root: root, ids: map[string]string{}, open: map[string]*opening{}}
	if err := s.readIDs(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.moves = cfg.Volume.Moves(s.moved)
	return s, nil
}

// Close saves and ends every document, and returns when they are gone. Twice is
// fine.
func (s *Rooms) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.moves()
	s.cancel()
	s.wg.Wait()
	return s.root.Close()
}

const idsFile = "files.json"

func (s *Rooms) readIDs() error {
	data, err := s.root.ReadFile(idsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s.ids)
	}
	return problem.WrapAs(problem.Unavailable, err, "reading the ids of live documents")
}

// writeIDs keeps the ids. The caller holds mu.
func (s *Rooms) writeIDs() error {
	f, err := s.root.OpenFile(idsFile+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(mustJSON(s.ids))
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = s.root.Rename(idsFile+".new", idsFile)
	}
	return problem.WrapAs(problem.Unavailable, err, "writing the ids of live documents")
}

// moved follows a renamed file, or all files of a renamed directory.
func (s *Rooms) moved(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := map[string]string{}
	for path, id := range s.ids {
		if rest, below := strings.CutPrefix(path, from); below && (rest == "" || rest[0] == '/') {
			changed[to+rest] = id
			delete(s.ids, path)
		}
	}
	if len(changed) == 0 {
		return
	}
	maps.Copy(s.ids, changed)
	if err := s.writeIDs(); err != nil {
		s.cfg.Log.LogAttrs(s.ctx, slog.LevelError, "a live document may lose its name", slog.String("err", err.Error()))
	}
	for path, id := range changed {
		for _, o := range s.open {
			select {
			case <-o.ready:
				if o.room != nil && o.room.id == id {
					go o.room.postAlways(func() { o.room.path = path; o.room.describe() })
				}
			default:
			}
		}
	}
}

// An Info names a live document to its clients.
type Info struct {
	Format  string // "json" or "text"
	Type    string // "notebook" or "file"
	FileID  string // stays when the file is renamed
	Session string // of the document's history; a client with another one is refused
	New     bool   // the file had no id before
}

// Room returns the name of the document's room.
func (i Info) Room() string { return i.Format + ":" + i.Type + ":" + i.FileID }

// Session opens the live document of a file.
func (s *Rooms) Session(ctx context.Context, path, kind string) (Info, error) {
	info := Info{Format: "json", Type: kindNotebook}
	if kind != kindNotebook {
		info.Format, info.Type = "text", kindFile
	}
	path, err := contents.CleanPath(path)
	if err != nil {
		return Info{}, err
	}
	if _, err := newest(ctx, &s.cfg, path, 0); err != nil {
		return Info{}, err
	}
	s.mu.Lock()
	info.FileID = s.ids[path]
	if info.FileID == "" {
		info.FileID, info.New = uuid.NewString(), true
		s.ids[path] = info.FileID
		err = s.writeIDs()
	}
	s.mu.Unlock()
	if err != nil {
		return Info{}, err
	}
	r, err := s.Open(ctx, info.Room())
	if err != nil {
		return Info{}, err
	}
	info.Session = r.epoch
	return info, nil
}

// Join connects a client to a room. session is what Session told it.
func (s *Rooms) Join(ctx context.Context, name, session string) (*Peer, error) {
	for {
		r, err := s.Open(ctx, name)
		if err != nil {
			return nil, refusalOf(err)
		}
		if !r.quiet && session != r.epoch {
			return nil, &Refusal{Code: codeUnsupported, Reason: string(mustJSON(map[string]any{
				"reason": "unknown_session", "sessionId": r.epoch, "reloadable": true,
			}))}
		}
		var p *Peer
		err = r.do(ctx, func() error { p = r.join(); return nil })
		if err == nil {
			return p, nil
		}
		if !r.ending() || ctx.Err() != nil || s.ctx.Err() != nil {
			return nil, err
		}
		<-r.done // it ended just now because nobody was there
	}
}

// ending reports whether the room has ended.
func (r *Room) ending() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// Open returns the room of that name, which it opens when it is not.
func (s *Rooms) Open(ctx context.Context, name string) (*Room, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, problem.New(problem.Unavailable, "the server is stopping")
	}
	o := s.open[name]
	if o == nil {
		o = &opening{ready: make(chan struct{})}
		s.open[name] = o
		s.wg.Go(func() { s.keep(name, o) })
	}
	s.mu.Unlock()
	select {
	case <-o.ready:
		return o.room, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// keep opens a room and runs it to its end.
func (s *Rooms) keep(name string, o *opening) {
	o.room, o.err = s.make(name)
	if o.err != nil {
		s.forget(name)
		close(o.ready)
		return
	}
	close(o.ready)
	o.room.run(s.ctx)
	s.forget(name)
}

func (s *Rooms) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, name)
}

// pathOf returns the path of a file id.
func (s *Rooms) pathOf(id string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, known := range s.ids {
		if known == id {
			return path, true
		}
	}
	return "", false
}

// make builds a room: from its log, if there is one, otherwise from its file.
func (s *Rooms) make(name string) (*Room, error) {
	if name == PresenceRoom {
		r := newRoom(&s.cfg, name, "", "")
		r.quiet, r.doc, r.emptySince = true, ydoc.New(newClientID()), s.cfg.Now()
		return r, nil
	}
	parts := strings.Split(name, ":")
	if len(parts) != 3 || (parts[1] != kindNotebook && parts[1] != kindFile) {
		return nil, problem.New(problem.Invalid, "there is no room %.100q", name)
	}
	path, known := s.pathOf(parts[2])
	if !known {
		return nil, problem.New(problem.NotFound, "no file has the id %.100q", parts[2])
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	r := newRoom(&s.cfg, name, parts[2], path)
	if err := r.load(ctx, s.root, parts[1]); err != nil {
		return nil, problem.Wrap(err, "opening %s", path)
	}
	return r, nil
}

// load builds the document.
func (r *Room) load(ctx context.Context, root *os.Root, kind string) (err error) {
	versions, err := newest(ctx, r.cfg, r.path, 0)
	if err != nil {
		return err
	}
	data, err := readVersion(ctx, r.cfg, r.path, versions[0].Number)
	if err != nil {
		return err
	}
	file, err := newPaper(r.cfg.blobs, kind, data)
	if err != nil {
		return err
	}
	name := r.id + "-" + kind + ".log"
	saved, err := r.replay(root, name)
	if problem.Is(err, problem.Invalid) {
		// A log that cannot be read is put aside, and the history begins anew.
		r.cfg.Log.LogAttrs(ctx, slog.LevelError, "the log of a live document is put aside",
			slog.String("path", r.path), slog.String("err", err.Error()))
		if err := root.Rename(name, name+".bad"); err != nil {
			return err
		}
		saved, err = r.replay(root, name)
	}
	if err != nil {
		return err
	}
	r.emptySince, r.lookedAt = r.cfg.Now(), r.cfg.Now()
	r.watch()
	if r.epoch == "" {
		err = r.begin(file, versions[0].Number, hashOf(data))
	} else {
		r.resume(ctx, file, versions[0], saved, hashOf(data))
	}
	if err == nil {
		err = r.log.flush()
	}
	r.out = nil
	if err != nil {
		for _, q := range r.queues {
			q.end()
		}
		return errors.Join(err, r.log.close())
	}
	return nil
}

// replay builds the document from its log, and returns the version that it was
// when it was saved last.
func (r *Room) replay(root *os.Root, name string) (saved int64, err error) {
	r.doc, r.epoch, r.marks = ydoc.New(newClientID()), "", nil
	r.doc.Map(rootState)
	r.doc.Map(rootMeta)
	r.doc.Array(rootCells)
	r.doc.Text(rootSource)
	r.log, err = openLog(root, name, func(kind byte, content []byte) error {
		switch kind {
		case recordHead:
			var head logHead
			if err := json.Unmarshal(content, &head); err != nil {
				return problem.WrapAs(problem.Invalid, err, "reading the log of a document")
			}
			r.epoch = head.Epoch
		case recordUpdate:
			r.dirty = true
			if err := r.doc.Apply(content, nil); err != nil {
				return problem.WrapAs(problem.Invalid, err, "reading the log of a document")
			}
		case recordMark:
			return r.readMark(content)
		case recordMarked:
			mark, update, err := splitMarked(content)
			if err != nil {
				return err
			}
			r.dirty = true
			if err := r.doc.Apply(update, nil); err != nil {
				return problem.WrapAs(problem.Invalid, err, "reading the log of a document")
			}
			return r.readMark(mark)
		case recordSaved:
			var s logSaved
			if err := json.Unmarshal(content, &s); err != nil {
				return problem.WrapAs(problem.Invalid, err, "reading the log of a document")
			}
			saved, r.dirty = s.Version, false
		}
		return nil
	})
	return saved, err
}

// begin starts the history of a document from its file.
func (r *Room) begin(file paper, version int64, hash string) error {
	r.epoch = uuid.NewString()
	r.log.put(recordHead, mustJSON(logHead{r.epoch}))
	first := ydoc.New(0) // the same items each time, whoever builds it
	file.fill(first)
	state, err := first.Update(nil)
	if err != nil {
		return err
	}
	if err := r.doc.Apply(state, nil); err != nil {
		return err
	}
	r.paper, r.version, r.hash, r.dirty = file, version, hash, false
	r.log.put(recordSaved, mustJSON(logSaved{version}))
	r.describe()
	return nil
}

// describe writes what clients ask of the document's state.
func (r *Room) describe() {
	state := r.doc.Map(rootState)
	r.doc.Transact(nil, func() {
		for key, want := range map[string]any{"path": r.cfg.Shown(r.path), "file_id": r.id, "document_id": r.name, "dirty": r.dirty} {
			if v, ok := state.Get(key); !ok || v != want {
				state.Set(key, want)
			}
		}
	})
}

// resume goes on with a document that was read from its log. What happened to the
// file meanwhile is merged.
func (r *Room) resume(ctx context.Context, file paper, head contents.Version, saved int64, hash string) {
	r.paper, r.version, r.hash = file, head.Number, hash
	if saved != head.Number {
		if base, err := readVersion(ctx, r.cfg, r.path, saved); err == nil {
			if p, err := file.parse(base); err == nil {
				r.paper, r.version = p, saved
				seen, err := sight(ctx, r.cfg, r.path, saved, p, false)
				r.seen(seen, r.path, err)
			}
		}
	}
	r.alignIDs()
	r.goOn(ctx)
	r.endInterrupted()
	now := r.cfg.Now()
	r.firstDirty, r.lastDirty = now, now
	r.describe()
}

// alignIDs gives the cells of a notebook without ids those of the document.
func (r *Room) alignIDs() {
	if p, ok := r.paper.(notebookPaper); ok && p.nb.Minor < 5 {
		live := render(r.doc, p.nb)
		for _, c := range p.nb.Cells {
			c.ID = ""
		}
		giveIDs(p.nb, live)
	}
}

// endInterrupted marks cells that ran when the server ended.
func (r *Room) endInterrupted() {
	r.doc.Transact(nil, func() {
		r.forgetRuns()
		for _, v := range r.doc.Array(rootCells).All() {
			c, ok := v.(*ydoc.Map)
			if !ok || c.String("execution_state") != stateRunning || r.goesOn(c.String("id")) {
				continue
			}
			c.Set("execution_state", stateIdle)
			if outputs := c.Array("outputs"); outputs != nil {
				insertOutput(outputs, outputs.Len(), failure("KernelDied", "the server ended while this cell ran or waited"))
			}
		}
	})
}

func failure(name, why string) *notebook.Output {
	return &notebook.Output{
		Type: notebook.ErrorOutput, Ename: name, Evalue: why,
		Traceback: []string{"\x1b[31m" + name + "\x1b[0m: " + why},
	}
}
