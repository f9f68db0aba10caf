package pages_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/html"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/db/sqlite"
	"quire/internal/nbtemplate"
	"quire/internal/pages"
	"quire/internal/run"
	"quire/internal/schedule"
	"quire/internal/search"
	"quire/internal/secret"
	"quire/internal/storage/mem"
)

const (
	host = "127.0.0.1:8888"
	// evil is put wherever a person or a file may put text.
	evil = `"><img src=x onerror=pwn()><script>pwn()</script>{{.}}'`
)

var ann = auth.User{Name: "ann"}

const parameters = `from typing import Literal, Optional
country: Literal[\"US\", \"DE\"] = \"US\"  # where people watched
days: int = 7  # how many; range: 1..42
share: float = 0.5
flag: bool = False
title: str = \"x\"
devices: list[str] = []
limit: Optional[int] = None
token: str = \"\"  # secret`

func notebookOf(cells ...string) string {
	return `{"cells":[` + strings.Join(cells, ",") + `],"metadata":{"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"},` +
		`"language_info":{"name":"python"}},"nbformat":4,"nbformat_minor":5}`
}

func quote(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

func markdown(id, text string) string {
	return `{"cell_type":"markdown","id":"` + id + `","metadata":{},"source":` + quote(text) + `}`
}

func code(id, text, extra, outputs string) string {
	return `{"cell_type":"code","id":"` + id + `","metadata":{` + extra + `},"execution_count":null,"outputs":[` + outputs + `],"source":` + quote(text) + `}`
}

var source = notebookOf(
	markdown("title", "# A notebook\n[other](b.csv) ![pic](pic.png) ![no](../../shared/pic.png) "+evil),
	`{"cell_type":"code","id":"params","metadata":{"tags":["parameters"]},"execution_count":null,"outputs":[],"source":"`+strings.ReplaceAll(parameters, "\n", `\n`)+`"}`,
	code("work", "print(1)", "", ""),
)

// finished is the output of a failed run, with a record and hostile text.
func finished() string {
	ran := func(status string) string {
		return `"papermill":{"start_time":"2026-11-23T10:00:01.000000+00:00","end_time":"2026-11-23T10:00:02.000000+00:00","duration":1.0,"status":"` + status + `","exception":false}`
	}
	return notebookOf(
		markdown("title", "# A notebook"),
		code("params", "country = 1", ran("completed"), ""),
		code("work", evil, ran("failed"), `{"output_type":"stream","name":"stdout","text":`+quote(evil)+`},`+
			`{"output_type":"display_data","metadata":{},"data":{"text/html":"<script>pwn()</script><b>x</b>"}},`+
			`{"output_type":"error","ename":"KeyError","evalue":`+quote(evil)+`,"traceback":[]}`),
	)
}

// launcher plays the processes of attempts: each fails at once, or waits.
type launcher struct {
	hold, succeed atomic.Bool

	mu   sync.Mutex
	held []*os.File // the locks of attempts that wait: one that nothing refers to is closed
}

func (l *launcher) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lock := range l.held {
		_ = lock.Close()
	}
}

