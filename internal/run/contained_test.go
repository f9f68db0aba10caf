package run

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/engine"
	"quire/internal/job"
)

// TestHostileSpool: what a container puts into its spool does not make the
// server read anything else, wait, or signal a process.
func TestHostileSpool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.ipynb")
	if err := os.WriteFile(secret, []byte(`{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":[{"cell_type":"markdown","id":"a","metadata":{},"source":"secret"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{outputFile, resultFile, eventsFile, lockFile, "." + outputFile + ".quire-journal"} {
		sp := spool(filepath.Join(dir, "link-"+name))
		if err := os.Mkdir(string(sp), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(secret, sp.path(name)); err != nil {
			t.Fatal(err)
		}
		if got, err := sp.containedOutput("", true); err == nil {
			t.Errorf("%s is a link: read %d cells", name, len(got.Cells))
		}
		if _, ok, err := sp.result(); ok || name == resultFile && err == nil {
			t.Errorf("%s is a link: there is a result", name)
		}
		lock, err := sp.hold()
		if err == nil {
			_ = lock.Close()
		}
		if name == lockFile && err == nil {
			t.Error("the lock is a link, and was taken")
		}
		if sp.alive() {
			t.Errorf("%s is a link: the attempt lives", name)
		}
	}
	sp := spool(filepath.Join(dir, "pipe"))
	if err := os.Mkdir(string(sp), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{outputFile, resultFile} {
		if err := syscall.Mkfifo(sp.path(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sp.containedOutput("", true); err == nil {
		t.Error("a pipe was read as an output")
	}
	if _, ok, err := sp.result(); ok || err == nil {
		t.Error("a pipe was read as a result")
	}
}

// TestContainedOutput: the output says why its run was stopped where that is
// not the notebook's doing, and only when it is final.
func TestContainedOutput(t *testing.T) {
	t.Parallel()
	sp := spool(t.TempDir())
	text := `{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":[{"cell_type":"markdown","id":"a","metadata":{},"source":"x"}]}`
	if err := os.WriteFile(sp.path(outputFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	reason := outOfMemory + ": limit 4 GiB, peak 4 GiB"
	for _, tt := range []struct {
		reason string
		final  bool
		want   int
	}{{reason, true, 2}, {reason, false, 1}, {"exited with code 1", true, 1}} {
		nb, err := sp.containedOutput(tt.reason, tt.final)
		if err != nil || len(nb.Cells) != tt.want {
			t.Fatalf("%+v: %v, %v", tt, nb, err)
		}
		if tt.want == 2 && (!strings.Contains(nb.Cells[0].Source, reason) || nb.Metadata.Object("quire").String("reason") != reason) {
			t.Errorf("the output does not say why: %q", nb.Cells[0].Source)
		}
	}
	if left, _, err := engine.ReadFile(sp.path(outputFile)); err != nil || len(left.Cells) != 1 {
		t.Errorf("the spool's own output was changed: %v", err)
	}
}

// TestFolders: a run sees the workspace of its notebook and the shared folder,
// each once, and may write where its owner may.
func TestFolders(t *testing.T) {
	t.Parallel()
	c := &Containers{Files: t.TempDir()}
	for _, name := range []string{"users/ann", "users/bob", "shared"} {
		if err := os.MkdirAll(filepath.Join(c.Files, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for notebook, want := range map[string]string{
		"users/ann/a.ipynb": "users/ann shared", "users/bob/a.ipynb": "users/bob:ro shared", "shared/a.ipynb": "shared",
		"users/gone/a.ipynb": "shared", "mounts/lake/a.ipynb": "shared",
	} {
		var got []string
		for _, m := range c.folders(auth.User{Name: "ann"}, Run{Owner: "ann", Notebook: notebook}) {
			name := strings.TrimPrefix(m.Source, c.Files+"/")
			if m.ReadOnly {
				name += ":ro"
			}
			got = append(got, name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", notebook, got, want)
		}
	}
}

// TestFoldersOfServiceIdentity: it sees what it may, and no link that a person has
// put there.
func TestFoldersOfServiceIdentity(t *testing.T) {
	t.Parallel()
	c := &Containers{Files: t.TempDir()}
	for _, name := range []string{"users/etl", "users/ann", "shared/etl/out", "shared/pay"} {
		if err := os.MkdirAll(filepath.Join(c.Files, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(c.Files, "shared", "link")); err != nil {
		t.Fatal(err)
	}
	owner := auth.User{Name: "etl", Service: &auth.Service{Run: []string{"templates/t", "shared/link", "shared/etl", "shared/gone", "mounts/lake"}, Write: []string{"shared/etl/out"}}}
	var got []string
	for _, m := range c.folders(owner, Run{Owner: "etl", Notebook: "shared/etl/a.ipynb"}) {
		name := strings.TrimPrefix(m.Source, c.Files+"/")
		if m.ReadOnly {
			name += ":ro"
		}
		got = append(got, name)
	}
	if want := "shared/etl:ro shared/etl/out users/etl"; strings.Join(got, " ") != want {
		t.Errorf("it sees %v, want %s", got, want)
	}
}

func TestWorkspaceOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"users/ann/a.ipynb": "users/ann", "users/ann/x/a.ipynb": "users/ann", "shared/a.ipynb": "shared", "mounts/lake/a.ipynb": "", "a.ipynb": "",
	} {
		if got := workspaceOf(path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// TestFateIsTold: what the driver does not know the engine says, as far as that
// can be.
func TestFateIsTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		engine, memory string
		cpu            time.Duration
	}{
		{`{"usage":{"cpuSeconds":1.5,"peakBytes":3221225472}}`, "out of memory: limit 4 GiB, peak 3 GiB", 1500 * time.Millisecond},
		{`{"usage":{"cpuSeconds":-1,"peakBytes":9223372036854775807}}`, "out of memory: limit 4 GiB, peak not known", 0},
		{`{"usage":{"cpuSeconds":1e300}}`, "out of memory: limit 4 GiB, peak not known", 0},
		{`[]`, "out of memory: limit 4 GiB, peak not known", 0},
		{``, "out of memory: limit 4 GiB, peak not known", 0},
	} {
		f := fate{limit: 4 << 30}
		f.told([]byte(tt.engine))
		if f.memory() != tt.memory || f.usage.CPU != tt.cpu {
			t.Errorf("%s: %s, %v", tt.engine, f.memory(), f.usage.CPU)
		}
	}
	f := fate{limit: 4 << 30, usage: job.Usage{CPU: time.Second, PeakMemoryBytes: 4 << 30}}
	f.told([]byte(`{"usage":{"cpuSeconds":7,"peakBytes":7}}`))
	if f.memory() != "out of memory: limit 4 GiB, peak 4 GiB" || f.usage.CPU != time.Second {
		t.Errorf("what the driver measured was changed: %+v", f.usage)
	}
}
