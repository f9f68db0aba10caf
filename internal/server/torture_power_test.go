//go:build torture

package server_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Loss of power: a kill cannot show a missing sync, since what a process wrote
// stays in the system's memory. Here the data lie on ext4 in loop-mounted
// images; the server is frozen, the images are copied as the disk has them, and
// a second server starts on the copy. What was acknowledged before the freeze
// must be there.

// A part of the data is on a disk of its own, so that a sync of one does not
// make the others durable by chance.
var diskParts = []string{"", "files", "objects"}

const (
	imageBytes = 96 << 20
	diskFlags  = "loop,noauto_da_alloc,commit=600"
)

// A rig is the disks of a server.
type rig struct {
	t      *testing.T
	images string // folder
	at     string // mount point of the first
}

func newRig(t *testing.T, name string) *rig {
	t.Helper()
	home := memoryDir(t)
	r := &rig{t: t, images: filepath.Join(home, name), at: filepath.Join(home, name+"-data")}
	if err := os.MkdirAll(r.images, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(r.at, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.unmount)
	return r
}

func (r *rig) image(i int) string { return filepath.Join(r.images, fmt.Sprintf("disk%d", i)) }

func (r *rig) format() {
	r.t.Helper()
	for i := range diskParts {
		if err := os.WriteFile(r.image(i), nil, 0o600); err != nil {
			r.t.Fatal(err)
		}
		if err := os.Truncate(r.image(i), imageBytes); err != nil {
			r.t.Fatal(err)
		}
		r.command("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", r.image(i))
	}
}

func (r *rig) mount() {
	r.t.Helper()
	for i, part := range diskParts {
		dir := filepath.Join(r.at, part)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			r.t.Fatal(err)
		}
		r.command("mount", "-o", diskFlags, r.image(i), dir)
		if err := os.Chmod(dir, 0o700); err != nil {
			r.t.Fatal(err)
		}
	}
	// The folders of the parts themselves are of the machine, not of the test.
	syscall.Sync()
}

func (r *rig) unmount() {
	for i := len(diskParts) - 1; i >= 0; i-- {
		_ = exec.Command("umount", "-l", filepath.Join(r.at, diskParts[i])).Run()
	}
}

func (r *rig) command(name string, args ...string) {
	r.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("%s %v: %v %s", name, args, err, out)
	}
}

// copyTo copies the images as the disks have them at one moment. The system
// writes on its own even while the server is frozen, and a copy that is half
// from before and half from after is no state that a disk ever had: a copy
// counts only when the images are still the same after it.
func (r *rig) copyTo(other *rig) {
	r.t.Helper()
	for range 20 {
		for i := range diskParts {
			if err := copySparse(r.image(i), other.image(i)); err != nil {
				r.t.Fatal(err)
			}
		}
		if r.same(other) {
			return
		}
	}
	r.t.Fatal("the disks did not come to rest while the server was frozen")
}

// same compares the images with those of another rig.
func (r *rig) same(other *rig) bool {
	r.t.Helper()
	for i := range diskParts {
		a, errA := os.ReadFile(r.image(i))
		b, errB := os.ReadFile(other.image(i))
		if err := firstOf(errA, errB); err != nil {
			r.t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			return false
		}
	}
	return true
}

