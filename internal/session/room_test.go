package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/db/sqlite"
	"quire/internal/kernel/kerneltest"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/session/ydoc"
	"quire/internal/storage/mem"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	os.Exit(m.Run())
}

var ann = auth.User{Name: "ann"}

const nbPath = "users/ann/a.ipynb"

// bundle is a volume and its live documents.
type bundle struct {
	*Rooms
	volume *contents.Volume
	files  string // where the volume is on the disk
	dir    string // of the documents
}

func setup(t *testing.T) *bundle {
	t.Helper()
	dir := t.TempDir()
	d, err := sqlite.Open(t.Context(), filepath.Join(dir, "q.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	b := &bundle{files: filepath.Join(dir, "files"), dir: filepath.Join(dir, "rooms")}
	b.volume, err = contents.Open(t.Context(), contents.Config{
		Dir: b.files, Blobs: &contents.Blobs{Store: mem.New(mem.Config{})}, Versions: d,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.volume.Close() })
	if err := b.volume.AddWorkspace("ann"); err != nil {
		t.Fatal(err)
	}
	b.start(t, b.dir)
	return b
}

// start opens the documents that are kept in dir.
func (b *bundle) start(t *testing.T, dir string) {
	t.Helper()
	rooms, err := New(Config{
		Volume: b.volume, User: ann, Dir: dir,
		SaveDelay: 20 * time.Millisecond, PollEvery: 20 * time.Millisecond, IdleAfter: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Rooms = rooms
	t.Cleanup(func() { _ = rooms.Close() })
}

func (b *bundle) save(t *testing.T, body string) {
	t.Helper()
	if _, err := b.volume.Save(t.Context(), ann, nbPath, strings.NewReader(body), contents.SaveOptions{Plain: true}); err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) file(t *testing.T) string {
	t.Helper()
	_, r, err := b.volume.Read(t.Context(), ann, nbPath)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (b *bundle) notebook(t *testing.T) *notebook.Notebook {
	t.Helper()
	nb, err := notebook.Parse([]byte(b.file(t)))
	if err != nil {
		t.Fatal(err)
	}
	return nb
}

// sample is a notebook with what only files have: fields that nobody knows,
// numbers that JavaScript has not.
const sample = `{
 "cells": [
  {
   "cell_type": "code",
   "execution_count": 3,
   "future": {"x": 1.0},
   "id": "one",
   "metadata": {"big": 12345678901234567890, "float": 1.0, "tags": ["a"]},
   "outputs": [
    {"data": {"application/json": {"n": 2.0}, "text/plain": ["1\n", "2"]}, "execution_count": 3, "metadata": {}, "output_type": "execute_result"},
    {"name": "stdout", "output_type": "stream", "text": ["hello\n", "é😀"]}
   ],
   "source": ["x = 1\n", "y = 2"]
  },
  {"attachments": {"i.png": {"image/png": "aGk="}}, "cell_type": "markdown", "id": "two", "metadata": {}, "source": "# Title"},
  {"cell_type": "code", "execution_count": null, "id": "three", "metadata": {}, "outputs": [], "source": "z = 3"}
 ],
 "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}, "ratio": 0.10},
 "nbformat": 4,
 "nbformat_minor": 5,
 "unknown": [1, 2.50]
}`

// canonical is a notebook as it is written.
func canonical(t *testing.T, body string) string {
	t.Helper()
	nb, err := notebook.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	out, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// client is a Jupyter client with a replica of its own.
type client struct {
	t    *testing.T
	peer *Peer
	info Info

	mu     sync.Mutex
	doc    *ydoc.Doc
	custom []string
	ended  error
	wg     sync.WaitGroup
}

func (b *bundle) connect(t *testing.T, doc *ydoc.Doc) *client {
	t.Helper()
	info, err := b.Session(t.Context(), nbPath, kindNotebook)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := b.Join(t.Context(), info.Room(), info.Session)
	if err != nil {
		t.Fatal(err)
	}
	if doc == nil {
		doc = ydoc.New(newClientID())
	}
	c := &client{t: t, peer: peer, info: info, doc: doc}
	for _, name := range []string{rootMeta, rootState} {
		doc.Map(name)
	}
	doc.Array(rootCells)
	doc.Updated = func(update []byte, origin any) {
		if origin == nil {
			c.send(ydoc.Message{Kind: ydoc.Update, Data: update})
		}
	}
	c.send(ydoc.Message{Kind: ydoc.Step1, Data: doc.StateVector()})
	c.wg.Go(c.read)
	t.Cleanup(c.leave)
	c.waitFor("the first state", func() bool { return doc.Map(rootState).Len() > 0 })
	return c
}

func (c *client) send(m ydoc.Message) { _ = c.peer.Receive(c.t.Context(), m.Frame()) }

func (c *client) read() {
	for {
		frame, err := c.peer.Next(context.Background())
		if err != nil {
			c.mu.Lock()
			c.ended = err
			c.mu.Unlock()
			return
		}
		m, err := ydoc.ReadMessage(frame)
		if err != nil {
			c.t.Error(err)
			return
		}
		c.mu.Lock()
		switch m.Kind {
		case ydoc.Step1:
			if update, err := c.doc.Update(m.Data); err == nil {
				c.send(ydoc.Message{Kind: ydoc.Step2, Data: update})
			}
		case ydoc.Step2, ydoc.Update:
			if err := c.doc.Apply(m.Data, "server"); err != nil {
				c.t.Error(err)
			}
		case ydoc.Custom:
			c.custom = append(c.custom, string(m.Data))
		}
		c.mu.Unlock()
	}
}

func (c *client) leave() {
	c.peer.Leave()
	c.wg.Wait()
}

// edit changes the client's replica.
func (c *client) edit(do func(cells *ydoc.Array)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doc.Transact(nil, func() { do(c.doc.Array(rootCells)) })
}

func (c *client) waitFor(what string, holds func() bool) {
	c.t.Helper()
	waitFor(c.t, what, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return holds()
	})
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

func (c *client) source(i int) string { return c.doc.Array(rootCells).Map(i).Text("source").String() }

func TestUntouchedFileStays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	before := b.file(t)
	c := b.connect(t, nil)
	c.send(ydoc.Message{Kind: ydoc.Custom, Data: []byte("save")})
	c.waitFor("the answer to save", func() bool { return len(c.custom) > 0 })
	if want := `{"responseTo":0,"status":"skipped","type":"save"}`; c.custom[0] != want && !strings.Contains(c.custom[0], "success") {
		t.Errorf("answered %s", c.custom[0])
	}
	if got := b.file(t); canonical(t, got) != canonical(t, before) {
		t.Errorf("the file became\n%s", got)
	}
}

// TestEditsReachEverybodyAndTheFile lets two people edit one notebook.
func TestEditsReachEverybodyAndTheFile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	one, two := b.connect(t, nil), b.connect(t, nil)
	one.edit(func(cells *ydoc.Array) { cells.Map(0).Text("source").Insert(0, "# one\n") })
	two.edit(func(cells *ydoc.Array) { cells.Map(0).Text("source").Append("\n# two") })
	want := "# one\nx = 1\ny = 2\n# two"
	for _, c := range []*client{one, two} {
		c.waitFor("both edits", func() bool { return c.source(0) == want })
	}
	waitFor(t, "the file has both edits", func() bool { return b.notebook(t).Cells[0].Source == want })
	edited, err := notebook.Parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	edited.Cells[0].Source = want
	out, _ := edited.Bytes()
	if got := b.file(t); got != string(out) {
		t.Errorf("besides the edit something changed in the file:\n%s", got)
	}
	late := b.connect(t, nil)
	if got := late.source(0); got != want {
		t.Errorf("who joins late sees %q", got)
	}
	one.waitFor("saved", func() bool { v, _ := one.doc.Map(rootState).Get("dirty"); return v == false })
}

// TestKilledServer copies the documents' folder while the server runs, as a kill
// leaves it, and opens it again: what was seen by others is there, and a client
// that comes back finds each cell once.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	one, two := b.connect(t, nil), b.connect(t, nil)
	for i := range 50 {
		one.edit(func(cells *ydoc.Array) { cells.Map(2).Text("source").Append(fmt.Sprintf("\nline %d", i)) })
	}
	two.waitFor("all lines", func() bool { return strings.HasSuffix(two.source(2), "line 49") })
	killed := filepath.Join(t.TempDir(), "killed")
	if err := os.CopyFS(killed, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	log, _ := filepath.Glob(filepath.Join(killed, "*.log"))
	f, err := os.OpenFile(log[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte{0, 0, 0, 9, 1, 2, 3}) // a record that was being written
	_ = f.Close()
	want := two.source(2)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	one.leave()
	two.leave()
	b.start(t, killed)
	fresh := b.connect(t, nil)
	if got := fresh.source(2); got != want {
		t.Errorf("after the kill the last cell is %q, want %q", got, want)
	}
	one.edit(func(cells *ydoc.Array) { cells.Map(1).Text("source").Append(" offline") })
	back := b.connect(t, one.doc)
	fresh.waitFor("the offline edit", func() bool { return fresh.source(1) == "# Title offline" })
	if n := fresh.doc.Array(rootCells).Len(); n != 3 || fresh.source(2) != want {
		t.Errorf("%d cells, the last %q", n, fresh.source(2))
	}
	if back.info.Session != one.info.Session {
		t.Error("the history has another name after a restart")
	}
	waitFor(t, "the file has it", func() bool { return b.notebook(t).Cells[1].Source == "# Title offline" })
}

// TestBuiltTwiceIsTheSame builds one file's document on two servers that know
// nothing of each other: put together, it has each cell once.
func TestBuiltTwiceIsTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	one := b.connect(t, nil)
	b.start(t, filepath.Join(t.TempDir(), "other"))
	two := b.connect(t, nil)
	one.mu.Lock()
	update, err := one.doc.Update(nil)
	one.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	two.mu.Lock()
	defer two.mu.Unlock()
	if err := two.doc.Apply(update, "server"); err != nil {
		t.Fatal(err)
	}
	if n := two.doc.Array(rootCells).Len(); n != 3 {
		t.Errorf("it has %d cells, want 3", n)
	}
}

// TestOutsideChangesAreMerged saves like a plain Jupyter client while others edit.
func TestOutsideChangesAreMerged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	loaded := b.file(t) // what the plain client has
	c := b.connect(t, nil)
	c.edit(func(cells *ydoc.Array) { cells.Map(2).Text("source").Append("\n# live") })
	waitFor(t, "the live edit in the file", func() bool { return strings.Contains(b.file(t), "# live") })

	nb, err := notebook.Parse([]byte(loaded))
	if err != nil {
		t.Fatal(err)
	}
	nb.Cells[1].Source = "# Title, plain"
	added := notebook.NewCode("added = 1")
	nb.Cells = append(nb.Cells[:2:2], added, nb.Cells[2])
	body, _ := nb.Bytes()
	b.save(t, string(body))
	c.waitFor("their edit", func() bool { return c.source(1) == "# Title, plain" })
	c.waitFor("their cell", func() bool { return c.doc.Array(rootCells).Len() == 4 && c.source(2) == "added = 1" })
	if got := c.source(3); got != "z = 3\n# live" {
		t.Errorf("the live edit became %q", got)
	}
	waitFor(t, "the file has both", func() bool {
		f := b.file(t)
		return strings.Contains(f, "# live") && strings.Contains(f, "# Title, plain") && strings.Contains(f, "added = 1")
	})
	merged, _ := c.doc.Map(rootState).Get("merged")
	if m, _ := merged.(map[string]any); m == nil || len(m["conflicts"].([]any)) != 0 {
		t.Errorf("the room was told %v", merged)
	}
}

// TestConflictKeepsBoth changes one line on both sides.
func TestConflictKeepsBoth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	loaded := b.file(t)
	c := b.connect(t, nil)
	c.edit(func(cells *ydoc.Array) { cells.Map(2).Text("source").Replace("z = 'live'") })
	waitFor(t, "the live edit in the file", func() bool { return strings.Contains(b.file(t), "'live'") })
	b.save(t, strings.Replace(loaded, "z = 3", "z = 'plain'", 1))
	c.waitFor("the conflict", func() bool {
		merged, _ := c.doc.Map(rootState).Get("merged")
		m, _ := merged.(map[string]any)
		return m != nil && reflect.DeepEqual(m["conflicts"], []any{"the text of cell three"})
	})
	if got := c.source(2); got != "z = 'live'" {
		t.Errorf("the live text became %q", got)
	}
	waitFor(t, "the live side in the file", func() bool { return strings.Contains(b.file(t), "'live'") })
	versions, err := b.volume.Versions(t.Context(), ann, nbPath, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, v := range versions {
		_, r, err := b.volume.OpenVersion(t.Context(), ann, nbPath, v.Number)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(r)
		_ = r.Close()
		found = found || strings.Contains(string(data), "'plain'")
	}
	if !found {
		t.Error("the other side is not among the versions")
	}
}

func TestRenamedFileGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	c := b.connect(t, nil)
	const to = "users/ann/renamed.ipynb"
	if err := b.volume.Rename(t.Context(), ann, nbPath, to); err != nil {
		t.Fatal(err)
	}
	c.edit(func(cells *ydoc.Array) { cells.Map(2).Text("source").Append("# after") })
	waitFor(t, "the edit under the new name", func() bool {
		_, r, err := b.volume.Read(t.Context(), ann, to)
		if err != nil {
			return false
		}
		defer r.Close()
		data, _ := io.ReadAll(r)
		return strings.Contains(string(data), "# after")
	})
	if info, err := b.Session(t.Context(), to, kindNotebook); err != nil || info.FileID != c.info.FileID {
		t.Errorf("the id changed: %+v, %v", info, err)
	}
	if _, err := b.volume.Stat(t.Context(), ann, nbPath); !problem.Is(err, problem.NotFound) {
		t.Errorf("the old name is there: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	c := b.connect(t, nil)
	for _, tt := range []struct {
		room, session string
		code          int
	}{
		{c.info.Room(), "another", codeUnsupported},
		{"json:notebook:unknown", "", codeNotFound},
		{"json:notebook", "", codeBadRequest},
		{"json:other:x", "", codeBadRequest},
	} {
		_, err := b.Join(t.Context(), tt.room, tt.session)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code != tt.code {
			t.Errorf("%s: %v, want code %d", tt.room, err, tt.code)
		}
	}
	if _, err := b.Session(t.Context(), "users/ann/none.ipynb", kindNotebook); !problem.Is(err, problem.NotFound) {
		t.Errorf("a missing file: %v", err)
	}
	// Who sends what cannot be read is out; the others stay.
	bad, err := b.Join(t.Context(), c.info.Room(), c.info.Session)
	if err != nil {
		t.Fatal(err)
	}
	_ = bad.Receive(t.Context(), ydoc.Message{Kind: ydoc.Update, Data: []byte{9, 9}}.Frame())
	for {
		if _, err = bad.Next(t.Context()); err != nil {
			break
		}
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != codeInvalid {
		t.Errorf("what cannot be read: %v", err)
	}
	// A client of another history is told, and changes nothing.
	stale := ydoc.New(5)
	stale.Text("x").Insert(0, "a")
	before := stale.StateVector()
	stale.Text("x").Insert(1, "b")
	update, _ := stale.Update(before)
	c.send(ydoc.Message{Kind: ydoc.Update, Data: update})
	c.waitFor("the conflict", func() bool { return len(c.custom) > 0 && c.custom[0] == `{"type":"conflict"}` })
}

// TestSlowClient never reads: it is given up, and the others go on.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	c := b.connect(t, nil)
	slow, err := b.Join(t.Context(), c.info.Room(), c.info.Session)
	if err != nil {
		t.Fatal(err)
	}
	other := b.connect(t, nil)
	big := strings.Repeat("x", 1<<20)
	for i := range 24 {
		c.edit(func(cells *ydoc.Array) { cells.Map(0).Set("junk", big+fmt.Sprint(i)) })
		other.waitFor("who reads has it", func() bool {
			return strings.HasSuffix(other.doc.Array(rootCells).Map(0).String("junk"), "x"+fmt.Sprint(i))
		})
	}
	c.edit(func(cells *ydoc.Array) { cells.Map(0).Set("junk", "end") })
	other.waitFor("the end", func() bool { return other.doc.Array(rootCells).Map(0).String("junk") == "end" })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for err = nil; err == nil; {
		_, err = slow.Next(ctx)
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != codeSlow {
		t.Errorf("the slow client: %v", err)
	}
}

func TestPresence(t *testing.T) {
	t.Parallel()
	b := setup(t)
	join := func() *Peer {
		p, err := b.Join(t.Context(), PresenceRoom, "")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	one, two := join(), join()
	update := []byte{1, 7, 1, 2, '{', '}'}
	if err := one.Receive(t.Context(), ydoc.Message{Kind: ydoc.Presence, Data: update}.Frame()); err != nil {
		t.Fatal(err)
	}
	next := func() string {
		for {
			frame, err := two.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if m, _ := ydoc.ReadMessage(frame); m.Kind == ydoc.Presence {
				return string(m.Data)
			}
		}
	}
	if got := next(); got != string(update) {
		t.Errorf("got %q", got)
	}
	one.Leave()
	if got := next(); got != "\x01\x07\x02\x04null" {
		t.Errorf("after leaving, got %q", got)
	}
}

func TestRoomEndsWhenNobodyIsThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	c := b.connect(t, nil)
	for range 200 {
		c.edit(func(cells *ydoc.Array) { cells.Map(0).Set("n", strings.Repeat("x", 200)) })
	}
	c.leave()
	room, err := b.Open(t.Context(), c.info.Room())
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-room.done:
	case <-time.After(2 * time.Minute):
		t.Fatal("the room is still there")
	}
	log, _ := filepath.Glob(filepath.Join(b.dir, "*.log"))
	if info, err := os.Stat(log[0]); err != nil || info.Size() > 8192 {
		t.Errorf("the log was not shortened: %v, %v", info.Size(), err)
	}
	again := b.connect(t, c.doc)
	if n := again.doc.Array(rootCells).Len(); n != 3 {
		t.Errorf("%d cells after the room was opened again", n)
	}
}

// TestBaseIsWhatTheClientSaw lets a plain client save twice what it was given
// once: nobody saved in between but the room, and neither side is lost.
func TestBaseIsWhatTheClientSaw(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		current  bool // the client was given the live edit
		want     string
		conflict bool
	}{
		{"it saw the live text", true, "z = 'plain'", false},
		{"it did not", false, "z = 'live and long'", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.save(t, sample)
			loaded := b.file(t)
			b.volume.Saw(nbPath, 0, 1)
			c := b.connect(t, nil)
			c.edit(func(cells *ydoc.Array) { cells.Map(2).Text("source").Replace("z = 'live and long'") })
			waitFor(t, "the live edit in the file", func() bool { return strings.Contains(b.file(t), "'live and long'") })
			if tt.current {
				e, err := b.volume.Stat(t.Context(), ann, nbPath)
				if err != nil {
					t.Fatal(err)
				}
				b.volume.Saw(nbPath, 0, e.Version)
			}
			b.save(t, strings.Replace(loaded, "z = 3", "z = 'plain'", 1))
			c.waitFor("the merge", func() bool { _, ok := c.doc.Map(rootState).Get("merged"); return ok })
			merged, _ := c.doc.Map(rootState).Get("merged")
			m, _ := merged.(map[string]any)
			conflicts, _ := m["conflicts"].([]any)
			if c.source(2) != tt.want || (len(conflicts) > 0) != tt.conflict {
				t.Errorf("the text is %q, conflicts %v", c.source(2), conflicts)
			}
		})
	}
}

// TestRoomStaysWhileItsKernelRuns: nobody is there, and the room ends only when
// the kernel has.
func TestRoomStaysWhileItsKernelRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	var asked atomic.Int32
	var runs atomic.Bool
	runs.Store(true)
	b.cfg.Busy = func(path string) bool {
		if path == nbPath {
			asked.Add(1)
		}
		return runs.Load()
	}
	c := b.connect(t, nil)
	c.leave()
	room, err := b.Open(t.Context(), c.info.Room())
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the room looked thrice whether its kernel runs", func() bool { return asked.Load() >= 3 })
	if room.ending() {
		t.Error("the room ended while its kernel ran")
	}
	runs.Store(false)
	waitFor(t, "the room ends", room.ending)
}
