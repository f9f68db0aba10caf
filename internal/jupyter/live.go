package jupyter

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"quire/internal/kernel"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// Limits of what is remembered for one kernel.
const (
	maxRequests = 10000 // requests that have no answer yet
	maxAway     = 16    // sessions that are not connected and whose messages are kept
	maxEarly    = 1000  // messages for a kernel that starts
)

// The states of a kernel, in Jupyter's words.
const (
	stateStarting   = "starting"
	stateIdle       = "idle"
	stateBusy       = "busy"
	stateRestarting = "restarting"
	stateDead       = "dead"
)

// A process is a kernel, in this process or at its keeper.
type process interface {
	StartedAt() time.Time
	// Next returns the next message; its error says that the process has ended.
	Next(ctx context.Context) (*wire.Message, error)
	// Send passes on a message of the client with that session.
	Send(ctx context.Context, session string, m *wire.Message) error
	// Settle says what need not be heard again after a restart of the server.
	Settle(seq uint64, sessions map[string]uint64)
	Interrupt(ctx context.Context) error
	Restart(ctx context.Context) error
	Shutdown(ctx context.Context, grace time.Duration) error
	Death() *kernel.Death
	Close() error
}

// An ownProcess is a kernel that ends with this process: nobody numbers what it
// says.
type ownProcess struct{ *kernel.Kernel }

func (p ownProcess) Send(ctx context.Context, _ string, m *wire.Message) error {
	return p.SendMessage(ctx, m)
}

func (p ownProcess) Settle(uint64, map[string]uint64) {}

// A starter starts a live's process.
type starter func(context.Context) (process, error)

// A live is a kernel with everybody who is connected to it. It is there before
// its process: what clients send meanwhile waits. It is safe for concurrent use.
type live struct {
	id    string
	spec  kernel.Spec
	cwd   string // on the disk
	spill string // directory for what waits for clients
	log   *slog.Logger
	now   func() time.Time
	made  time.Time

	restart sync.Mutex      // one restart or end at a time
	running sync.WaitGroup  // the goroutines that start the process and read it
	ctx     context.Context //nolint:containedctx // it is the kernel's life
	stop    context.CancelFunc
	started chan struct{} // closed when the start has ended

	mu       sync.Mutex
	changed  *sync.Cond // restarting or closed changed
	k        process    // nil while it starts, and when that failed
	start    starter
	failed   error     // why the first start failed
	early    []sending // what clients sent before there was a process, or while it was started anew
	state    string
	reason   string // why it is dead
	active   time.Time
	busy     bool // a restart is under way
	closed   bool
	clients  map[string]*client
	requests map[string]*request // by msg_id
	order    []string            // of requests, oldest first; may name some that are gone
	heard    uint64              // the last message of the keeper's that was delivered
	settling bool                // the keeper is told soon
}

// A sending is a message on its way to the kernel.
type sending struct {
	session string
	message *wire.Message
}

// A request is a client's message that an answer is due to.
type request struct {
	from    *client
	message *wire.Message // without its buffers
}

