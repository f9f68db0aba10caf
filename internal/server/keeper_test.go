package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKernelsOutliveTheirServer kills `quire notebook` with SIGKILL, twice, while
// a cell prints numbered lines and another one waits. The kernel lives on, the
// session is there again under its id, each line is in the notebook once, and the
// second cell ran once. Asked to end, the server ends the kernels too.
func TestKernelsOutliveTheirServer(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	s := &killedServer{
		t: t, address: freeAddress(t), files: t.TempDir(), data: filepath.Join(home, "data"),
		env: []string{"JUPYTER_PATH=" + fakeKernelspec(t, home), "TMPDIR=" + home},
	}
	const lines, kills = 40, 2
	var code, want strings.Builder
	for i := range lines {
		fmt.Fprintf(&code, "print line %d\nsleep 40ms\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	notebook, err := json.Marshal(map[string]any{
		"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{},
		"cells": []any{
			map[string]any{"cell_type": "code", "id": "first", "metadata": map[string]any{}, "source": code.String(), "outputs": []any{}, "execution_count": nil},
			map[string]any{"cell_type": "code", "id": "second", "metadata": map[string]any{}, "source": "print done", "outputs": []any{}, "execution_count": nil},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.files, "a.ipynb")
	if err := os.WriteFile(file, notebook, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	defer s.kill()
	type model struct {
		ID     string
		Kernel struct {
			ID    string
			State string `json:"execution_state"`
		}
	}
	var session model
	s.ask("POST", "/api/sessions", map[string]any{"path": "a.ipynb", "type": "notebook", "name": "a", "kernel": map[string]string{"name": "fake"}}, &session)
	var document struct{ FileID string }
	s.ask("PUT", "/api/collaboration/session/a.ipynb", map[string]string{"format": "json", "type": "notebook"}, &document)
	s.ask("POST", "/api/kernels/"+session.Kernel.ID+"/execute", map[string]any{
		"document_id": "json:notebook:" + document.FileID, "request_id": "all",
		"cells": []any{map[string]string{"cell_id": "first"}, map[string]string{"cell_id": "second"}},
	}, nil)
	var first, second string
	read := func() bool {
		first, second = s.printed(file)
		return true
	}
	for n := range kills {
		within(t, "some lines are saved", func() bool { return read() && strings.Contains(first, fmt.Sprintf("line %d\n", 3+n*10)) })
		s.kill()
		s.start()
		var sessions []model
		s.ask("GET", "/api/sessions", nil, &sessions)
		if len(sessions) != 1 || sessions[0].ID != session.ID || sessions[0].Kernel.ID != session.Kernel.ID {
			t.Fatalf("after a kill there are the sessions %+v, before it %+v", sessions, session)
		}
	}
	within(t, "the second cell is done", func() bool { return read() && second != "" })
	if first != want.String() || second != "done\n" {
		t.Errorf("the first cell printed %q, the second one %q\n%s", first, second, s.log.String())
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("asked to end: %v\n%s", err, s.log.String())
	}
	if lock, err := os.OpenFile(filepath.Join(s.data, "kernels", "lock"), os.O_RDWR, 0); err != nil ||
		syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		t.Errorf("the keeper of the kernels goes on: %v", err)
	}
}

// ask sends a request that has to succeed.
func (s *killedServer) ask(method, path string, body, answer any) {
	s.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.address+path, bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "token "+harnessToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %d %s %v", method, path, res.StatusCode, text, err)
	}
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			s.t.Fatal(err)
		}
	}
}

// printed returns what the two cells of a notebook printed.
func (s *killedServer) printed(file string) (first, second string) {
	s.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	var nb struct {
		Cells []struct {
			Outputs []struct {
				Text   []string
				Evalue string
			}
		}
	}
	if err := json.Unmarshal(data, &nb); err != nil || len(nb.Cells) != 2 {
		s.t.Fatalf("the notebook has %d cells: %v", len(nb.Cells), err)
	}
	texts := [2]string{}
	for i, c := range nb.Cells {
		for _, o := range c.Outputs {
			texts[i] += strings.Join(o.Text, "") + o.Evalue
		}
	}
	return texts[0], texts[1]
}

// within waits three minutes for something to be so.
func within(t *testing.T, what string, so func() bool) {
	t.Helper()
	limit := time.After(3 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-limit:
			t.Fatalf("not within three minutes: %s", what)
		case <-tick.C:
		}
	}
}
