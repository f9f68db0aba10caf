package jupyter

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"quire/internal/kernel"
	"quire/internal/kernel/wire"
)

// Limits of one client's connection.
const (
	keepInMemory = 2 << 20               // bytes of waiting messages; more go to the disk
	maxBacklog   = int64(2) << 30        // bytes kept for a client that is away; with more it is given up
	maxUnacked   = 8 << 20               // bytes sent and not confirmed before we wait
	maxFrame     = 256 << 20             // bytes of one message from a client
	pingEvery    = 20 * time.Second      // while nothing is sent
	confirmEvery = 10 * time.Millisecond // between pings while something is
	confirmAfter = 2 * time.Millisecond  // between something that is sent and its ping: what follows at once goes first
	maxPings     = 64                    // that are not answered yet
	pongLimit    = 60 * time.Second      // a client that does not answer for so long is gone
	writeLimit   = 60 * time.Second      // one that takes no bytes for so long too
)

// A client is one session id at one kernel, connected or not: what is for it
// waits in its backlog.
type client struct {
	session string
	backlog *kernel.Backlog
	turn    chan struct{} // held by the connection that serves; capacity 1
	log     *slog.Logger

	mu        sync.Mutex
	cancel    context.CancelFunc // ends the connection that serves
	serial    int                // of the newest connection
	connected bool
	left      time.Time // when the last connection ended

	// What was sent and is not confirmed, oldest first.
	sent      []*wire.Message
	sentBytes int
	written   int           // how many of sent went out on the connection that serves
	gone      uint64        // how many were confirmed and are not in sent any more
	had       uint64        // the last numbered message that the client is known to have
	last      uint64        // the last one that was for it
	told      func()        // called when had grew; nil is nothing
	wake      chan struct{} // something was sent; capacity 1
	room      chan struct{} // something was confirmed; capacity 1
}

func newClient(session, spillDir string, log *slog.Logger) *client {
	return &client{
		session: session, left: time.Now(), backlog: kernel.NewBacklog(keepInMemory, spillDir), log: log,
		turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// push gives the client a message; it reports false when the client is given
// up because too much waits for it.
func (c *client) push(m *wire.Message) bool {
	if m.Seq > 0 {
		c.mu.Lock()
		again := m.Seq <= c.last // it was for it before the server was started anew
		c.last = max(c.last, m.Seq)
		c.mu.Unlock()
		if again {
			return true
		}
	}
	c.backlog.Push(m)
	if c.backlog.Bytes() <= maxBacklog {
		return true
	}
	c.end()
	return false
}

// end closes the client's connection and drops what waits.
func (c *client) end() {
	c.mu.Lock()
	if c.cancel != nil {
		c.cancel()
	}
	c.mu.Unlock()
	c.backlog.End(errClientGone)
	c.backlog.Discard()
}

// position returns up to which message the client needs nothing again; heard is
// the last one of the kernel.
func (c *client) position(heard uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.had >= c.last { // what came since was not for it
		return max(heard, c.had)
	}
	return c.had
}

// has notes that the client has everything up to the message seq.
func (c *client) has(seq uint64) {
	c.mu.Lock()
	grew := seq > c.had
	c.had = max(c.had, seq)
	told := c.told
	c.mu.Unlock()
	if grew && told != nil {
		told()
	}
}

var errClientGone = errors.New("the kernel or the client is gone")

// isConnected reports whether a connection serves the client, and else since
// when none does.
func (c *client) isConnected() (bool, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected, c.left
}

// serve sends what is for the client over conn, and hands what it says to
// handle, until either side ends it. An older connection of the same session is
// ended first: what it had not confirmed is sent again. It returns when its
// goroutines have ended. A client that says which message it saw last, by its
// msg_id, is sent nothing twice; seen may be empty.
func (c *client) serve(ctx context.Context, conn *websocket.Conn, f framing, seen string, handle func(context.Context, *wire.Message)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer c.arrive(cancel)()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done(): // a still newer one came
		return
	}
	c.saw(seen)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		c.receive(ctx, conn, f, handle)
	})
	wg.Go(func() {
		defer cancel()
		c.confirm(ctx, conn)
	})
	if err := c.sendAll(ctx, conn, f); ctx.Err() == nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "client connection ended", slog.String("session", clip(c.session, 64)), slog.String("err", err.Error()))
	}
	cancel()
	_ = conn.CloseNow() // a read that waits ends with it
	wg.Wait()
}