func (l *launcher) Launch(_ context.Context, dir string) error {
	var spec run.Spec
	data, err := os.ReadFile(filepath.Join(dir, "spec.json"))
	if err == nil {
		err = json.Unmarshal(data, &spec)
	}
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{}`), 0o600)
	}
	if err != nil {
		return err
	}
	if l.hold.Load() {
		l.mu.Lock()
		l.held = append(l.held, lock)
		l.mu.Unlock()
		return nil
	}
	go func() {
		defer lock.Close()
		events := `{"type":"run_started","time":"2026-11-23T10:00:00Z","cells":3}` + "\n" +
			`{"type":"warning","time":"2026-11-23T10:00:00Z","message":` + quote(evil) + `}` + "\n" +
			`{"type":"output","time":"2026-11-23T10:00:01Z","cell":3,"index":2,"outputType":"stream","stream":"stdout","text":` + quote(evil) + `}` + "\n"
		_ = os.WriteFile(filepath.Join(dir, "events.jsonl"), []byte(events), 0o600)
		_ = os.WriteFile(filepath.Join(dir, "platform.log"), []byte(evil), 0o600)
		_ = os.WriteFile(filepath.Join(dir, "output.ipynb"), []byte(finished()), 0o600)
		engine := `{"status":"failed","error":{"cell":3,"index":2,"ename":"KeyError","evalue":"x","traceback":[]},"records":[{"name":"score","value":0.25,"cell":3},{"name":` + quote(evil) +
			`,"value":` + quote(evil) + `,"cell":3}],"warnings":[` + quote(evil) + `]}`
		state := run.Failed
		if l.succeed.Load() {
			state = run.Succeeded
		}
		result, _ := json.Marshal(run.Result{
			Fence: spec.Fence, State: state, Reason: "raised " + evil, At: time.Now().UTC(), Engine: json.RawMessage(engine),
		})
		_ = os.WriteFile(filepath.Join(dir, "r.tmp"), result, 0o600)
		_ = os.Rename(filepath.Join(dir, "r.tmp"), filepath.Join(dir, "result.json"))
	}()
	return nil
}

type bundle struct {
	testing.TB
	records   string // the file of the records
	router    *api.Router
	volume    *contents.Volume
	runs      *run.Runs
	launcher  *launcher
	cookie    string
	mux       *http.ServeMux // knows the routes
	schedules *schedule.Schedules
	templates *nbtemplate.Templates
	secrets   *secret.Secrets
}

func setup(t testing.TB) *bundle {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	d, err := sqlite.Open(ctx, filepath.Join(dir, "q.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	b := &bundle{TB: t, records: filepath.Join(dir, "q.db"), launcher: &launcher{}}
	t.Cleanup(b.launcher.end)
	if b.volume, err = contents.Open(ctx, contents.Config{
		Dir: filepath.Join(dir, "files"), Versions: d, Blobs: &contents.Blobs{Store: mem.New(mem.Config{})}, QuotaBytes: 1 << 30,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.volume.Close() })
	for _, name := range []string{"ann", "bob"} {
		if err := b.volume.AddWorkspace(name); err != nil {
			t.Fatal(err)
		}
	}
	b.templates = nbtemplate.New(nbtemplate.Config{Store: d, Blobs: &contents.Blobs{Store: mem.New(mem.Config{})}, Volume: b.volume, Dates: schedule.Dates})
	ring := secret.Keyring{secret.NewKey()}
	b.secrets = &secret.Secrets{Box: &secret.Box{Store: d, Keys: func() (secret.Keyring, error) { return ring, nil }}, User: d.User}
	b.runs = run.New(run.Config{
		Templates: b.templates, Secrets: b.secrets,
		Store: d, Spool: filepath.Join(dir, "runs"), Objects: mem.New(mem.Config{}), Volume: b.volume,
		Files: filepath.Join(dir, "files"), Launcher: b.launcher, Dates: schedule.Dates,
	})
	if err := b.runs.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.runs.Stop)
	index := &search.Index{Store: d, Volume: b.volume}
	if err := index.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(index.Stop)
	sessions := &auth.Sessions{Store: d}
	token := auth.NewSecret()
	if err := errors.Join(d.PutUser(ctx, ann), sessions.SetToken(ctx, token, ann)); err != nil {
		t.Fatal(err)
	}
	if b.cookie, _, err = sessions.SignIn(ctx, token); err != nil {
		t.Fatal(err)
	}
	b.router = api.NewRouter(api.Config{Sessions: sessions, Hosts: []string{host}, ErrorPage: pages.ErrorPage("")})
	api.RegisterRuns(b.router, b.runs)
	api.RegisterContents(b.router, b.volume, nil)
	b.schedules = schedule.New(schedule.Config{Store: d, Runs: b.runs, User: d.User})
	pages.Register(b.router, pages.Config{
		Volume: b.volume, Runs: b.runs, Templates: b.templates, Schedules: b.schedules, Sessions: sessions, Secrets: b.secrets, Search: index, QuotaBytes: 1 << 30,
	})
	b.mux = http.NewServeMux()
	for _, route := range b.router.Routes() {
		b.mux.Handle(route.Pattern, http.NotFoundHandler())
	}
	b.save("users/ann/a.ipynb", source)
	b.save("users/ann/b.csv", "a,b\n1,"+evil+"\n")
	b.save("users/ann/c.json", `{"a":[1,`+quote(evil)+`]}`)
	b.save("users/ann/d.py", "print(1)  # "+evil)
	b.save("users/ann/README.md", "# Readme\n\n[a](a.ipynb) "+evil)
	b.save("users/ann/pic.png", "\x89PNG")
	return b
}

func (b *bundle) save(path, text string) {
	b.Helper()
	if _, err := b.volume.Save(b.Context(), auth.User{Name: "ann", Admin: true}, path, strings.NewReader(text), contents.SaveOptions{Plain: true}); err != nil {
		b.Fatal(err)
	}
}

func (b *bundle) do(method, target string, body io.Reader, kind string) *httptest.ResponseRecorder {
	b.Helper()
	r := httptest.NewRequest(method, target, body)
	r.Host = host
	r.AddCookie(&http.Cookie{Name: b.router.CookieName(), Value: b.cookie})
	if method != http.MethodGet {
		r.Header.Set("Origin", "http://"+host)
		r.Header.Set("Content-Type", kind)
	}
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	return w
}

func (b *bundle) get(target string, status int) string {
	b.Helper()
	w := b.do(http.MethodGet, target, nil, "")
	if w.Code != status {
		b.Fatalf("GET %s: %d, want %d: %s", target, w.Code, status, w.Body)
	}
	return w.Body.String()
}

// post sends a form and returns where it leads; status is what is wanted.
func (b *bundle) post(target string, form url.Values, status int) (location, body string) {
	b.Helper()
	w := b.do(http.MethodPost, target, strings.NewReader(form.Encode()), "application/x-www-form-urlencoded")
	if w.Code != status {
		b.Fatalf("POST %s: %d, want %d: %s", target, w.Code, status, w.Body)
	}
	return w.Header().Get("Location"), w.Body.String()
}

// submit runs users/ann/a.ipynb through the form and waits for its end.
func (b *bundle) submit(form url.Values) string {
	b.Helper()
	to, _ := b.post("/run/users/ann/a.ipynb", form, http.StatusSeeOther)
	id := strings.TrimPrefix(to, "/runs/")
	if b.launcher.hold.Load() {
		return id
	}
	return b.await(id).ID
}

// await waits for a run's end.
func (b *bundle) await(id string) run.Run {
	b.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := b.runs.Get(b.Context(), ann, id)
		if err != nil {
			b.Fatal(err)
		}
		if r.State.Ended() && r.Published {
			return r
		}
		select {
		case <-deadline.C:
			b.Fatalf("the run did not end: %+v", r)
		case <-tick.C:
		}
	}
}

// check holds a page against what every page must be.
func (b *bundle) check(where, page string) *html.Node {
	b.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		b.Fatal(err)
	}
	h1, labels, ids := 0, map[string]bool{}, map[string]bool{}
	each(doc, func(n *html.Node) {
		if n.Data == "label" {
			labels[attr(n, "for")] = true
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				b.Errorf("%s: the id %q is there twice", where, id)
			}
			ids[id] = true
		}
	})
	each(doc, func(n *html.Node) {
		switch n.Data {
		case "h1":
			h1++
		case "style":
			b.Errorf("%s: a style element", where)
		case "script":
			if !strings.HasPrefix(attr(n, "src"), "/static/") || n.FirstChild != nil {
				b.Errorf("%s: a script of its own", where)
			}
		case "input", "select", "textarea":
			if attr(n, "type") != "hidden" && !labels[attr(n, "id")] && attr(n, "aria-label") == "" && !within(n, "label") {
				b.Errorf("%s: %s %q has no label", where, n.Data, attr(n, "name"))
			}
		case "iframe":
			if s := attr(n, "sandbox"); !has(n, "sandbox") || strings.Contains(s, "allow-same-origin") {
				b.Errorf("%s: a frame with sandbox %q", where, s)
			}
		}
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style":
				b.Errorf("%s: %s has %s=%q", where, n.Data, a.Key, a.Val)
			case a.Key == "aria-describedby":
				for id := range strings.FieldsSeq(a.Val) {
					if !ids[id] {
						b.Errorf("%s: aria-describedby names %q, which is not there", where, id)
					}
				}
			case a.Key == "href", a.Key == "src", a.Key == "action", a.Key == "formaction":
				b.link(where, n, a, ids)
			}
		}
	})
	if h1 != 1 {
		b.Errorf("%s: %d h1 elements", where, h1)
	}
	return doc
}

// link checks that an address of a page is answered by a route.
func (b *bundle) link(where string, n *html.Node, a html.Attribute, ids map[string]bool) {
	b.Helper()
	switch {
	case strings.HasPrefix(a.Val, "#"):
		if n.Data != "use" && !ids[a.Val[1:]] {
			b.Errorf("%s: %s leads to nothing on the page", where, a.Val)
		}
		return
	case strings.HasPrefix(a.Val, "data:image/") && n.Data == "img", strings.HasPrefix(a.Val, "?"):
		return
	}
	u, err := url.Parse(a.Val)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		b.Errorf("%s: %s %s=%q is no address here", where, n.Data, a.Key, a.Val)
		return
	}
	method := http.MethodGet
	if a.Key == "formaction" || a.Key == "action" && strings.EqualFold(attr(n, "method"), "post") {
		method = http.MethodPost
	}
	target, _, _ := strings.Cut(a.Val, "#") // a browser sends none
	r := httptest.NewRequest(method, "http://"+host+target, nil)
	if _, pattern := b.mux.Handler(r); pattern == "" {
		b.Errorf("%s: no route answers %s %s", where, method, a.Val)
	}
}

func each(n *html.Node, f func(*html.Node)) {
	if n.Type == html.ElementNode {
		f(n)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		each(c, f)
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}

func within(n *html.Node, name string) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Type == html.ElementNode && p.Data == name {
			return true
		}
	}
	return false
}

func upload(t *testing.T, names ...string) (body io.Reader, kind string) {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, name := range names {
		part, err := w.CreateFormFile("file", name)
		if err == nil {
			_, err = io.WriteString(part, "hello")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &buf, w.FormDataContentType()
}
