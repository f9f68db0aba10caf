package keeper

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	os.Exit(m.Run())
}

// serve runs a keeper in this process and returns its directory, and its end.
func serve(t *testing.T, opt Options) (dir string, ended <-chan error) {
	t.Helper()
	dir = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	opt.Ready = func() { close(ready) }
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		done <- Serve(ctx, dir, opt)
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-gone })
	return dir, done
}

func owner(t *testing.T, dir string) *Keeper {
	k := New(dir, nil, 0, slog.New(slog.DiscardHandler))
	t.Cleanup(k.Leave)
	return k
}

func startFake(t *testing.T, k *Keeper) *Kernel {
	t.Helper()
	cfg := kernel.Config{Spec: kerneltest.Spec(t, kerneltest.Options{}), RuntimeDir: t.TempDir(), Dir: t.TempDir()}
	n, err := k.Start(t.Context(), uuid.NewString(), cfg, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func execute(t *testing.T, n *Kernel, id, code string) {
	t.Helper()
	content, err := json.Marshal(map[string]any{"code": code, "silent": false, "store_history": true})
	if err != nil {
		t.Fatal(err)
	}
	m := &wire.Message{Channel: wire.Shell, Header: wire.Header{MsgID: id, MsgType: "execute_request", Session: "s"}, Content: content}
	if err := n.Send(t.Context(), "s", m); err != nil {
		t.Fatal(err)
	}
}

// hear reads until a stream holds the text, and returns all text and the number of
// the last message. Numbers have no gap.
func hear(t *testing.T, n *Kernel, after uint64, text string) (string, uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := ""
	for !strings.Contains(all, text) {
		m, err := n.Next(ctx)
		if err != nil {
			t.Fatalf("%v; heard %q", err, all)
		}
		if m.Seq != after+1 {
			t.Fatalf("message %d came after %d", m.Seq, after)
		}
		after = m.Seq
		var c struct{ Text string }
		if m.Type() == "stream" && m.Decode(&c) == nil {
			all += c.Text
		}
	}
	return all, after
}

// TestNextOwnerGoesOn lets an owner go in the middle of a cell: the next one hears
// what was not settled, and the rest, once.
func TestNextOwnerGoesOn(t *testing.T) {
	t.Parallel()
	dir, _ := serve(t, Options{})
	first := owner(t, dir)
	n := startFake(t, first)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	execute(t, n, "cell", "print one\nprint two\nawait "+pipe+"\nprint three\nprint four")
	_, one := hear(t, n, 0, "one\n")
	n.Settle(one, map[string]uint64{"s": one})
	hear(t, n, one, "two\n") // and not settled
	if err := first.Note(t.Context(), "kept for the next"); err != nil {
		t.Fatal(err)
	}
	awaitSettled(t, dir, one)
	_ = n.Close()
	first.Leave()

	second := owner(t, dir)
	found, note, err := second.Resume(t.Context())
	if err != nil || len(found) != 1 || string(note) != `"kept for the next"` {
		t.Fatalf("found %+v with %s, %v", found, note, err)
	}
	f := found[0]
	if f.Settled != one || f.Sessions["s"] != one || len(f.Pending) != 1 || f.Pending[0].Session != "s" {
		t.Errorf("found %+v, settled was %d", f, one)
	}
	again, err := second.Attach(t.Context(), f, f.Settled, kernel.Config{}, kernel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	execute(t, again, "cell", "print five") // the same request: it is not run again
	if err := os.WriteFile(pipe, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text, last := hear(t, again, one, "four\n")
	if text != "two\nthree\nfour\n" {
		t.Errorf("heard %q", text)
	}
	execute(t, again, "next", "print six")
	if text, _ := hear(t, again, last, "six\n"); text != "six\n" {
		t.Errorf("then came %q", text)
	}
}

// awaitSettled waits until the keeper knows what was settled, and whether its note
// has come.
func awaitSettled(t *testing.T, dir string, seq uint64) {
	t.Helper()
	for {
		k := New(dir, nil, 0, slog.New(slog.DiscardHandler))
		found, _, err := k.Resume(t.Context())
		k.Leave()
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 1 && found[0].Settled == seq {
			return
		}
	}
}

// TestDeathIsTold lets a kernel die while nobody owns it: the next owner is told,
// and starts it anew.
func TestDeathIsTold(t *testing.T) {
	t.Parallel()
	dir, _ := serve(t, Options{})
	first := owner(t, dir)
	n := startFake(t, first)
	execute(t, n, "cell", "print now\nsleep 100ms\nexit 3")
	hear(t, n, 0, "now\n")
	_ = n.Close()
	first.Leave()
	second := owner(t, dir)
	found, _, err := second.Resume(t.Context())
	if err != nil || len(found) != 1 {
		t.Fatalf("found %+v, %v", found, err)
	}
	again, err := second.Attach(t.Context(), found[0], 0, kernel.Config{}, kernel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	for err == nil {
		_, err = again.Next(t.Context())
	}
	if !strings.Contains(err.Error(), "exited with code 3") || again.Death() == nil {
		t.Errorf("told %v, %v", err, again.Death())
	}
	if err := again.Restart(t.Context()); err != nil || again.Death() != nil {
		t.Fatalf("after a restart: %v, %v", err, again.Death())
	}
	execute(t, again, "later", "print there")
	for text := ""; !strings.Contains(text, "there"); {
		m, err := again.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text = string(m.Content)
	}
}

// TestKeeperEnds shows each way in which a keeper ends: its owner ends it, or does
// not come back, or its directory is removed. Its kernel ends with it.
func TestKeeperEnds(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"asked", "left", "removed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			opt := Options{}
			if how == "left" {
				opt.Orphan = 3 * time.Second // or it ends before somebody comes
			}
			dir, ended := serve(t, opt)
			k := owner(t, dir)
			n := startFake(t, k)
			switch how {
			case "asked":
				if err := k.Close(); err != nil {
					t.Error(err)
				}
			case "left":
				k.Leave()
			case "removed":
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("the keeper goes on")
			}
			if err := nextError(n); !strings.Contains(err.Error(), "ended") || n.Death() == nil {
				t.Errorf("the kernel says %v, %v", err, n.Death())
			}
			if found, _, err := owner(t, dir).Resume(t.Context()); err != nil || len(found) > 0 {
				t.Errorf("then there is %v, %v", found, err)
			}
		})
	}
}

// TestKeeperAwaitsTheOneBefore: a directory whose keeper ends just now is free in
// a moment; one that answers keeps its directory.
func TestKeeperAwaitsTheOneBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := os.Create(filepath.Join(dir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- Serve(ctx, dir, Options{Ready: func() { close(ready) }}) }()
	early := time.NewTimer(100 * time.Millisecond)
	defer early.Stop()
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	case <-ready:
		t.Fatal("two have one directory")
	case <-early.C:
	}
	_ = lock.Close()
	select {
	case err := <-ended:
		t.Fatal(err)
	case <-ready:
	}
	if err := Serve(ctx, dir, Options{}); !problem.Is(err, problem.Exists) {
		t.Errorf("beside one that answers: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func nextError(n *Kernel) error {
	for {
		if _, err := n.Next(context.Background()); err != nil {
			return err
		}
	}
}

// TestWindow shows that a kernel is not read on while its owner settles nothing,
// and that nothing is lost by it.
func TestWindow(t *testing.T) {
	t.Parallel()
	p := newKept("k", config{}, slog.New(slog.DiscardHandler))
	big := make([]byte, window/2)
	added := make(chan uint64, 8)
	go func() {
		for seq := uint64(1); seq <= 4; seq++ {
			p.add(seq, big)
			added <- seq
		}
	}()
	for want := uint64(1); want <= 3; want++ { // the third is over the window, and the last
		if got := <-added; got != want {
			t.Fatalf("%d was added, want %d", got, want)
		}
	}
	p.mu.Lock()
	waits := p.seq == 3 && p.owed > window
	p.mu.Unlock()
	if !waits {
		t.Error("the fourth does not wait")
	}
	p.settle(settlement{Seq: 2, Sessions: map[string]uint64{"away": 1}})
	if got := <-added; got != 4 {
		t.Fatalf("%d was added, want 4", got)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.entries) == 0 || p.entries[0].seq != 3 || p.index(4) != len(p.entries)-1 {
		t.Errorf("kept are %d entries", len(p.entries))
	}
}

// FuzzFrames lets nothing that is read make the program fail.
func FuzzFrames(f *testing.F) {
	m := &wire.Message{Channel: wire.Shell, Seq: 7, Received: time.Unix(1, 2), Header: wire.Header{MsgID: "a", MsgType: "b"}, Buffers: [][]byte{{1}}}
	good, err := encodeMessage("session", m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[2:])
	f.Add([]byte{1, 0, 255, 255, 255})
	f.Fuzz(func(t *testing.T, content []byte) {
		session, m, err := decodeMessage(content)
		if err != nil {
			return
		}
		again, err := encodeMessage(session, m)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) == 0 {
			t.Error("an empty frame")
		}
	})
}
