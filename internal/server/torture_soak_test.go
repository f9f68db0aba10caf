//go:build torture

package server_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// usage is what a server holds.
type usage struct{ goroutines, descriptors, memory int }

func (v *victim) usage() usage {
	v.t.Helper()
	var text []byte
	if status, _, words := v.ask(v.t.Context(), "GET", "/metrics", nil, nil, &text); status != 200 {
		v.t.Fatalf("/metrics: %d %s", status, words)
	}
	var u usage
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case name == "go_goroutines":
			u.goroutines = int(n)
		case name == "go_memstats_heap_inuse_bytes":
			u.memory = int(n)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.cmd.Process.Pid))
	if err != nil {
		v.t.Fatal(err)
	}
	u.descriptors = len(fds)
	return u
}

// TestSoak lets a server work and asks whether it gives back what it took.
func TestSoak(t *testing.T) {
	v := newVictimIn(t, "")
	v.start()
	v.addRunNotebooks()
	work := func(runs int) {
		book := &runBook{}
		var all []*history
		for i := range 3 {
			all = append(all, &history{path: fmt.Sprintf("soak%d.ipynb", i), acked: map[string]int64{}})
		}
		ctx, stop := context.WithCancel(t.Context())
		begin := time.Now()
		var clients sync.WaitGroup
		for id := range 2 {
			n := 0
			clients.Go(func() {
				v.client(ctx, id, func() *history { n++; return all[n%3] }, func() int64 { return int64(time.Since(begin)) })
			})
			clients.Go(func() { v.runner(ctx, id, book) })
		}
		for deadline := time.Now().Add(5 * time.Minute); len(v.ended()) < runs && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
		}
		stop()
		clients.Wait()
		v.settle(book, time.Minute)
	}
	work(20)
	v.waitIdle()
	base := v.usage()
	work(rounds(t))
	v.waitIdle()
	var now usage
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		now = v.usage()
		if now.goroutines <= base.goroutines+5 && now.descriptors <= base.descriptors+5 && now.memory <= base.memory+(32<<20) {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("a minute after %d runs the server holds %+v, before them %+v", rounds(t), now, base)
			break
		}
	}
	if n := v.processes(); n > 0 {
		t.Errorf("%d processes of attempts are left", n)
	}
	t.Logf("before %d runs %+v, after %+v", rounds(t), base, now)
}

// ended are the spools with a result.
func (v *victim) ended() []string {
	names, _ := filepath.Glob(filepath.Join(v.data, "spool", "*", "*", "result.json"))
	return names
}

// waitIdle returns when no attempt lives.
func (v *victim) waitIdle() {
	v.t.Helper()
	for deadline := time.Now().Add(time.Minute); v.processes() > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			v.t.Fatal("attempts live a minute after their runs ended")
		}
	}
}

// processes counts the processes whose command names this server's data.
func (v *victim) processes() int {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	n := 0
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			continue
		}
		text, _ := bufio.NewReader(file).ReadString('\n')
		_ = file.Close()
		if strings.Contains(text, filepath.Join(v.data, "spool")) {
			n++
		}
	}
	return n
}
