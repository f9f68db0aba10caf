package pages_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	t.Parallel()
	b := setup(t)
	table := `{"output_type":"display_data","metadata":{},"data":{"text/html":"<table><tr><th>city</th><th>n</th></tr><tr><td>Rome</td><td>1</td></tr><tr><td>-inf</td><td>2</td></tr></table>"}}`
	body := `{"path":"users/ann/a.ipynb","outputs":[` +
		`{"output":{"output_type":"display_data","metadata":{},"data":{"text/markdown":` + quote("[other](b.csv) ![pic](pic.png) "+evil) + `}}},` +
		`{"output":` + table + `,"part":"table"},` +
		`{"output":` + table + `,"part":"chart","dx":{"view":"bar"}},` +
		`{"output":` + table + `,"part":"chart","dx":{"view":"parallel"}},` +
		`{"output":` + table + `,"dx":{"view":"bar"}},` +
		`{"output":{"output_type":"display_data","metadata":{},"data":{"text/html":"<script>1</script>"}}},` +
		`{"output":7},` +
		`{"output":` + table + `,"part":"all"}]}`
	w := b.do("POST", "/api/render", strings.NewReader(body), "application/json")
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	var answer struct {
		Outputs []struct {
			HTML, Frame, Error string
			Table              *struct {
				Names []string
				Rows  [][]any
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	o := answer.Outputs
	if !strings.Contains(o[0].HTML, `href="/view/users/ann/b.csv"`) || !strings.Contains(o[0].HTML, `src="/files/users/ann/pic.png"`) || strings.Contains(o[0].HTML, "<script") || strings.Contains(o[0].HTML, "onerror") {
		t.Errorf("the text is %s", o[0].HTML)
	}
	if o[1].Table == nil || len(o[1].Table.Rows) != 2 || o[1].Table.Rows[1][0] != "-inf" {
		t.Errorf("the table is %+v", o[1])
	}
	if !strings.HasPrefix(o[2].HTML, "<figure") || !strings.Contains(o[3].Error, "two or more columns of numbers") || !strings.Contains(o[4].HTML, "<summary>Table") {
		t.Errorf("the charts are %+v, %+v, %+v", o[2], o[3], o[4])
	}
	if o[5].Frame != "text/html" || o[5].HTML != "" || o[6].Error == "" || o[7].Error == "" {
		t.Errorf("a script, no output, no part: %+v", o[5:])
	}
	for _, bad := range []string{`{`, `{"outputs":7}`, `{"outputs":[` + strings.Repeat("{},", 200) + `{}]}`} {
		if w := b.do("POST", "/api/render", strings.NewReader(bad), "application/json"); w.Code != http.StatusBadRequest {
			t.Errorf("%.30s is answered with %d", bad, w.Code)
		}
	}
}

func TestShellPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, kind := range []string{"html", "plotly", "vega"} {
		w := b.do("GET", "/shell/"+kind, nil, "")
		if csp := w.Header().Get("Content-Security-Policy"); w.Code != http.StatusOK || !strings.HasPrefix(csp, "sandbox allow-scripts; default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'self'") {
			t.Errorf("%s: %d, %s", kind, w.Code, csp)
		}
	}
	if w := b.do("GET", "/shell/other", nil, ""); w.Code != http.StatusNotFound {
		t.Errorf("another shell is answered with %d", w.Code)
	}
}

func TestTableOfAPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save("users/ann/t.ipynb", notebookOf(code("t", "frame", `"dx":{"0":{"view":"bar"}}`,
		`{"output_type":"display_data","metadata":{},"data":{"application/vnd.dataresource+json":{"data":[{"n":1,"t":`+quote(evil)+`},{"n":2}]}}},`+
			`{"output_type":"stream","name":"stdout","text":"x"}`)))
	page := b.get("/view/users/ann/t.ipynb", http.StatusOK)
	_, rest, _ := strings.Cut(page, `data-table="`)
	at, _, _ := strings.Cut(rest, `"`)
	if at == "" {
		t.Fatal("the page does not say where the values are")
	}
	w := b.do("GET", strings.ReplaceAll(at, "&amp;", "&"), nil, "")
	var got struct {
		Names []string
		Rows  [][]any
		DX    struct{ View string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d: %v: %s", w.Code, err, w.Body)
	}
	if len(got.Rows) != 2 || got.Rows[0][1] != evil || got.Rows[1][1] != nil || got.DX.View != "bar" {
		t.Errorf("the table is %+v", got)
	}
	for query, want := range map[string]int{"cell=0&output=1&as=table": http.StatusNotFound, "cell=0&output=9&as=table": http.StatusNotFound} {
		if w := b.do("GET", "/output/users/ann/t.ipynb?"+query, nil, ""); w.Code != want {
			t.Errorf("%s is answered with %d", query, w.Code)
		}
	}
}
