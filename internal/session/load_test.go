package session

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/session/ydoc"
)

// listeners connects n clients that only listen, and hands each the time at which
// a frame that holds "at=<nanoseconds>;" was made.
func listeners(t testing.TB, b *bundle, info Info, n int) (lags func() []time.Duration) {
	var mu sync.Mutex
	var all []time.Duration
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range n {
		p, err := b.Join(ctx, info.Room(), info.Session)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer p.Leave()
			for {
				frame, err := p.Next(ctx)
				if err != nil {
					return
				}
				_, rest, ok := strings.Cut(string(frame), "at=")
				if !ok {
					continue
				}
				at, _, _ := strings.Cut(rest, ";")
				ns, err := strconv.ParseInt(at, 10, 64)
				if err != nil {
					continue
				}
				lag := time.Since(time.Unix(0, ns))
				mu.Lock()
				all = append(all, lag)
				mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// TestManyListeners sends 20 outputs a second to 200 clients: each gets each.
func TestManyListeners(t *testing.T) {
	b := setup(t)
	b.save(t, sample)
	c := b.connect(t, nil)
	const clients, outputs = 200, 40
	lags := listeners(t, b, c.info, clients)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range outputs {
		<-tick.C
		c.edit(func(cells *ydoc.Array) {
			cells.Map(0).Set("out", fmt.Sprintf("at=%d;", time.Now().UnixNano()))
		})
	}
	waitFor(t, "everybody has all", func() bool { return len(lags()) >= clients*outputs })
	all := lags()
	slices.Sort(all)
	p50, p99 := all[len(all)/2], all[len(all)*99/100]
	t.Logf("%d clients, 20 outputs a second: lag p50 %v, p99 %v", clients, p50, p99)
	if len(all) != clients*outputs {
		t.Errorf("%d messages came, want %d", len(all), clients*outputs)
	}
	if p99 > 15*time.Second { // a disk may stall: the figure is for a quiet machine
		t.Errorf("p99 is %v", p99)
	}
}