// newLive returns a kernel that has no process yet: launch starts it.
func newLive(id string, spec kernel.Spec, cwd, spill string, log *slog.Logger) *live {
	ctx, stop := context.WithCancel(context.Background())
	l := &live{
		id: id, spec: spec, cwd: cwd, spill: spill, log: log, now: time.Now, made: time.Now(), ctx: ctx, stop: stop,
		started: make(chan struct{}), state: stateStarting, active: time.Now(),
		clients: map[string]*client{}, requests: map[string]*request{},
	}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// launch starts the process in the background. ctx ends a start that is under
// way, and nothing else.
func (l *live) launch(ctx context.Context, start starter) {
	l.start = start
	l.running.Go(func() {
		k, err := start(ctx)
		if err != nil {
			l.mu.Lock()
			l.failed, l.early = err, nil
			l.die(err)
			l.mu.Unlock()
			close(l.started)
			return
		}
		if l.begin(k) {
			l.running.Go(l.pump)
		}
		close(l.started)
	})
}

// begin makes k the process, and sends it what clients sent meanwhile. It reports
// false when the kernel was shut down before: then k is ended.
func (l *live) begin(k process) bool {
	for {
		l.mu.Lock()
		early := l.early
		l.early = nil
		closed := l.closed
		if !closed && len(early) == 0 {
			l.k = k
			if l.state == stateStarting || (l.state == stateDead && k.Death() == nil) {
				l.state, l.reason = stateIdle, ""
				l.status(stateIdle, "")
			}
			l.mu.Unlock()
			return true
		}
		l.mu.Unlock()
		if closed {
			l.end(context.Background(), k)
			return false
		}
		l.pass(k, early)
	}
}

// pass sends a process what clients sent before it was there.
func (l *live) pass(k process, early []sending) {
	for _, s := range early {
		if err := k.Send(l.ctx, s.session, s.message); err != nil {
			l.log.LogAttrs(l.ctx, slog.LevelDebug, "a message could not be sent to the kernel", slog.String("err", err.Error()))
		}
	}
}

// process returns the process; the error says why there is none.
func (l *live) process() (process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.k != nil:
		return l.k, nil
	case l.state == stateDead:
		return nil, problem.New(problem.Unavailable, "the kernel did not start: %s", l.reason)
	}
	return nil, problem.New(problem.Conflict, "kernel %s is starting: try again in a moment", l.id)
}

// pump reads the kernel as fast as it speaks, through restarts, until the end.
func (l *live) pump() {
	for {
		m, err := l.k.Next(l.ctx)
		if err == nil {
			l.deliver(m)
			continue
		}
		if l.ctx.Err() != nil || !l.awaitRevival(err) {
			return
		}
	}
}

// awaitRevival is called when the kernel's process has ended and everything
// that it said was delivered. It returns true when there is a new process.
func (l *live) awaitRevival(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && (l.busy || l.k.Death() != nil) {
		if !l.busy && l.state != stateDead {
			l.die(err)
		}
		l.changed.Wait()
	}
	return !l.closed
}

// die notes a death that nobody asked for and tells everybody why: in the cell
// that ran and as a status. The caller holds mu.
func (l *live) die(err error) {
	l.state, l.reason, l.active = stateDead, err.Error(), l.now()
	l.log.LogAttrs(context.Background(), slog.LevelWarn, "kernel died",
		slog.String("kernel_id", l.id), slog.String("err", l.reason))
	l.failRequests(l.reason)
	l.status(stateDead, l.reason)
}

// failRequests answers every execute_request that has no answer: the oldest,
// which ran, with an error that says why, the others as aborted. The caller
// holds mu.
func (l *live) failRequests(why string) {
	for _, id := range l.order {
		r := l.requests[id]
		if r == nil || r.message.Type() != "execute_request" {
			continue
		}
		reply := map[string]any{"status": "aborted", "execution_count": 0}
		if why != "" {
			failure := map[string]any{"ename": "KernelDied", "evalue": why, "traceback": []string{"\x1b[31mKernelDied\x1b[0m: " + why}}
			l.broadcast(l.message(wire.IOPub, "error", failure, r.message))
			reply = failure
			reply["status"], reply["execution_count"] = "error", 0
			why = ""
		}
		l.broadcast(l.message(wire.IOPub, "status", map[string]string{"execution_state": stateIdle}, r.message))
		r.from.push(l.message(wire.Shell, "execute_reply", reply, r.message))
	}
	l.requests, l.order = map[string]*request{}, nil
}

// status publishes a status of our own. The caller holds mu.
func (l *live) status(state, reason string) {
	content := map[string]string{"execution_state": state}
	if reason != "" {
		content["reason"] = reason
	}
	l.broadcast(l.message(wire.IOPub, "status", content, nil))
}

