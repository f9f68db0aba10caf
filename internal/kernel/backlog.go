package kernel

import (
	"context"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// A Backlog is the messages that wait for one reader, in order and without
// loss: in memory up to a limit, the rest in an unlinked temporary file. Any
// number of goroutines push, one reads.
type Backlog struct{ q *queue }

// NewBacklog returns an empty Backlog that keeps up to limit bytes in memory
// (zero: 32 MiB), and the rest in a file in dir (empty: os.TempDir).
func NewBacklog(limit int, dir string) *Backlog {
	if limit <= 0 {
		limit = spillAfter
	}
	return &Backlog{newQueue(limit, dir)}
}

// Push adds a message without waiting for the reader. It must not be changed
// afterwards: several backlogs may hold it.
func (b *Backlog) Push(m *wire.Message) { b.q.push(m) }

// Next returns the next message, waiting for it. After End its error is that
// of End, when everything was read.
func (b *Backlog) Next(ctx context.Context) (*wire.Message, error) { return b.q.pop(ctx, 0) }

// Bytes returns what waits: in memory and on the disk together.
func (b *Backlog) Bytes() int64 {
	b.q.mu.Lock()
	defer b.q.mu.Unlock()
	return int64(b.q.size) + b.q.wpos - b.q.rpos
}

// End says that nothing follows. Later messages are dropped.
func (b *Backlog) End(err error) { b.q.end(err) }

// Discard drops what waits, and the file.
func (b *Backlog) Discard() { b.q.discard() }

// SendMessage sends a message that somebody else made, such as a client of a
// server: its header, parent, metadata and content go to the kernel as they
// are, signed with the kernel's key. Its channel is one to send on: shell,
// control or stdin. Answers come through Next.
func (k *Kernel) SendMessage(ctx context.Context, m *wire.Message) error {
	switch m.Channel {
	case wire.Shell, wire.Control, wire.Stdin:
	default:
		return problem.New(problem.Invalid, "channel %.20q: messages are sent on shell, control or stdin", string(m.Channel))
	}
	in := k.instance()
	if m.Channel == wire.Shell {
		in.refreshMemory()
	}
	return in.send(ctx, m)
}
