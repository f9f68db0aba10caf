package frame

import (
	"encoding/json"
	"io"
	"net"
	"sync"
	"time"
)

// A Server answers orders, one on a connection, until it has been idle for long
// enough.
type Server struct {
	Listener net.Listener
	// Answer answers the order of one connection. It returns soon when the
	// connection ends.
	Answer func(conn net.Conn)
	Idle   time.Duration // 0 is for ever

	mu    sync.Mutex
	open  map[net.Conn]bool
	timer *time.Timer
	done  sync.WaitGroup
}

// Serve answers until it was idle for long enough, or stopped.
func (s *Server) Serve() error {
	s.mu.Lock()
	s.open = map[net.Conn]bool{}
	if s.Idle > 0 {
		s.timer = time.AfterFunc(s.Idle, s.Stop)
	}
	s.mu.Unlock()
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			s.done.Wait()
			return nil //nolint:nilerr // it was closed: stop
		}
		s.begin(conn)
		s.done.Go(func() {
			defer s.end(conn)
			s.Answer(conn)
		})
	}
}

func (s *Server) begin(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.open[conn] = true
}

func (s *Server) end(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
	if len(s.open) == 0 && s.timer != nil {
		s.timer.Reset(s.Idle)
	}
}

// Stop ends the listening and every connection, which cancels its order.
func (s *Server) Stop() {
	_ = s.Listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		_ = conn.Close()
	}
}

// interruptEvery is how soon an order that goes on is interrupted again.
const interruptEvery = 10 * time.Millisecond

// Interrupt waits for a cancel, or for the end of the connection, and interrupts
// the order until it is over: an engine that is interrupted in the moment before
// it begins goes on. It returns when the connection ends, and not before over.
func Interrupt(r *Reader, over <-chan struct{}, interrupt func()) {
	_, _, _ = r.Read() // either way nobody waits for the order
	tick := time.NewTicker(interruptEvery)
	defer tick.Stop()
	for {
		interrupt()
		select {
		case <-over:
			return
		case <-tick.C:
		}
	}
}

// tellEvery is how often it is told how far an order is.
const tellEvery = 100 * time.Millisecond

// A Sender sends frames, each whole: progress is told while rows are sent.
type Sender struct {
	mu sync.Mutex
	w  io.Writer
}

// NewSender returns a Sender that sends to w.
func NewSender(w io.Writer) *Sender { return &Sender{w: w} }

// Send sends one.
func (l *Sender) Send(kind Kind, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Write(l.w, kind, payload)
}

// SendJSON sends one that holds v.
func (l *Sender) SendJSON(kind Kind, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.Send(kind, data)
}

// Tell sends how far an order is, now and then, until the function that it returns
// is called; report is called in a goroutine of its own.
func (l *Sender) Tell(report func() Report) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				_ = l.SendJSON(Status, report())
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

// Write sends bytes of an Arrow stream.
func (l *Sender) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), MaxFrame)
		if err := l.Send(Arrow, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// Arriving reads what the gateway sends to be loaded.
type Arriving struct {
	r      *Reader
	rest   []byte
	ended  bool
	cancel func()
}

// NewArriving reads from r. cancel is called when the other side breaks off.
func NewArriving(r *Reader, cancel func()) *Arriving { return &Arriving{r: r, cancel: cancel} }

// Read implements io.Reader.
func (a *Arriving) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.ended {
			return 0, io.EOF
		}
		kind, payload, err := a.r.Read()
		if err != nil {
			a.cancel()
			return 0, io.ErrUnexpectedEOF
		}
		switch kind {
		case Arrow:
			a.rest = payload
		case End:
			a.ended = true
		default:
			a.cancel()
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}
