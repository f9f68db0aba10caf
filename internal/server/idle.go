package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// idleLooks is how many times within its limit an idle server is looked at.
const idleLooks = 10

// maxWarning is how long before its end an idle server warns at most.
const maxWarning = 5 * time.Minute

// An idleWatch says when a notebook server has had nothing to do for so long
// that it ends. The fields are set before use; the methods are safe for
// concurrent use.
type idleWatch struct {
	limit  time.Duration    // 0 is never
	busy   func() string    // why it cannot end now, however long nobody came; "" when it can
	active func() time.Time // when a kernel or a terminal did something last

	mu      sync.Mutex
	open    int       // requests and WebSockets under way
	ended   time.Time // of the last one
	kept    time.Time // it goes on until then at least
	near    bool      // whether who follows was told that the end is near
	changed chan struct{}
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

// An activity is whether a notebook server is in use, and when it ends when it
// is not.
type activity struct {
	Busy      string    `json:"busy,omitempty"`        // what runs; "" is nothing
	Connected int       `json:"connected"`             // requests and WebSockets under way
	IdleSince time.Time `json:"idleSince,omitzero"`    // zero while it is in use
	StopsAt   time.Time `json:"stopsAt,omitzero"`      // when it ends if nobody comes; zero while it is in use, or never
	Kept      time.Time `json:"keptUntil,omitzero"`    // until when it was asked to go on
	Warning   bool      `json:"warning,omitempty"`     // that StopsAt is near
	Limit     int64     `json:"limitSeconds,omitzero"` // how long it may be idle; 0 is for ever
}

// state says whether the server is in use.
func (i *idleWatch) state(now time.Time) activity {
	idle := i.idle(now)
	i.mu.Lock()
	defer i.mu.Unlock()
	a := activity{Busy: i.busy(), Connected: i.open, Kept: i.kept, Limit: int64(i.limit / time.Second)}
	if now.After(a.Kept) {
		a.Kept = time.Time{}
	}
	if idle <= 0 {
		return a
	}
	a.IdleSince = now.Add(-idle)
	if i.limit <= 0 {
		return a
	}
	a.StopsAt = a.IdleSince.Add(i.limit)
	if i.kept.After(a.StopsAt) {
		a.StopsAt = i.kept
	}
	a.Warning = a.StopsAt.Sub(now) <= min(i.limit/5, maxWarning)
	return a
}

// extend keeps the server for at least so long from now.
func (i *idleWatch) extend(now time.Time, d time.Duration) {
	i.mu.Lock()
	if until := now.Add(d); until.After(i.kept) {
		i.kept = until
	}
	i.mu.Unlock()
	i.warn(i.state(now).Warning)
}

// warn notes whether the end is near, and tells who follows when that changes.
func (i *idleWatch) warn(near bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.near == near {
		return
	}
	i.near = near
	if i.changed != nil {
		close(i.changed)
	}
	i.changed = make(chan struct{})
}

// changes returns a channel that is closed when the end comes near, or is put
// off.
func (i *idleWatch) changes() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.changed == nil {
		i.changed = make(chan struct{})
	}
	return i.changed
}

// wait returns true when the server was idle for its limit, and false when ctx
// ends before. A warning comes first.
func (i *idleWatch) wait(ctx context.Context) bool {
	if i.limit <= 0 {
		<-ctx.Done()
		return false
	}
	i.mu.Lock()
	i.ended = time.Now()
	i.mu.Unlock()
	tick := time.NewTicker(max(min(i.limit/idleLooks, maxWarning/idleLooks), time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			now := time.Now()
			st := i.state(now)
			if !st.StopsAt.IsZero() && !now.Before(st.StopsAt) {
				return true
			}
			i.warn(st.Warning)
		}
	}
}
