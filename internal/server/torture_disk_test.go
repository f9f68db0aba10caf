package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// insideNamespace says that this test binary was started again where it may
// mount.
const insideNamespace = "QUIRE_TEST_INSIDE_NAMESPACE"

// smallDisk mounts a file system of so many bytes of its own. Who is not root
// may do so in a user namespace: then the test is run once more inside one, and
// done is true with its verdict.
func smallDisk(t *testing.T, size string) (dir string, done bool) {
	t.Helper()
	if testing.Short() {
		t.Log("the quick loop mounts nothing")
		return "", true
	}
	if os.Geteuid() != 0 && os.Getenv(insideNamespace) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), insideNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		t.Logf("in a user namespace:\n%s", out)
		if err != nil {
			t.Errorf("the test needs a file system of its own: %v", err)
		}
		return "", true
	}
	dir = filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("quire-test", dir, "tmpfs", 0, "mode=700,size="+size); err != nil {
		t.Fatalf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_FORCE|2 /* MNT_DETACH */) })
	return dir, false
}

// fill takes all the space there is, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		if _, err := file.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() { _ = os.Remove(name) }
}

// saveText saves a notebook that holds text and returns the answer.
func (v *victim) saveText(name string, n int) (status int, text string) {
	status, _, text = v.ask(v.t.Context(), "PUT", "/user/ann/api/contents/"+name, nil, map[string]any{
		"type": "notebook", "format": "json", "content": json.RawMessage(bodyOf(0, n)),
	}, nil)
	return status, text
}

// mustSubmit queues a run of kind, or says how it was refused.
func (v *victim) mustSubmit(kind, key string) *submission {
	v.t.Helper()
	s := &submission{key: key, kind: kind}
	if v.submit(v.t.Context(), s); s.id == "" {
		v.t.Fatalf("a run of %s was not taken", kind)
	}
	return s
}

// TestDiskFull fills the disk under a server that has work to do: what is asked
// of it fails with words, what was there stays, and with space it goes on by
// itself.
func TestDiskFull(t *testing.T) {
	disk, done := smallDisk(t, "48m")
	if done {
		return
	}
	v := newVictimIn(t, filepath.Join(disk, "data"))
	v.start()
	v.addRunNotebooks()
	for n, name := range []string{"kept.ipynb", "gone.ipynb"} {
		if status, text := v.saveText(name, n); status > 201 {
			t.Fatalf("saving %s: %d %s", name, status, text)
		}
	}
	book := &runBook{all: []*submission{v.mustSubmit("good", "before")}}
	v.settle(book, 3*time.Minute)
	during := v.mustSubmit("slow", "during")
	v.waitFor(during, func(r runRecord) bool { return r.State == "running" })
	free := fill(t, disk)

	was := `"0-0"`
	if v.refusedFull("a save", "PUT", "/user/ann/api/contents/kept.ipynb", map[string]any{
		"type": "notebook", "format": "json", "content": json.RawMessage(bodyOf(1, 99)),
	}) {
		was = `"1-99"`
	}
	v.refusedFull("a run", "POST", "/api/runs", map[string]any{"notebook": "users/ann/good.ipynb"})
	for _, path := range []string{"/user/ann/api/contents/kept.ipynb", "/user/ann/api/contents", "/view/users/ann/kept.ipynb", "/api/runs", "/healthz", "/"} {
		var body []byte
		if status, _, text := v.ask(t.Context(), "GET", path, nil, nil, &body); status != http.StatusOK {
			t.Errorf("reading %s on a full disk: %d %s", path, status, text)
		} else if path == "/user/ann/api/contents/kept.ipynb" && !strings.Contains(string(body), was) {
			t.Errorf("kept.ipynb is not what it was: %s", body)
		}
	}
	// The server gives its reserve up for that, within a second.
	deadline := time.Now().Add(2 * time.Minute)
	for status, text := 0, ""; status != http.StatusNoContent; {
		if status, _, text = v.ask(t.Context(), "DELETE", "/user/ann/api/contents/gone.ipynb", nil, nil, nil); time.Now().After(deadline) {
			t.Fatalf("deleting on a full disk: %d %s", status, text)
		}
	}
	v.refusedFull("a save", "PUT", "/user/ann/api/contents/kept.ipynb", map[string]any{
		"type": "notebook", "format": "json", "content": json.RawMessage(bodyOf(1, 100)),
	})

	free()
	book.all = append(book.all, during)
	deadline = time.Now().Add(2 * time.Minute)
	for status, text := 0, ""; status != http.StatusOK; {
		if status, text = v.saveText("kept.ipynb", 7); status != http.StatusOK && time.Now().After(deadline) {
			t.Fatalf("two minutes after space came back a save is answered with %d %s", status, text)
		}
	}
	book.all = append(book.all, v.mustSubmit("good", "after"))
	v.settle(book, 3*time.Minute)
	for _, s := range book.all {
		t.Logf("the run submitted %s the full disk: %s %s", s.key, s.terminal.State, s.terminal.Reason)
	}
	if s := during.terminal; s.State == "failed" && !strings.Contains(s.Reason, "full") && !strings.Contains(s.Reason, "space") {
		t.Errorf("a run that met a full disk says %q", s.Reason)
	}
	if book.all[2].terminal.State != "succeeded" {
		t.Errorf("the run after: %+v", book.all[2].terminal)
	}
	// A server that is killed with a full disk comes back, and loses nothing.
	free = fill(t, disk)
	v.kill()
	v.start()
	for _, s := range book.all {
		v.see(t.Context(), s)
	}
	free()
}

// refusedFull asks for what needs space, and wants an answer that says so. What is
// under way in the moment in which the server gives its reserve up may find room:
// then it is taken, and what comes next is not.
func (v *victim) refusedFull(what, method, path string, body any) (taken bool) {
	v.t.Helper()
	reserve := filepath.Join(v.data, "reserve")
	_, before := os.Stat(reserve)
	status, _, text := v.ask(v.t.Context(), method, path, nil, body, nil)
	if _, after := os.Stat(reserve); status < 300 && before == nil && after != nil {
		taken = true
		status, _, text = v.ask(v.t.Context(), method, path, nil, body, nil)
	}
	if status != http.StatusServiceUnavailable && status != http.StatusInsufficientStorage || !strings.Contains(text, "full") {
		v.t.Errorf("%s on a full disk is answered with %d %s", what, status, text)
	}
	return taken
}

// waitFor returns when a run is as wanted.
func (v *victim) waitFor(s *submission, want func(runRecord) bool) runRecord {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var r runRecord
		if _, ambiguous := v.call(ctx, "GET", "/api/runs/"+s.id, nil, &r); !ambiguous && want(r) {
			return r
		}
		select {
		case <-ctx.Done():
			v.t.Fatalf("run %s stays %s (%s)", s.id, r.State, r.Reason)
		case <-tick.C:
		}
	}
}
