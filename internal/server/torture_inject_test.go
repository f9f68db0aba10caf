//go:build torture

package server_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// faultyCalls are the system calls that strace makes fail, and how.
var faultyCalls = []struct{ calls, errno string }{
	{"fsync,fdatasync", "EIO"},
	{"fsync,fdatasync", "ENOSPC"},
	{"pwrite64", "EIO"},
	{"pwrite64", "ENOSPC"},
	{"write", "ENOSPC"},
	{"rename,renameat,renameat2", "EIO"},
	{"link,linkat", "EIO"},
}

// TestInjectedErrors makes the Nth call of each kind fail in the server's
// threads, for many N, and asks afterwards whether what was acknowledged is
// there. That the server ends, or does not start, is no fault; that it answers
// "done" for what is not done is one.
func TestInjectedErrors(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is not installed: apt-get install strace")
	}
	for _, f := range faultyCalls {
		for _, n := range injectAt(f.calls) {
			name := fmt.Sprintf("%s of the %dth %s", f.errno, n, f.calls)
			t.Run(name, func(t *testing.T) { inject(t, f.calls, f.errno, n) })
			if t.Failed() {
				return
			}
		}
	}
}

// injectAt are the calls that fail. The first writes of a thread are many.
func injectAt(calls string) []int {
	if calls == "write" {
		return []int{5, 20, 60}
	}
	if calls == "pwrite64" {
		return []int{1, 8, 13, 21, 34, 55}
	}
	return []int{1, 2, 3, 5, 8, 13}
}

func inject(t *testing.T, calls, errno string, n int) {
	t.Helper()
	v := newVictimIn(t, "")
	v.start()
	v.addRunNotebooks()
	v.kill()
	// -D makes the server the child and strace the one beside it.
	v.wrap = []string{
		"strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + calls,
		"-e", fmt.Sprintf("inject=%s:error=%s:when=%d+40", calls, errno, n),
	}
	var under *underErrors
	if err := v.launch(); err != nil {
		t.Log("the server did not start, and said so")
	} else {
		under = v.workUnderErrors()
	}
	v.kill()
	v.wrap = nil
	v.start()
	if under != nil {
		v.verdict(under)
	}
}

// underErrors is what the clients saw while system calls failed.
type underErrors struct {
	book      runBook
	histories []*history
}

// workUnderErrors lets clients save and run for a moment.
func (v *victim) workUnderErrors() *underErrors {
	under := &underErrors{}
	v.faulty = true
	begin := time.Now()
	clock := func() int64 { return int64(time.Since(begin)) }
	ctx, stop := context.WithTimeout(v.t.Context(), 700*time.Millisecond)
	defer stop()
	for i := range 4 {
		under.histories = append(under.histories, &history{path: fmt.Sprintf("e%d.ipynb", i), acked: map[string]int64{}})
	}
	var clients sync.WaitGroup
	for id := range 2 {
		clients.Go(func() {
			n := 0
			v.client(ctx, id, func() *history { n++; return under.histories[n/4%4] }, clock)
		})
	}
	clients.Go(func() { v.runner(ctx, 1, &under.book) })
	clients.Wait()
	return under
}

// verdict judges what was seen, on a server that works.
func (v *victim) verdict(under *underErrors) {
	v.t.Helper()
	v.settle(&under.book, time.Minute)
	saves := 0
	for _, h := range under.histories {
		saves += v.judge(h)
	}
	for _, s := range under.book.all {
		v.judgeKey(s)
	}
	v.t.Logf("%d saves acknowledged, %d submissions", saves, len(under.book.all))
	if err := integrity(filepath.Join(v.data, "quire.db")); err != nil {
		v.t.Error(err)
	}
	if log, err := exec.Command("grep", "-c", "panic:", v.log.Name()).Output(); err == nil {
		v.t.Errorf("%s panics in the server's log", bytes.TrimSpace(log))
	}
}
