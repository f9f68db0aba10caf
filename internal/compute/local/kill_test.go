//go:build linux

package local_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/compute/local"
)

// launchCommand makes the test's program a server that launches the containers
// it is told, all at once, and tells of each.
const launchCommand = "launch"

func launchAll(args []string) int {
	d, err := local.Open(local.Config{Dir: args[0]})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var specs []compute.Spec
	if err := json.NewDecoder(os.Stdin).Decode(&specs); err != nil {
		fmt.Println(err)
		return 1
	}
	var wg sync.WaitGroup
	for _, spec := range specs {
		wg.Go(func() {
			if _, err := d.Create(context.Background(), spec); err != nil {
				fmt.Println(err)
			}
			if err := d.Start(context.Background(), spec.ID); err != nil {
				fmt.Println(err)
			}
			fmt.Println("started", spec.ID)
		})
	}
	wg.Wait()
	return 0
}

// TestServerKilled: a server is killed while it launches 200 containers.
// Another one launches them again: each runs exactly once, and all states are
// right.
func TestServerKilled(t *testing.T) {
	needRoot(t)
	in := setup(t)
	const n = 200
	specs := make([]compute.Spec, n)
	for i := range n {
		specs[i] = in.spec(compute.Resources{MemoryBytes: 32 * compute.MiB}, "sh", "-c", fmt.Sprintf("echo %d >>/workspace/ran; sleep 0.2; exit %d", i, i%7))
	}
	data, err := json.Marshal(specs)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, launchCommand, in.dir)
	server.Stdin = strings.NewReader(string(data))
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	started := 0
	for lines := bufio.NewScanner(out); started < n/4 && lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "started ") {
			t.Error(lines.Text())
		}
		started++
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	server.Wait() //nolint:errcheck // it was killed

	before, err := in.List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	states := make(map[compute.State]int)
	for _, s := range before {
		states[s.State]++
	}
	began := time.Now()
	var wg sync.WaitGroup
	for i, spec := range specs {
		wg.Go(func() {
			_, errCreate := in.Create(t.Context(), spec)
			errStart := in.Start(t.Context(), spec.ID)
			exit, err := in.Wait(t.Context(), spec.ID)
			if errCreate != nil || errStart != nil || err != nil || exit.Code != i%7 || exit.Cause != compute.CauseExited {
				t.Errorf("%d: %v, %v, %+v, %v", i, errCreate, errStart, exit, err)
			}
		})
	}
	wg.Wait()
	ran, err := os.ReadFile(filepath.Join(in.work, "ran"))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for line := range strings.Lines(string(ran)) {
		seen[strings.TrimSpace(line)]++
	}
	for i := range n {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("container %d ran %d times", i, seen[fmt.Sprint(i)])
		}
	}
	t.Logf("killed after %d were started, with %v; the rest ended %v later", started, states, time.Since(began))
}

// TestIdleCost: what the server holds for an idle container.
func TestIdleCost(t *testing.T) {
	needRoot(t)
	in := setup(t)
	const n = 50
	resident := func() (kb, threads int) {
		data, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			fmt.Sscanf(line, "RssAnon: %d kB", &kb)   //nolint:errcheck // most lines are others
			fmt.Sscanf(line, "Threads: %d", &threads) //nolint:errcheck // the same
		}
		return kb, threads
	}
	launch := func() {
		spec := in.spec(compute.Resources{MemoryBytes: 32 * compute.MiB}, "sleep", "600")
		if _, err := in.Create(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if err := in.Start(t.Context(), spec.ID); err != nil {
			t.Fatal(err)
		}
		go in.Wait(t.Context(), spec.ID) //nolint:errcheck // the cleanup ends it
	}
	for range 5 {
		launch()
	}
	before, threadsBefore := resident()
	for range n {
		launch()
	}
	after, threads := resident()
	t.Logf("%d idle containers: %d kB each in the server, %d threads more", n, (after-before)/n, threads-threadsBefore)
	if (after-before)/n > 200 || threads-threadsBefore > n/5 {
		t.Errorf("%d kB for each, %d threads", (after-before)/n, threads-threadsBefore)
	}
}
