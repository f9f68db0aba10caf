package contents

import "sync"

// A moveHub tells listeners which paths were renamed.
type moveHub struct {
	mu        sync.Mutex
	listeners map[*func(from, to string)]struct{}
}

// Moves calls do after each rename of a file or directory, in the goroutine that
// renamed it, until what it returns is called. do must not wait for long, and must
// not use the volume.
func (v *Volume) Moves(do func(from, to string)) (end func()) {
	h := &v.moves
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = map[*func(from, to string)]struct{}{}
	}
	h.listeners[&do] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, &do)
	}
}

func (h *moveHub) tell(from, to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for do := range h.listeners {
		(*do)(from, to)
	}
}
