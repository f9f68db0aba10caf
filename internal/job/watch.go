package job

import (
	"sync"

	"quire/internal/problem"
)

// A Change is one thing that happened: a job or a task as it is now.
type Change struct {
	User string // whose job it is
	Job  *Job
	Task *Task
	// Moved says that the task came from another job.
	Moved bool
}

// watchRoom is how many changes a watcher may lag behind before it is cut off.
const watchRoom = 8192

// A Watch receives changes until it is closed. What Changes misses because the
// watcher is too slow ends the watch: Err says so.
type Watch struct {
	Changes <-chan Change
	changes chan Change
	hub     *hub
	lost    bool
}

// Close ends the watch. Twice is no error.
func (w *Watch) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.drop(w)
}

// Err returns why Changes was closed, other than by Close.
func (w *Watch) Err() error {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if w.lost {
		return problem.New(problem.Unavailable, "the watcher is more than %d changes behind: watch again", watchRoom)
	}
	return nil
}

// A hub hands changes to whoever watches. It never waits for a watcher.
type hub struct {
	mu       sync.Mutex
	watchers map[*Watch]bool
	closed   bool
}

func (h *hub) watch() *Watch {
	changes := make(chan Change, watchRoom)
	w := &Watch{Changes: changes, changes: changes, hub: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(changes)
		return w
	}
	if h.watchers == nil {
		h.watchers = map[*Watch]bool{}
	}
	h.watchers[w] = true
	return w
}

func (h *hub) tell(c Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		select {
		case w.changes <- c:
		default:
			w.lost = true
			h.drop(w)
		}
	}
}

// drop ends a watch; h.mu is held.
func (h *hub) drop(w *Watch) {
	if h.watchers[w] {
		delete(h.watchers, w)
		close(w.changes)
	}
}

// close ends every watch, for good.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		h.drop(w)
	}
}
