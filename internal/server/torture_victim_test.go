package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// rounds is how often the server is killed: QUIRE_TEST_ROUNDS, else 300, and 5
// in the quick loop.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("QUIRE_TEST_ROUNDS")
	if text == "" {
		if testing.Short() {
			return 5
		}
		return 300
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("QUIRE_TEST_ROUNDS=%s: want a number of rounds", text)
	}
	return n
}

// builtIn is the folder of the binary that was built here, "" when none was.
var builtIn string

// binary returns the quire to test: QUIRE_TEST_BINARY, else one built here.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("QUIRE_TEST_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	dir, err := os.MkdirTemp("", "quire-test-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "quire")
	out, err := exec.Command("go", "build", "-o", path, "quire/cmd/quire").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

const harnessToken = "a-token-for-the-harness-only"

// A victim is a server that is killed again and again.
type victim struct {
	t        *testing.T
	path     string
	data     string
	witness  string // file that the kernels of its runs note in what they do
	config   string // file
	env      []string
	wrap     []string // command in front of the server's, such as strace
	cmd      *exec.Cmd
	patience time.Duration // of a request
	faulty   bool          // system calls of its server failed
	url      atomic.Pointer[string]
	acked    atomic.Int64 // saves of its clients that were acknowledged
	log      *os.File
}

// memoryDir makes a folder of the test in memory, where there is a file system
// for that: a kill cannot tell it from a disk, and a sync costs nothing.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "quire-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// newVictim prepares a server whose data are in memory, with more variables.
func newVictim(t *testing.T, env ...string) *victim {
	t.Helper()
	v := newVictimIn(t, "")
	v.env = append(v.env, env...)
	return v
}

