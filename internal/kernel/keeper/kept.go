package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// Limits of one kernel.
const (
	window      = 32 << 20 // bytes that the owner has not settled; then the kernel is not read on
	retain      = 8 << 20  // bytes kept besides, for clients that are away
	pauseAt     = 1 << 30  // bytes that wait to be read; then the kernel is paused
	maxPending  = 10_000   // requests without an answer
	maxSeen     = 10_000   // ids of requests that are remembered
	maxSessions = 10_000
)

// The states of a kernel, in Jupyter's words.
const (
	stateStarting = "starting"
	stateIdle     = "idle"
	stateBusy     = "busy"
	stateDead     = "dead"
)

// A kept is one kernel at its keeper. It is safe for concurrent use.
type kept struct {
	id      string
	config  config
	log     *slog.Logger
	started time.Time
	ready   chan struct{} // closed when the start has ended
	k       *kernel.Kernel
	failed  error // why there is no k; set before ready is closed
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	lanes   map[wire.Channel]*kernel.Backlog // what is to be sent

	mu         sync.Mutex
	changed    *sync.Cond // settled, restarting or closed changed
	seq        uint64
	settled    uint64
	entries    []entry // what was said, oldest first
	bytes      int64   // of entries
	owed       int64   // of those that are not settled
	sessions   map[string]uint64
	pending    map[string]Pending
	order      []string // of pending, oldest first; may name some that are gone
	seen       map[string]struct{}
	seenOrder  []string
	state      string
	active     time.Time
	generation int
	deathSeq   uint64
	restarting bool
	closed     bool
	paused     bool
	conn       net.Conn // of the owner, nil when there is none
	out        *bufio.Writer
}

// An entry is one thing that a kernel said, as a frame.
type entry struct {
	seq   uint64
	frame []byte
}

