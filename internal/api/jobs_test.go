package api

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/compute/process"
	"quire/internal/compute/shim"
	"quire/internal/db/sqlite"
	"quire/internal/job"
)

// TestMain makes this binary the shim of the containers that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main())
	}
	os.Exit(m.Run())
}

// A jobSite is the routes of jobs on a server of their own.
type jobSite struct {
	t     *testing.T
	url   string
	grpc  string
	token map[string]string // by user
}

func newJobSite(t *testing.T) *jobSite {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	store, err := sqlite.Open(ctx, filepath.Join(dir, "quire.db"))
	if err != nil {
		t.Fatal(err)
	}
	driver, err := process.Open(process.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	jobs := job.New(job.Config{Store: store, Driver: driver, Logs: filepath.Join(dir, "logs"), Install: "api", Log: slog.New(slog.DiscardHandler)})
	if err := jobs.Start(ctx); err != nil {
		t.Fatal(err)
	}
	s := &jobSite{t: t, token: map[string]string{}}
	sessions := &auth.Sessions{Store: store}
	for _, u := range []auth.User{{Name: "ann"}, {Name: "bob"}, {Name: "root", Admin: true}} {
		s.token[u.Name] = auth.NewSecret()
		if err := store.PutUser(ctx, u); err != nil {
			t.Fatal(err)
		}
		if err := sessions.SetToken(ctx, s.token[u.Name], u); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewUnstartedServer(nil)
	rt := NewRouter(Config{Sessions: sessions, Hosts: []string{server.Listener.Addr().String()}})
	RegisterJobs(rt, jobs)
	server.Config.Handler = rt
	server.Start()
	s.url = server.URL
	titus := httptest.NewUnstartedServer(nil)
	titus.Config.Protocols = new(http.Protocols)
	titus.Config.Protocols.SetUnencryptedHTTP2(true)
	titusRouter := NewRouter(Config{Sessions: sessions, Hosts: []string{titus.Listener.Addr().String()}, ErrorPage: GRPCErrors})
	RegisterTitus(titusRouter, jobs)
	titus.Config.Handler = titusRouter
	titus.Start()
	s.grpc = titus.URL
	t.Cleanup(func() {
		s.each(func(id string) { s.do("ann", "DELETE", "/api/v3/jobs/"+id, "") })
		s.until(func() bool { n := 0; s.each(func(string) { n++ }); return n == 0 })
		titusRouter.EndStreams()
		jobs.Stop()
		server.Close()
		titus.Close()
		if err := driver.Close(); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// each calls f with every job of ann's that goes on.
func (s *jobSite) each(f func(id string)) {
	var page struct{ Items []job.JobMessage }
	s.get("ann", "/api/v3/jobs?pageSize=100", &page)
	for _, j := range page.Items {
		f(j.ID)
	}
}

func (s *jobSite) request(user, method, path, body string, header ...string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token[user])
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

// do returns the status and the body as it is in JSON, nil when it is none.
func (s *jobSite) do(user, method, path, body string, header ...string) (int, map[string]any) {
	s.t.Helper()
	answer := s.request(user, method, path, body, header...)
	defer answer.Body.Close()
	var out map[string]any
	_ = json.NewDecoder(answer.Body).Decode(&out)
	return answer.StatusCode, out
}

func (s *jobSite) get(user, path string, v any) {
	s.t.Helper()
	answer := s.request(user, "GET", path, "")
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(v); err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %d, %v", path, answer.StatusCode, err)
	}
}

func (s *jobSite) until(ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("it does not come to pass")
		}
	}
}

func (s *jobSite) launch(descriptor string) string {
	s.t.Helper()
	status, made := s.do("ann", "POST", "/api/v3/jobs", descriptor)
	id, _ := made["id"].(string)
	if status != http.StatusAccepted || !job.ValidID(id) {
		s.t.Fatalf("launching: %d %v", status, made)
	}
	return id
}

func (s *jobSite) state(id string) job.Status {
	var j job.JobMessage
	s.get("ann", "/api/v3/jobs/"+id, &j)
	return j.Status
}

const sleeper = `{"applicationName":"sleeper","container":{"entryPoint":["sleep","1000"]},"service":{"capacity":{"min":0,"desired":1,"max":3}}}`

func TestJobRoutes(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	s := newJobSite(t)

	status, wrong := s.do("ann", "POST", "/api/v3/jobs", `{"applicationName":"","container":{"resources":{"cpu":9,"gpu":9},"entryPoint":["true"]},"batch":{"size":5000}}`)
	violations := wrong["errorContext"].(map[string]any)["constraintViolations"].(map[string]any)
	if status != http.StatusBadRequest || len(violations) != 4 || violations["container.resources.cpu"] != "9 CPUs is above the maximum of 8 CPUs" || violations["batch.size"] == nil {
		t.Errorf("violations: %d %v", status, wrong)
	}

	id := s.launch(sleeper)
	task := ""
	s.until(func() bool {
		var page struct{ Items []job.TaskMessage }
		s.get("ann", "/api/v3/tasks?jobIds="+id+"&taskStates=Started", &page)
		if len(page.Items) == 1 {
			task = page.Items[0].ID
		}
		return task != ""
	})
	for _, tt := range []struct {
		user, method, path, body string
		want                     int
	}{
		{"bob", "GET", "/api/v3/jobs/" + id, "", 403},
		{"bob", "DELETE", "/api/v3/jobs/" + id, "", 403},
		{"bob", "GET", "/api/v3/tasks/" + task + "/log", "", 403},
		{"bob", "POST", "/api/v3/tasks/" + task + "/exec", `{"argv":["id"]}`, 403},
		{"root", "GET", "/api/v3/jobs/" + id, "", 200},
		{"ann", "GET", "/api/v3/jobs/nonsense", "", 404},
		{"ann", "GET", "/api/v3/jobs?color=red", "", 400},
		{"ann", "GET", "/api/v3/jobs?pageSize=0", "", 400},
		{"ann", "PUT", "/api/v3/jobs/" + id + "/capacityAttributes", `{"desired":"4"}`, 400},
		{"ann", "PUT", "/api/v3/jobs/" + id + "/capacityAttributes", `{"desired":"2"}`, 204},
		{"ann", "PUT", "/api/v3/jobs/" + id + "/attributes", `{"jobId":"other","attributes":{}}`, 400},
		{"ann", "PUT", "/api/v3/jobs/" + id + "/attributes", `{"attributes":{"stage":"prod"}}`, 204},
		{"ann", "DELETE", "/api/v3/jobs/" + id + "/attributes", "", 400},
		{"ann", "DELETE", "/api/v3/tasks/" + task + "?shrink=true", "", 204},
		{"ann", "POST", "/api/v3/tasks/move", `{"sourceJobId":"` + id + `","targetJobId":"` + id + `","taskId":"` + task + `"}`, 400},
	} {
		if got, body := s.do(tt.user, tt.method, tt.path, tt.body); got != tt.want {
			t.Errorf("%s %s %s: got %d %v, want %d", tt.user, tt.method, tt.path, got, body, tt.want)
		}
	}
	var page jobList
	s.get("ann", "/api/v3/jobs?attributes=stage:prod&fields=status.state", &page)
	if len(page.Items) != 1 || len(page.Items[0].(map[string]any)) != 2 {
		t.Errorf("a filter and a projection: %v", page.Items)
	}
	if s.do("ann", "DELETE", "/api/v3/jobs/"+id, ""); s.state(id).State == job.Accepted {
		t.Error("the job is not killed")
	}
	s.until(func() bool { return s.state(id).State == job.Finished })
	if got, _ := s.do("ann", "DELETE", "/api/v3/jobs/"+id, ""); got != http.StatusPreconditionFailed {
		t.Errorf("killing a finished job: %d", got)
	}
}

func TestJobPages(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	s := newJobSite(t)
	want := map[string]bool{}
	for range 7 {
		want[s.launch(sleeper)] = true
	}
	first, _ := s.do("ann", "POST", "/api/v3/jobs", sleeper, "Idempotency-Key", "k")
	_, again := s.do("ann", "POST", "/api/v3/jobs", sleeper, "Idempotency-Key", "k")
	id, _ := again["id"].(string)
	if want[id] || first != http.StatusAccepted {
		t.Error("a key made no job of its own")
	}
	want[id] = true
	seen, cursor := map[string]bool{}, ""
	for pages := 0; ; pages++ {
		var page struct {
			Items      []job.JobMessage
			Pagination pagination
		}
		s.get("ann", "/api/v3/jobs?pageSize=3&cursor="+cursor, &page)
		for _, j := range page.Items {
			if seen[j.ID] || !want[j.ID] {
				t.Errorf("%s comes twice, or is not ours", j.ID)
			}
			seen[j.ID] = true
		}
		if page.Pagination.TotalItems != len(want) {
			t.Errorf("%d items in all, want %d", page.Pagination.TotalItems, len(want))
		}
		if cursor = page.Pagination.Cursor; !page.Pagination.HasMore {
			if pages != 2 || cursor != "" {
				t.Errorf("the end after %d pages, cursor %q", pages+1, cursor)
			}
			break
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d jobs in the pages, want %d", len(seen), len(want))
	}
}

// TestJobEvents: the snapshot, then the changes, are in the end what a look
// says; the stream of one job ends with it.
func TestJobEvents(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	s := newJobSite(t)
	// The tasks end when the snapshot has come: in one of later, those that were
	// replaced are not any more.
	looked := filepath.Join(t.TempDir(), "looked")
	id := s.launch(`{"applicationName":"x","container":{"entryPoint":["sh","-c","while [ ! -e ` + looked + ` ]; do sleep 0.02; done; exit 1"]},"batch":{"size":3,"retryPolicy":{"immediate":{"retries":1}}}}`)
	answer := s.request("ann", "GET", "/api/v3/jobs/"+id+"/events", "")
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	var last job.JobMessage
	tasks, versions, ends := map[string]job.TaskMessage{}, map[string]int64{}, 0
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var n job.Notification
		if err := json.Unmarshal([]byte(data), &n); err != nil {
			t.Fatal(err)
		}
		switch {
		case n.JobUpdate != nil:
			last = n.JobUpdate.Job
		case n.TaskUpdate != nil:
			one := n.TaskUpdate.Task
			if one.Version.Timestamp <= versions[one.ID] {
				t.Errorf("task %s came with version %d after %d", one.ID, one.Version.Timestamp, versions[one.ID])
			}
			tasks[one.ID], versions[one.ID] = one, one.Version.Timestamp
		case n.SnapshotEnd != nil:
			ends++
			if err := os.WriteFile(looked, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if last.Status.State != job.Finished || ends != 1 || len(tasks) != 6 {
		t.Errorf("the last of the job: %+v; %d ends of a snapshot; %d tasks", last.Status, ends, len(tasks))
	}
	for taskID, told := range tasks {
		var now job.TaskMessage
		s.get("ann", "/api/v3/tasks/"+taskID, &now)
		if now.Status != told.Status || now.Version != told.Version {
			t.Errorf("told %+v, is %+v", told, now)
		}
	}
	if now := s.state(id); now != last.Status {
		t.Errorf("told %+v, is %+v", last.Status, now)
	}
}
