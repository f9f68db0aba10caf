package engine

import (
	"context"
	"sync"
	"time"

	"quire/internal/kernel"
)

// The reasons for which the engine itself ends a cell.
const (
	causeTimeout   = "timeout"
	causeInterrupt = "interrupted"
)

// A stopper ends what runs when its time is over or somebody asks: it
// interrupts the kernel, gives it a moment, and kills it. Kernels do not heed an
// interrupt that comes before they have begun with a cell: it waits for that, for
// half of the moment.
type stopper struct {
	ctx   context.Context // of the run; kernel start and the first store hang on it
	grace time.Duration
	off   func() bool

	mu      sync.Mutex
	k       *kernel.Kernel
	running bool
	begun   bool // the kernel says that it executes the cell
	waits   bool // an interrupt, for that
	cause   string
	killed  bool
	limit   *time.Timer
	last    *time.Timer
	late    *time.Timer
}

func newStopper(ctx context.Context, r *run) *stopper {
	s := &stopper{ctx: ctx, grace: r.req.InterruptGrace}
	if s.grace == 0 {
		s.grace = DefaultInterruptGrace
	}
	s.off = context.AfterFunc(ctx, func() { s.end(causeInterrupt) })
	return s
}

func (s *stopper) setKernel(k *kernel.Kernel) {
	s.mu.Lock()
	s.k = k
	s.mu.Unlock()
}

// begin says that a cell starts; a limit of zero is none.
func (s *stopper) begin(limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.begun, s.waits, s.cause, s.killed = true, false, false, "", false
	if limit > 0 {
		s.limit = time.AfterFunc(limit, func() { s.end(causeTimeout) })
	}
	if s.ctx.Err() != nil {
		go s.end(causeInterrupt)
	}
}

// finish says that the cell has ended, and returns why the engine ended it, ""
// when it did not.
func (s *stopper) finish() (cause string, killed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	for _, t := range []*time.Timer{s.limit, s.last, s.late} {
		if t != nil {
			t.Stop()
		}
	}
	s.limit, s.last, s.late = nil, nil, nil
	return s.cause, s.killed
}

// end interrupts the kernel when a cell runs on it.
func (s *stopper) end(cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running || s.k == nil || s.cause != "" {
		return
	}
	s.cause, s.waits = cause, true
	k := s.k
	s.last = time.AfterFunc(s.grace, func() { s.kill(k) })
	if s.begun {
		go s.interrupt()
		return
	}
	s.late = time.AfterFunc(s.grace/2, s.interrupt)
}

// executes says that the kernel has begun with the cell.
func (s *stopper) executes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
	if s.waits {
		go s.interrupt()
	}
}

// interrupt sends the interrupt that waits, if the cell still runs.
func (s *stopper) interrupt() {
	s.mu.Lock()
	k, send := s.k, s.running && s.waits
	s.waits = false
	s.mu.Unlock()
	if !send {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.grace)
	defer cancel()
	_ = k.Interrupt(ctx) // a kernel that cannot be interrupted is killed
}

func (s *stopper) kill(k *kernel.Kernel) {
	s.mu.Lock()
	still := s.running
	s.killed = s.killed || still
	s.mu.Unlock()
	if still {
		_ = k.Kill()
	}
}

// close ends the watch.
func (s *stopper) close() {
	s.off()
	s.finish()
}
