package session

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/kernel/wire"
	"quire/internal/notebook"
)

// A counted is a kernel at a keeper: it numbers what it says, and says it again
// to whoever attaches.
type counted struct {
	mu       sync.Mutex
	said     []*wire.Message
	requests []string // msg_ids of execute_requests that ran
	seen     map[string]bool
	more     chan struct{}
}

func (k *counted) say(kind, parent string, content any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ch := wire.IOPub
	if kind == "execute_reply" {
		ch = wire.Shell
	}
	raw, err := json.Marshal(content)
	if err != nil {
		panic(err)
	}
	m := &wire.Message{
		Channel: ch, Seq: uint64(len(k.said)) + 1, Content: raw,
		Header: wire.Header{MsgID: fmt.Sprint("m", len(k.said)), MsgType: kind}, ParentHeader: wire.Header{MsgID: parent},
	}
	k.said = append(k.said, m)
	close(k.more)
	k.more = make(chan struct{})
}

// listener is one connection, from the first message on.
type listener struct {
	*counted
	next      int
	committed chan uint64
}

func (l *listener) Next(ctx context.Context) (*wire.Message, error) {
	for {
		l.mu.Lock()
		more := l.more
		if l.next < len(l.said) {
			m := l.said[l.next]
			l.next++
			l.mu.Unlock()
			return m, nil
		}
		l.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Send runs a request once, as a keeper does.
func (l *listener) Send(_ context.Context, m *wire.Message) error {
	l.mu.Lock()
	again := l.seen[m.Header.MsgID]
	l.seen[m.Header.MsgID] = true
	if !again {
		l.requests = append(l.requests, m.Header.MsgID)
	}
	l.mu.Unlock()
	if !again {
		l.say("status", m.Header.MsgID, map[string]string{"execution_state": "busy"})
	}
	return nil
}

func (l *listener) Committed(seq uint64) {
	select {
	case l.committed <- seq:
	default:
	}
}
func (l *listener) Leave() {}

func (k *counted) listen() *listener {
	return &listener{counted: k, committed: make(chan uint64, 1000)}
}

// awaitCommit waits until the message is in the log.
func (l *listener) awaitCommit(t *testing.T, seq uint64) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case got := <-l.committed:
			if got >= seq {
				return
			}
		case <-limit:
			t.Fatalf("message %d does not get into the document", seq)
		}
	}
}

// request returns the id of the n-th request that ran.
func (k *counted) request(t *testing.T, n int) string {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		k.mu.Lock()
		more, ids := k.more, slices.Clone(k.requests)
		k.mu.Unlock()
		if len(ids) > n {
			return ids[n]
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("only %d cells ran", len(ids))
		}
	}
}

// TestGoesOnAfterAKill takes the log of a document as it is in the middle of a
// cell, and opens it as a server does that was started anew: the kernel says all
// again and goes on. Each output is there once, also one that is changed, and each
// cell runs once.
func TestGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	for _, rewritten := range []bool{false, true} {
		t.Run(fmt.Sprint("rewritten ", rewritten), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			nb := notebook.New()
			for i := range 3 {
				c := notebook.NewCode(fmt.Sprint("cell ", i))
				c.ID = fmt.Sprint("c", i)
				nb.Cells = append(nb.Cells, c)
			}
			body, err := nb.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			b.save(t, string(body))
			info := b.connect(t, nil).info
			room, err := b.Open(t.Context(), info.Room())
			if err != nil {
				t.Fatal(err)
			}
			k := &counted{seen: map[string]bool{}, more: make(chan struct{})}
			first := k.listen()
			err = room.Execute(t.Context(), ExecuteRequest{
				Kernel: "k", ID: "request", Cells: []CellRef{{ID: "c0"}, {ID: "c1"}},
				Connect: func(context.Context) (Kernel, error) { return first, nil },
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			id := k.request(t, 0)
			stream := func(id, text string) { k.say("stream", id, map[string]string{"name": "stdout", "text": text}) }
			stream(id, "one\n")
			k.say("display_data", id, map[string]any{
				"data": map[string]string{"text/plain": "0%"}, "metadata": map[string]any{}, "transient": map[string]string{"display_id": "bar"},
			})
			stream(id, "two\n")
			first.awaitCommit(t, 4)
			if rewritten {
				if err := room.do(t.Context(), func() error { room.log.size += 1 << 20; room.shorten(); return nil }); err != nil {
					t.Fatal(err)
				}
			}

			killed := filepath.Join(t.TempDir(), "rooms")
			if err := os.CopyFS(killed, os.DirFS(b.dir)); err != nil {
				t.Fatal(err)
			}
			stream(id, "three\n") // of which the first server brings to its document what it likes
			second := k.listen()
			again, err := New(Config{
				Volume: b.volume, User: ann, Dir: killed, SaveDelay: time.Hour,
				Attach: func(kernel, name string) Kernel {
					if kernel != "k" || name != info.Room() {
						t.Errorf("attached %s to %s", name, kernel)
					}
					return second
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = again.Close() }()
			after, err := again.Open(t.Context(), info.Room())
			if err != nil {
				t.Fatal(err)
			}
			k.say("update_display_data", id, map[string]any{
				"data": map[string]string{"text/plain": "100%"}, "metadata": map[string]any{}, "transient": map[string]string{"display_id": "bar"},
			})
			end := func(id string) {
				k.say("execute_reply", id, map[string]string{"status": "ok"})
				k.say("status", id, map[string]string{"execution_state": "idle"})
			}
			end(id)
			next := k.request(t, 1)
			stream(next, "second\n")
			end(next)
			k.mu.Lock()
			last := uint64(len(k.said))
			k.mu.Unlock()
			second.awaitCommit(t, last)
			// The request that was accepted before is known.
			done := make(chan error, 1)
			err = after.Execute(t.Context(), ExecuteRequest{Kernel: "k", ID: "request", Cells: []CellRef{{ID: "c2"}}}, done)
			if err != nil || <-done != nil {
				t.Error(err)
			}
			var got []string
			err = after.do(t.Context(), func() error {
				for _, c := range []string{"c0", "c1", "c2"} {
					cell := after.cell(c)
					text, err := json.Marshal(cell.Array("outputs").JSON())
					got = append(got, cell.String("execution_state")+" "+string(text))
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{
				`idle [{"name":"stdout","output_type":"stream","text":"one\n"},{"data":{"text/plain":"100%"},"metadata":{},"output_type":"display_data"},{"name":"stdout","output_type":"stream","text":"two\nthree\n"}]`,
				`idle [{"name":"stdout","output_type":"stream","text":"second\n"}]`,
				` []`,
			}
			if !slices.Equal(got, want) {
				t.Errorf("the document has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			if len(k.requests) != 2 {
				t.Errorf("%d cells ran, want 2", len(k.requests))
			}
		})
	}
}
