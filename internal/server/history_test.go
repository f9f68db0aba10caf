package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/anishathalye/porcupine"
)

// The harness starts the real binary on a real database, lets clients save and
// read while it is paused and killed, and asks a checker afterwards whether
// what they saw is what one machine that never fails could have shown them.

// rounds is how often the server is killed: QUIRE_TEST_ROUNDS, else 10.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("QUIRE_TEST_ROUNDS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("QUIRE_TEST_ROUNDS=%s: want a number of rounds", text)
	}
	return n
}

// binary returns the quire to test: QUIRE_TEST_BINARY, else one built here.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("QUIRE_TEST_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	dir, err := os.MkdirTemp("", "quire-test-")
	if err != nil {
		return "", err
	}
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
	t    *testing.T
	path string
	data string
	env  []string
	cmd  *exec.Cmd
	url  atomic.Pointer[string]
	log  *os.File
}

func newVictim(t *testing.T, env ...string) *victim {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, path: path, data: filepath.Join(t.TempDir(), "data"), env: env}
	if v.log, err = os.Create(filepath.Join(t.TempDir(), "server.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		v.kill()
		_ = v.log.Close()
		if t.Failed() {
			if text, err := os.ReadFile(v.log.Name()); err == nil {
				t.Logf("the server's log ends with:\n%s", text[max(0, len(text)-4000):])
			}
		}
	})
	return v
}

// start returns when the server answers.
func (v *victim) start() {
	v.t.Helper()
	v.cmd = exec.Command(v.path, "up", "--listen", "127.0.0.1:0", "--data", v.data, "--user", "ann")
	v.cmd.Env = append(append(os.Environ(), "QUIRE_TOKEN="+harnessToken), v.env...)
	v.cmd.Stderr = v.log
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	line := make([]byte, 0, 256)
	one := make([]byte, 1)
	for len(line) == 0 || line[len(line)-1] != '\n' {
		if _, err := out.Read(one); err != nil {
			v.t.Fatalf("the server ended before it was ready: %v", err)
		}
		line = append(line, one[0])
	}
	url, _, _ := strings.Cut(string(line), "?")
	url = strings.TrimSuffix(url, "/")
	v.url.Store(&url)
	go func() { _, _ = io.Copy(io.Discard, out) }()
}

func (v *victim) kill() {
	if v.cmd != nil && v.cmd.Process != nil {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
		v.cmd = nil
	}
}

// hurt pauses the server for a while, then kills it, then starts it again.
func (v *victim) hurt(rng *rand.Rand) {
	time.Sleep(time.Duration(20+rng.IntN(100)) * time.Millisecond)
	if rng.IntN(2) == 0 {
		_ = v.cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		_ = v.cmd.Process.Signal(syscall.SIGCONT)
	}
	v.kill()
	v.start()
}

// call asks the server; ambiguous is true when nobody knows whether it was done.
func (v *victim) call(ctx context.Context, method, path string, body, out any) (status int, ambiguous bool) {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			v.t.Error(err)
			return 0, false
		}
		r = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, *v.url.Load()+path, r)
	if err != nil {
		v.t.Error(err)
		return 0, false
	}
	req.Header.Set("Authorization", "Bearer "+harnessToken)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, true
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 500 {
		return answer.StatusCode, true // a 5xx may have happened
	}
	if out != nil && answer.StatusCode < 300 {
		if err := json.Unmarshal(data, out); err != nil {
			return answer.StatusCode, true
		}
	}
	return answer.StatusCode, false
}

// saveOp is one operation on one file, for the checker.
type saveInput struct {
	read bool
	base int64
	body string // hash
}

type saveOutput struct {
	ok, conflict, unknown bool
	head                  int64 // of a read, or made by a save
}

// saveModel is a compare-and-set register per file: the number of its newest
// version.
var saveModel = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		head, in, out := state.(int64), input.(saveInput), output.(saveOutput)
		switch {
		case in.read:
			return out.head == head, head
		case out.conflict:
			return in.base != head, head
		case out.ok:
			return in.base == head && out.head > head, out.head
		}
		return true, head // it never happened
	},
	Equal: func(a, b any) bool { return a == b },
}

// A history is what the clients saw of one file.
type history struct {
	mu    sync.Mutex
	path  string
	ops   []porcupine.Operation
	acked map[string]int64 // hash of an acknowledged body -> its version
}

func (h *history) add(op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
	if out := op.Output.(saveOutput); out.ok {
		h.acked[op.Input.(saveInput).body] = out.head
	}
}

type savedModel struct {
	Version int64 `json:"version"`
}

// client saves and reads files until stop.
func (v *victim) client(ctx context.Context, id int, files func() *history, clock func() int64) {
	rng := rand.New(rand.NewPCG(uint64(id), 7))
	heads := map[string]int64{}
	for n := 0; ctx.Err() == nil; n++ {
		h := files()
		api := "/user/ann/api/contents/" + h.path
		call := clock()
		if rng.IntN(3) == 0 {
			var m savedModel
			status, ambiguous := v.call(ctx, "GET", api+"?content=0", nil, &m)
			if !ambiguous && (status == 200 || status == 404) {
				heads[h.path] = m.Version
				h.add(porcupine.Operation{ClientId: id, Input: saveInput{read: true}, Output: saveOutput{head: m.Version}, Call: call, Return: clock()})
			}
			continue
		}
		body := bodyOf(id, n)
		in := saveInput{base: heads[h.path], body: hashOf(body)}
		var m savedModel
		status, ambiguous := v.call(ctx, "PUT", api, map[string]any{
			"type": "notebook", "format": "json", "content": json.RawMessage(body), "base": in.base,
		}, &m)
		out := saveOutput{ok: status < 300, conflict: status == 409, unknown: ambiguous, head: m.Version}
		if ambiguous {
			out.ok = false
		} else if !out.ok && !out.conflict {
			v.t.Errorf("a save was answered with %d", status)
		}
		ret := clock()
		if out.ok {
			// The answer describes the file a moment after the save; the save's own
			// number is found by its body in the end.
			heads[h.path] = m.Version
		}
		h.add(porcupine.Operation{ClientId: id, Input: in, Output: out, Call: call, Return: ret})
	}
}

