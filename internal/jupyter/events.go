package jupyter

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"quire/internal/problem"
)

// Schemas of the events that the server itself sends.
const kernelActions = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"

// maxEventQueue is how many events wait for one listener; more are dropped,
// because events are news and not records.
const maxEventQueue = 256

// An eventHub tells its listeners what happens. The zero value is ready.
type eventHub struct {
	mu        sync.Mutex
	listeners map[chan []byte]struct{}
}

// emit sends an event to everybody who listens.
func (h *eventHub) emit(schema, version string, at time.Time, data map[string]any) {
	event := map[string]any{}
	for k, v := range data {
		event[k] = v
	}
	event["schema_id"], event["__schema__"] = schema, schema
	event["__schema_version__"], event["__metadata_version__"] = version, 1
	event["__timestamp__"] = at.UTC().Format(time.RFC3339Nano)
	frame, err := json.Marshal(event)
	if err != nil {
		return // what was decoded from JSON encodes
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.listeners {
		select {
		case ch <- frame:
		default:
		}
	}
}

// kernel emits what was done with a kernel.
func (h *eventHub) kernel(action string, l *live) {
	h.emit(kernelActions, "1", time.Now(), map[string]any{
		"action": action, "kernel_id": l.id, "kernel_name": l.spec.Name,
		"msg": "Kernel action " + action + ".", "status": "success",
	})
}

func (h *eventHub) listen() (<-chan []byte, func()) {
	ch := make(chan []byte, maxEventQueue)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = map[chan []byte]struct{}{}
	}
	h.listeners[ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, ch)
	}
}

// subscribe is the WebSocket that events are sent on.
func (s *Server) subscribe(w http.ResponseWriter, r *http.Request) error {
	conn, err := accept(w, r)
	if err != nil || conn == nil {
		return err
	}
	ctx, cancel := s.untilClosed(r.Context())
	defer cancel()
	events, leave := s.events.listen()
	defer leave()
	ctx = conn.CloseRead(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer func() { _ = conn.CloseNow() }()
	wg.Go(func() {
		defer cancel()
		keepAlive(ctx, conn)
	})
	for {
		select {
		case frame := <-events:
			if writeText(ctx, conn, frame) != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		case <-s.ctx.Done():
			_ = conn.Close(websocket.StatusGoingAway, "the server is stopping")
			return nil
		}
	}
}

// postEvent sends a client's event to everybody who listens.
func (s *Server) postEvent(w http.ResponseWriter, r *http.Request) error {
	var e struct {
		Schema    string          `json:"schema_id"`
		Version   json.RawMessage `json:"version"`
		Data      map[string]any  `json:"data"`
		Timestamp string          `json:"timestamp"`
	}
	if err := readJSON(r, &e); err != nil {
		return err
	}
	if e.Schema == "" || len(e.Schema) > 500 || e.Data == nil || len(e.Version) == 0 {
		return problem.New(problem.Invalid, "an event has a schema_id, a version and data")
	}
	at := time.Now()
	if e.Timestamp != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, e.Timestamp); err != nil {
			return problem.New(problem.Invalid, "timestamp %.40q: want 2026-01-02T03:04:05Z", e.Timestamp)
		}
	}
	var version string
	if json.Unmarshal(e.Version, &version) != nil {
		version = clip(string(e.Version), 20)
	}
	s.events.emit(e.Schema, version, at, e.Data)
	return noContent(w)
}
