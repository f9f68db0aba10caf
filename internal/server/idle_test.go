package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestIdleServerEnds takes an hour of a clock of its own: who is connected and
// what runs keep a server, and an hour after both it ends, not before.
func TestIdleServerEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var busy atomic.Value // string
		busy.Store("")
		var active atomic.Value // time.Time
		active.Store(begin)
		watch := &idleWatch{
			limit: time.Hour, busy: func() string { return busy.Load().(string) }, active: func() time.Time { return active.Load().(time.Time) },
		}
		ended := make(chan time.Time, 1)
		go func() {
			if watch.wait(t.Context()) {
				ended <- time.Now()
			}
		}()
		leave := make(chan struct{})
		handler := watch.counted(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-leave }),
			func(r *http.Request) bool { return r.URL.Path == "/watch" })
		ask := func(path string) {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", path, http.NoBody))
		}
		go ask("/socket") // a browser is there
		go ask("/watch")  // the platform is too, which does not count
		still := func(why string) {
			t.Helper()
			synctest.Wait()
			select {
			case at := <-ended:
				t.Fatalf("it ended after %v, although %s", at.Sub(begin), why)
			default:
			}
		}
		time.Sleep(3 * time.Hour)
		still("a browser is connected")
		close(leave)
		synctest.Wait()
		left := time.Now()
		busy.Store("kernel x is busy")
		time.Sleep(3 * time.Hour)
		still("a kernel is busy")
		done := time.Now()
		active.Store(done)
		busy.Store("")
		time.Sleep(59 * time.Minute)
		still("a kernel was busy 59 minutes ago")
		if at := <-ended; at.Sub(done) > time.Hour+time.Hour/idleLooks {
			t.Errorf("it ended %v after its last activity and %v after its last client: want an hour", at.Sub(done), at.Sub(left))
		}
	})
}

func TestServerWithoutLimitStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		watch := &idleWatch{busy: func() string { return "" }, active: time.Now}
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
		defer cancel()
		if watch.wait(ctx) {
			t.Error("it ended")
		}
	})
}
