package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/kernel/wire"
)

func numbered(t testing.TB, i, size int) *wire.Message {
	t.Helper()
	content, err := json.Marshal(map[string]string{"text": fmt.Sprintf("%d %s", i, strings.Repeat("x", size))})
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.ParseParts(wire.IOPub, [][]byte{
		fmt.Appendf(nil, `{"msg_id":"m%d","msg_type":"stream","later":%d}`, i, i),
		[]byte(`{"msg_id":"p","msg_type":"execute_request"}`), []byte(`{"k":1}`), content,
		{byte(i)},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Identities = [][]byte{[]byte("topic"), {}}
	m.Received = time.Unix(int64(i), 5)
	return m
}

// checkNumbered says whether m is what numbered(i) made.
func checkNumbered(t testing.TB, m *wire.Message, i, size int) {
	t.Helper()
	want := numbered(t, i, size)
	if m.Header != want.Header || m.ParentHeader != want.ParentHeader || string(m.Content) != string(want.Content) ||
		string(m.Metadata) != string(want.Metadata) || len(m.Buffers) != 1 || m.Buffers[0][0] != byte(i) ||
		len(m.Identities) != 2 || string(m.Identities[0]) != "topic" || !m.Received.Equal(want.Received) ||
		m.Channel != wire.IOPub || string(m.RawHeader()) != string(want.RawHeader()) {
		t.Fatalf("message %d came as %+v", i, m)
	}
}

func TestQueueSpills(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name               string
		limit, size, count int
	}{
		{"in memory", 1 << 30, 10, 1000},
		{"on disk", 1, 10, 1000},
		{"half", 50_000, 100, 1000},
		{"messages larger than the read buffer", 1, 10_000, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			q := newQueue(tt.limit, dir)
			next := 0
			for i := range tt.count {
				q.push(numbered(t, i, tt.size))
				if i%3 == 2 { // the reader takes one of three meanwhile
					m, err := q.pop(t.Context(), 0)
					if err != nil {
						t.Fatal(err)
					}
					checkNumbered(t, m, next, tt.size)
					next++
				}
			}
			if q.size > max(tt.limit, 2*tt.size+400) {
				t.Errorf("%d bytes are in memory, the limit is %d", q.size, tt.limit)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("the spill file has a name: %v", left)
			}
			for ; next < tt.count; next++ {
				m, err := q.pop(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				checkNumbered(t, m, next, tt.size)
			}
			if q.file != nil {
				t.Error("the spill file is open although everything was read")
			}
		})
	}
}

func TestQueueWithoutDiskLosesNothing(t *testing.T) {
	t.Parallel()
	q := newQueue(1, filepath.Join(t.TempDir(), "missing"))
	for i := range 100 {
		q.push(numbered(t, i, 10))
	}
	for i := range 100 {
		m, err := q.pop(t.Context(), -1)
		if err != nil {
			t.Fatal(err)
		}
		checkNumbered(t, m, i, 10)
	}
}

func TestQueueBrokenDiskLosesNothing(t *testing.T) {
	t.Parallel()
	q := newQueue(1, t.TempDir())
	for i := range 10 {
		q.push(numbered(t, i, 10))
	}
	// A descriptor that cannot be written any more, as on a full disk.
	readOnly, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", q.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = q.file.Close()
	q.file = readOnly
	for i := range 10 {
		q.push(numbered(t, 10+i, 10))
	}
	for i := range 20 {
		m, err := q.pop(t.Context(), -1)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		checkNumbered(t, m, i, 10)
	}
}

func TestQueueEnds(t *testing.T) {
	t.Parallel()
	over := errors.New("over")
	q := newQueue(1, t.TempDir())
	for i := range 3 {
		q.push(numbered(t, i, 1))
	}
	q.end(over)
	q.end(errors.New("again"))
	q.push(numbered(t, 9, 1)) // too late
	for i := range 3 {
		m, err := q.pop(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		checkNumbered(t, m, i, 1)
	}
	for range 2 {
		if _, err := q.pop(t.Context(), 0); !errors.Is(err, over) {
			t.Errorf("got %v, want %v", err, over)
		}
	}
}

func TestQueueWaits(t *testing.T) {
	t.Parallel()
	q := newQueue(spillAfter, "")
	if _, err := q.pop(t.Context(), -1); !errors.Is(err, errQuiet) {
		t.Errorf("got %v, want quiet", err)
	}
	if _, err := q.pop(t.Context(), time.Millisecond); !errors.Is(err, errQuiet) {
		t.Errorf("got %v, want quiet", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.pop(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 1000 {
			q.push(numbered(t, i, 1))
		}
	})
	for i := range 1000 {
		m, err := q.pop(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		checkNumbered(t, m, i, 1)
	}
	wg.Wait()
}

func BenchmarkQueueSpilled(b *testing.B) {
	q := newQueue(1, b.TempDir())
	m := numbered(b, 1, 100)
	for b.Loop() {
		q.push(m)
		q.push(m)
		_, _ = q.pop(context.Background(), 0)
		_, _ = q.pop(context.Background(), 0)
	}
}
