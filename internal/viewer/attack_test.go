package viewer

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"quire/internal/notebook"
)

// payloads are the forms of script injection known from the advisories of
// Jupyter, its relatives and the sanitizers: one line each in the file.
func payloads(tb testing.TB) []string {
	tb.Helper()
	raw, err := os.ReadFile("testdata/attacks.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		if strings.HasPrefix(line, "`") && strings.HasSuffix(line, "`") { // a Go string, for bytes that do not show
			line = strings.Trim(line, "`")
			s, err := strconv.Unquote(`"` + line + `"`)
			if err != nil {
				tb.Fatalf("%s: %v", line, err)
			}
			line = s
		}
		all = append(all, line)
	}
	if len(all) < 100 {
		tb.Fatalf("%d payloads: the file is not whole", len(all))
	}
	return append(all, strings.Repeat("<div>", 600)+"<img src=x onerror=__pwn=1>",
		strings.Repeat("<b><table><a>", 300)+"</div></div></section></main><script>__pwn=1</script>")
}

// carriers are the places in a notebook where a payload can stand.
var carriers = map[string]func(p string) *notebook.Notebook{
	"markdown": func(p string) *notebook.Notebook { return document(prose(p)) },
	"markdown after text": func(p string) *notebook.Notebook {
		return document(prose("text $x$\n\n" + p + "\n\n$y$ more"))
	},
	"markdown title attribute": func(p string) *notebook.Notebook {
		return document(prose(`<div title="` + "\n\n" + p + "\n\n" + `$z$">`))
	},
	"markdown math": func(p string) *notebook.Notebook { return document(prose("$" + p + "$\n\n$$\n" + p + "\n$$")) },
	"markdown link": func(p string) *notebook.Notebook {
		return document(prose("[a](" + p + ") ![b](" + p + ") <" + p + ">"))
	},
	"markdown fence":   func(p string) *notebook.Notebook { return document(prose("```" + p + "\n" + p + "\n```\n")) },
	"markdown heading": func(p string) *notebook.Notebook { return document(prose("# " + p + "\n## " + p)) },
	"raw cell": func(p string) *notebook.Notebook {
		return document(&notebook.Cell{Type: notebook.RawCell, Source: p, Metadata: notebook.Object{"format": p}})
	},
	"code":          func(p string) *notebook.Notebook { return document(code(p)) },
	"cell magic":    func(p string) *notebook.Notebook { return document(code("%%html\n" + p)) },
	"html":          func(p string) *notebook.Notebook { return document(code("", display("text/html", p))) },
	"html and text": func(p string) *notebook.Notebook { return document(code("", display("text/html", p, "text/plain", p))) },
	"html table": func(p string) *notebook.Notebook {
		return document(code("", display("text/html", "<table><tr><td>"+p)))
	},
	"svg":             func(p string) *notebook.Notebook { return document(code("", display("image/svg+xml", p))) },
	"png":             func(p string) *notebook.Notebook { return document(code("", display("image/png", p))) },
	"markdown output": func(p string) *notebook.Notebook { return document(code("", display("text/markdown", p))) },
	"latex":           func(p string) *notebook.Notebook { return document(code("", display("text/latex", "$"+p+"$"))) },
	"javascript":      func(p string) *notebook.Notebook { return document(code("", display("application/javascript", p))) },
	"json":            func(p string) *notebook.Notebook { return document(code("", display("application/json", quoted(p)))) },
	"json key": func(p string) *notebook.Notebook {
		return document(code("", display("application/json", "{"+quoted(p)+":1}")))
	},
	"vega": func(p string) *notebook.Notebook {
		return document(code("", display("application/vnd.vegalite.v5+json", `{"a":`+quoted(p)+`}`)))
	},
	"plotly": func(p string) *notebook.Notebook {
		return document(code("", display("application/vnd.plotly.v1+json", `{"a":`+quoted(p)+`}`)))
	},
	"mermaid": func(p string) *notebook.Notebook { return document(code("", display("text/vnd.mermaid", p))) },
	"data table": func(p string) *notebook.Notebook {
		return document(code("", display(mimeTable, `{"schema":{"fields":[{"name":`+quoted(p)+`}]},"data":[{`+quoted(p)+`:`+quoted(p)+`}]}`)))
	},
	"chart": func(p string) *notebook.Notebook {
		c := code("", display(mimeTable, `{"data":[{`+quoted(p)+`:`+quoted(p)+`,"n":1},{`+quoted(p)+`:"x","n":2}]}`))
		c.Metadata["dx"] = notebook.Object{"0": notebook.Object{"view": "bar", "chart": notebook.Object{"dim1": p, "metric1": "n", "dim2": p}, "quire": notebook.Object{"sum": p}}}
		return document(c)
	},
	"chart of html": func(p string) *notebook.Notebook {
		c := code("", display("text/html", "<table><tr><th>a</th><th>n</th></tr><tr><td>"+p+"</td><td>1</td></tr></table>"))
		c.Metadata["dx"] = notebook.Object{"0": notebook.Object{"view": "hierarchy", "hierarchyType": p}}
		return document(c)
	},
	"map": func(p string) *notebook.Notebook {
		return document(code("", display("application/geo+json", `{"type":"Feature","properties":{"name":`+quoted(p)+`},"geometry":{"type":"Point","coordinates":[1,2]}}`)))
	},
	"unknown type": func(p string) *notebook.Notebook { return document(code("", display("text/x-"+p, p))) },
	"stream": func(p string) *notebook.Notebook {
		return document(code("", &notebook.Output{Type: notebook.Stream, Name: p, Text: p}))
	},
	"stream with colour": func(p string) *notebook.Notebook {
		return document(code("", &notebook.Output{Type: notebook.Stream, Text: "\x1b[31" + p + "\x1b]8;;" + p + "\x07" + p}))
	},
	"error": func(p string) *notebook.Notebook {
		return document(code("", &notebook.Output{Type: notebook.ErrorOutput, Ename: p, Evalue: p, Traceback: []string{p, "\x1b[31m" + p}}))
	},
	"alt": func(p string) *notebook.Notebook {
		o := display("image/png", "AAAA")
		o.Metadata = notebook.Object{"image/png": notebook.Object{"alt": p, "width": p}}
		return document(code("", o))
	},
	"attachment name": func(p string) *notebook.Notebook {
		c := prose("![a](attachment:" + p + ") <img src=\"attachment:" + p + "\">")
		c.Attachments = notebook.Object{p: notebook.Object{"image/png": "AAAA", "text/html": p}}
		return document(c)
	},
	"attachment data": func(p string) *notebook.Notebook {
		c := prose("![a](attachment:x) <img src=\"attachment:x\">")
		c.Attachments = notebook.Object{"x": notebook.Object{"image/png": p}}
		return document(c)
	},
	"widget": func(p string) *notebook.Notebook {
		nb := document(code("", display(mimeWidget, `{"model_id":"m"}`)))
		nb.Metadata["widgets"] = notebook.Object{"application/vnd.jupyter.widget-state+json": notebook.Object{"state": notebook.Object{
			"m": notebook.Object{"model_name": p, "state": notebook.Object{"value": p, "description": p}},
		}}}
		return nb
	},
	"metadata": func(p string) *notebook.Notebook {
		c := code("x = 1")
		c.ID = p
		c.Metadata = notebook.Object{"tags": []any{p, "parameters"}, "vscode": notebook.Object{"languageId": p}, "quire": notebook.Object{"reason": p}, "papermill": notebook.Object{"status": p}}
		nb := document(prose("x"), c)
		nb.Metadata = notebook.Object{
			"title": p, "authors": []any{p, notebook.Object{"name": p}}, "language_info": notebook.Object{"name": p},
			"kernelspec": notebook.Object{"display_name": p, "name": p},
			"papermill":  notebook.Object{"parameters": notebook.Object{p: p}, "input_path": p, "output_path": p, "start_time": p, "exception": true},
			"quire":      notebook.Object{"status": "failed", "reason": p, "run_id": p},
		}
		return nb
	},
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// attackOptions are the ways in which a page is made.
func attackOptions() map[string]Options {
	cache := NewCache(0)
	return map[string]Options{
		"served": {
			Cache:     cache,
			FrameURL:  func(int, int) string { return "https://frames.test/1" },
			OutputURL: func(int, int, string) string { return "/files/output" },
		},
		"standalone": {Standalone: true, Cache: cache},
		"images":     {Cache: cache, ImageURL: func(ref string) string { return "/files/" + ref }, LinkURL: func(ref string) string { return "/view/" + ref }},
	}
}

// optional are the carriers for which the options change what is written:
// addresses, frames, linked outputs. The others are tried one way only.
var optional = map[string]bool{"markdown": true, "markdown link": true, "html": true, "attachment name": true, "svg": true, "vega": true, "javascript": true, "metadata": true}

// TestAttacks puts every payload in every carrier and reads the page as a
// browser would: attacks.md, T1 to T5, T9, T10, T12, T14 to T23.
func TestAttacks(t *testing.T) {
	t.Parallel()
	all := payloads(t)
	for name, carrier := range carriers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for kind, opts := range attackOptions() {
				if kind != "served" && !optional[name] {
					continue // the options change nothing for this carrier
				}
				for i, p := range all {
					if testing.Short() && (i+len(name)+len(kind))%6 != 0 {
						continue // the quick loop takes a sixth of them, another one in each carrier
					}
					nb := carrier(p)
					for _, f := range inspect(render(t, nb, opts), len(nb.Cells)) {
						t.Errorf("%s: %.200q: %s", kind, p, f)
					}
				}
			}
		})
	}
}

