package kernel

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"sync"
	"time"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// spillAfter is the size in bytes of the messages kept in memory; later ones
// go to a temporary file until the reader has caught up.
const spillAfter = 32 << 20

// queue is a kernel's inbox: unbounded, in order, any number of writers, one
// reader at a time.
type queue struct {
	limit int    // bytes in memory before spilling
	dir   string // where the temporary file is made; empty is os.TempDir

	mu     sync.Mutex
	mem    []*wire.Message
	head   int // index of the next message in mem
	size   int // bytes held by mem
	file   *os.File
	rpos   int64 // file offset of the next message
	wpos   int64
	queued int // messages in the file
	ended  error
	wake   chan struct{} // capacity 1
}

func newQueue(limit int, dir string) *queue {
	return &queue{limit: limit, dir: dir, wake: make(chan struct{}, 1)}
}

// push adds a message. It never blocks on the reader. After end, messages are
// dropped. When the temporary file cannot be written the message stays in
// memory: memory is at risk then, no message is.
func (q *queue) push(m *wire.Message) {
	q.mu.Lock()
	if q.ended == nil {
		if q.queued > 0 || (q.size > 0 && q.size+m.Size() > q.limit) {
			if q.spill(m) {
				q.mu.Unlock()
				q.signal()
				return
			}
			q.unspill()
		}
		q.mem = append(q.mem, m)
		q.size += m.Size()
	}
	q.mu.Unlock()
	q.signal()
}

// end says that nothing follows: the reader gets err after what is queued.
func (q *queue) end(err error) {
	q.mu.Lock()
	if q.ended == nil {
		q.ended = err
	}
	q.mu.Unlock()
	q.signal()
}

// discard drops everything and the temporary file.
func (q *queue) discard() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mem, q.head, q.size, q.queued = nil, 0, 0, 0
	q.dropFile()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// errQuiet is what pop returns when nothing came for so long.
var errQuiet = problem.New(problem.Timeout, "no message")

// pop returns the next message. With wait above zero it returns errQuiet when
// none comes for so long; a negative wait never blocks, zero waits for ever.
func (q *queue) pop(ctx context.Context, wait time.Duration) (*wire.Message, error) {
	var timeout <-chan time.Time
	for {
		m, err := q.take()
		if m != nil || err != nil {
			return m, err
		}
		if wait < 0 {
			return nil, errQuiet
		}
		if wait > 0 && timeout == nil {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-q.wake:
		case <-timeout:
			return nil, errQuiet
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take returns the next message, or the end, or neither.
func (q *queue) take() (*wire.Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head < len(q.mem) {
		m := q.mem[q.head]
		q.mem[q.head] = nil
		q.head++
		q.size -= m.Size()
		if q.head == len(q.mem) {
			q.mem, q.head = q.mem[:0], 0
			if cap(q.mem) > 1024 {
				q.mem = nil
			}
		}
		return m, nil
	}
	if q.queued > 0 {
		return q.unspillOne()
	}
	return nil, q.ended
}

// spill appends m to the file and reports whether it did.
func (q *queue) spill(m *wire.Message) bool {
	if q.file == nil {
		f, err := os.CreateTemp(q.dir, "quire-inbox-*")
		if err != nil {
			return false
		}
		_ = os.Remove(f.Name()) // the open file keeps the data; nothing is left behind
		q.file = f
	}
	rec, err := encodeRecord(m)
	if err != nil {
		return false
	}
	if _, err := q.file.WriteAt(rec, q.wpos); err != nil {
		return false
	}
	q.wpos += int64(len(rec))
	q.queued++
	return true
}

// unspill moves what the file holds back into memory, after a failed write.
func (q *queue) unspill() {
	for q.queued > 0 {
		m, err := q.unspillOne()
		if err != nil {
			return
		}
		q.mem = append(q.mem, m)
		q.size += m.Size()
	}
}

func (q *queue) unspillOne() (*wire.Message, error) {
	m, n, err := decodeRecord(io.NewSectionReader(q.file, q.rpos, q.wpos-q.rpos))
	if err != nil {
		err = problem.WrapAs(problem.Internal, err, "reading back the spilled messages of a kernel")
		q.queued, q.ended = 0, err
		q.dropFile()
		return nil, err
	}
	q.rpos += n
	if q.queued--; q.queued == 0 {
		q.dropFile()
	}
	return m, nil
}

func (q *queue) dropFile() {
	if q.file != nil {
		_ = q.file.Close()
	}
	q.file, q.rpos, q.wpos = nil, 0, 0
}

// encodeRecord writes a message as: time, number, count of frames, channel, the
// frames, each with its length. Identities come before the four JSON parts.
func encodeRecord(m *wire.Message) ([]byte, error) {
	parts, err := m.Parts()
	if err != nil {
		return nil, err
	}
	frames := append(append([][]byte{[]byte(m.Channel)}, m.Identities...), parts...)
	b := make([]byte, 0, m.Size()+64+8*len(frames))
	b = binary.AppendUvarint(b, uint64(m.Received.UnixNano()))
	b = binary.AppendUvarint(b, m.Seq)
	b = binary.AppendUvarint(b, uint64(len(m.Identities)))
	b = binary.AppendUvarint(b, uint64(len(frames)))
	for _, f := range frames {
		b = binary.AppendUvarint(b, uint64(len(f)))
		b = append(b, f...)
	}
	return b, nil
}

func decodeRecord(r *io.SectionReader) (*wire.Message, int64, error) {
	br := &byteCounter{r: r}
	at, err := binary.ReadUvarint(br)
	if err != nil {
		return nil, 0, err
	}
	seq, err := binary.ReadUvarint(br)
	if err != nil {
		return nil, 0, err
	}
	ids, err := binary.ReadUvarint(br)
	if err != nil {
		return nil, 0, err
	}
	count, err := binary.ReadUvarint(br)
	if err != nil {
		return nil, 0, err
	}
	frames := make([][]byte, count)
	for i := range frames {
		n, err := binary.ReadUvarint(br)
		if err != nil {
			return nil, 0, err
		}
		frames[i] = make([]byte, n)
		if err := br.full(frames[i]); err != nil {
			return nil, 0, err
		}
	}
	m, err := wire.ParseParts(wire.Channel(frames[0]), frames[1+ids:])
	if err != nil {
		return nil, 0, err
	}
	if ids > 0 {
		m.Identities = frames[1 : 1+ids]
	}
	m.Received, m.Seq = time.Unix(0, int64(at)), seq
	return m, br.n, nil
}

// byteCounter reads a record with few system calls: small reads go through a
// buffer, large ones straight into place.
type byteCounter struct {
	r   *io.SectionReader
	n   int64 // offset of the next byte wanted
	buf [4096]byte
	lo  int64 // offset of buf[0]
	has int
}

// ReadByte implements io.ByteReader.
func (c *byteCounter) ReadByte() (byte, error) {
	if c.n < c.lo || c.n >= c.lo+int64(c.has) {
		n, err := c.r.ReadAt(c.buf[:], c.n)
		if n == 0 {
			return 0, err
		}
		c.lo, c.has = c.n, n
	}
	b := c.buf[c.n-c.lo]
	c.n++
	return b, nil
}

func (c *byteCounter) full(p []byte) error {
	have := 0
	if c.n >= c.lo && c.n < c.lo+int64(c.has) {
		have = copy(p, c.buf[c.n-c.lo:c.has])
	}
	if have < len(p) {
		if n, err := c.r.ReadAt(p[have:], c.n+int64(have)); n < len(p)-have {
			return err
		}
	}
	c.n += int64(len(p))
	return nil
}