func newKept(id string, c config, log *slog.Logger) *kept {
	p := &kept{
		id: id, config: c, log: log, started: time.Now(), active: time.Now(), ready: make(chan struct{}), state: stateStarting,
		sessions: map[string]uint64{}, pending: map[string]Pending{}, seen: map[string]struct{}{},
		lanes: map[wire.Channel]*kernel.Backlog{},
	}
	for _, ch := range []wire.Channel{wire.Shell, wire.Control, wire.Stdin} {
		p.lanes[ch] = kernel.NewBacklog(0, c.SpillDir)
	}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// begin makes k the kernel, or says why there is none, and reads it to its end.
func (p *kept) begin(k *kernel.Kernel, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	p.mu.Lock()
	p.k, p.failed, p.cancel = k, err, cancel
	p.state = stateIdle
	if err != nil {
		p.state = stateDead
	}
	p.mu.Unlock()
	close(p.ready)
	if err != nil {
		return
	}
	p.wg.Go(func() { p.pump(ctx) })
	for _, lane := range p.lanes {
		p.wg.Go(func() { p.carry(ctx, lane) })
	}
}

// pump keeps what the kernel says, as fast as the owner settles it.
func (p *kept) pump(ctx context.Context) {
	for {
		m, err := p.k.Next(ctx)
		switch {
		case err == nil:
			p.note(m)
			f, err := p.number(m)
			if err != nil {
				p.log.LogAttrs(ctx, slog.LevelError, "a kernel's message cannot be kept", slog.String("err", err.Error()))
				continue
			}
			p.add(m.Seq, f)
		case ctx.Err() != nil || !p.awaitRevival(err):
			return
		}
	}
}

// number gives a message its number and its frame.
func (p *kept) number(m *wire.Message) ([]byte, error) {
	p.mu.Lock()
	m.Seq = p.seq + 1
	p.mu.Unlock()
	f, err := encodeMessage("", m)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// add keeps a frame and passes it on. It waits while too much is not settled.
func (p *kept) add(seq uint64, f []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.owed > window && !p.closed {
		p.changed.Wait()
	}
	p.seq = seq
	p.entries = append(p.entries, entry{seq, f})
	p.bytes += int64(len(f))
	p.owed += int64(len(f))
	p.write(f)
}

// write sends a frame to the owner. The caller holds mu.
func (p *kept) write(f []byte) {
	if p.out == nil {
		return
	}
	_, err := p.out.Write(f)
	if err == nil {
		err = p.out.Flush()
	}
	if err != nil { // it comes again, and asks for what it has not had
		_ = p.conn.Close()
		p.conn, p.out = nil, nil
	}
}

// note keeps what a message says of the kernel and of its requests.
func (p *kept) note(m *wire.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = time.Now()
	switch {
	case m.Channel == wire.Shell || m.Channel == wire.Control:
		delete(p.pending, m.ParentHeader.MsgID)
	case m.Type() == "status":
		if asked, ok := p.pending[m.ParentHeader.MsgID]; ok && asked.Channel == wire.Control {
			return
		}
		var s struct {
			State string `json:"execution_state"`
		}
		if m.Decode(&s) == nil && (s.State == stateIdle || s.State == stateBusy) {
			p.state = s.State
		}
	}
}

// awaitRevival is called when the process has ended and all that it said is
// kept. It returns true when there is a new one.
func (p *kept) awaitRevival(err error) bool {
	p.mu.Lock()
	told := false
	for !p.closed && (p.restarting || p.k.Death() != nil) {
		if !p.restarting && !told {
			told = true
			d := death{Text: err.Error(), Generation: p.generation, Death: p.k.Death()}
			content, fail := json.Marshal(d)
			if fail != nil { // a struct of plain fields always encodes
				content = []byte(`{}`)
			}
			p.state, p.deathSeq, p.active = stateDead, p.seq+1, time.Now()
			p.mu.Unlock()
			p.add(p.deathSeq, frame(frameDeath, content))
			p.mu.Lock()
			continue
		}
		p.changed.Wait()
	}
	defer p.mu.Unlock()
	return !p.closed
}

// carry sends what waits for one channel of the kernel.
func (p *kept) carry(ctx context.Context, lane *kernel.Backlog) {
	for {
		m, err := lane.Next(ctx)
		if err != nil {
			return
		}
		if err := p.k.SendMessage(ctx, m); err != nil && ctx.Err() == nil {
			p.log.LogAttrs(ctx, slog.LevelDebug, "a message could not be sent to the kernel",
				slog.String("kernel_id", p.id), slog.String("err", err.Error()))
		}
	}
}

// send passes a client's message to the kernel, once: an owner that comes back
// may not know whether it had sent it.
func (p *kept) send(session string, m *wire.Message) {
	lane := p.lanes[m.Channel]
	if lane == nil {
		return
	}
	p.mu.Lock()
	id := m.Header.MsgID
	_, again := p.seen[id]
	if !again {
		p.seen[id] = struct{}{}
		if p.seenOrder = append(p.seenOrder, id); len(p.seenOrder) > maxSeen {
			delete(p.seen, p.seenOrder[0])
			p.seenOrder = p.seenOrder[1:]
		}
		if m.Channel != wire.Stdin {
			p.await(id, Pending{Session: session, Channel: m.Channel, Header: m.RawHeader()})
		}
	}
	p.mu.Unlock()
	if !again {
		lane.Push(m)
	}
}

// await notes that an answer is due. The caller holds mu.
func (p *kept) await(id string, r Pending) {
	for len(p.order) > 0 {
		if _, waits := p.pending[p.order[0]]; waits && len(p.pending) < maxPending {
			break
		}
		delete(p.pending, p.order[0])
		p.order = p.order[1:]
	}
	if len(p.order) > 2*maxPending {
		p.order = slices.DeleteFunc(p.order, func(id string) bool { _, waits := p.pending[id]; return !waits })
	}
	p.pending[id] = r
	p.order = append(p.order, id)
}

// settle forgets what nobody needs to hear again.
func (p *kept) settle(s settlement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.Seq > p.seq {
		s.Seq = p.seq
	}
	if s.Sessions != nil && len(s.Sessions) <= maxSessions {
		p.sessions = s.Sessions
	}
	if s.Seq > p.settled {
		for _, e := range p.entries[p.index(p.settled+1):p.index(s.Seq+1)] {
			p.owed -= int64(len(e.frame))
		}
		p.settled = s.Seq
		if p.deathSeq > 0 && p.settled >= p.deathSeq {
			clear(p.pending)
			p.order = nil
		}
	}
	p.trim()
	p.changed.Broadcast()
}

// index returns where in entries the one with that number is or would be: they
// are numbered without a gap. The caller holds mu.
func (p *kept) index(seq uint64) int {
	if len(p.entries) == 0 || seq <= p.entries[0].seq {
		return 0
	}
	return min(int(seq-p.entries[0].seq), len(p.entries))
}

// trim drops what is settled and had by every client, and what is settled where
// it is too much. The caller holds mu.
func (p *kept) trim() {
	had := p.settled
	for _, seq := range p.sessions {
		had = min(had, seq)
	}
	n := 0
	for ; n < len(p.entries); n++ {
		e := p.entries[n]
		if e.seq > p.settled || (e.seq > had && p.bytes-p.owed <= retain) {
			break
		}
		p.bytes -= int64(len(e.frame))
		p.entries[n] = entry{}
	}
	if p.entries = p.entries[n:]; len(p.entries) == 0 {
		p.entries = nil
	}
}

// found describes the kernel.
func (p *kept) found() Found {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := Found{
		ID: p.id, Spec: p.config.Spec, Dir: p.config.Dir, Started: p.started, Active: p.active, State: p.state,
		Settled: p.settled, Last: p.seq, Generation: p.generation, Sessions: maps.Clone(p.sessions),
	}
	for _, id := range p.order {
		if r, ok := p.pending[id]; ok {
			f.Pending = append(f.Pending, r)
		}
	}
	return f
}

// attach makes conn the owner's connection, on which it hears all behind after.
// It returns when the connection has ended.
func (p *kept) attach(conn net.Conn, in *bufio.Reader, after uint64) {
	<-p.ready
	if p.failed != nil {
		_ = writeLine(conn, answer{Error: p.failed.Error(), Kind: problem.KindOf(p.failed)})
		return
	}
	f := p.found()
	p.mu.Lock()
	if p.conn != nil {
		_ = p.conn.Close()
	}
	p.conn, p.out = conn, bufio.NewWriterSize(conn, 64<<10)
	err := writeLine(p.out, answer{Kernel: &f})
	for _, e := range p.entries[p.index(after+1):] {
		if err == nil {
			_, err = p.out.Write(e.frame)
		}
	}
	p.write(nil) // what is in the buffer
	p.mu.Unlock()
	p.listen(in)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == conn {
		p.conn, p.out = nil, nil
	}
}

// listen takes what the owner says, until its connection ends.
func (p *kept) listen(in *bufio.Reader) {
	for {
		kind, content, err := readFrame(in)
		if err != nil {
			return
		}
		switch kind {
		case frameMessage:
			session, m, err := decodeMessage(content)
			if err != nil {
				p.log.LogAttrs(context.Background(), slog.LevelWarn, "a message of the server was refused", slog.String("err", err.Error()))
				continue
			}
			p.send(session, m)
		case frameSettled:
			var s settlement
			if json.Unmarshal(content, &s) == nil {
				p.settle(s)
			}
		}
	}
}

// restart ends the process and starts a new one.
func (p *kept) restart(ctx context.Context) error {
	<-p.ready
	if p.failed != nil {
		return p.failed
	}
	p.mu.Lock()
	if p.restarting || p.closed {
		p.mu.Unlock()
		return problem.New(problem.Conflict, "kernel %s is started anew or ended already", p.id)
	}
	p.restarting = true
	p.generation++
	clear(p.pending)
	p.order = nil
	p.mu.Unlock()
	err := p.k.Restart(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restarting = false
	if err == nil {
		p.state, p.deathSeq, p.paused = stateIdle, 0, false
	}
	p.changed.Broadcast()
	return err
}

// press pauses a kernel that says more than anybody takes, and lets it go on
// when that was taken.
func (p *kept) press() {
	select {
	case <-p.ready:
	default:
		return
	}
	if p.failed != nil {
		return
	}
	waiting := p.k.Waiting()
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	switch {
	case !p.paused && waiting > pauseAt:
		p.paused, err = true, p.k.Pause()
	case p.paused && waiting < pauseAt/4:
		p.paused, err = false, p.k.Resume()
	default:
		return
	}
	p.log.LogAttrs(context.Background(), slog.LevelWarn, "a kernel that says more than anybody takes",
		slog.String("kernel_id", p.id), slog.Bool("paused", p.paused), slog.Int64("waiting_bytes", waiting), slog.Any("err", err))
}

// close ends the kernel and everything that belongs to it. Twice is fine.
func (p *kept) close(ctx context.Context, grace time.Duration) error {
	<-p.ready
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	paused := p.paused
	p.changed.Broadcast()
	if p.conn != nil {
		_ = p.conn.Close()
	}
	p.mu.Unlock()
	var err error
	if p.failed == nil {
		if paused {
			_ = p.k.Resume() // or it cannot hear that it is to end
		}
		err = p.k.Shutdown(ctx, grace)
		p.cancel()
		err = errors.Join(err, p.k.Close())
	}
	p.wg.Wait()
	for _, lane := range p.lanes {
		lane.Discard()
	}
	return err
}