// TestFaultsAreSeen shows that the check above can fail.
func TestFaultsAreSeen(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		`<script>1</script>`, `<img src="data:image/png;base64,AA" onerror=1>`, `<a href="javascript:1">x</a>`, `<img src="https://sink.test/x">`,
		`<img src=//sink.test/x>`, `<iframe src="https://frames.test/1" sandbox="allow-scripts allow-same-origin"></iframe>`, `<iframe src="https://frames.test/1"></iframe>`,
		`<svg><circle/></svg>`, `<p style="background:url(//sink)">`, `<form><input name=q></form>`, `<meta http-equiv=refresh content="0;url=//sink">`,
		`<link rel=stylesheet href=//sink/x.css>`, `<style>p{}</style>`, `<a href="https://sink.test">x</a>`, `<base href="//sink">`, `<p id=config>`,
		`<object data=x></object>`, `<math><maction>x</maction></math>`, `<input type=image>`, `<!-- x -->`, `<a href="//sink.test/">x</a>`,
	} {
		if len(faults("<!doctype html><html><head></head><body>"+bad+"</body></html>")) == 0 {
			t.Errorf("%s: no fault was seen", bad)
		}
	}
	if len(inspect(`<div class="q-columns"><main><section><div class="q-cellbody"></div></section><p>out</p></main></div>`, 1)) == 0 {
		t.Error("an element outside of its cell was not seen")
	}
}

