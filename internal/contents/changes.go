package contents

import "sync"

// A changeHub tells listeners which paths changed.
type changeHub struct {
	mu        sync.Mutex
	listeners map[chan string]struct{}
	closed    bool
}

// Changes returns a channel of paths that were saved, moved or deleted here,
// and what ends it. A listener that does not keep up misses some: it looks for
// itself from time to time.
func (v *Volume) Changes() (<-chan string, func()) {
	h := &v.changes
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := make(chan string, 256)
	if h.closed {
		close(ch)
		return ch, func() {}
	}
	if h.listeners == nil {
		h.listeners = map[chan string]struct{}{}
	}
	h.listeners[ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.listeners[ch]; ok {
			delete(h.listeners, ch)
			close(ch)
		}
	}
}

// changed tells everybody that path is not what it was. The listing that shows
// it is read anew.
func (v *Volume) changed(path string) {
	v.cache.drop(v.diskPath(path))
	h := &v.changes
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.listeners {
		select {
		case ch <- path:
		default:
		}
	}
}

func (h *changeHub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for ch := range h.listeners {
		delete(h.listeners, ch)
		close(ch)
	}
}