func copySparse(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	// A new file each time: while anybody holds the mount of an earlier copy, such
	// as a container that was started meanwhile, mount would find that file on its
	// loop device and show the earlier copy again.
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return firstOf(err, out.Close())
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// What is acknowledged when the power goes.
type promised struct {
	saves map[string]map[string]bool // file -> bodies
	last  map[string]string          // file -> the newest acknowledged body, when nobody else wrote it
	runs  map[string]string          // run -> "" or the state that it was seen to have ended in
	kept  map[string]bool            // runs that were seen published
}

// A promiser is a client's record, safe for concurrent use.
type promiser struct {
	mu sync.Mutex
	promised
}

func (p *promiser) snapshot() promised {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := promised{saves: map[string]map[string]bool{}, last: maps.Clone(p.last), runs: maps.Clone(p.runs), kept: maps.Clone(p.kept)}
	for f, bodies := range p.saves {
		s.saves[f] = maps.Clone(bodies)
	}
	return s
}

// saver saves files of its own, a few times each.
func (v *victim) saver(ctx context.Context, id int, p *promiser) {
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("p%d-%d.ipynb", id, n/4)
		body := bodyOf(id, n)
		p.mu.Lock()
		delete(p.last, name) // while it is under way either body may be there
		p.mu.Unlock()
		status, ambiguous := v.call(ctx, "PUT", "/user/ann/api/contents/"+name, map[string]any{
			"type": "notebook", "format": "json", "content": json.RawMessage(body),
		}, nil)
		if ambiguous || status > 201 {
			if ctx.Err() == nil {
				v.t.Errorf("a save is answered with %d", status)
			}
			continue
		}
		p.mu.Lock()
		if p.saves[name] == nil {
			p.saves[name] = map[string]bool{}
		}
		p.saves[name][hashOf(body)] = true
		p.last[name] = hashOf(body)
		p.mu.Unlock()
		select { // a person thinks now and then, and the power goes just then
		case <-ctx.Done():
		case <-time.After(time.Duration(id) * 15 * time.Millisecond):
		}
	}
}

