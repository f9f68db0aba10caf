package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"quire/internal/contents"
)

const twoCells = `{"type":"notebook","format":"json","content":{"cells":[` +
	`{"cell_type":"code","id":"one","metadata":{},"execution_count":null,"outputs":[],"source":"a = 1"},` +
	`{"cell_type":"code","id":"two","metadata":{},"execution_count":null,"outputs":[],"source":"b = 1"}],"metadata":{},"nbformat":4,"nbformat_minor":5}}`

// TestPlainSavesAreMerged lets two clients save that know no versions: each is
// merged with what the other saved since the body it last saw, or refused.
func TestPlainSavesAreMerged(t *testing.T) {
	t.Parallel()
	b, _ := setupFiles(t)
	const at = own + "a.ipynb"
	text := func() string {
		t.Helper()
		var m struct{ Content json.RawMessage }
		if err := json.Unmarshal(b.want(t, 200, "GET", at, "", "User-Agent", "a look").Body.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		return string(m.Content)
	}
	put := func(status int, client string, replace ...string) *strings.Reader {
		t.Helper()
		body := strings.NewReplacer(replace...).Replace(twoCells)
		return strings.NewReader(b.want(t, status, "PUT", at, body, "User-Agent", client).Body.String())
	}
	has := func(what string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if now := text(); !strings.Contains(now, part) {
				t.Errorf("%s: %q is not in %s", what, part, now)
			}
		}
	}
	put(201, "ann's", "x", "x")
	b.want(t, 200, "GET", at, "", "User-Agent", "bob's")
	put(200, "ann's", "a = 1", "a = 2")
	put(200, "bob's", "b = 1", "b = 2") // made from the first
	has("both", "a = 2", "b = 2")
	put(200, "bob's", "b = 1", "b = 3") // it still has the first a
	has("both again", "a = 2", "b = 3")
	put(200, "bob's", "b = 1", "b = 3") // the same once more changes nothing
	has("nothing new", "a = 2", "b = 3")
	put(200, "ann's", "x", "x") // takes her own change back, and nothing of bob's
	has("taken back", "a = 1", "b = 3")

	put(200, "ann's", "a = 1", "a = 'ann'")
	var refusal struct{ Message string }
	if err := json.NewDecoder(put(409, "bob's", "a = 1", "a = 'bob'", "b = 1", "b = 3")).Decode(&refusal); err != nil || !strings.Contains(refusal.Message, "the text of cell one") {
		t.Errorf("the refusal does not say where: %+v %v", refusal, err)
	}
	has("the first one's", "a = 'ann'", "b = 3")
	var page versionPage
	if err := json.Unmarshal(b.want(t, 200, "GET", "/api/versions/users/ann/a.ipynb", "").Body.Bytes(), &page); err != nil {
		t.Fatal(err)
	}
	if first := page.Versions[0]; first.Cause != contents.Refused {
		t.Errorf("the newest record is %+v, want the refused save", first)
	} else if kept := b.want(t, 200, "GET", "/api/versions/users/ann/a.ipynb?number="+jsonNumber(first.Number), "").Body.String(); !strings.Contains(kept, "a = 'bob'") {
		t.Errorf("what was refused is not kept: %s", kept)
	}
	b.want(t, 200, "GET", at, "", "User-Agent", "bob's") // who loads it again may save it
	put(200, "bob's", "a = 1", "a = 'bob'", "b = 1", "b = 3")
	has("after a look", "a = 'bob'")

	put(200, "carl's", "a = 1", "a = 'carl'") // who was given nothing
	has("whoever saw nothing", "a = 'carl'", "b = 1")

	b.want(t, 200, "GET", at, "", "User-Agent", "bob's")
	b.want(t, http.StatusOK, "PATCH", at, `{"path":"b.ipynb"}`) // he goes on under the new name
	const renamed = own + "b.ipynb"
	b.want(t, 200, "PUT", renamed, strings.Replace(twoCells, "a = 1", "a = 'carl, again'", 1), "User-Agent", "carl's")
	b.want(t, 200, "PUT", renamed, strings.NewReplacer("a = 1", "a = 'carl'", "b = 1", "b = 'bob'").Replace(twoCells), "User-Agent", "bob's")
	if now := b.want(t, 200, "GET", renamed, "").Body.String(); !strings.Contains(now, "a = 'carl, again'") || !strings.Contains(now, "b = 'bob'") {
		t.Errorf("under a new name: %s", now)
	}
}

func jsonNumber(n int64) string {
	text, _ := json.Marshal(n)
	return string(text)
}
