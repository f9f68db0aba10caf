package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pythonVariable holds the interpreter of the prepared environment.
const pythonVariable = "QUIRE_TEST_PYTHON"

// TestSampleNotebooksRun runs every notebook of the sample on the real binary,
// as durable runs on real kernels, the deck's cells among them; and the client
// library's tests of the contract, which its own small server passes too.
func TestSampleNotebooksRun(t *testing.T) {
	t.Parallel()
	python := os.Getenv(pythonVariable)
	if python == "" {
		t.Logf("%s is not set: there is no kernel to run on", pythonVariable)
		return
	}
	s := liveServer{t, startQuire(t, nil, "up", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"), "--user", "ann")}
	// The first statement comes before the sample does, and waits for it.
	if status, said := s.do(http.MethodPost, "api/queries", map[string]any{"statement": "SELECT count(*) AS n FROM playback"}); status >= 300 {
		t.Fatalf("the first statement: %d %s", status, said)
	} else if q := s.await("api/queries/"+idOf(t, said), func(q map[string]any) bool { return q["state"] == "succeeded" || q["state"] == "failed" }); q["state"] != "succeeded" {
		t.Errorf("the first statement: %v", q["error"])
	}
	runs := map[string]string{}
	for _, name := range sampleNotebooks(t) {
		runs[name] = s.submit(name)
	}
	for name, id := range runs {
		ended := s.await("api/runs/"+id, func(run map[string]any) bool { return run["finished"] != "0001-01-01T00:00:00Z" })
		if ended["state"] != "succeeded" {
			t.Errorf("%s: %v: %v", name, ended["state"], ended["reason"])
		}
	}
	out := s.text("api/runs/" + runs["users/ann/Playback_SQL.ipynb"] + "/output")
	for _, want := range []string{"application/vnd.dataresource+json", "Television", "CREATE TABLE vid_agg_fr_2018_05_08 AS", "application/x-quire-record"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output of the deck's cells has no %s", want)
		}
	}
	scheduledStatements(t, s)
	cmd := exec.CommandContext(t.Context(), python, "-m", "unittest", "discover", "-s", "../../python/tests", "-p", "test_kragle.py", "-k", "Contract")
	cmd.Env = append(os.Environ(), "QUIRE_TEST_URL="+s.url, "QUIRE_TEST_TOKEN="+harnessToken, "QUIRE_TEST_NOTEBOOK=users/ann/Welcome.ipynb")
	if said, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(said, []byte("\nOK")) {
		t.Errorf("the contract's tests against this server: %v\n%s", err, said)
	}
}

// scheduledStatements fires a schedule whose steps are SQL and commands.
func scheduledStatements(t *testing.T, s liveServer) {
	t.Helper()
	apply := func(command string) map[string]any {
		text := `{"schedule": 1, "name": "plays", "stopAtFailure": true, "steps": [
			{"name": "count", "sql": "SELECT count(*) AS plays_of_one FROM playback WHERE country = :country", "parameters": {"country": "FR"}},
			{"name": "say", "after": ["count"], "command": ` + strconv.Quote(command) + `, "parameters": {"day": "{{ ds }}", "rows": [1, 2]}}]}`
		status, said := s.do(http.MethodPost, "api/schedules", map[string]string{"text": text})
		var applied map[string]any
		if err := json.Unmarshal(said, &applied); status >= 300 || err != nil {
			t.Fatalf("applying: %d %s", status, said)
		}
		return applied
	}
	ended := func(id string) []any {
		return s.await("api/schedules/plays/fires/"+id, func(f map[string]any) bool {
			return f["state"] != "waiting" && f["state"] != "running"
		})["tasks"].([]any)
	}
	var id string // of the newest fire
	fire := func() []any {
		status, said := s.do(http.MethodPost, "api/schedules/plays/run", map[string]any{})
		if status != http.StatusCreated {
			t.Fatalf("firing: %d %s", status, said)
		}
		id = idOf(t, said)
		return ended(id)
	}
	task := func(all []any, n int) map[string]any { return all[n].(map[string]any) }

	apply("echo \"today is $day, rows are $rows\"")
	if again := apply("echo \"today is $day, rows are $rows\""); again["revision"] != 1.0 {
		t.Errorf("the same definition again is revision %v", again["revision"])
	}
	tasks := fire()
	for n, want := range []string{"plays_of_one", "rows are [1, 2]"} {
		one := task(tasks, n)
		if one["state"] != "succeeded" {
			t.Errorf("step %v: %v: %v", one["step"], one["state"], one["reason"])
		} else if out := s.text("api/runs/" + one["run"].(string) + "/output"); !strings.Contains(out, want) {
			t.Errorf("the output of step %v has no %q", one["step"], want)
		}
	}
	apply("echo \"no ${day}s\" >&2; exit 3")
	if one := task(fire(), 1); one["state"] != "failed" || !strings.HasPrefix(fmt.Sprint(one["reason"]), "cell 3: CommandFailed: exit status 3: no 20") || one["notebook"] != "users/ann/schedules/plays/say.ipynb" {
		t.Errorf("a command that fails: %v", one)
	}
	again := func(from string, parameters map[string]any) (int, string) {
		status, said := s.do(http.MethodPost, "api/schedules/plays/fires/"+id+"/restart", map[string]any{"from": from, "parameters": parameters})
		return status, string(said)
	}
	if status, said := again("say", map[string]any{"say": map[string]any{"colour": "red"}}); status != http.StatusBadRequest || !strings.Contains(said, "step say: colour: the definition gives it no such parameter: want some of day, rows") {
		t.Errorf("a parameter that the command does not have: %d %s", status, said)
	}
	if status, said := again("@beginning", map[string]any{"say": map[string]any{"day": "Tuesday"}, "count": map[string]any{"country": "DE"}}); status != http.StatusOK {
		t.Fatalf("other parameters: %d %s", status, said)
	}
	tasks = ended(id)
	if one := task(tasks, 1); one["state"] != "failed" || !strings.HasPrefix(fmt.Sprint(one["reason"]), "cell 3: CommandFailed: exit status 3: no Tuesdays") {
		t.Errorf("a command with another parameter: %v", one)
	}
	if one := task(tasks, 0); one["state"] != "succeeded" || !strings.Contains(s.text("api/runs/"+one["run"].(string)+"/output"), "DE") {
		t.Errorf("a statement with another parameter: %v", one)
	}
}

// sampleNotebooks are the paths of the sample's notebooks in ann's volume.
func sampleNotebooks(t *testing.T) (paths []string) {
	t.Helper()
	for _, pattern := range []string{"sample/local/*.ipynb", "sample/users/*/*.ipynb"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d notebooks, %v", pattern, len(found), err)
		}
		for _, name := range found {
			paths = append(paths, strings.Replace(strings.TrimPrefix(filepath.ToSlash(name), "sample/"), "local/", "users/ann/", 1))
		}
	}
	return paths
}

