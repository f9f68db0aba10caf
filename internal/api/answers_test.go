package api

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

func TestAnswersKeepToTheirBounds(t *testing.T) {
	t.Parallel()
	var c answers
	big := bytes.Repeat([]byte("x"), 1<<20)
	for i := range 100 {
		c.keep(fmt.Sprint(i), "t", &answer{body: big})
	}
	if c.bytes > maxAnswers || len(c.byKey) != maxAnswers>>20 || c.used.Len() != len(c.byKey) {
		t.Errorf("%d bytes in %d answers", c.bytes, len(c.byKey))
	}
	if c.get("0", "t") != nil || c.get("99", "t") == nil {
		t.Error("the longest unused one is to go first")
	}
	if c.get("99", "other") != nil || c.get("99", "t") != nil {
		t.Error("an answer with another tag is to be forgotten")
	}
	for key, body := range map[string][]byte{"small": big[:minAnswer-1], "large": bytes.Repeat(big, 9)} {
		if c.keep(key, "t", &answer{body: body}); c.get(key, "t") != nil {
			t.Errorf("%s was kept", key)
		}
	}
}

// TestAnswerIsCompressedForWhoTakesIt: the bytes are the same to everybody, and
// the work is done when the answer is asked for again, once.
func TestAnswerIsCompressedForWhoTakesIt(t *testing.T) {
	t.Parallel()
	var c answers
	body := []byte(strings.Repeat("{\"a\": 1}\n", 10_000))
	first := &answer{body: body}
	c.keep("k", "t", first)
	ask := func(a *answer, accept string) (string, []byte) {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", accept)
		w.Header().Set("ETag", `"t"`)
		if err := a.write(w, r); err != nil {
			t.Error(err)
		}
		got := w.Body.Bytes()
		if w.Header().Get("Content-Encoding") != "gzip" {
			return "", got
		}
		if w.Header().Get("ETag") != `W/"t"` || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("headers %v", w.Header())
		}
		z, err := gzip.NewReader(bytes.NewReader(got))
		if err != nil {
			t.Fatal(err)
		}
		got, err = io.ReadAll(z)
		if err != nil {
			t.Error(err)
		}
		return "gzip", got
	}
	if how, got := ask(first, "gzip"); how != "" || !bytes.Equal(got, body) {
		t.Errorf("the first time: %q", how)
	}
	var wg sync.WaitGroup
	for _, tt := range []struct{ accept, want string }{
		{"gzip", "gzip"}, {"br;q=1.0, gzip;q=0.8", "gzip"}, {"gzip;q=0", ""}, {"gzip; q=0", ""}, {"", ""}, {"br", ""},
	} {
		wg.Go(func() {
			if how, got := ask(c.get("k", "t"), tt.accept); how != tt.want || !bytes.Equal(got, body) {
				t.Errorf("Accept-Encoding %q: %q, %d bytes", tt.accept, how, len(got))
			}
		})
	}
	wg.Wait()
}