// arrive makes cancel the end of the connection that serves, and ends the one
// before. What it returns notes that the connection has ended, and reports whether
// it was the last one.
func (c *client) arrive(cancel context.CancelFunc) (left func() (last bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
	c.serial++
	mine := c.serial
	c.cancel, c.connected = cancel, true
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.serial != mine {
			return false
		}
		c.cancel, c.connected, c.left = nil, false, time.Now()
		return true
	}
}

// receive reads what the client says until the connection ends.
func (c *client) receive(ctx context.Context, conn *websocket.Conn, f framing, handle func(context.Context, *wire.Message)) {
	conn.SetReadLimit(maxFrame)
	for {
		kind, frame, err := conn.Read(ctx)
		if err != nil {
			return
		}
		m, err := f.decode(kind, frame)
		if err != nil {
			c.log.LogAttrs(ctx, slog.LevelWarn, "a client's message was refused", slog.String("err", err.Error()))
			continue
		}
		handle(ctx, m)
	}
}

// sendAll sends what is not confirmed, and then what waits, until an error ends
// it.
func (c *client) sendAll(ctx context.Context, conn *websocket.Conn, f framing) error {
	for _, m := range c.unconfirmed() {
		if err := c.write(ctx, conn, f, m); err != nil {
			return err
		}
	}
	for {
		if err := c.awaitRoom(ctx); err != nil {
			return err
		}
		m, err := c.backlog.Next(ctx)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.sent = append(c.sent, m)
		c.sentBytes += m.Size()
		c.mu.Unlock()
		if err := c.write(ctx, conn, f, m); err != nil {
			return err
		}
	}
}

// write sends the next message of sent that this connection has not had.
func (c *client) write(ctx context.Context, conn *websocket.Conn, f framing, m *wire.Message) error {
	kind, frame, err := f.encode(m)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	if err := conn.Write(limited, kind, frame); err != nil {
		return err
	}
	c.mu.Lock()
	c.written++
	c.mu.Unlock()
	c.signal(c.wake)
	return nil
}

// saw confirms what was sent up to the message with that id. An id that is not
// among what was sent confirms nothing. No connection serves the client.
func (c *client) saw(id string) {
	if id == "" {
		return
	}
	c.mu.Lock()
	n := 1 + slices.IndexFunc(c.sent, func(m *wire.Message) bool { return m.Header.MsgID == id })
	c.written = n
	c.mu.Unlock()
	c.confirmed(n)
}

// unconfirmed returns what has to be sent again on a new connection.
func (c *client) unconfirmed() []*wire.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = 0
	return slices.Clone(c.sent)
}

// awaitRoom waits while too much is sent and not confirmed.
func (c *client) awaitRoom(ctx context.Context) error {
	for {
		c.mu.Lock()
		full := c.sentBytes > maxUnacked
		c.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-c.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *client) signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// confirm pings the client: the answer to a ping says that everything sent
// before it has come. Pings do not wait for the answers to those before: the
// further away the client is, the more of them are on their way.
func (c *client) confirm(ctx context.Context, conn *websocket.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var pings sync.WaitGroup
	defer pings.Wait()
	waiting := make(chan struct{}, maxPings)
	for ctx.Err() == nil {
		idle := time.NewTimer(pingEvery)
		select {
		case <-c.wake:
			pause(ctx, confirmAfter)
		case <-idle.C:
		case <-ctx.Done():
		}
		idle.Stop()
		select {
		case waiting <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		mark := c.gone + uint64(c.written)
		c.mu.Unlock()
		pings.Go(func() {
			defer func() { <-waiting }()
			limited, done := context.WithTimeout(ctx, pongLimit)
			defer done()
			if conn.Ping(limited) != nil {
				cancel()
				return
			}
			c.confirmedTo(mark)
		})
		pause(ctx, confirmEvery-confirmAfter)
	}
}

// confirmed forgets the n oldest messages that were sent.
func (c *client) confirmed(n int) {
	c.mu.Lock()
	mark := c.gone + uint64(n)
	c.mu.Unlock()
	c.confirmedTo(mark)
}

// confirmedTo forgets the messages that were sent up to mark, counted from the
// first one ever.
func (c *client) confirmedTo(mark uint64) {
	c.mu.Lock()
	n := 0
	if mark > c.gone {
		n = int(mark - c.gone)
	}
	c.gone += uint64(n)
	c.written -= n
	had := uint64(0)
	for i, m := range c.sent[:n] {
		had = max(had, m.Seq)
		c.sentBytes -= m.Size()
		c.sent[i] = nil
	}
	if c.sent = c.sent[n:]; len(c.sent) == 0 {
		c.sent = nil
	}
	c.mu.Unlock()
	c.has(had)
	c.signal(c.room)
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