// A liveServer is a real server that a test asks.
type liveServer struct {
	t   *testing.T
	url string
}

func (s liveServer) do(method, path string, body any) (int, []byte) {
	s.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+harnessToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, text
}

func (s liveServer) text(path string) string {
	s.t.Helper()
	status, text := s.do(http.MethodGet, path, nil)
	if status != http.StatusOK {
		s.t.Errorf("GET %s: %d: %s", path, status, text)
	}
	return string(text)
}

// await asks for path until it is there and done says so.
func (s liveServer) await(path string, done func(map[string]any) bool) map[string]any {
	s.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for deadline := time.Now().Add(8 * time.Minute); time.Now().Before(deadline); {
		status, text := s.do(http.MethodGet, path, nil)
		last = fmt.Sprintf("%d: %.300s", status, text)
		var said map[string]any
		if status == http.StatusOK && json.Unmarshal(text, &said) == nil && done(said) {
			return said
		}
		select {
		case <-s.t.Context().Done():
		case <-tick.C:
		}
	}
	s.t.Fatalf("GET %s: not in eight minutes; %s", path, last)
	return nil
}

func (s liveServer) submit(notebook string) string {
	s.t.Helper()
	status, text := s.do(http.MethodPost, "api/runs", map[string]any{"notebook": notebook})
	if status != http.StatusCreated {
		s.t.Fatalf("running %s: %d %s", notebook, status, text)
	}
	return idOf(s.t, text)
}

func idOf(t *testing.T, text []byte) string {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(text, &made); err != nil || made.ID == "" {
		t.Fatalf("no id in %s: %v", text, err)
	}
	return made.ID
}
