package server_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/storage/storagetest"
)

// A gate passes connections on to a server, or none.
type gate struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	shut     bool
	open     map[net.Conn]bool
	done     sync.WaitGroup
}

func newGate(t *testing.T, endpoint string) *gate {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{to: u.Host, open: map[net.Conn]bool{}}
	if g.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	g.done.Go(g.accept)
	t.Cleanup(func() {
		_ = g.listener.Close()
		g.set(true)
		g.done.Wait()
	})
	return g
}

func (g *gate) accept() {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", g.to)
		if err != nil || !g.keep(in, out) {
			_ = in.Close()
			continue
		}
		g.done.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
		g.done.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
	}
}

func (g *gate) keep(in, out net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		_ = out.Close()
		return false
	}
	g.open[in], g.open[out] = true, true
	return true
}

// set shuts the gate, which cuts what goes through it, or opens it.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if shut {
		for c := range g.open {
			_ = c.Close()
		}
		clear(g.open)
	}
}

// outage is how long the object store is away: QUIRE_TEST_OUTAGE, else 8 s.
func outage(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("QUIRE_TEST_OUTAGE")
	if text == "" {
		return 8 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestObjectStoreDown takes a real object store away from a server that has
// work to do: requests fail in words, what runs goes on, nothing is lost, and
// all that waited is done when the store is back.
func TestObjectStoreDown(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	if server == nil {
		return
	}
	g := newGate(t, server.Endpoint)
	v := newVictimIn(t, "", "objects: s3://"+server.NewBucket(t)+"/quire")
	v.env = append(v.env, "AWS_ACCESS_KEY_ID="+server.AccessKey, "AWS_SECRET_ACCESS_KEY="+server.SecretKey,
		"AWS_ENDPOINT_URL_S3=http://"+g.listener.Addr().String(), "AWS_REGION=us-east-1")
	v.patience = 2 * time.Minute
	v.start()
	v.addRunNotebooks()
	if status, text := v.saveText("kept.ipynb", 0); status > 201 {
		t.Fatalf("saving: %d %s", status, text)
	}
	running := v.mustSubmit("slow", "running")
	v.waitFor(running, func(r runRecord) bool { return r.State == "running" })

	away := time.Now()
	g.set(true)
	v.refusedAway("a save", "PUT", "/user/ann/api/contents/kept.ipynb", map[string]any{
		"type": "notebook", "format": "json", "content": json.RawMessage(bodyOf(1, 1)),
	})
	v.refusedAway("a run", "POST", "/api/runs", map[string]any{"notebook": "users/ann/good.ipynb"})
	for _, path := range []string{"/user/ann/api/contents/kept.ipynb", "/user/ann/api/contents", "/api/runs", "/healthz"} {
		if status, _, text := v.ask(t.Context(), "GET", path, nil, nil, nil); status != http.StatusOK {
			t.Errorf("reading %s without the object store: %d %s", path, status, text)
		}
	}
	// What runs does not need the store, nor does its page.
	ended := v.waitFor(running, runRecord.ended)
	if ended.State != "succeeded" || ended.Published && ended.Finished.After(away) {
		t.Errorf("the run under way: %+v", ended)
	}
	var output []byte
	if status, _, text := v.ask(t.Context(), "GET", "/api/runs/"+running.id+"/output", nil, nil, &output); status != http.StatusOK || !strings.Contains(string(output), "cell 2 of") {
		t.Errorf("its output without the object store: %d %s", status, text)
	}
	// A server that is started now serves what it has.
	v.kill()
	v.start()
	v.see(t.Context(), running)
	time.Sleep(time.Until(away.Add(outage(t))))
	g.set(false)

	deadline := time.Now().Add(2 * time.Minute)
	for status, text := 0, ""; status != http.StatusOK; {
		if status, text = v.saveText("kept.ipynb", 7); status != http.StatusOK && time.Now().After(deadline) {
			t.Fatalf("two minutes after the store came back a save is answered with %d %s", status, text)
		}
	}
	book := &runBook{all: []*submission{running, v.mustSubmit("good", "after")}}
	v.settle(book, 3*time.Minute)
	t.Logf("away for %v; runs %v", outage(t), v.judgeRuns(book))
}

// TestQueuedRunsOutliveAnOutage asks that runs which wait while the object
// store is away are not given up: each is executed when it is back.
func TestQueuedRunsOutliveAnOutage(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	if server == nil {
		return
	}
	g := newGate(t, server.Endpoint)
	v := newVictimIn(t, "", "objects: s3://"+server.NewBucket(t)+"/quire")
	v.env = append(v.env, "AWS_ACCESS_KEY_ID="+server.AccessKey, "AWS_SECRET_ACCESS_KEY="+server.SecretKey,
		"AWS_ENDPOINT_URL_S3=http://"+g.listener.Addr().String(), "AWS_REGION=us-east-1")
	v.patience = 2 * time.Minute
	v.permits(1)
	v.start()
	v.addRunNotebooks()
	book := &runBook{all: []*submission{v.mustSubmit("slow", "first")}}
	for _, key := range []string{"second", "third", "fourth"} {
		book.all = append(book.all, v.mustSubmit("good", key))
	}
	away := time.Now()
	g.set(true)
	v.waitFor(book.all[0], runRecord.ended)
	time.Sleep(time.Until(away.Add(outage(t))))
	g.set(false)
	v.settle(book, 3*time.Minute)
	lost := 0
	for _, s := range book.all {
		if lost += s.terminal.Lost; s.terminal.State != "succeeded" {
			t.Errorf("%s: %+v", s.key, s.terminal)
		}
	}
	if lost > 1 {
		t.Errorf("the outage cost %d attempts, want the first one only", lost)
	}
	t.Logf("away for %v; runs %v", outage(t), v.judgeRuns(book))
}

// permits says how many runs are executed at once.
func (v *victim) permits(n int) {
	v.t.Helper()
	data, err := os.ReadFile(v.config)
	if err == nil {
		text := strings.Replace(string(data), "permits: 16", "permits: "+string(rune('0'+n)), 1)
		err = os.WriteFile(v.config, []byte(text), 0o600)
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// refusedAway asks for what needs the object store, and wants an answer that
// says so.
func (v *victim) refusedAway(what, method, path string, body any) {
	v.t.Helper()
	status, _, text := v.ask(v.t.Context(), method, path, nil, body, nil)
	if status < 500 || status == http.StatusInternalServerError || !strings.Contains(text, "detail") {
		v.t.Errorf("%s without the object store is answered with %d %s", what, status, text)
	}
	v.t.Logf("%s without the object store: %d %.300s", what, status, text)
}
