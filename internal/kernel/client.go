package kernel

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// Times of a connection to a kernel.
const (
	dialFirst      = time.Millisecond       // wait after the first refused dial
	dialMost       = 10 * time.Millisecond  // the longest wait between dials while a kernel starts
	redialAfter    = 50 * time.Millisecond  // wait after a connection that broke
	handshakeLimit = 30 * time.Second       // a starting kernel accepts before it speaks
	drainLimit     = 300 * time.Millisecond // how long a dead kernel's sockets may still deliver
	writeLimit     = 60 * time.Second       // a kernel that takes no bytes for so long is not answering
)

// client holds the connections to one kernel process.
type client struct {
	codec    *wire.Codec
	session  string
	username string
	max      int64
	log      *slog.Logger
	inbox    *queue

	socks   map[wire.Channel]*link
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	counter atomic.Uint64
	dropped atomic.Int64

	mu      sync.Mutex
	waiters map[string]chan *wire.Message // by msg_id of the request
	probes  map[string]bool               // msg_ids of our kernel_info requests while starting
	probed  chan probe
	prompt  *wire.Message // the input_request to answer
}

// probe says what came for a kernel_info request.
type probe struct {
	reply *wire.Message // a kernel_info_reply, or nil
	idle  bool          // iopub said idle
}

// link is one channel's connection, dialled again when it breaks.
type link struct {
	ch      wire.Channel
	network string
	addr    string
	typ     wire.SocketType

	mu    sync.Mutex
	conn  *wire.Conn
	ready chan struct{} // closed while conn is usable
}

func newClient(info connectionInfo, cfg *Config, inbox *queue, session string) *client {
	c := &client{
		codec: wire.NewCodec([]byte(info.Key)), session: session, username: cfg.Username,
		max: cfg.MaxMessage, log: cfg.Log, inbox: inbox,
		socks:   make(map[wire.Channel]*link),
		waiters: make(map[string]chan *wire.Message),
		probes:  make(map[string]bool),
		probed:  make(chan probe, 64),
	}
	for ch, typ := range map[wire.Channel]wire.SocketType{
		wire.Shell: wire.Dealer, wire.Control: wire.Dealer, wire.Stdin: wire.Dealer, wire.IOPub: wire.Sub,
	} {
		network, addr := info.address(ch)
		c.socks[ch] = &link{ch: ch, network: network, addr: addr, typ: typ, ready: make(chan struct{})}
	}
	return c
}

// start begins to dial every channel. stop ends it.
func (c *client) start() {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	for _, s := range c.socks {
		c.wg.Go(func() { c.serve(ctx, s) })
	}
}

// finish lets the sockets deliver what they hold and closes them. It returns
// when every goroutine of the client has ended.
func (c *client) finish() {
	c.cancel()
	for _, s := range c.socks {
		s.mu.Lock()
		if s.conn != nil {
			_ = s.conn.NetConn().SetReadDeadline(time.Now().Add(drainLimit))
		}
		s.mu.Unlock()
	}
	c.wg.Wait()
}

// serve dials, reads until the connection ends, and dials again, until ctx is
// done.
func (c *client) serve(ctx context.Context, s *link) {
	for ctx.Err() == nil {
		conn, err := c.dial(ctx, s)
		if err != nil {
			return
		}
		s.set(conn)
		if ctx.Err() != nil { // finish may have missed this connection
			_ = conn.NetConn().SetReadDeadline(time.Now().Add(drainLimit))
		}
		err = c.read(s, conn)
		s.clear()
		_ = conn.Close()
		if ctx.Err() == nil && !errors.Is(err, io.EOF) {
			c.log.LogAttrs(ctx, slog.LevelWarn, "kernel connection broke",
				slog.String("channel", string(s.ch)), slog.String("err", err.Error()))
		}
		sleep(ctx, redialAfter)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// dial connects, however long the kernel takes to bind; it ends with ctx.
func (c *client) dial(ctx context.Context, s *link) (*wire.Conn, error) {
	wait := dialFirst
	var d net.Dialer
	for {
		nc, err := d.DialContext(ctx, s.network, s.addr)
		if err == nil {
			conn, err := c.shake(ctx, nc, s)
			if err == nil {
				return conn, nil
			}
			_ = nc.Close()
			c.log.LogAttrs(ctx, slog.LevelDebug, "kernel handshake",
				slog.String("channel", string(s.ch)), slog.String("err", err.Error()))
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			return nil, ctx.Err()
		}
		wait = min(wait*2, dialMost)
	}
}

func (c *client) shake(ctx context.Context, nc net.Conn, s *link) (*wire.Conn, error) {
	_ = nc.SetDeadline(time.Now().Add(handshakeLimit))
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Now()) })
	defer stop()
	opt := wire.Options{MaxMessage: c.max}
	if s.typ == wire.Dealer {
		opt.Identity = []byte(c.session) // the same everywhere: stdin answers reach us by it
	}
	conn, err := wire.NewConn(nc, s.typ, opt)
	if err != nil {
		return nil, err
	}
	if s.typ == wire.Sub {
		if err := conn.Subscribe(nil); err != nil {
			return nil, err
		}
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return conn, nc.SetDeadline(time.Time{})
}

