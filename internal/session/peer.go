package session

import (
	"context"
	"sync"

	"quire/internal/problem"
	"quire/internal/session/ydoc"
)

// Limits of one connection.
const (
	// MaxFrame is the largest frame that a client may send, in bytes.
	MaxFrame = 64 << 20
	// maxQueued is how many bytes may wait for a client, and maxFrames how many
	// frames; one frame may always wait.
	maxQueued = 16 << 20
	maxFrames = 16384
)

// A Refusal is why a connection is not made, or ends: a WebSocket's close code
// and its reason, as Jupyter's clients know them.
type Refusal struct {
	Code   int
	Reason string
	Err    error
}

// Error says why.
func (r *Refusal) Error() string {
	if r.Err != nil {
		return r.Err.Error()
	}
	return r.Reason
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// The codes of refusals.
const (
	codeUnsupported = 1003 // the client's history is not ours, or no room could be made
	codeInvalid     = 1007 // what it sent cannot be read
	codeGoingAway   = 1001
	codeSlow        = 1013 // too much waits for it: it may come back at once
	codeNotFound    = 4404
	codeBadRequest  = 4400
	codeInternal    = 4500
)

// A Peer is one connected client of a room. Receive and Next may be used by one
// goroutine each; the room pushes what is for the client, and never waits.
type Peer struct {
	room    *Room
	clients map[uint64]bool // whose presence it sent; the room's

	mu     sync.Mutex
	frames [][]byte
	bytes  int
	end    error
	wake   chan struct{}
}

func newPeer(r *Room) *Peer {
	return &Peer{room: r, clients: map[uint64]bool{}, wake: make(chan struct{}, 1)}
}

// push gives the client a frame, which nobody changes any more. A client for
// which too much waits is given up: when it comes back it gets what it missed.
func (p *Peer) push(frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end != nil {
		return
	}
	if len(p.frames) > 0 && (p.bytes+len(frame) > maxQueued || len(p.frames) >= maxFrames) {
		p.frames, p.bytes = nil, 0
		p.end = &Refusal{Code: codeSlow, Reason: "too much waits for this client: it is to connect again"}
	} else {
		p.frames = append(p.frames, frame)
		p.bytes += len(frame)
	}
	p.signal()
}

// finish ends the connection with err, after what waits.
func (p *Peer) finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == nil {
		p.end = err
		p.signal()
	}
}

func (p *Peer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Next returns the next frame for the client, waiting for it. Its error is why
// the connection is to end, a *Refusal if the client is to be told.
func (p *Peer) Next(ctx context.Context) ([]byte, error) {
	for {
		p.mu.Lock()
		if len(p.frames) > 0 {
			frame := p.frames[0]
			p.frames[0] = nil
			p.frames = p.frames[1:]
			p.bytes -= len(frame)
			p.mu.Unlock()
			return frame, nil
		}
		end := p.end
		p.mu.Unlock()
		if end != nil {
			return nil, end
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Receive takes in a frame of the client; frame is the room's afterwards. An
// error ends the connection.
func (p *Peer) Receive(ctx context.Context, frame []byte) error {
	m, err := ydoc.ReadMessage(frame)
	if err != nil {
		return &Refusal{Code: codeInvalid, Reason: "a message cannot be read", Err: err}
	}
	return p.room.post(ctx, func() { p.room.handle(p, m) })
}

// Leave ends the connection. Twice is fine.
func (p *Peer) Leave() {
	p.finish(problem.New(problem.Canceled, "the client left"))
	p.room.postAlways(func() { p.room.left(p) })
}
