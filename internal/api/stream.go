package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Streaming returns a context for an answer that would not end by itself: it
// ends with ctx, and when the server stops. The caller calls the function.
func (rt *Router) Streaming(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(rt.streams, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// EndStreams ends the answers that would not end by themselves, those of now
// and those to come.
func (rt *Router) EndStreams() { rt.endStreams() }

// An EventStream sends server-sent events. Its methods may be called from
// several goroutines.
type EventStream struct {
	mu   sync.Mutex
	w    http.ResponseWriter
	rc   *http.ResponseController
	stop chan struct{}
	done sync.WaitGroup
}

// NewEventStream begins an answer that is a stream of events, with a comment
// now and then while nothing else is sent. The caller closes it.
func NewEventStream(w http.ResponseWriter) *EventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	s := &EventStream{w: w, rc: http.NewResponseController(w), stop: make(chan struct{})}
	_ = s.rc.SetWriteDeadline(time.Time{})
	_ = s.rc.Flush()
	s.done.Go(s.ping)
	return s
}

func (s *EventStream) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			_ = s.write([]byte(": still here\n\n"))
		}
	}
}

// Send sends one event. id and name may be empty.
func (s *EventStream) Send(id, name string, data []byte) error {
	var b bytes.Buffer
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	if name != "" {
		fmt.Fprintf(&b, "event: %s\n", name)
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return s.write(b.Bytes())
}

func (s *EventStream) write(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A client that reads nothing for this long is gone.
	_ = s.rc.SetWriteDeadline(time.Now().Add(2 * pingEvery))
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}

// Close ends the pings and waits for them. The answer ends with its handler.
func (s *EventStream) Close() {
	close(s.stop)
	s.done.Wait()
}
