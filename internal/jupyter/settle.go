package jupyter

import (
	"strings"
	"time"

	"quire/internal/kernel/keeper"
	"quire/internal/kernel/wire"
)

// settleAfter is how long the keeper of a kernel waits at most to be told what
// need not be heard again.
const settleAfter = 100 * time.Millisecond

// documentSession begins the session of a live document, which is one more
// client of a kernel; its name follows.
const documentSessions = "document:"

// settleSoon tells the keeper in a moment what is settled. The caller holds mu.
func (l *live) settleSoon() {
	if l.settling || l.closed {
		return
	}
	l.settling = true
	time.AfterFunc(settleAfter, l.settle)
}

// confirmed notes that a client has some more.
func (l *live) confirmed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settleSoon()
}

// settle tells the keeper what need not be heard again: of a live document, what
// is in its log; of other clients each what it is known to have. A client that
// takes nothing does not hold up the others.
func (l *live) settle() {
	l.mu.Lock()
	l.settling = false
	seq, sessions := l.heard, make(map[string]uint64, len(l.clients))
	for name, c := range l.clients {
		had := c.position(l.heard)
		sessions[name] = had
		if strings.HasPrefix(name, documentSessions) {
			seq = min(seq, had)
		}
	}
	k, closed := l.k, l.closed
	l.mu.Unlock()
	if k != nil && !closed {
		k.Settle(seq, sessions)
	}
}

// restore makes the kernel what it was at another server's end: its clients, each
// with what it has, and the requests that have no answer. It returns the last
// message that nobody needs to hear again. It is called before launch.
func (l *live) restore(f *keeper.Found) uint64 {
	l.made, l.active, l.state = f.Started, f.Active, f.State
	if f.State == stateDead {
		l.reason = "the kernel died while the server was away"
	}
	after := f.Settled
	for session, had := range f.Sessions {
		c := l.join(session)
		c.had, c.last = had, had
		after = min(after, had)
	}
	l.heard = after
	for _, p := range f.Pending {
		m, err := wire.ParseParts(p.Channel, [][]byte{p.Header, []byte("{}"), []byte("{}"), []byte("{}")})
		if err != nil {
			continue // it was a message when it was sent
		}
		l.mu.Lock()
		if c := l.clients[p.Session]; c != nil {
			l.remember(c, m)
		}
		l.mu.Unlock()
	}
	return after
}
