package viewer

import (
	"bufio"
	"bytes"
	"errors"
	"html"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"quire/internal/notebook"
	"quire/internal/problem"
)

func TestStatusAndLabels(t *testing.T) {
	t.Parallel()
	failed := code("boom()", &notebook.Output{Type: notebook.ErrorOutput, Ename: "KeyError", Evalue: "'fr'", Traceback: []string{"Traceback", "KeyError"}})
	pending := code("never()")
	pending.ExecutionCount = nil
	params := code("a = 1")
	params.Metadata["tags"] = []any{"parameters", "mine"}
	nb := document(prose("# A title\n\ntext"), params, failed, pending)
	nb.Metadata["papermill"] = notebook.Object{"exception": true, "duration": notebook.Number("192.4"), "end_time": "x", "parameters": notebook.Object{"country": "US"}}
	page := render(t, nb, Options{})
	for _, want := range []string{
		`aria-label="Cell 1, text"`, `aria-label="Cell 2, code, done"`, `aria-label="Cell 3, code, failed"`, `aria-label="Cell 4, code, not run"`,
		`<b>Parameters</b><span class="q-tag">mine</span>`, "3 m 12 s", ` at <a href="#cell-n3">cell 3</a>`, "<b>KeyError</b>: &#39;fr&#39;",
		"<summary>Traceback, 2 lines</summary>", "<dt>country</dt><dd><code>&#34;US&#34;</code></dd>", `id="q-code-off"`, "<title>A title</title>",
		`<h1 id="n-A-title">A title</h1>`, `<a class="q-l1" href="#n-A-title">A title</a>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Count(page, ">A title<") != 3 {
		t.Error("the title is shown again as a heading")
	}
}

func TestAnchors(t *testing.T) {
	t.Parallel()
	nb := document(withID("a", code("")), withID("a", code("")), withID(`"><x`, code("")), withID("n2", code("")), code(""))
	got := strings.Join(Anchors(nb), " ")
	if want := "cell-a cell-n2 cell-n3 cell-n4 cell-n5"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestLargeOutputsAreCut(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcde\n", 1<<16)
	table := "<table>" + strings.Repeat("<tr><td>x</td></tr>\n", 100_000) + "</table>"
	nb := document(code("", stream(big), display("text/html", table), display("text/plain", big), display("application/json", "["+strings.Repeat("1,", 100_000)+"1]"),
		&notebook.Output{Type: notebook.ErrorOutput, Ename: "E", Evalue: big, Traceback: []string{big}}))
	page := render(t, nb, Options{Fragment: true, OutputURL: func(int, int, string) string { return "/files/o" }})
	if len(page) > 8*DefaultMaxOutputBytes {
		t.Errorf("the page has %d bytes", len(page))
	}
	if n := strings.Count(page, "Load "); n != 5 {
		t.Errorf("%d links to the whole, want 5", n)
	}
	for _, f := range inspect(page, 1) {
		t.Error(f)
	}
}

// TestStreams checks that the head is on its way before a cell is rendered,
// and that an error of the writer stops the work.
func TestStreams(t *testing.T) {
	t.Parallel()
	nb := sizedNotebook(20 << 20)
	w := &flushWriter{}
	if err := Render(w, nb, Options{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.first, "<h1>") || strings.Contains(w.first, "<section") || w.flushes < 3 {
		t.Errorf("%d flushes; the first had %d bytes", w.flushes, len(w.first))
	}
	gone := errors.New("gone")
	failing := &failingWriter{err: gone}
	seen := 0
	opts := Options{OutputURL: func(int, int, string) string { seen++; return "" }}
	if err := Render(failing, nb, opts); !errors.Is(err, gone) || failing.writes != 1 || seen > 5 {
		t.Errorf("%v after %d writes and %d outputs", err, failing.writes, seen)
	}
}

type flushWriter struct {
	buf     bytes.Buffer
	first   string
	flushes int
}

func (w *flushWriter) Write(p []byte) (int, error) { return w.buf.Write(p) }

func (w *flushWriter) Flush() {
	if w.flushes++; w.flushes == 1 {
		w.first = w.buf.String()
	}
}

type failingWriter struct {
	err    error
	writes int
}

func (w *failingWriter) Write([]byte) (int, error) {
	w.writes++
	return 0, w.err
}

// TestMemory renders 20 MB and looks at what is alive on the way: a page must
// not be held in memory.
func TestMemory(t *testing.T) {
	nb := sizedNotebook(20 << 20)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := &peakWriter{}
	if err := Render(peak, nb, Options{}); err != nil {
		t.Fatal(err)
	}
	if grown := int64(peak.alive) - int64(before.HeapAlloc); grown > 10<<20 {
		t.Errorf("%d MB more were alive while a 20 MB notebook was rendered", grown>>20)
	}
}

type peakWriter struct {
	n     int
	alive uint64
}

func (w *peakWriter) Write(p []byte) (int, error) {
	if w.n += len(p); w.n > 4<<20 {
		w.n = 0
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.alive = max(w.alive, m.HeapAlloc)
	}
	return len(p), nil
}

func TestRenderCell(t *testing.T) {
	t.Parallel()
	nb := document(prose("one"), code("x = 1", stream("hi\n")))
	var b bytes.Buffer
	if err := RenderCell(&b, nb, 1, Options{}); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.HasPrefix(s, `<section class="q-cell q-code" id="cell-n2"`) || !strings.HasSuffix(s, "</section>\n") {
		t.Errorf("%s", s)
	}
	if err := RenderCell(&b, nb, 2, Options{}); problem.KindOf(err) != problem.NotFound {
		t.Errorf("a cell that is not there: %v", err)
	}
	if whole := render(t, nb, Options{}); !strings.Contains(whole, b.String()) {
		t.Error("the cell is not what the page holds")
	}
}

// TestWidgetFrame checks that a widget's frame has the models that it is made of
// and no others, that none of their text becomes an element, and that its script
// is this server's alone.
func TestWidgetFrame(t *testing.T) {
	t.Parallel()
	o := display(mimeWidget, `{"model_id":"box"}`)
	nb := document(code("", o))
	model := func(state string) notebook.Object {
		return notebook.Object{"model_name": "M", "state": notebook.Raw(state)}
	}
	nb.Metadata["widgets"] = notebook.Object{"application/vnd.jupyter.widget-state+json": notebook.Object{"state": notebook.Object{
		"box": model(`{"children":["IPY_MODEL_child"],"description":"</script><script>__pwn=1</script>"}`), "child": model(`{"description":"inner","outputs":[{"data":{"` + mimeWidget + `":{"model_id":"deep"}}}]}`),
		"deep": model(`{"layout":"IPY_MODEL_box"}`), "other": model(`{"value":"someone else's"}`),
	}}}
	var b bytes.Buffer
	if err := RenderFrame(&b, nb, o, "/static/"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"box":`, `"child":`, `"deep":`, "/static/widgets.", "/static/models.", "inner"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the frame lacks %s", want)
		}
	}
	if strings.Contains(b.String(), "someone else") || strings.Contains(b.String(), "<script>__pwn") {
		t.Errorf("the frame has what it must not have: %s", b.String())
	}
	if csp := FrameCSP(nb, o); !strings.Contains(csp, "script-src 'self';") || !strings.HasPrefix(csp, "sandbox allow-scripts;") {
		t.Errorf("its policy is %s", csp)
	}
	delete(nb.Metadata, "widgets")
	if err := RenderFrame(&b, nb, o, ""); problem.KindOf(err) != problem.NotFound {
		t.Errorf("a widget without state: %v", err)
	}
}

func TestRenderFrame(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := RenderFrame(&b, document(), display("text/html", "<p>x</p><script>draw()</script>"), ""); err != nil || !strings.Contains(b.String(), "<script>draw()</script>") {
		t.Errorf("%v: %s", err, b.String())
	}
	b.Reset()
	if err := RenderFrame(&b, document(), display("application/vnd.plotly.v1+json", `{"a":"</script><script>__pwn=1</script>"}`), "/static/"); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "</script>") != 3 || strings.Contains(b.String(), "<script>__pwn") {
		t.Errorf("the data ends its element: %s", b.String())
	}
	if err := RenderFrame(&b, document(), display("text/plain", "x"), ""); problem.KindOf(err) != problem.NotFound {
		t.Errorf("an output without script: %v", err)
	}
	for _, name := range regexp.MustCompile(`/static/([^"]+)`).FindAllStringSubmatch(b.String(), -1) {
		if packed, err := DrawScript(name[1]); err != nil || len(packed) < 100 {
			t.Errorf("%s: %d bytes, %v", name[1], len(packed), err)
		}
	}
	if _, err := DrawScript("draw.js"); problem.KindOf(err) != problem.NotFound {
		t.Errorf("a script of another name: %v", err)
	}
	if csp := FrameCSP(document(), display("application/vnd.plotly.v1+json", `{}`)); strings.Contains(csp, "unsafe-eval") || strings.Contains(csp, "script-src 'unsafe") || strings.Contains(csp, "allow-same-origin") {
		t.Error(csp)
	}
	if csp := FrameCSP(document(), display("text/html", "<script>1</script>")); !strings.HasPrefix(csp, "sandbox allow-scripts;") || strings.Contains(csp, "allow-same-origin") || strings.Contains(csp, "http") {
		t.Error(csp)
	}
}

func TestANSI(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"plain <b>", "plain &lt;b&gt;"},
		{"\x1b[31mred\x1b[0m x", `<span class="a-1">red</span> x`},
		{"\x1b[1;32;44mx\x1b[39my\x1b[m", `<span class="a-2 a-bg-4 a-b">x</span><span class="a-bg-4 a-b">y</span>`},
		{"\x1b[91mx\x1b[22;24m", `<span class="a-9">x</span>`},
		{"\x1b[38;5;196mx", `<span class="a-9">x</span>`},
		{"\x1b[38;5;241mx", `<span class="a-8">x</span>`},
		{"\x1b[38;2;10;200;10mx", `<span class="a-2">x</span>`},
		{"\x1b[7mx", `<span class="a-bg-7">x</span>`},
		{"a\x1b[2Kb\x1b[?25lc\x1b(Bd", "abcd"},
		{"\x1b]8;;https://sink.test\x1b\\link\x1b]8;;\x1b\\", "link"},
		{"\x1b]0;title\x07x", "x"},
		{"\x1b]never ends\nnext", "\nnext"},
		{"10%\r50%\r100%\ndone\r\n", "100%\ndone\n"},
		{"abc\b\bx", "ax"},
		{"\x1b[", ""},
		{"\x1b", ""},
		{"\x1b[999999999999999999999mx", "x"},
		{"\x01\x00", "\uFFFD\uFFFD"},
	} {
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		writeANSI(w, tt.in)
		_ = w.Flush()
		if b.String() != tt.want {
			t.Errorf("%q:\n got %q\nwant %q", tt.in, b.String(), tt.want)
		}
	}
}

func TestPython(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"def f(x): return None", `<span class="k">def</span> <span class="nf">f</span>(x): <span class="k">return</span> <span class="kc">None</span>`},
		{`f"a{b}" # c`, `<span class="s">f&#34;a{b}&#34;</span> <span class="c1"># c</span>`},
		{"'''a\nb''' + 1.5e-3", "<span class=\"s\">&#39;&#39;&#39;a\nb&#39;&#39;&#39;</span> <span class=\"o\">+</span> <span class=\"m\">1.5e-3</span>"},
		{"%time x\n!ls\na % b", "<span class=\"nd\">%time x</span>\n<span class=\"nd\">!ls</span>\na <span class=\"o\">%</span> b"},
		{"@dec\nclass A: pass", "<span class=\"nd\">@dec</span>\n<span class=\"k\">class</span> <span class=\"nc\">A</span>: <span class=\"k\">pass</span>"},
		{"x.print; match = 1", `x.print; match <span class="o">=</span> <span class="m">1</span>`},
		{"match x:\n  case 1:", "<span class=\"k\">match</span> x:\n  <span class=\"k\">case</span> <span class=\"m\">1</span>:"},
		{"'not closed\nx", "<span class=\"s\">&#39;not closed</span>\nx"},
	} {
		if got := highlightPython(tt.in); got != tt.want {
			t.Errorf("%q:\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

// stripTags returns the text of HTML that has spans only.
func stripTags(s string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "<")
		b.WriteString(before)
		if !ok {
			return html.UnescapeString(b.String())
		}
		_, s, _ = strings.Cut(rest, ">")
	}
}

func FuzzHighlight(f *testing.F) {
	for _, s := range []string{"def f(): pass", "'''", "r'\\'", "%%sql\nSELECT 1", "0x1e+5", "\"\\", "a\r\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if got := stripTags(highlightPython(in)); got != in {
			t.Errorf("%q became %q", in, got)
		}
	})
}

func TestCache(t *testing.T) {
	t.Parallel()
	c := NewCache(10_000)
	first := c.highlight("SELECT 1", "sql")
	if len(c.recent) != 1 || c.highlight("SELECT 1", "sql") != first || first != (*Cache)(nil).highlight("SELECT 1", "sql") {
		t.Errorf("%q, %d kept", first, len(c.recent))
	}
	for i := range 2000 {
		c.put([32]byte{byte(i), byte(i >> 8)}, strings.Repeat("x", 100))
	}
	if kept := len(c.recent) + len(c.older); kept > 200 {
		t.Errorf("%d kept", kept)
	}
}

func TestMathML(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{`x_1^2`, `<msubsup><mi>x</mi><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></msubsup>`},
		{`\frac{a}{b}`, `<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>`},
		{`\frac12 x^23`, `<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac><msup><mi>x</mi><mrow><mn>2</mn></mrow></msup><mn>3</mn>`},
		{`\sum_{i=1}^n i`, `<munderover><mo>∑</mo>`},
		{`\int_0^1`, `<msubsup><mo>∫</mo>`},
		{`f'(x)`, `<msup><mi>f</mi><mo>′</mo></msup>`},
		{`\mathbb{R}^n`, `<mi>ℝ</mi>`},
		{`\sqrt[3]{x}`, `<mroot><mrow><mi>x</mi></mrow><mrow><mn>3</mn></mrow></mroot>`},
		{`\begin{pmatrix}a&b\\c&d\end{pmatrix}`, `<mtr><mtd><mi>c</mi></mtd><mtd><mi>d</mi></mtd></mtr></mtable>`},
		{`\left( \frac{a}{b} \right]`, `<mo fence="true" stretchy="true">]</mo>`},
		{`\text{if } x < 0`, "<mtext>if\u00a0</mtext><mi>x</mi><mo>&lt;</mo>"},
		{`{a \over b}`, `<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>`},
		{`{n \choose k}`, `<mfrac linethickness="0"><mrow><mi>n</mi></mrow><mrow><mi>k</mi></mrow></mfrac>`},
		{`A \xrightarrow[g]{f} B`, `<munderover><mo stretchy="true" minsize="2em">→</mo><mrow><mi>g</mi></mrow><mrow><mi>f</mi></mrow></munderover>`},
		{`\textcolor{red}{x}`, `<mrow><mi>x</mi></mrow>`},
		{`\sum_{\substack{i \\ j}}`, `<mtable><mtr><mtd><mi>i</mi></mtd></mtr><mtr><mtd><mi>j</mi></mtd></mtr></mtable>`},
		{`\newcommand{\R}{\mathbb{R}} \R`, `<mi>ℝ</mi>`},
		{`\newcommand{\v}[2]{#1_{#2}} \v{x}{1}`, `<msub><mi>x</mi><mrow><mn>1</mn></mrow></msub>`},
		{`\def\a{b}\def\c{\a\a} \c`, `<mi>b</mi></mrow><mrow><mi>b</mi>`},
		{`\DeclareMathOperator{\Tr}{Tr} \Tr A`, `<mo>Tr</mo>`},
		{`a \lt b`, `<mo>&lt;</mo>`},
		{`\alpha \leq \infty`, `<mi>α</mi><mo>≤</mo><mi>∞</mi>`},
	} {
		got, ok := mathML(tt.in, false)
		if !ok || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %v: %s\nwant %s", tt.in, ok, got, tt.want)
		}
	}
	for _, bad := range []string{`\href{x}{y}`, `\unknown`, `{`, `}`, `\frac{a}`, `\left( x`, `\begin{pmatrix}a`, `\begin{x}\end{y}`, `\def\x{\x\x}\x`, `\def\x#1{a}\x`, `\newcommand{\x}[1]{#1#1}` + strings.Repeat(`\x{`, 60) + "a" + strings.Repeat("}", 60), `\begin{pmatrix}a \over b\end{pmatrix}`, `\newcommand{\x`, strings.Repeat("{", 100), strings.Repeat("x", maxFormulaBytes+1), `\text{\href{}}`, `a^{b`, `\`} {
		if got, ok := mathML(bad, false); ok {
			t.Errorf("%.40s: %s", bad, got)
		}
	}
}

func TestMathInText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		formulas int
	}{
		{"inline", "a $x$ b", 1},
		{"money", "from $5 to $6", 0},
		{"code", "`$x$` ``a`$y$``", 0},
		{"fence", "```\n$x$\n```\n$y$", 1},
		{"tilde fence", "~~~\n$x$\n~~~\n$y$", 1},
		{"escaped", `\$x\$`, 0},
		{"display", "$$\nx\n\ny\n$$", 1},
		{"environment", "\\begin{align}\na &= b \\\\\n- c\n\\end{align}", 1},
		{"parens", `\\(x\\) and \(y\)`, 2},
		{"emphasis in it", "$a_1 * b_2 * c$", 1},
		{"unknown command", `$\foo$`, 0},
		{"over a paragraph", "$a\n\nb$", 0},
	} {
		out, _ := RenderMarkdown(tt.in, Options{})
		if n := strings.Count(out, "<math"); n != tt.formulas {
			t.Errorf("%s: %d formulas, want %d: %s", tt.name, n, tt.formulas, out)
		}
		if strings.Contains(out, "qz") {
			t.Errorf("%s: a mark is left: %s", tt.name, out)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	payload := `"></script><script>__pwn=1</script><img src=x onerror=__pwn=1>`
	for _, tt := range []struct{ name, body, want string }{
		{"a.csv", "name,hours\ntv,1.5\n" + payload + ",x\n", `<td>tv</td><td class="q-num">1.5</td>`},
		{"a.tsv", "a\tb\n1\t2\n", `<th scope="col">b</th>`},
		{"empty.csv", "", "This file is empty."},
		{"big.csv", strings.Repeat("a,b\n", 5000), "The first 500 rows."},
		{"a.json", `{"k": [1, ` + quoted(payload) + `]}`, `<span class="k">k</span>: list`},
		{"bad.json", `{"k": `, `<pre>{&#34;k&#34;: </pre>`},
		{"a.md", "# T\n\n" + payload, `id="n-T"`},
		{"a.py", "x = 1\ny = '" + payload + "'\n", `<a id="q-L2" href="#q-L2">2</a>`},
		{"a.html", payload, "&lt;"},
		{"x.svg", "<svg onload=__pwn=1>", "data:image/svg+xml;base64,"},
		{"a.png", "\x89PNG", "data:image/png;base64,"},
		{"a.txt", "<html>" + payload, "&lt;html&gt;"},
		{"core", "\x00\x01", "not text"},
		{payload, payload, "&lt;script&gt;"},
	} {
		var b bytes.Buffer
		if err := RenderFile(&b, tt.name, strings.NewReader(tt.body), "", Options{}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !strings.Contains(b.String(), tt.want) {
			t.Errorf("%s: lacks %s: %s", tt.name, tt.want, b.String())
		}
		for _, f := range faults(b.String()) {
			t.Errorf("%s: %s", tt.name, f)
		}
	}
}
