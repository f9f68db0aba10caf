package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/contents"
	"quire/internal/job"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/socket"
)

// contained returns a platform whose notebook servers live in containers, and
// ends them with the test.
func contained(t *testing.T, data string) *bundle {
	t.Helper()
	binary, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	s, err := New(t.Context(), Config{Listen: "127.0.0.1:0", Data: data, User: "ann", Compute: computeLocal, NotebookIdle: time.Hour}, Options{
		Log: slog.New(slog.NewTextHandler(log, nil)), Command: []string{binary, "attempt"}, Notebook: []string{binary, "notebook", "--warm", "-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.jobs.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.spawn.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.runs.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &bundle{s, s.http.Handler.(*api.Router), log}
}

// leave ends a platform, and not what it started.
func (b *bundle) leave(t *testing.T) {
	t.Helper()
	b.runs.Stop()
	b.jobs.Stop()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// endAll ends what a platform has started, and waits for it.
func (b *bundle) endAll(t *testing.T) {
	t.Helper()
	ctx, admin := context.Background(), auth.User{Name: "ann", Admin: true}
	for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		all, err := b.jobs.List(ctx, admin, job.Filter{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		live := slices.DeleteFunc(all, func(j job.Job) bool { return j.Status.State == job.Finished })
		if len(live) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs go on: %+v", len(live), live[0])
		}
		for _, j := range live {
			if j.Status.State != job.KillInitiated {
				_, _ = b.jobs.Kill(ctx, admin, j.ID) // it may have ended by itself
			}
		}
	}
}

// use makes a request of somebody's and reads the answer.
func (b *bundle) use(t *testing.T, token, method, path, body string, into any) {
	t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	r.Host = b.listener.Addr().String()
	r.Header.Set("Authorization", "token "+token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	if w.Code >= 400 {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
}

// inside executes a command in a person's notebook server's container.
func (b *bundle) inside(t *testing.T, user, script string) (string, compute.Exit) {
	t.Helper()
	w, ok, err := b.spawn.house.newest(t.Context(), user, true)
	if err != nil || !ok {
		t.Fatalf("%s has no container: %v", user, err)
	}
	var out, trouble bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	exit, err := b.jobs.Exec(ctx, auth.User{Name: user}, w.Tasks[0].ID, compute.Command{Argv: []string{"bash", "-c", script}, Stdout: &out, Stderr: &trouble})
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	if exit.Code != 0 {
		return out.String() + trouble.String(), exit
	}
	return out.String(), exit
}

// endServer stops a person's server at the end of a test.
func (b *bundle) endServer(t *testing.T, user string) {
	t.Helper()
	if err := b.spawn.end(context.Background(), b.spawn.of(user), "the test is over"); err != nil {
		t.Error(err)
	}
}

// outlivesItsServer kills the notebook server in Ann's container: it is there
// again, in the same container, with its kernel.
func outlivesItsServer(t *testing.T, b *bundle, containerJob string) {
	t.Helper()
	var kernel struct {
		ID    string
		State string `json:"execution_state"`
	}
	b.use(t, b.token, "POST", "/user/ann/api/kernels", `{"name":"sql"}`, &kernel)
	for limit := time.Now().Add(4 * time.Minute); kernel.State != "idle" && time.Now().Before(limit); {
		b.use(t, b.token, "GET", "/user/ann/api/kernels/"+kernel.ID, "", &kernel)
	}
	out, exit := b.inside(t, "ann", `for p in /proc/[0-9]*; do c=$(tr '\0' ' ' < $p/cmdline); case "$c" in *" notebook "*--again*) ;; *" notebook "*--socket*) kill -9 ${p#/proc/} && echo killed;; esac; done`)
	if exit.Code != 0 || out != "killed\n" {
		t.Fatalf("killing the server in its container: %q %+v", out, exit)
	}
	var kernels []struct{ ID string }
	b.use(t, b.token, "GET", "/user/ann/api/kernels", "", &kernels)
	var st notebookStatus
	b.use(t, b.token, "GET", "/api/users/ann/server", "", &st)
	if len(kernels) != 1 || kernels[0].ID != kernel.ID || st.Job != containerJob {
		t.Errorf("after the kill: kernels %+v in job %s; before it %s in %s", kernels, st.Job, kernel.ID, containerJob)
	}
}

// TestNotebookServersInContainers gives two people a server each, tries from
// inside one to reach what is not its owner's, resizes it, and starts the
// platform anew over them.
func TestNotebookServersInContainers(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	b := contained(t, data)
	bob := b.user(t, "bob")
	t.Cleanup(func() { b.leave(t) })
	t.Cleanup(func() { b.endServer(t, "ann"); b.endServer(t, "bob") })
	for user, token := range map[string]string{"ann": b.token, "bob": bob} {
		if err := os.WriteFile(filepath.Join(data, "files", "users", user, "secret.txt"), []byte("of "+user), 0o600); err != nil {
			t.Fatal(err)
		}
		b.use(t, token, "GET", "/user/"+user+"/api/kernels", "", nil)
	}
	outOfReach(t, b, data)

	var st notebookStatus
	b.use(t, b.token, "GET", "/api/users/ann/server", "", &st)
	if !st.Running || st.State != serverReady || !st.Contained || st.Size == nil || st.Size.MemoryBytes != 4*compute.GiB || st.Idle == nil || st.Idle.StopsAt.IsZero() {
		t.Errorf("a server of the default size: %+v", st)
	}
	outlivesItsServer(t, b, st.Job)
	var again restarted
	b.use(t, b.token, "POST", "/api/users/ann/server/restart", `{"resources":{"memoryBytes":8589934592}}`, &again)
	if again.Server.Size.MemoryBytes != 8*compute.GiB || again.Server.Job == st.Job || again.KernelsEnded != 1 || !again.Server.Running {
		t.Errorf("after the restart: %+v", again)
	}
	// What is asked for wrongly is refused before anything ends.
	w := b.do("POST", "/api/users/ann/server/restart", map[string]string{"Authorization": "token " + b.token})
	if w.Code != http.StatusOK {
		t.Errorf("a restart without a body: %d %s", w.Code, w.Body)
	}
	b.use(t, b.token, "GET", "/api/users/ann/server", "", &st)
	if st.Size.MemoryBytes != 8*compute.GiB {
		t.Errorf("a restart that names no size has another one: %+v", st.Size)
	}
	bad := serverRequest{Preset: "enormous"}
	if _, err := b.spawn.again(t.Context(), "ann", bad); !problem.Is(err, problem.Invalid) {
		t.Errorf("an unknown preset: %v", err)
	}
	var kept activity
	b.use(t, b.token, "POST", "/api/users/ann/server/extend", `{"minutes":600}`, &kept)
	if until := time.Until(kept.StopsAt); until < 9*time.Hour {
		t.Errorf("it stops in %v", until)
	}

	before := st.Started
	b.leave(t)
	b = contained(t, data)
	b.use(t, b.token, "GET", "/api/users/ann/server", "", &st)
	if !st.Running || !st.Started.Equal(before) {
		t.Errorf("after the platform's restart: %+v, started %v before", st, before)
	}
	b.use(t, b.token, "DELETE", "/api/users/ann/server", "", nil)
	b.use(t, b.token, "GET", "/api/users/ann/server", "", &st)
	if st.Running || st.State != serverStopped || st.Ended != "ann stopped it" {
		t.Errorf("after the stop: %+v", st)
	}
}

// outOfReach tries from inside Ann's container, one by one, what is not hers.
func outOfReach(t *testing.T, b *bundle, data string) {
	t.Helper()
	own, exit := b.inside(t, "ann", "cat "+data+"/files/users/ann/secret.txt && touch "+data+"/files/users/ann/made "+data+"/files/shared/made && echo written")
	if exit.Code != 0 || own != "of annwritten\n" {
		t.Fatalf("her own workspace: %q %+v", own, exit)
	}
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	route, _ := b.inside(t, "ann", `while read -r _ to via _; do if [ "$to" = 00000000 ]; then echo $((16#${via:6:2})).$((16#${via:4:2})).$((16#${via:2:2})).$((16#${via:0:2})); fi; done </proc/net/route`)
	gateway := net.ParseIP(strings.TrimSpace(route))
	if os.Geteuid() == 0 && gateway == nil {
		t.Fatalf("it has no way out: %q", route)
	}
	for name, script := range map[string]string{
		"another's workspace":           "cat " + data + "/files/users/bob/secret.txt",
		"another's workspace by name":   "ls " + data + "/files/users | grep bob",
		"another's server's secret":     "cat " + data + "/notebooks/bob/token",
		"another's server's socket":     "test -S " + data + "/notebooks/bob/socket",
		"the platform's token":          "cat " + data + "/token",
		"the platform's records":        "head -c 16 " + data + "/quire.db",
		"the platform's objects":        "ls " + data + "/objects",
		"the runs' spools":              "ls " + data + "/spool",
		"the containers' folders":       "ls " + data + "/containers",
		"another's processes":           "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -e '--user[ ]bob'",
		"the platform's process":        "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep 'server[.]test'",
		"a signal to the shim":          "kill -9 1 && sleep 0.2 && ! kill -0 1",
		"the platform over the network": "exec 3<>/dev/tcp/" + b.listener.Addr().(*net.TCPAddr).IP.String() + "/" + strconv.Itoa(b.listener.Addr().(*net.TCPAddr).Port),
		"a listener of the machine":     "exec 3<>/dev/tcp/127.0.0.1/" + port,
		"its own gateway's port":        "timeout 1 bash -c 'exec 3<>/dev/tcp/" + gateway.String() + "/" + port + "'",
		"the metadata network":          "timeout 1 bash -c 'exec 3<>/dev/tcp/169.254.169.254/80'",
		"writing to the system":         "touch /usr/made",
		"a root of its own":             "unshare -Urm true",
		"another's abstract sockets":    "grep -q @ /proc/net/unix",
	} {
		if out, exit := b.inside(t, "ann", script); exit.Code == 0 {
			t.Errorf("%s is reached: %s", name, out)
		}
	}
	for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts", "user"} {
		hers, _ := b.inside(t, "ann", "readlink /proc/self/ns/"+ns)
		his, _ := b.inside(t, "bob", "readlink /proc/self/ns/"+ns)
		host, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		if hers == his || strings.TrimSpace(hers) == host || !strings.HasPrefix(hers, ns) {
			t.Errorf("the %s namespace is shared: %s, %s, %s", ns, hers, his, host)
		}
	}
}

// TestHostileNotebookFolder puts links and pipes where a notebook server's files
// are: the platform follows none and waits for none.
func TestHostileNotebookFolder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.spawn.of("ann")
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := b.data("token")
	other := filepath.Join(t.TempDir(), "other")
	listener, err := socket.Listen(other)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	link := func(to, name string) {
		t.Helper()
		path := filepath.Join(p.dir, name)
		_ = os.Remove(path)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	link(other, socketFile)
	if p.answers(t.Context()) {
		t.Error("a link to another socket is followed")
	}
	if err := os.Remove(filepath.Join(p.dir, socketFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, socketFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if p.answers(t.Context()) {
		t.Error("a file is a socket")
	}
	link(secret, "token")
	if err := p.learn(); err == nil {
		t.Error("a link to the platform's token is read")
	}
	link(secret, endedFile)
	if reason := p.reason(); reason != "" {
		t.Errorf("a link is read as the reason: %d bytes", len(reason))
	}
	for _, name := range []string{endedFile, "token", "lock"} {
		path := filepath.Join(p.dir, name)
		_ = os.Remove(path)
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if p.reason() != "" || p.learn() == nil {
		t.Error("a pipe is read")
	}
	if err := p.released(t.Context()); err != nil {
		t.Errorf("a pipe in the place of the lock: %v", err)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	link(victim, "lock")
	if err := p.released(t.Context()); err != nil {
		t.Errorf("a link in the place of the lock: %v", err)
	}
	if _, err := os.Stat(victim); err == nil {
		t.Error("the lock was made where a link led")
	}
	if err := writeNew(filepath.Join(p.dir, "lock"), nil); err == nil {
		t.Error("a file that is there is written over")
	}
}

// TestIdleServerWarns lets an idle server warn, be put off, and end.
func TestIdleServerWarns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	busy := ""
	i := &idleWatch{limit: time.Hour, busy: func() string { return busy }, active: func() time.Time { return now }, ended: now}
	for _, tt := range []struct {
		name    string
		at      time.Duration
		before  func()
		stops   time.Duration // 0 is in use
		warning bool
	}{
		{"just left", time.Second, nil, time.Hour, false},
		{"half-way", 30 * time.Minute, nil, time.Hour, false},
		{"near the end", 56 * time.Minute, nil, time.Hour, true},
		{"busy again", 57 * time.Minute, func() { busy = "kernel x is busy" }, 0, false},
		{"idle again", 57 * time.Minute, func() { busy = "" }, time.Hour, true},
		{"put off", 58 * time.Minute, func() { i.extend(now.Add(58*time.Minute), 2*time.Hour) }, 178 * time.Minute, false},
		{"a shorter one changes nothing", 59 * time.Minute, func() { i.extend(now.Add(59*time.Minute), time.Minute) }, 178 * time.Minute, false},
		{"near the later end", 175 * time.Minute, nil, 178 * time.Minute, true},
	} {
		if tt.before != nil {
			tt.before()
		}
		at := now.Add(tt.at)
		st := i.state(at)
		want := time.Time{}
		if tt.stops > 0 {
			want = now.Add(tt.stops)
		}
		if !st.StopsAt.Equal(want) || st.Warning != tt.warning || st.IdleSince.IsZero() != (tt.stops == 0) {
			t.Errorf("%s: %+v, want an end at %v", tt.name, st, want)
		}
	}
	changed := i.changes()
	i.warn(true)
	select {
	case <-changed:
	default:
		t.Error("who follows is not told of the warning")
	}
}

func TestStatesOfAServer(t *testing.T) {
	t.Parallel()
	for from, want := range map[job.State]string{
		job.Accepted: serverQueued, job.Launched: serverCreating, job.StartInitiated: serverCreating, job.Started: serverStarting,
		job.Disconnected: serverStarting, job.KillInitiated: serverStopping, job.Finished: serverStopping,
	} {
		if got := stateOf(from); got != want {
			t.Errorf("%s is %s, want %s", from, got, want)
		}
	}
}

// failing is a notebook whose second cell fails.
const failing = `{"cells":[
{"cell_type":"code","id":"first","execution_count":null,"metadata":{},"outputs":[],"source":"x = 41"},
{"cell_type":"code","id":"second","execution_count":null,"metadata":{},"outputs":[],"source":"raise KeyError('fr')"}],
"metadata":{"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"}},"nbformat":4,"nbformat_minor":5}`

// TestFailedRunIsKept lets a run fail in its container, goes on in its kernel,
// and lets it go.
func TestFailedRunIsKept(t *testing.T) {
	t.Parallel()
	if !strings.Contains(os.Getenv("QUIRE_TEST_KERNELS"), "python3") {
		t.Skip("QUIRE_TEST_KERNELS has no python3: make test sets it")
	}
	b := contained(t, filepath.Join(t.TempDir(), "data"))
	bob := b.user(t, "bob")
	t.Cleanup(func() { b.leave(t) })
	t.Cleanup(func() { b.endAll(t) })
	if err := os.Mkdir(b.data("files", "users", "bob", "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.volume.Save(t.Context(), auth.User{Name: "bob"}, "users/bob/in/fails.ipynb", strings.NewReader(failing), contents.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	go func() { _ = b.http.Serve(b.gate) }() // for the attempt to get its secret; it ends with the platform
	if err := b.secrets.Set(t.Context(), auth.User{Name: "bob"}, "", "api", "kept-canary"); err != nil {
		t.Fatal(err)
	}
	var r run.Run
	b.use(t, bob, "POST", "/api/runs", `{"notebook":"users/bob/in/fails.ipynb","container":{"memoryBytes":4294967296},"secrets":{"token":"api"}}`, &r)
	for deadline := time.Now().Add(4 * time.Minute); !r.State.Ended(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the run does not end: %+v", r)
		}
		b.use(t, bob, "GET", "/api/runs/"+r.ID, "", &r)
	}
	if r.State != run.Failed || !strings.Contains(r.Reason, "KeyError") {
		t.Fatalf("the run ended as %s: %s", r.State, r.Reason)
	}
	// An administrator does not work in another's kernel.
	for _, path := range []string{"/api/runs/" + r.ID + "/attach", "/api/runs/" + r.ID + "/keep", "/attached/" + r.ID + "/api/kernels"} {
		if w := b.do("POST", path, map[string]string{"Authorization": "token " + b.token}); w.Code != http.StatusForbidden {
			t.Errorf("ann, %s: %d %s", path, w.Code, w.Body)
		}
	}
	var opened, again attached
	b.use(t, bob, "POST", "/api/runs/"+r.ID+"/attach", "", &opened)
	b.use(t, bob, "POST", "/api/runs/"+r.ID+"/attach", "", &again)
	if opened != again || !strings.HasPrefix(opened.Path, "users/bob/in/fails-failed-") || !strings.HasSuffix(opened.URL, "#cell-id=second") {
		t.Errorf("opened %+v, and again %+v", opened, again)
	}
	if text, err := os.ReadFile(b.data("files", opened.Path)); err != nil || strings.Contains(string(text), failedMark) || !strings.Contains(string(text), "KeyError") {
		t.Errorf("the new notebook: %v %s", err, text)
	}
	var kernels []struct{ ID string }
	b.use(t, bob, "GET", "/attached/"+r.ID+"/api/kernels", "", &kernels)
	if len(kernels) != 1 {
		t.Fatalf("%d kernels", len(kernels))
	}
	if got := b.evaluate(t, bob, "/attached/"+r.ID, kernels[0].ID, "print(x + 1)"); got != "42\n" {
		t.Errorf("in the kept kernel x + 1 is %q", got)
	}
	// It keeps its secret, and is given no other and none again.
	const ask = `import os, json, urllib.request, urllib.error
spec = json.load(open(os.path.dirname(os.environ["QUIRE_TOKEN_FILE"]) + "/spec.json"))
r = urllib.request.Request(os.environ["QUIRE_URL"] + "api/runs/" + spec["run"] + "/secrets", data=json.dumps({"attempt": 1, "fence": spec["fence"]}).encode(), headers={"Authorization": "Bearer " + os.environ["QUIRE_TOKEN"]})
try:
    again = urllib.request.urlopen(r).status
except urllib.error.HTTPError as e:
    again = e.code
print(len(open(os.environ["QUIRE_SECRETS_DIR"] + "/token").read()), os.listdir(os.environ["QUIRE_SECRETS_DIR"]), again)`
	if got := b.evaluate(t, bob, "/attached/"+r.ID, kernels[0].ID, ask); got != "11 ['token'] 403\n" && got != "11 ['token'] 401\n" {
		t.Errorf("in the kept kernel the secret is %q", got)
	}
	var kept activity
	b.use(t, bob, "POST", "/api/runs/"+r.ID+"/keep", `{"minutes":120}`, &kept)
	if time.Until(kept.StopsAt) < 110*time.Minute && !kept.IdleSince.IsZero() {
		t.Errorf("it stops at %v", kept.StopsAt)
	}
	b.use(t, bob, "DELETE", "/api/runs/"+r.ID+"/attach", "", nil)
	w := b.do("POST", "/api/runs/"+r.ID+"/attach", map[string]string{"Authorization": "token " + bob})
	if w.Code != http.StatusNotFound {
		t.Errorf("after it was let go: %d %s", w.Code, w.Body)
	}
	var report run.UsageReport
	b.use(t, bob, "GET", "/api/runs/"+r.ID+"/usage", "", &report)
	if len(report.Samples) == 0 || report.Limits.MemoryBytes != 4*compute.GiB || report.Peak.PeakMemoryBytes == 0 {
		t.Errorf("what it used: %+v", report)
	}
	nb, err := b.runs.Output(t.Context(), auth.User{Name: "bob"}, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if used := nb.Metadata.Object("quire").Object("usage"); used["peakMemoryBytes"] == nil {
		t.Errorf("the output does not say what was used: %v", used)
	}
}

// evaluate executes code in a kernel below a path and returns what it prints.
func (b *bundle) evaluate(t *testing.T, token, base, kernel, code string) string {
	t.Helper()
	web := httptest.NewUnstartedServer(b.router)
	web.Listener.Close()
	web.Listener = b.listener
	web.Start() // it ends with the platform's listener
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, "ws://"+b.listener.Addr().String()+base+"/api/kernels/"+kernel+"/channels", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"token " + token}}})
	if err != nil {
		t.Fatal(err)
	}
	if res.Body != nil {
		_ = res.Body.Close()
	}
	defer func() { _ = conn.CloseNow() }()
	id := rand.Text()
	ask := map[string]any{
		"channel": "shell", "parent_header": map[string]any{}, "metadata": map[string]any{},
		"header":  map[string]any{"msg_id": id, "msg_type": "execute_request", "session": "one", "username": "bob", "version": "5.3", "date": "2026-11-30T00:00:00Z"},
		"content": map[string]any{"code": code, "silent": false, "store_history": true, "user_expressions": map[string]any{}, "allow_stdin": false},
	}
	data, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(ctx, websocket.MessageText, data); err != nil {
		t.Fatal(err)
	}
	printed := "" // perhaps in parts
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Header struct {
				MsgType string `json:"msg_type"`
			} `json:"header"`
			Parent struct {
				ID string `json:"msg_id"`
			} `json:"parent_header"`
			Content struct {
				Text  string
				State string `json:"execution_state"`
			} `json:"content"`
		}
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Parent.ID != id:
		case m.Header.MsgType == "stream":
			printed += m.Content.Text
		case m.Header.MsgType == "status" && m.Content.State == "idle":
			return printed
		}
	}
}