// message makes a message of the server's own.
func (l *live) message(ch wire.Channel, kind string, content any, parent *wire.Message) *wire.Message {
	raw, err := json.Marshal(content)
	if err != nil { // maps of strings always marshal
		raw = []byte("{}")
	}
	m := &wire.Message{
		Channel: ch, Content: raw,
		Header: wire.Header{
			MsgID: uuid.NewString(), Session: l.id, Username: "quire", Date: wire.FormatDate(l.now()),
			MsgType: kind, Version: wire.ProtocolVersion,
		},
	}
	if parent != nil {
		m.SetParent(parent)
	}
	return m
}

// deliver passes one message of the kernel on.
func (l *live) deliver(m *wire.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = l.now()
	if m.Seq > 0 {
		l.heard = m.Seq
		l.settleSoon()
	}
	parent := l.requests[m.ParentHeader.MsgID]
	if m.Channel == wire.IOPub {
		if m.Type() == "status" && (parent == nil || parent.message.Channel != wire.Control) && !l.note(m) {
			return
		}
		l.broadcast(m)
		return
	}
	if parent == nil {
		l.broadcast(m) // clients look at the parent themselves
		return
	}
	if m.Channel != wire.Stdin {
		delete(l.requests, m.ParentHeader.MsgID)
	}
	l.push(parent.from, m)
}

// note keeps the state that a status message of the kernel tells. It reports
// false for the "starting" that a kernel says of itself: it came while we waited
// for the kernel to be ready, and would be late now. The caller holds mu.
func (l *live) note(m *wire.Message) bool {
	var s struct {
		State string `json:"execution_state"`
	}
	if m.Decode(&s) != nil {
		return true
	}
	switch s.State {
	case stateStarting:
		return false
	case stateIdle, stateBusy:
		l.state = s.State
	}
	return true
}

// broadcast gives every client a message. The caller holds mu.
func (l *live) broadcast(m *wire.Message) {
	for _, c := range l.clients {
		l.push(c, m)
	}
}

// push gives one client a message. The caller holds mu.
func (l *live) push(c *client, m *wire.Message) {
	if !c.push(m) {
		delete(l.clients, c.session)
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "a client was given up: too much waits for it",
			slog.String("kernel_id", l.id), slog.Int64("limit_bytes", maxBacklog))
	}
}

// join returns the client with the session id, whose messages are kept from
// now on; nil when the kernel is closed.
func (l *live) join(session string) *client {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.joinLocked(session)
}

// joinLocked is join. The caller holds mu.
func (l *live) joinLocked(session string) *client {
	if l.closed {
		return nil
	}
	c := l.clients[session]
	if c == nil {
		l.forgetAway()
		c = newClient(session, l.spill, l.log)
		c.had, c.told = l.heard, l.confirmed
		l.clients[session] = c
	}
	return c
}

// forgetAway drops the session that has been away longest when there are too
// many. The caller holds mu.
func (l *live) forgetAway() {
	var oldest *client
	var since time.Time
	away := 0
	for _, c := range l.clients {
		connected, left := c.isConnected()
		if connected {
			continue
		}
		if away++; oldest == nil || left.Before(since) {
			oldest, since = c, left
		}
	}
	if away >= maxAway {
		delete(l.clients, oldest.session)
		oldest.end()
	}
}

// send passes a client's message to the kernel.
func (l *live) send(ctx context.Context, from *client, m *wire.Message) {
	l.mu.Lock()
	if m.Channel != wire.Stdin {
		l.remember(from, m)
	}
	dead, k := l.state == stateDead, l.k
	if (k == nil || l.busy) && !dead { // a process that ends or starts loses what it is sent
		if len(l.early) < maxEarly && (k == nil || m.Channel != wire.Stdin) { // who asked has ended
			l.early = append(l.early, sending{from.session, m})
		}
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	err := problem.New(problem.Unavailable, "the kernel is dead")
	if !dead {
		err = k.Send(ctx, from.session, m)
	}
	if err != nil && ctx.Err() == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.state == stateDead {
			l.failRequests(l.reason)
			l.status(stateDead, l.reason)
		}
		l.log.LogAttrs(ctx, slog.LevelDebug, "a message could not be sent to the kernel", slog.String("err", err.Error()))
	}
}