func (s *link) set(conn *wire.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	close(s.ready)
}

func (s *link) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.ready = nil, make(chan struct{})
}

// get returns the connection, waiting for it.
func (s *link) get(ctx context.Context, gone <-chan struct{}) (*wire.Conn, error) {
	for {
		s.mu.Lock()
		conn, ready := s.conn, s.ready
		s.mu.Unlock()
		if conn != nil {
			return conn, nil
		}
		select {
		case <-ready:
		case <-gone:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, problem.Wrap(ctx.Err(), "connecting to the kernel's %s channel", s.ch)
		}
	}
}

func (c *client) read(s *link, conn *wire.Conn) error {
	for {
		frames, err := conn.ReadFrames()
		if err != nil {
			return err
		}
		m, err := c.codec.Decode(s.ch, frames, time.Now())
		if err != nil {
			c.dropped.Add(1)
			c.log.LogAttrs(context.Background(), slog.LevelWarn, "kernel message refused",
				slog.String("channel", string(s.ch)), slog.String("err", err.Error()))
			continue
		}
		if m.Type() == "iopub_welcome" { // the transport's own greeting
			continue
		}
		c.deliver(m)
	}
}

// deliver routes a message: answers to who asked, all else to the inbox.
func (c *client) deliver(m *wire.Message) {
	parent := m.ParentHeader.MsgID
	c.mu.Lock()
	if parent != "" && c.probes[parent] {
		c.mu.Unlock()
		c.probe(m)
		return
	}
	var waiter chan *wire.Message
	switch m.Channel {
	case wire.Shell, wire.Control:
		if waiter = c.waiters[parent]; waiter != nil {
			delete(c.waiters, parent)
		}
	case wire.Stdin:
		if m.Type() == "input_request" {
			c.prompt = m
		}
	}
	c.mu.Unlock()
	if waiter != nil {
		waiter <- m // capacity 1, one message
		return
	}
	c.inbox.push(m)
}

// probe takes what belongs to a kernel_info request of the start.
func (c *client) probe(m *wire.Message) {
	var p probe
	switch m.Type() {
	case "kernel_info_reply":
		p.reply = m
	case "status":
		p.idle = executionState(m) == "idle"
	}
	if p.reply != nil || p.idle {
		select {
		case c.probed <- p:
		default: // more answers than anybody waits for
		}
	}
}

// executionState returns a status message's state, empty for other messages.
func executionState(m *wire.Message) string {
	var s struct {
		State string `json:"execution_state"`
	}
	if m.Type() != "status" || m.Decode(&s) != nil {
		return ""
	}
	return s.State
}

// newMessage returns a message of ours with a fresh id.
func (c *client) newMessage(ch wire.Channel, msgType string, content []byte) *wire.Message {
	var id strings.Builder
	id.WriteString(c.session)
	id.WriteByte('_')
	id.WriteString(itoa(int(c.counter.Add(1))))
	return &wire.Message{
		Channel: ch,
		Header: wire.Header{
			MsgID: id.String(), Session: c.session, Username: c.username,
			Date: wire.FormatDate(time.Now()), MsgType: msgType, Version: wire.ProtocolVersion,
		},
		Content: content,
	}
}

// send writes a message, waiting for the connection.
func (c *client) send(ctx context.Context, m *wire.Message, gone <-chan struct{}) error {
	s := c.socks[m.Channel]
	if s == nil || m.Channel == wire.IOPub {
		return problem.New(problem.Internal, "no message can be sent on the %s channel", m.Channel)
	}
	frames, err := c.codec.Encode(m)
	if err != nil {
		return err
	}
	conn, err := s.get(ctx, gone)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return problem.Wrap(err, "sending %s to the kernel", m.Type())
	}
	// Not the context's deadline: half a message would cost the connection.
	_ = conn.NetConn().SetWriteDeadline(time.Now().Add(writeLimit))
	if err := conn.WriteFrames(frames); err != nil {
		_ = conn.Close() // half a message may be on its way
		return problem.WrapAs(problem.Unavailable, err, "sending %s to the kernel", m.Type())
	}
	return nil
}

// request sends m and waits for its answer.
func (c *client) request(ctx context.Context, m *wire.Message, gone <-chan struct{}) (*wire.Message, error) {
	answer := make(chan *wire.Message, 1)
	c.mu.Lock()
	c.waiters[m.Header.MsgID] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiters, m.Header.MsgID)
		c.mu.Unlock()
	}()
	if err := c.send(ctx, m, gone); err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		return r, nil
	case <-gone:
	case <-ctx.Done():
	}
	select { // both may have come at once
	case r := <-answer:
		return r, nil
	default:
	}
	if ctx.Err() != nil {
		return nil, problem.Wrap(ctx.Err(), "waiting for the kernel's answer to %s", m.Type())
	}
	return nil, net.ErrClosed
}