// TestEveryField replaces each string of a notebook, one at a time, by markup
// (T5: the sixteen sinks of nbconvert).
func TestEveryField(t *testing.T) {
	t.Parallel()
	const payload = `"></script><script>__pwn=1</script><img src=x onerror=__pwn=1>`
	data, err := os.ReadFile("testdata/every.in.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	tried, rendered := 0, 0
	ways := attackOptions()
	try := func() {
		tried++
		changed, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		nb, err := notebook.Parse(changed)
		if err != nil {
			return // refused by the reader: never rendered
		}
		rendered++
		for kind, opts := range ways {
			for _, f := range inspect(render(t, nb, opts), len(nb.Cells)) {
				t.Errorf("string %d, %s: %s", tried, kind, f)
			}
		}
	}
	everyString(doc, payload, try)
	if rendered < 80 {
		t.Errorf("%d strings were replaced, %d rendered: the notebook is too small for the test", tried, rendered)
	}
}

// everyString calls try once for each string and key in doc, with it replaced.
func everyString(doc any, payload string, try func()) {
	switch v := doc.(type) {
	case []any:
		for i := range v {
			if s, ok := v[i].(string); ok {
				v[i] = payload
				try()
				v[i] = s
			}
			everyString(v[i], payload, try)
		}
	case map[string]any:
		for _, k := range sortedKeys(v) {
			val := v[k]
			if _, ok := val.(string); ok {
				v[k] = payload
				try()
				v[k] = val
			}
			everyString(val, payload, try)
			delete(v, k)
			v[payload] = val
			try()
			delete(v, payload)
			v[k] = val
		}
	}
}