// bodyOf is a notebook that no other save has, as it is on the disk.
func bodyOf(client, n int) []byte {
	return fmt.Appendf(nil, "{\n \"cells\": [\n  {\n   \"cell_type\": \"markdown\",\n   \"id\": \"a\",\n   \"metadata\": {},\n   \"source\": [\n    \"%d-%d\"\n   ]\n  }\n ],\n \"metadata\": {},\n \"nbformat\": 4,\n \"nbformat_minor\": 5\n}\n", client, n)
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func TestSavesSurviveKills(t *testing.T) {
	v := newVictim(t)
	v.start()
	begin := time.Now()
	clock := func() int64 { return int64(time.Since(begin)) }
	// New files every few rounds: what stays open in a history makes checking
	// grow without bound.
	var all []*history
	var current atomic.Pointer[[3]*history]
	renew := func() {
		var three [3]*history
		for i := range three {
			three[i] = &history{path: fmt.Sprintf("f%d.ipynb", len(all)), acked: map[string]int64{}}
			all = append(all, three[i])
		}
		current.Store(&three)
	}
	renew()
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for id := range 6 {
		clients.Go(func() {
			n := 0
			v.client(ctx, id, func() *history { n++; return current.Load()[n%3] }, clock)
		})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range rounds(t) {
		v.hurt(rng)
		renew()
	}
	stop()
	clients.Wait()
	saves := 0
	for _, h := range all {
		saves += v.judge(h)
	}
	t.Logf("%d rounds, %d acknowledged saves", rounds(t), saves)
	if saves < rounds(t) {
		t.Errorf("only %d saves were acknowledged: the harness tests nothing", saves)
	}
}

// judge asks whether what was seen of a file is right, and returns how many
// saves of it were acknowledged.
func (v *victim) judge(h *history) int {
	v.t.Helper()
	kept, head := v.versions(h.path)
	for i := range h.ops {
		in, out := h.ops[i].Input.(saveInput), h.ops[i].Output.(saveOutput)
		if in.read || out.conflict {
			continue
		}
		number, there := kept[in.body]
		switch {
		case out.ok && !there:
			v.t.Errorf("%s: an acknowledged save is lost", h.path)
		case out.ok:
			out.head = number
		case there:
			out.ok, out.unknown, out.head = true, false, number
		}
		h.ops[i].Output = out
	}
	result, _ := porcupine.CheckOperationsVerbose(saveModel, h.ops, 20*time.Second)
	if result != porcupine.Ok {
		v.t.Errorf("%s: what the clients saw of %d operations is %s", h.path, len(h.ops), result)
	}
	if head != "" {
		data, err := os.ReadFile(filepath.Join(v.data, "files/users/ann", h.path))
		if err != nil || hashOf(data) != head {
			v.t.Errorf("%s: the file is not its newest version (%d bytes, %v)", h.path, len(data), err)
		}
	}
	return len(h.acked)
}

// versions returns the number of each kept body that became a newest version,
// and the hash of the newest.
func (v *victim) versions(path string) (map[string]int64, string) {
	v.t.Helper()
	kept, head, cursor := map[string]int64{}, "", ""
	for {
		var page struct {
			Versions []struct {
				Number int64
				Hash   string
				Cause  string
			}
			Next string
		}
		status, ambiguous := v.call(context.Background(), "GET", "/api/versions/users/ann/"+path+"?cursor="+cursor, nil, &page)
		if status == 404 {
			return kept, ""
		}
		if ambiguous || status != 200 {
			v.t.Fatalf("listing the versions of %s: %d", path, status)
		}
		for _, one := range page.Versions {
			if one.Cause == "refused" {
				continue
			}
			if head == "" {
				head = one.Hash
			}
			kept[one.Hash] = one.Number
		}
		if cursor = page.Next; cursor == "" {
			return kept, head
		}
	}
}

// TestCheckerSeesALostUpdate shows that the checker can say no.
func TestCheckerSeesALostUpdate(t *testing.T) {
	t.Parallel()
	lost := []porcupine.Operation{
		{ClientId: 0, Input: saveInput{base: 0}, Output: saveOutput{ok: true, head: 1}, Call: 0, Return: 1},
		{ClientId: 1, Input: saveInput{base: 1}, Output: saveOutput{ok: true, head: 2}, Call: 2, Return: 5},
		{ClientId: 2, Input: saveInput{base: 1}, Output: saveOutput{ok: true, head: 3}, Call: 3, Return: 6},
	}
	if result, _ := porcupine.CheckOperationsVerbose(saveModel, lost, time.Second); result == porcupine.Ok {
		t.Error("two saves on one version were taken for right")
	}
	stale := []porcupine.Operation{
		{ClientId: 0, Input: saveInput{base: 0}, Output: saveOutput{ok: true, head: 1}, Call: 0, Return: 1},
		{ClientId: 1, Input: saveInput{read: true}, Output: saveOutput{head: 0}, Call: 2, Return: 3},
	}
	if result, _ := porcupine.CheckOperationsVerbose(saveModel, stale, time.Second); result == porcupine.Ok {
		t.Error("a read of what was before an acknowledged save was taken for right")
	}
}
