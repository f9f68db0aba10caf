package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// idleLooks is how many times within its limit an idle server is looked at.
const idleLooks = 10

// An idleWatch says when a notebook server has had nothing to do for so long
// that it ends. The fields are set before use; the methods are safe for
// concurrent use.
type idleWatch struct {
	limit  time.Duration    // 0 is never
	busy   func() string    // why it cannot end now, however long nobody came; "" when it can
	active func() time.Time // when a kernel or a terminal did something last

	mu    sync.Mutex
	open  int       // requests and WebSockets under way
	ended time.Time // of the last one
}

// counted makes requests count as somebody being there while they last, all but
// those that only watch.
func (i *idleWatch) counted(next http.Handler, watches func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if watches(r) {
			next.ServeHTTP(w, r)
			return
		}
		i.mu.Lock()
		i.open++
		i.mu.Unlock()
		defer func() {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.open--
			i.ended = time.Now()
		}()
		next.ServeHTTP(w, r)
	})
}

// idle returns for how long there was nothing to do: 0 when somebody is
// connected or something runs.
func (i *idleWatch) idle(now time.Time) time.Duration {
	i.mu.Lock()
	open, last := i.open, i.ended
	i.mu.Unlock()
	if open > 0 || i.busy() != "" {
		return 0
	}
	if at := i.active(); at.After(last) {
		last = at
	}
	return max(0, now.Sub(last))
}

// wait returns true when the server was idle for its limit, and false when ctx
// ends before.
func (i *idleWatch) wait(ctx context.Context) bool {
	if i.limit <= 0 {
		<-ctx.Done()
		return false
	}
	i.mu.Lock()
	i.ended = time.Now()
	i.mu.Unlock()
	tick := time.NewTicker(max(i.limit/idleLooks, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			if i.idle(time.Now()) >= i.limit {
				return true
			}
		}
	}
}
