package worker

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestAwaitEndHeedsItsContext: a connection may run out of time a moment before
// the context does by which it was made; who asked waits no longer than that.
func TestAwaitEndHeedsItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	w := newWorker(New(Config{Engine: "DuckDB"}), "ann")
	began := time.Now()
	if err := w.awaitEnd(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > stopLimit/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	close(w.ended)
	if err := w.awaitEnd(t.Context()); err != nil {
		t.Errorf("of one that has ended: %v", err)
	}
}