// asker submits runs and looks at them.
func (v *victim) asker(ctx context.Context, p *promiser) {
	for n := 0; ctx.Err() == nil; n++ {
		s := &submission{key: fmt.Sprintf("power%d", n), kind: "good"}
		if v.submit(ctx, s); s.id == "" {
			continue
		}
		p.mu.Lock()
		p.runs[s.id] = ""
		p.mu.Unlock()
		for range 40 {
			var r runRecord
			status, ambiguous := v.call(ctx, "GET", "/api/runs/"+s.id, nil, &r)
			if !ambiguous && status == http.StatusOK && r.ended() {
				p.mu.Lock()
				p.runs[s.id] = r.State
				p.kept[s.id] = r.Published
				p.mu.Unlock()
				if r.Published {
					break
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(15 * time.Millisecond):
			}
		}
	}
}

func TestPowerLoss(t *testing.T) {
	source, copied := newRig(t, "source"), newRig(t, "copied")
	source.format()
	source.mount()
	v := newVictimIn(t, source.at)
	v.patience = time.Minute // nothing but the machine keeps it waiting
	v.start()
	v.addRunNotebooks()
	syscall.Sync()
	p := &promiser{promised: promised{
		saves: map[string]map[string]bool{}, last: map[string]string{}, runs: map[string]string{}, kept: map[string]bool{},
	}}
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	clients.Go(func() { v.saver(ctx, 1, p) })
	clients.Go(func() { v.saver(ctx, 3, p) })
	clients.Go(func() { v.asker(ctx, p) })
	defer func() { stop(); v.resume(); clients.Wait() }()
	n, saves, runs := rounds(t), 0, 0
	for round := range n {
		time.Sleep(time.Duration(150+37*round%200) * time.Millisecond)
		v.freeze()
		before := p.snapshot()
		source.copyTo(copied)
		v.resume()
		saves, runs = v.afterPowerLoss(copied, before)
		if t.Failed() {
			t.Fatalf("lost in round %d of %d", round+1, n)
		}
	}
	t.Logf("%d rounds, %d acknowledged saves and %d runs in the last copy, none lost", n, saves, runs)
}

// freeze stops the server and its attempts.
func (v *victim) freeze() {
	_ = v.cmd.Process.Signal(syscall.SIGSTOP)
	// A thread that syncs stops when that is done.
	for deadline := time.Now().Add(10 * time.Second); !stopped(v.cmd.Process.Pid) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	for _, dir := range v.spools(true) {
		if pid := v.pidOf(dir); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
	}
}

// stopped reports whether every thread of a process is.
func stopped(pid int) bool {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if _, state, ok := strings.Cut(string(data), ") "); err == nil && ok && !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

func (v *victim) resume() {
	for _, dir := range v.spools(true) {
		if pid := v.pidOf(dir); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	if v.cmd != nil {
		_ = v.cmd.Process.Signal(syscall.SIGCONT)
	}
}

// afterPowerLoss starts a server on the copied disks and asks for everything
// that was promised.
func (v *victim) afterPowerLoss(disks *rig, before promised) (saves, runs int) {
	v.t.Helper()
	disks.mount()
	defer disks.unmount()
	if err := integrity(filepath.Join(disks.at, "quire.db")); err != nil {
		v.t.Errorf("the records after a loss of power: %v", err)
		return 0, 0
	}
	w := &victim{
		t: v.t, path: v.path, data: disks.at, witness: v.witness, config: v.config, env: v.env, log: v.log, patience: v.patience,
	}
	defer func() {
		w.kill()
		w.killAttempts()
	}()
	w.start()
	for name, bodies := range before.saves {
		kept, head := w.versions(name)
		if want, ok := before.last[name]; ok && head != want {
			v.t.Errorf("%s: after the loss of power its newest version is another", name)
		}
		for body := range bodies {
			saves++
			if _, ok := kept[body]; !ok {
				v.t.Errorf("%s: a save that was acknowledged before the loss of power is lost", name)
			}
		}
		w.judgeBodies(&history{path: name, acked: ackedOf(bodies, kept)}, kept)
		if data, err := os.ReadFile(filepath.Join(disks.at, "files/users/ann", name)); err != nil || hashOf(data) != head {
			v.t.Errorf("%s: after the loss of power the file has %d bytes and is not its newest version: %v", name, len(data), err)
		}
	}
	for id, state := range before.runs {
		runs++
		w.judgePromisedRun(id, state, before.kept[id])
	}
	return saves, runs
}

func ackedOf(bodies map[string]bool, kept map[string]int64) map[string]int64 {
	acked := map[string]int64{}
	for body := range bodies {
		acked[body] = kept[body]
	}
	return acked
}

func (v *victim) judgePromisedRun(id, state string, published bool) {
	v.t.Helper()
	var r runRecord
	if status, _, text := v.ask(v.t.Context(), "GET", "/api/runs/"+id, nil, nil, &r); status != http.StatusOK {
		v.t.Errorf("run %s was acknowledged before the loss of power: %d %s", id, status, text)
		return
	}
	if state != "" && r.State != state {
		v.t.Errorf("run %s had ended as %s before the loss of power; now it is %s", id, state, r.State)
	}
	if published && !r.Published {
		v.t.Errorf("run %s was published before the loss of power", id)
	}
	var source []byte
	if status, _, text := v.ask(v.t.Context(), "GET", "/api/runs/"+id+"/source", nil, nil, &source); status != http.StatusOK || len(source) == 0 {
		v.t.Errorf("the source of run %s after the loss of power: %d %s", id, status, text)
	}
	var output []byte
	if state != "succeeded" {
		return
	}
	status, _, text := v.ask(v.t.Context(), "GET", "/api/runs/"+id+"/output", nil, nil, &output)
	if want := fmt.Sprintf("cell %d of %s", cellsOf-1, id); status != http.StatusOK || !strings.Contains(strings.ReplaceAll(string(output), `\n`, ""), want) && !strings.Contains(string(output), "cell 2 of ") {
		v.t.Errorf("run %s had succeeded before the loss of power; its output: %d %s", id, status, text)
	}
}

// integrity asks SQLite whether its file is whole.
func integrity(file string) error {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	defer db.Close()
	var answer string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return fmt.Errorf("integrity_check says %s", answer)
	}
	var tables int
	if err := db.QueryRow("SELECT COUNT(*) FROM sqlite_master WHERE name IN ('runs', 'versions', 'documents')").Scan(&tables); err != nil || tables != 3 {
		return fmt.Errorf("%d of 3 tables are there: %w", tables, err)
	}
	return nil
}
