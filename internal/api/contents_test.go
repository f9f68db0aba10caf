package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/contents"
	"quire/internal/db/sqlite"
	"quire/internal/search"
	"quire/internal/storage"
	"quire/internal/storage/mem"
)

// setupFiles returns a router with the contents routes over a volume with the
// workspace of ann and a mount.
func setupFiles(t *testing.T) (*bundle, storage.Store) {
	t.Helper()
	b := setup(t)
	ctx, dir := context.Background(), t.TempDir()
	d, err := sqlite.Open(ctx, filepath.Join(dir, "v.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	lake := mem.New(mem.Config{})
	v, err := contents.Open(ctx, contents.Config{
		Dir: filepath.Join(dir, "files"), Blobs: &contents.Blobs{Store: mem.New(mem.Config{})}, Versions: d, Trust: d,
		Mounts: map[string]storage.Store{"lake": lake},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	if err := v.AddWorkspace("ann"); err != nil {
		t.Fatal(err)
	}
	index := &search.Index{Store: d, Volume: v}
	if err := index.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(index.Stop)
	RegisterContents(b.router, v, nil)
	RegisterCommuter(b.router, index)
	return b, lake
}

// ask sends a request of ann's; header holds names and values in turn.
func (b *bundle) ask(method, target, body string, header ...string) *httptest.ResponseRecorder {
	h := map[string]string{"Authorization": "Bearer " + b.token}
	for i := 0; i+1 < len(header); i += 2 {
		h[header[i]] = header[i+1]
	}
	return b.do(method, target, h, body)
}

func (b *bundle) want(t *testing.T, status int, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	w := b.ask(method, target, body, header...)
	if w.Code != status {
		t.Fatalf("%s %s %v: status %d, want %d: %s", method, target, header, w.Code, status, w.Body)
	}
	return w
}

const (
	own       = "/user/ann/api/contents/"
	emptyBook = `{"type":"notebook","format":"json","content":{"cells":[],"metadata":{%s},"nbformat":4,"nbformat_minor":5}}`
)

func book(metadata string) string { return strings.Replace(emptyBook, "%s", metadata, 1) }

// TestTrash deletes two files for good, one by its id and then all.
func TestTrash(t *testing.T) {
	t.Parallel()
	b, _ := setupFiles(t)
	for _, name := range []string{"a.ipynb", "b.ipynb"} {
		b.want(t, http.StatusCreated, "PUT", own+name, book(""))
		b.want(t, http.StatusNoContent, "DELETE", own+name, "")
	}
	var page trashPage
	list := func(want int) {
		t.Helper()
		w := b.want(t, http.StatusOK, "GET", "/api/trash/users/ann", "")
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.Deleted) != want {
			t.Fatalf("trash %s, want %d things: %v", w.Body, want, err)
		}
	}
	list(2)
	b.want(t, http.StatusForbidden, "DELETE", "/api/trash/users/bob", "")
	b.want(t, http.StatusNotFound, "DELETE", "/api/trash/users/ann?id=1-none", "")
	b.want(t, http.StatusOK, "DELETE", "/api/trash/users/ann?id="+page.Deleted[0].ID, "")
	list(1)
	w := b.want(t, http.StatusOK, "DELETE", "/api/trash/users/ann", "")
	if got := strings.TrimSpace(w.Body.String()); got != `{"discarded":1}` {
		t.Errorf("answer %s", got)
	}
	list(0)
}

// TestConditions goes through If-Match and If-None-Match on reading and writing.
func TestConditions(t *testing.T) {
	t.Parallel()
	b, _ := setupFiles(t)
	for _, file := range []struct{ name, one, two string }{
		{"a.ipynb", book(""), book(`"x":1`)},
		{"a.txt", `{"type":"file","format":"text","content":"one"}`, `{"type":"file","format":"text","content":"three"}`},
	} {
		at := own + file.name
		b.want(t, 412, "PUT", at, file.one, "If-Match", `"x"`)
		first := b.want(t, 201, "PUT", at, file.one, "If-None-Match", "*").Header().Get("ETag")
		b.want(t, 412, "PUT", at, file.two, "If-None-Match", "*")
		if got := b.want(t, 200, "GET", at, "").Header().Get("ETag"); got != first || first == "" {
			t.Errorf("%s: GET has the tag %s, PUT had %s", file.name, got, first)
		}
		for _, query := range []string{"", "?content=0", "?hash=1&content=0"} {
			w := b.want(t, 304, "GET", at+query, "", "If-None-Match", `"other", W/`+first)
			if w.Body.Len() != 0 {
				t.Errorf("304 has a body: %s", w.Body)
			}
		}
		b.want(t, 304, "GET", "/files/users/ann/"+file.name, "", "If-None-Match", strings.Replace(first, `-t"`, `"`, 1))
		second := b.want(t, 200, "PUT", at, file.two, "If-Match", first).Header().Get("ETag")
		if second == first {
			t.Errorf("%s: two states have the tag %s", file.name, first)
		}
		b.want(t, 200, "GET", at, "", "If-None-Match", first)
		b.want(t, 412, "PUT", at, file.one, "If-Match", first)
		b.want(t, 412, "PATCH", at, `{"path":"b"}`, "If-Match", first)
		b.want(t, 412, "DELETE", at, "", "If-Match", first)
		b.want(t, 204, "DELETE", at, "", "If-Match", second)
	}
	listing := b.want(t, 200, "GET", "/api/contents/users/ann", "").Header().Get("ETag")
	b.want(t, 304, "GET", "/api/contents/users/ann", "", "If-None-Match", listing)
	b.want(t, 201, "PUT", own+"new.txt", `{"type":"file","format":"text","content":"x"}`)
	b.want(t, 200, "GET", "/api/contents/users/ann", "", "If-None-Match", listing)
}

// TestCommuter goes through Commuter's routes, and those of its faults that are
// not ours.
func TestCommuter(t *testing.T) {
	t.Parallel()
	b, lake := setupFiles(t)
	if got := b.want(t, 200, "GET", "/api/ping", "").Body.String(); got != `{"message":"pong"}`+"\n" {
		t.Errorf("ping: %s", got)
	}
	if got := b.want(t, 200, "GET", "/api/v1/discovery", "").Body.String(); got != `{"results":[]}`+"\n" {
		t.Errorf("an empty discovery: %s", got)
	}
	ctx := context.Background()
	for i := range 1234 {
		if _, err := lake.Put(ctx, "many/"+strings.Repeat("x", 1+i%7)+strings.Repeat("y", i)[:i%97]+string(rune('a'+i%26))+itoa(i)+".csv", strings.NewReader("a,b\n"), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var dir struct {
		Type, Format string
		Writable     bool
		LastModified string `json:"last_modified"`
		Content      []map[string]any
	}
	decode(t, b.want(t, 200, "GET", "/api/contents/mounts/lake/many", ""), &dir)
	if len(dir.Content) != 1234 || dir.Type != "directory" || dir.Format != "json" || dir.Writable {
		t.Errorf("a mount of 1234 objects: %d entries, %+v", len(dir.Content), dir.Type)
	}
	for _, key := range []string{"type", "mimetype", "format", "content", "writable", "name", "path", "created", "last_modified"} {
		if _, ok := dir.Content[0][key]; !ok {
			t.Errorf("the model has no %s", key)
		}
	}
	name, _ := dir.Content[0]["path"].(string)
	w := b.want(t, 200, "GET", "/files/"+name, "")
	if w.Header().Get("Content-Type") != "text/csv; charset=utf-8" || w.Header().Get("ETag") == "" {
		t.Errorf("a CSV: %v", w.Header())
	}
	if got := b.want(t, 206, "GET", "/files/"+name, "", "Range", "bytes=2-2").Body.String(); got != "b" {
		t.Errorf("a range: %q", got)
	}
	b.want(t, 416, "GET", "/files/"+name, "", "Range", "bytes=99-")
	b.want(t, 304, "GET", "/files/"+name, "", "If-None-Match", w.Header().Get("ETag"))
	b.want(t, 403, "GET", "/files/mounts/lake/many", "")
	b.want(t, 404, "GET", "/files/mounts/lake/nothing.csv", "")
	if got := b.want(t, 404, "GET", "/api/contents/nothing", "").Body; !bytes.Contains(got.Bytes(), []byte(`"message":"`)) {
		t.Errorf("an error without a message: %s", got)
	}
	w = b.want(t, 405, "POST", "/api/contents/users", "{}")
	if !strings.Contains(w.Header().Get("Allow"), "GET") || !json.Valid(w.Body.Bytes()) {
		t.Errorf("405: %v %s", w.Header(), w.Body)
	}
	if w := b.want(t, 404, "GET", "/nowhere", ""); !json.Valid(w.Body.Bytes()) {
		t.Errorf("404 is no JSON: %s", w.Body)
	}
}

func itoa(i int) string {
	data, _ := json.Marshal(i)
	return string(data)
}

func decode(t *testing.T, w *httptest.ResponseRecorder, v any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		t.Fatalf("%v: %.200s", err, w.Body)
	}
}

// TestDiscovery shows the notebooks that describe themselves as Commuter does.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	d := discoveredOf(search.Document{Path: "users/ann/a.ipynb", Title: "T", Authors: "Ann, Bob", Tags: "x, y", Description: "D", Image: "data:image/png;base64,AA"})
	data, err := json.Marshal(d)
	want := `{"name":"a.ipynb","path":"users/ann/a.ipynb","image":"data:image/png;base64,AA","last_modified":"0001-01-01T00:00:00Z",` +
		`"metadata":{"title":"T","authors":[{"name":"Ann"},{"name":"Bob"}],"nteract":{"description":"D","tags":["x","y"]}}}`
	if err != nil || string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
}

// TestTrust saves a notebook with an output as a client that knows its outputs
// does, and as one that does not.
func TestTrust(t *testing.T) {
	t.Parallel()
	b, _ := setupFiles(t)
	save := func(metadata string) string {
		return `{"type":"notebook","format":"json","content":{"metadata":{},"nbformat":4,"nbformat_minor":5,"cells":[` +
			`{"cell_type":"code","id":"a","metadata":` + metadata + `,"execution_count":1,"source":"1","outputs":[{"output_type":"stream","name":"stdout","text":"x"}]},` +
			`{"cell_type":"code","id":"b","metadata":{},"execution_count":null,"source":"","outputs":[]}]}}`
	}
	var m struct {
		Trusted bool
		Content struct {
			Cells []struct{ Metadata struct{ Trusted *bool } }
		}
	}
	look := func(name string, want bool) {
		t.Helper()
		decode(t, b.want(t, 200, "GET", own+"a.ipynb", ""), &m)
		for i, c := range m.Content.Cells {
			if m.Trusted != want || c.Metadata.Trusted == nil || *c.Metadata.Trusted != want {
				t.Errorf("%s: cell %d is %v, the notebook %v, want %v", name, i, c.Metadata.Trusted, m.Trusted, want)
			}
		}
	}
	b.want(t, 201, "PUT", own+"a.ipynb", save(`{}`))
	look("a client that says nothing", false)
	b.want(t, 201, "POST", own+"a.ipynb/trust", "")
	look("trusted by hand", true)
	b.want(t, 200, "PUT", own+"a.ipynb", save(`{"trusted":false,"x":1}`))
	look("an output that is not trusted", false)
	tag := b.want(t, 200, "GET", own+"a.ipynb", "").Header().Get("ETag")
	// The same bytes again, now known: the answer is another one.
	b.want(t, 200, "PUT", own+"a.ipynb", save(`{"trusted":true,"x":1}`), "If-Match", tag)
	look("outputs that are trusted", true)
	if body := b.want(t, 200, "GET", "/files/users/ann/a.ipynb", "").Body.String(); strings.Contains(body, "trusted") {
		t.Errorf("the file says that it is trusted: %s", body)
	}
	b.want(t, 404, "POST", own+"b.ipynb/trust", "")
}