// newVictimIn prepares a server whose data are in data ("" is a folder of the
// test), with more lines of configuration.
func newVictimIn(t *testing.T, data string, config ...string) *victim {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	home := memoryDir(t)
	if data == "" {
		data = filepath.Join(home, "data")
	}
	v := &victim{patience: time.Minute, t: t, path: path, data: data, witness: filepath.Join(home, "witness"), config: filepath.Join(home, "quire.yaml")}
	text := strings.Join(append([]string{"user: ann", "permits: 16", "warmRuns: -1"}, config...), "\n") + "\n"
	if err := os.WriteFile(v.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if v.log, err = os.Create(filepath.Join(home, "server.log")); err != nil {
		t.Fatal(err)
	}
	v.env = append(os.Environ(), "QUIRE_TOKEN="+harnessToken, "JUPYTER_PATH="+fakeKernelspec(t, home), "TMPDIR="+home)
	t.Cleanup(func() {
		v.kill()
		v.killAttempts()
		_ = v.log.Close()
		if t.Failed() {
			if text, err := os.ReadFile(v.log.Name()); err == nil {
				t.Logf("the server's log ends with:\n%s", text[max(0, len(text)-4000):])
			}
		}
	})
	return v
}

// fakeKernelspec writes the spec of a kernel "fake", which is this test's own
// binary, and returns the JUPYTER_PATH to find it on.
func fakeKernelspec(t *testing.T, home string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := json.Marshal(map[string]any{
		"argv": []string{exe, "{connection_file}"}, "display_name": "Fake", "language": "fake",
		"env": map[string]string{"QUIRE_KERNELTEST_FAKE": "{}"},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "jupyter", "kernels", "fake")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kernel.json"), spec, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(home, "jupyter")
}

// start returns when the server answers.
func (v *victim) start() {
	v.t.Helper()
	if err := v.launch(); err != nil {
		v.t.Fatal(err)
	}
}

// launch is start for a server that may end before it is ready.
func (v *victim) launch() error {
	argv := append(append([]string{}, v.wrap...), v.path, "serve", "--config", v.config, "--listen", "127.0.0.1:0", "--data", v.data)
	v.cmd = exec.Command(argv[0], argv[1:]...)
	v.cmd.Env = v.env
	v.cmd.Stderr = v.log
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := v.cmd.Start(); err != nil {
		return err
	}
	line := make([]byte, 0, 256)
	one := make([]byte, 1)
	for len(line) == 0 || line[len(line)-1] != '\n' {
		if _, err := out.Read(one); err != nil {
			return fmt.Errorf("the server ended before it was ready: %w", err)
		}
		line = append(line, one[0])
	}
	url, _, _ := strings.Cut(strings.TrimSpace(string(line)), "?")
	url = strings.TrimSuffix(url, "/")
	v.url.Store(&url)
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the server
	return nil
}

func (v *victim) kill() {
	if v.cmd != nil && v.cmd.Process != nil {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
		v.cmd = nil
	}
}

// hurt pauses the server for a while, then kills it, then starts it again. Now
// and then an attempt is paused or killed, or answers with somebody else's
// fence.
func (v *victim) hurt(rng *rand.Rand) {
	time.Sleep(time.Duration(20+rng.IntN(100)) * time.Millisecond)
	var wake func()
	switch rng.IntN(10) {
	case 0, 1, 5:
		_ = v.cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		_ = v.cmd.Process.Signal(syscall.SIGCONT)
	case 2:
		v.killOne(rng, false)
	case 3:
		v.killOne(rng, true)
	case 4:
		wake = v.pauseOne(rng)
	}
	v.kill()
	if rng.IntN(12) == 0 {
		v.killOne(rng, false)
	}
	v.start()
	if wake != nil {
		wake()
	}
}

// call asks the server; ambiguous is true when nobody knows whether it was done.
func (v *victim) call(ctx context.Context, method, path string, body, out any) (status int, ambiguous bool) {
	status, ambiguous, _ = v.ask(ctx, method, path, nil, body, out)
	return status, ambiguous
}

// ask is call with a header, and with the answer's text when it is no success.
func (v *victim) ask(ctx context.Context, method, path string, header http.Header, body, out any) (status int, ambiguous bool, text string) {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			v.t.Error(err)
			return 0, false, ""
		}
		r = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(ctx, v.patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, *v.url.Load()+path, r)
	if err != nil {
		v.t.Error(err)
		return 0, false, ""
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("Authorization", "Bearer "+harnessToken)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, true, err.Error()
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 500 {
		return answer.StatusCode, true, string(data) // a 5xx may have happened
	}
	if answer.StatusCode >= 300 {
		return answer.StatusCode, false, string(data)
	}
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = data
	default:
		if err := json.Unmarshal(data, out); err != nil {
			return answer.StatusCode, true, err.Error()
		}
	}
	return answer.StatusCode, false, ""
}

// spools returns the spools of attempts, for whose process live asks.
func (v *victim) spools(live bool) []string {
	all, _ := filepath.Glob(filepath.Join(v.data, "spool", "*", "*", "state.json"))
	var found []string
	for _, name := range all {
		dir := filepath.Dir(name)
		if _, err := os.Stat(filepath.Join(dir, "result.json")); (err != nil) == live && (!live || v.pidOf(dir) > 0) {
			found = append(found, dir)
		}
	}
	return found
}

// pidOf returns the process of an attempt, 0 when it is gone.
func (v *victim) pidOf(spool string) int {
	var state struct{ PID int }
	data, err := os.ReadFile(filepath.Join(spool, "state.json"))
	if err != nil || json.Unmarshal(data, &state) != nil || state.PID < 2 {
		return 0
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", state.PID))
	if err != nil || !strings.Contains(string(command), spool) {
		return 0 // gone, and its number may be another's by now
	}
	return state.PID
}

// killOne kills the process of an attempt. With forge, a result with a fence
// that is not the attempt's is put into its spool first.
func (v *victim) killOne(rng *rand.Rand, forge bool) {
	live := v.spools(true)
	if len(live) == 0 {
		return
	}
	dir := live[rng.IntN(len(live))]
	if forge {
		data, _ := json.Marshal(map[string]any{"fence": "stale", "state": "succeeded", "reason": "forged", "at": time.Now().UTC()})
		temp := filepath.Join(dir, "forged.tmp")
		if err := os.WriteFile(temp, data, 0o600); err == nil {
			_ = os.Rename(temp, filepath.Join(dir, "result.json"))
		}
	}
	if pid := v.pidOf(dir); pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for deadline := time.Now().Add(time.Second); v.pidOf(dir) == pid && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		v.judgeKilled(dir)
	}
}

// pauseOne stops the process of an attempt and returns what wakes it.
func (v *victim) pauseOne(rng *rand.Rand) func() {
	live := v.spools(true)
	if len(live) == 0 {
		return nil
	}
	dir := live[rng.IntN(len(live))]
	pid := v.pidOf(dir)
	if pid == 0 || syscall.Kill(pid, syscall.SIGSTOP) != nil {
		return nil
	}
	return func() {
		if v.pidOf(dir) == pid {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

func (v *victim) killAttempts() {
	for _, dir := range v.spools(true) {
		if pid := v.pidOf(dir); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
