package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A channel is a WebSocket to a kernel, as Jupyter's clients open it.
type channel struct {
	t    *testing.T
	conn *websocket.Conn
}

func (v *victim) channel(kernel string) *channel {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	address := "ws" + strings.TrimPrefix(*v.url.Load(), "http") + "/user/ann/api/kernels/" + kernel + "/channels?session_id=one"
	conn, res, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"token " + harnessToken}}})
	if err != nil {
		v.t.Fatal(err)
	}
	if res.Body != nil {
		_ = res.Body.Close()
	}
	v.t.Cleanup(func() { _ = conn.CloseNow() })
	return &channel{v.t, conn}
}

func (c *channel) execute(code string) {
	c.t.Helper()
	data, err := json.Marshal(map[string]any{
		"channel": "shell", "parent_header": map[string]any{}, "metadata": map[string]any{},
		"header":  map[string]any{"msg_id": "cell", "msg_type": "execute_request", "session": "one", "username": "ann", "version": "5.3", "date": "2026-11-24T00:00:00Z"},
		"content": map[string]any{"code": code, "silent": false, "store_history": true, "user_expressions": map[string]any{}, "allow_stdin": false},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, data); err != nil {
		c.t.Fatal(err)
	}
}

// until reads to the first message of a kind whose content holds text, and
// returns what was printed up to then.
func (c *channel) until(kind, text string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	printed := ""
	for {
		_, data, err := c.conn.Read(ctx)
		if err != nil {
			c.t.Fatalf("no %s with %q came: %v; printed: %q", kind, text, err, printed)
		}
		var m struct {
			Header struct {
				MsgType string `json:"msg_type"`
			} `json:"header"`
			Content json.RawMessage `json:"content"`
		}
		if err := json.Unmarshal(data, &m); err != nil {
			c.t.Fatal(err)
		}
		var stream struct{ Text string }
		if m.Header.MsgType == "stream" && json.Unmarshal(m.Content, &stream) == nil {
			printed += stream.Text
		}
		if m.Header.MsgType == kind && strings.Contains(string(m.Content), text) {
			return printed
		}
	}
}

// notebookServer returns how Ann's notebook server is.
func (v *victim) notebookServer() (st struct {
	Running bool
	Started time.Time
	Kernels int
	Ended   string
},
) {
	v.t.Helper()
	if status, _, text := v.ask(v.t.Context(), "GET", "/api/users/ann/server", nil, nil, &st); status != http.StatusOK {
		v.t.Fatalf("looking at the notebook server: %d %s", status, text)
	}
	return st
}

// endNotebookServer stops what outlives the platform, at the end of a test.
func (v *victim) endNotebookServer() {
	if v.cmd == nil {
		v.start()
	}
	if status, _, text := v.ask(context.Background(), "DELETE", "/api/users/ann/server", nil, nil, nil); status != http.StatusNoContent {
		v.t.Errorf("stopping the notebook server: %d %s", status, text)
	}
}

// TestNotebookServerOutlivesThePlatform kills the platform while a cell runs in
// a notebook server that its first request has started. The kernel goes on, and
// all that it prints is there for who comes back.
func TestNotebookServerOutlivesThePlatform(t *testing.T) {
	t.Parallel()
	v := newVictimIn(t, "", "compute: process") // the fake kernel is this machine's
	v.patience = 2 * time.Minute
	v.start()
	t.Cleanup(v.endNotebookServer)
	if v.notebookServer().Running {
		t.Fatal("the notebook server runs before anybody used it")
	}
	var kernel struct{ ID string }
	if status, _, text := v.ask(t.Context(), "POST", "/user/ann/api/kernels", nil, map[string]string{"name": "fake"}, &kernel); status != http.StatusCreated {
		t.Fatalf("starting a kernel: %d %s", status, text)
	}
	before := v.notebookServer()
	if !before.Running || before.Kernels != 1 {
		t.Errorf("after the first use: %+v", before)
	}
	if info, err := os.Stat(filepath.Join(v.data, "notebooks", "ann", "socket")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is open to others: %v %v", info, err)
	}
	c := v.channel(kernel.ID)
	c.execute("print before\nsleep 1500ms\nprint after\nresult done")
	c.until("stream", "before")
	v.kill()
	v.start()
	after := v.notebookServer()
	if !after.Running || !after.Started.Equal(before.Started) || after.Kernels != 1 {
		t.Errorf("after the kill: %+v, before it: %+v", after, before)
	}
	if printed := v.channel(kernel.ID).until("execute_result", "done"); !strings.Contains(printed, "after\n") {
		t.Errorf("what was printed meanwhile is gone: %q", printed)
	}
	if text, err := os.ReadFile(v.log.Name()); err != nil || !strings.Contains(string(text), "notebook server found again") {
		t.Errorf("the platform does not say that it found the server: %v", err)
	}
	v.endNotebookServer()
	if st := v.notebookServer(); st.Running || !strings.Contains(st.Ended, "asked to stop") {
		t.Errorf("after the stop: %+v", st)
	}
}

// TestIdleNotebookServerEnds lets a notebook server end by itself, with the
// reason, and start anew for the next request.
func TestIdleNotebookServerEnds(t *testing.T) {
	t.Parallel()
	v := newVictimIn(t, "", "notebookIdle: 2s", "compute: process")
	v.patience = 2 * time.Minute
	v.start()
	t.Cleanup(v.endNotebookServer)
	use := func() {
		t.Helper()
		if status, _, text := v.ask(t.Context(), "GET", "/user/ann/api/kernels", nil, nil, nil); status != http.StatusOK {
			t.Fatalf("using the notebook server: %d %s", status, text)
		}
	}
	use()
	ended := ""
	for deadline := time.Now().Add(time.Minute); ended == "" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ended = v.notebookServer().Ended
	}
	if !strings.Contains(ended, "nobody was connected") {
		t.Errorf("it ended because %q", ended)
	}
	use()
}

// TestJupyterLabsClientBehindThePlatform lets the same client use every group of
// the Jupyter API through the platform.
func TestJupyterLabsClientBehindThePlatform(t *testing.T) {
	t.Parallel()
	modules := os.Getenv(jupyterlabVariable)
	if modules == "" {
		t.Logf("%s is not set: there is no client to test with", jupyterlabVariable)
		return
	}
	url := startQuire(t, nil, "up", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"), "--user", "ann")
	t.Cleanup(func() {
		req, err := http.NewRequestWithContext(context.Background(), "DELETE", url+"api/users/ann/server", http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Authorization", "token "+harnessToken)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			t.Errorf("stopping the notebook server: %d", res.StatusCode)
		}
	})
	cmd := exec.CommandContext(t.Context(), "node", "testdata/jupyterserver.js")
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "SERVER_URL="+url+"user/ann/", "SERVER_TOKEN="+harnessToken)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "done 30") {
		t.Errorf("%v\n%s", err, out)
	}
}
