//go:build linux

package local_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/compute/local"
	"quire/internal/compute/program"
)

// buildShim builds cmd/quire-shim as tools/build.sh does.
func buildShim(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "quire-shim")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "quire/cmd/quire-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestProgram: a container with the small program beside it, which is nowhere on
// the disk and which nobody can change.
func TestProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("this builds a program: make test runs it")
	}
	t.Parallel()
	data := buildShim(t)
	sealed, err := program.Seal(data)
	if err != nil {
		t.Fatal(err)
	}
	defer sealed.Close()
	unchanged := func() {
		t.Helper()
		now := make([]byte, len(data)+1)
		if n, _ := sealed.ReadAt(now, 0); !bytes.Equal(now[:n], data) {
			t.Error("the program is not what it was")
		}
	}
	if again, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(sealed.Fd())), os.O_RDWR, 0); err == nil { // root may open it
		if _, err := again.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
			t.Errorf("writing to the program: %v", err)
		}
		again.Close()
	}
	unchanged()

	in := &inside{dir: t.TempDir(), work: t.TempDir()}
	in.Driver, err = local.Open(local.Config{Dir: in.dir, Program: sealed})
	if err != nil {
		t.Fatal(err)
	}
	in.clean(t)
	// What its process is, what it holds, and row 47 of the attack list.
	if err := os.WriteFile(filepath.Join(in.work, "script"), []byte("#!/proc/self/exe container-init\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	spec := in.spec(compute.Resources{}, "sh", "-c", `ls -l /proc/self/fd; /workspace/script & pid=$!
for p in $pid 1 self; do (: >>/proc/$p/exe) && echo opened $p; done; wait; echo ready; read x </workspace/pipe`)
	pipe := filepath.Join(in.work, "pipe")
	if err := unix.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	goOn, err := os.OpenFile(pipe, os.O_RDWR, 0) // keeps what is written until it is read
	if err != nil {
		t.Fatal(err)
	}
	defer goOn.Close()
	if _, err := in.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	var shim struct{ PID int }
	if record, err := os.ReadFile(filepath.Join(in.dir, spec.ID, "proc.json")); err != nil || json.Unmarshal(record, &shim) != nil {
		t.Fatalf("%s: %v", record, err)
	}
	if exe, err := os.Readlink("/proc/" + strconv.Itoa(shim.PID) + "/exe"); os.Geteuid() == 0 && !strings.Contains(exe, "memfd:quire-shim") {
		t.Errorf("beside the container runs %q, %v", exe, err)
	}
	if _, err := goOn.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	exit, err := in.Wait(t.Context(), spec.ID)
	text, _ := os.ReadFile(filepath.Join(in.dir, spec.ID, "log"))
	log := string(text)
	if err != nil || strings.Contains(log, "opened") || strings.Contains(log, "memfd") || !strings.Contains(log, "ready") {
		t.Errorf("%+v %v %q", exit, err, log)
	}
	// Landlock holds nothing of what is in memory: it is executed, with the
	// container's rights and without orders, and ends.
	if exit, log := in.run(t, in.spec(compute.Resources{}, "/workspace/script")); exit.Code == 0 || log != "" {
		t.Errorf("executing the shim's program: %+v %q", exit, log)
	}
	unchanged()

	built, err := program.Shim()
	if err != nil {
		t.Fatal(err)
	}
	if built == nil {
		return // this quire starts itself
	}
	had := make([]byte, len(data)+1)
	if n, _ := built.ReadAt(had, 0); !bytes.Equal(had[:n], data) {
		t.Error("the program that was built in is of another source: make build")
	}
}
