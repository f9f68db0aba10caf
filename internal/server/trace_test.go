package server

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A receiver is a small OTLP collector.
type receiver struct {
	mu    sync.Mutex
	spans []otlpSpan
	raw   strings.Builder
}

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		ResourceSpans []struct {
			Resource   struct{ Attributes []otlpAttribute }
			ScopeSpans []struct{ Spans []otlpSpan }
		}
	}
	data, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(data, &body) != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(data)
	for _, rs := range body.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

func (s otlpSpan) attribute(key string) any {
	for _, a := range s.Attributes {
		if a.Key == key {
			for _, v := range a.Value {
				return v
			}
		}
	}
	return nil
}

// TestTraces lets a server send its spans to a collector: those of a save and
// of a submission are below their requests', in the trace of who asked.
func TestTraces(t *testing.T) {
	t.Parallel()
	c := &receiver{}
	collector := httptest.NewServer(c)
	t.Cleanup(collector.Close)
	s, err := New(t.Context(), Config{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), User: "ann", Traces: collector.URL, Sample: true}, Options{Command: []string{"false"}})
	if err != nil {
		t.Fatal(err)
	}
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	ids := map[string]string{}
	ask := func(method, path, body string, want int) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Host = s.listener.Addr().String()
		r.Header.Set("Authorization", "Bearer "+s.token)
		r.Header.Set("Traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
		w := httptest.NewRecorder()
		s.router.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		ids[w.Header().Get("X-Request-Id")] = method
	}
	ask("PUT", "/user/ann/api/contents/private-name.txt", `{"type":"file","format":"text","content":"x"}`, http.StatusCreated)
	ask("POST", "/api/runs", `{"notebook":"users/ann/Welcome.ipynb"}`, http.StatusCreated)
	ask("GET", "/api/contents/missing?token="+s.token, "", http.StatusNotFound)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	byName := map[string]otlpSpan{}
	for _, span := range c.spans {
		byName[span.Name] = span
		if span.TraceID != traceID || span.Start == "" || span.End < span.Start {
			t.Errorf("%+v", span)
		}
	}
	for child, parent := range map[string]string{
		"save": "PUT /user/{user}/api/contents/{path...}", "submit run": "POST /api/runs", "GET /api/contents/{path...}": "",
	} {
		span, ok := byName[child]
		if !ok || parent != "" && span.ParentSpanID != byName[parent].SpanID || parent == "" && span.ParentSpanID != "b7ad6b7169203331" {
			t.Errorf("the span %q is not below %q: %+v", child, parent, span)
		}
	}
	for name, method := range map[string]string{"PUT /user/{user}/api/contents/{path...}": "PUT", "POST /api/runs": "POST", "GET /api/contents/{path...}": "GET"} {
		id, _ := byName[name].attribute("quire.request_id").(string)
		if ids[id] != method || byName[name].Kind != 2 {
			t.Errorf("%s: the request id %q is not the one that was answered: %+v", name, id, byName[name])
		}
	}
	if id, _ := byName["submit run"].attribute("quire.run_id").(string); len(id) != 26 {
		t.Errorf("the span of a submission names run %q", id)
	}
	if text := c.raw.String(); strings.Contains(text, s.token) || strings.Contains(text, "private-name") {
		t.Error("a span tells a token or a file's name")
	}
}

func TestNoCollector(t *testing.T) {
	t.Parallel()
	traces, err := newTracing("", "test", nil)
	if err != nil || traces.tracer() != nil || traces.close() != nil {
		t.Errorf("without an endpoint: %+v %v", traces, err)
	}
	for _, endpoint := range []string{"127.0.0.1:4318", "ftp://x", "http://", "http://me:secret@127.0.0.1:4318"} {
		c := Config{Traces: endpoint, User: "ann", Data: t.TempDir()}
		if err := c.Validate(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	if h := traceHeader("authorization=Bearer%20abc, x-team = blue"); h.Get("Authorization") != "Bearer abc" || h.Get("X-Team") != "blue" {
		t.Errorf("%v", h)
	}
}
