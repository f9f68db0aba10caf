package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A languageClient speaks the Language Server Protocol over a WebSocket.
type languageClient struct {
	t    *testing.T
	conn *websocket.Conn
}

type languageMessage struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// dialLanguage returns the status of the answer when it is no WebSocket.
func dialLanguage(t *testing.T, url, name string) (*languageClient, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"lsp/ws/"+name, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"token " + harnessToken}}})
	if res != nil && res.Body != nil {
		_ = res.Body.Close()
	}
	if err != nil {
		if res == nil {
			t.Fatal(err)
		}
		return nil, res.StatusCode
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &languageClient{t, conn}, http.StatusSwitchingProtocols
}

func (c *languageClient) send(message string) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, []byte(message)); err != nil {
		c.t.Fatal(err)
	}
}

// until reads to the first message that is wanted.
func (c *languageClient) until(what string, wanted func(languageMessage) bool) languageMessage {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Minute)
	defer cancel()
	for {
		_, frame, err := c.conn.Read(ctx)
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", what, err)
		}
		var m languageMessage
		if err := json.Unmarshal(frame, &m); err != nil {
			c.t.Fatalf("a frame that is no message: %v\n%s", err, frame)
		}
		if wanted(m) {
			return m
		}
	}
}

func (c *languageClient) answer(id string) json.RawMessage {
	c.t.Helper()
	m := c.until("the answer "+id, func(m languageMessage) bool { return string(m.ID) == id && m.Method == "" })
	if m.Error != nil {
		c.t.Fatalf("answer %s: %s", id, m.Error)
	}
	return m.Result
}

// childrenOf returns the processes of a program that a server with this folder
// has started.
func childrenOf(program, dir string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, file := range files {
		command, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if at, linkErr := os.Readlink(file); err == nil && linkErr == nil && at == dir && strings.Contains(string(command), program) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// TestLanguageServers lets clients complete and check a Python text with the real
// python-lsp-server, at the addresses and in the form of jupyter-lsp. Each has a
// process of its own, which ends with its connection.
func TestLanguageServers(t *testing.T) {
	t.Parallel()
	program := os.Getenv("QUIRE_TEST_PYLSP")
	if program == "" {
		t.Log("QUIRE_TEST_PYLSP is not set: there is no language server to test with")
		return
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	url := startQuire(t, []string{"PATH=" + filepath.Dir(program) + ":" + os.Getenv("PATH")}, "notebook", dir,
		"--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"), "--user", "ann", "--warm", "-1")
	var status struct {
		Version  int
		Sessions map[string]struct {
			Status string
			Spec   struct{ Languages []string }
		}
	}
	askJSON(t, "GET", url+"lsp/status", "", &status)
	if s := status.Sessions["pylsp"]; status.Version != 2 || s.Status != "not_started" || len(s.Spec.Languages) != 1 {
		t.Errorf("the status is %+v", status)
	}
	if _, code := dialLanguage(t, url, "none"); code != http.StatusNotFound {
		t.Errorf("a language server that there is none of: %d", code)
	}

	var clients []*languageClient
	for i := range 2 { // the same document, with another text
		c, code := dialLanguage(t, url, "pylsp")
		if c == nil {
			t.Fatalf("status %d", code)
		}
		clients = append(clients, c)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"processId":null,"rootUri":"file://` + dir + `","capabilities":{}}}`)
		text, _ := json.Marshal(fmt.Sprintf("import os\nos.pa\nx%d = (\n", i))
		c.send(`{"jsonrpc":"2.0","method":"initialized","params":{}}`)
		c.send(`not json`)
		c.send(`{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"file://` + dir + `/a.py","languageId":"python","version":1,"text":` + string(text) + `}}}`)
	}
	for _, c := range clients {
		if result := c.answer("1"); !strings.Contains(string(result), "completionProvider") {
			t.Errorf("what it can do: %.300s", result)
		}
		found := c.until("what is wrong in the text", func(m languageMessage) bool { return m.Method == "textDocument/publishDiagnostics" })
		if !strings.Contains(string(found.Params), "never closed") {
			t.Errorf("what is wrong: %s", found.Params)
		}
		c.send(`{"jsonrpc":"2.0","id":2,"method":"textDocument/completion","params":{"textDocument":{"uri":"file://` + dir + `/a.py"},"position":{"line":1,"character":5}}}`)
		if result := c.answer("2"); !strings.Contains(string(result), `"path"`) {
			t.Errorf("completions of os.pa: %.300s", result)
		}
	}
	// One of them may be about to start a program: that is a third for a moment.
	within(t, "two processes for two clients", func() bool { return len(childrenOf("pylsp", dir)) == 2 })
	for _, c := range clients[1:] { // the first is left to the end of the server
		_ = c.conn.CloseNow()
	}
	within(t, "no process that nobody is connected to", func() bool { return len(childrenOf("pylsp", dir)) == 1 })
}
