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
)

// The states of a kernel, in Jupyter's words.
const (
	stateStarting   = "starting"
	stateIdle       = "idle"
	stateBusy       = "busy"
	stateRestarting = "restarting"
	stateDead       = "dead"
)

// A live is a kernel with everybody who is connected to it. It is safe for
// concurrent use.
type live struct {
	k     *kernel.Kernel
	cwd   string // on the disk
	spill string // directory for what waits for clients
	log   *slog.Logger
	now   func() time.Time

	restart sync.Mutex     // one restart or end at a time
	pumping sync.WaitGroup // the goroutine that reads the kernel
	stop    context.CancelFunc

	mu       sync.Mutex
	changed  *sync.Cond // restarting or closed changed
	state    string
	reason   string // why it is dead
	active   time.Time
	busy     bool // a restart is under way
	closed   bool
	clients  map[string]*client
	requests map[string]*request // by msg_id
	order    []string            // of requests, oldest first; may name some that are gone
}

// A request is a client's message that an answer is due to.
type request struct {
	from    *client
	message *wire.Message // without its buffers
}

// newLive begins to read k, which it owns from now on.
func newLive(k *kernel.Kernel, cwd, spill string, log *slog.Logger) *live {
	ctx, stop := context.WithCancel(context.Background())
	l := &live{
		k: k, cwd: cwd, spill: spill, log: log, now: time.Now, stop: stop, state: stateIdle, active: time.Now(),
		clients: map[string]*client{}, requests: map[string]*request{},
	}
	l.changed = sync.NewCond(&l.mu)
	l.pumping.Go(func() { l.pump(ctx) })
	return l
}

// pump reads the kernel as fast as it speaks, through restarts, until the end.
func (l *live) pump(ctx context.Context) {
	for {
		m, err := l.k.Next(ctx)
		if err == nil {
			l.deliver(m)
			continue
		}
		if ctx.Err() != nil || !l.awaitRevival(err) {
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
		slog.String("kernel_id", l.k.ID()), slog.String("err", l.reason))
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
			MsgID: uuid.NewString(), Session: l.k.ID(), Username: "quire", Date: wire.FormatDate(l.now()),
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
			slog.String("kernel_id", l.k.ID()), slog.Int64("limit_bytes", maxBacklog))
	}
}

// join returns the client with the session id, whose messages are kept from
// now on; nil when the kernel is closed.
func (l *live) join(session string) *client {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	c := l.clients[session]
	if c == nil {
		l.forgetAway()
		c = newClient(session, l.spill, l.log)
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
	dead := l.state == stateDead
	l.mu.Unlock()
	err := problem.New(problem.Unavailable, "the kernel is dead")
	if !dead {
		err = l.k.SendMessage(ctx, m)
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
		ID: l.k.ID(), Name: l.k.Spec().Name, State: l.state, Reason: l.reason,
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
		return problem.New(problem.NotFound, "kernel %s was shut down", l.k.ID())
	}
	l.busy, l.state, l.reason = true, stateRestarting, ""
	// No status "restarting": for clients it means that the kernel has died.
	l.failRequests("")
	l.mu.Unlock()

	err := l.k.Restart(ctx)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy, l.active = false, l.now()
	if err != nil {
		l.state, l.reason = stateDead, err.Error()
		l.status(stateDead, l.reason)
	} else {
		l.state = stateIdle
		l.status(stateIdle, "")
	}
	l.changed.Broadcast()
	return err
}

// close ends the kernel and every connection to it. Twice is fine.
func (l *live) close(ctx context.Context) error {
	l.restart.Lock()
	defer l.restart.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	err := l.k.Shutdown(ctx, 0)
	l.stop()
	err = errors.Join(err, l.k.Close())
	l.pumping.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.clients {
		c.end()
	}
	return err
}