// remember notes who asked, for the answer. The caller holds mu.
func (l *live) remember(from *client, m *wire.Message) {
	for len(l.order) > 0 && (len(l.requests) >= maxRequests || l.requests[l.order[0]] == nil) {
		delete(l.requests, l.order[0])
		l.order = l.order[1:]
	}
	if len(l.order) > 2*maxRequests { // answered ones behind one that is not
		kept := l.order[:0]
		for _, id := range l.order {
			if l.requests[id] != nil {
				kept = append(kept, id)
			}
		}
		l.order = kept
	}
	kept := *m
	kept.Buffers, kept.Content = nil, nil
	l.requests[m.Header.MsgID] = &request{from, &kept}
	l.order = append(l.order, m.Header.MsgID)
}

// A kernelModel is Jupyter's description of a running kernel.
type kernelModel struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	LastActivity time.Time `json:"last_activity"`
	State        string    `json:"execution_state"`
	Connections  int       `json:"connections"`
	Reason       string    `json:"reason,omitempty"`
}

// model describes the kernel as it is now.
func (l *live) model() kernelModel {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := kernelModel{
		ID: l.id, Name: l.spec.Name, State: l.state, Reason: l.reason,
		LastActivity: l.active.UTC().Truncate(time.Microsecond),
	}
	for _, c := range l.clients {
		if connected, _ := c.isConnected(); connected {
			m.Connections++
		}
	}
	return m
}

// again ends the kernel's process and starts a new one under the same id, also
// when the old one is dead. Clients stay connected. Requests without an answer
// are answered as aborted.
func (l *live) again(ctx context.Context) error {
	l.restart.Lock()
	defer l.restart.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return problem.New(problem.NotFound, "kernel %s was shut down", l.id)
	}
	l.busy, l.state, l.reason = true, stateRestarting, ""
	// No status "restarting": for clients it means that the kernel has died.
	l.failRequests("")
	l.mu.Unlock()

	err := l.restartProcess(ctx)

	l.mu.Lock()
	defer l.mu.Unlock()
	for err == nil && len(l.early) > 0 {
		k, early := l.k, l.early
		l.early = nil
		l.mu.Unlock()
		l.pass(k, early)
		l.mu.Lock()
	}
	l.busy, l.active = false, l.now()
	if err != nil {
		l.early = nil
		l.state, l.reason = stateDead, err.Error()
		l.failRequests(l.reason)
		l.status(stateDead, l.reason)
	} else {
		// Whoever did not ask for it learns so that the kernel is another one.
		l.status(stateStarting, "")
		l.state = stateIdle
		l.status(stateIdle, "")
	}
	l.changed.Broadcast()
	return err
}

// restartProcess ends the process and starts a new one; the first one, when that
// did not start.
func (l *live) restartProcess(ctx context.Context) error {
	<-l.started
	l.mu.Lock()
	k := l.k
	l.mu.Unlock()
	if k != nil {
		return k.Restart(ctx)
	}
	k, err := l.start(ctx)
	if err != nil {
		return err
	}
	if !l.begin(k) {
		return problem.New(problem.NotFound, "kernel %s was shut down", l.id)
	}
	l.running.Go(l.pump)
	return nil
}

// close ends the kernel and every connection to it. Twice is fine.
func (l *live) close(ctx context.Context) error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	if closed {
		return nil
	}
	<-l.started
	l.restart.Lock()
	defer l.restart.Unlock()
	l.mu.Lock()
	k := l.k
	l.mu.Unlock()
	var err error
	if k != nil {
		err = k.Shutdown(ctx, 0)
	}
	l.stop()
	if k != nil {
		err = errors.Join(err, k.Close())
	}
	l.running.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.clients {
		c.end()
	}
	return err
}

// end ends a process that came too late.
func (l *live) end(ctx context.Context, k process) {
	if err := errors.Join(k.Shutdown(ctx, 0), k.Close()); err != nil {
		l.log.LogAttrs(ctx, slog.LevelWarn, "kernel did not end well", slog.String("err", err.Error()))
	}
}
