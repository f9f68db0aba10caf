package notebook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// The tests in this file ask a real Python nbformat, when QUIRE_TEST_PYTHON
// names an interpreter that has it. make test always does.

type python struct {
	in  io.Writer
	out *bufio.Reader
}

type pythonAnswer struct {
	Out   json.RawMessage `json:"out"`
	Valid bool            `json:"valid"`
	Error string          `json:"error"`
}

// startPython returns nil when QUIRE_TEST_PYTHON is not set.
func startPython(t *testing.T) *python {
	t.Helper()
	name := os.Getenv("QUIRE_TEST_PYTHON")
	if name == "" {
		t.Log("QUIRE_TEST_PYTHON is not set: only the goldens were compared")
		return nil
	}
	cmd := exec.Command(name, "testdata/want.py", "--serve")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("want.py: %v", err)
		}
	})
	return &python{in: in, out: bufio.NewReaderSize(out, 1<<20)}
}

func (p *python) ask(t *testing.T, kind, text string) pythonAnswer {
	t.Helper()
	q, err := json.Marshal([]string{kind, text})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(append(q, '\n')); err != nil {
		t.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var a pythonAnswer
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatalf("%v in %.200s", err, line)
	}
	return a
}

// text returns an answer's output, which is one string.
func (a pythonAnswer) text(t *testing.T) string {
	t.Helper()
	var s string
	if err := json.Unmarshal(a.Out, &s); err != nil {
		t.Fatalf("%v in %.200s", err, a.Out)
	}
	return s
}

// compare reads doc in both and says how they differ, "" when they agree.
func compare(t *testing.T, p *python, doc string) string {
	t.Helper()
	a := p.ask(t, "read", doc)
	nb, err := parse([]byte(doc), counter())
	valid := err == nil && len(nb.Warnings) == 0
	switch {
	case a.Error != "" && valid:
		return "Python refuses it: " + a.Error
	case a.Error != "" || err != nil && !a.Valid:
		return ""
	case err != nil:
		return "Python takes it, we say: " + err.Error()
	case valid != a.Valid && !isOld(doc):
		return fmt.Sprintf("valid for Python: %t, warnings of ours: %q", a.Valid, nb.Warnings)
	}
	for _, w := range nb.Warnings {
		if strings.Contains(w, "taken for") || strings.Contains(w, "left out") {
			return ""
		}
	}
	got, err := nb.Bytes()
	if err != nil {
		return err.Error()
	}
	return firstDifference(got, []byte(a.text(t)))
}

// isOld reports whether doc is in a version before 4, whose schema is not held.
func isOld(doc string) bool {
	nb := struct {
		Nbformat int `json:"nbformat"`
	}{}
	return json.Unmarshal([]byte(doc), &nb) == nil && nb.Nbformat < 4
}

func TestPythonAgreesOnCorpus(t *testing.T) {
	t.Parallel()
	p := startPython(t)
	if p == nil {
		return
	}
	for name, doc := range corpus(t) {
		if d := compare(t, p, doc); d != "" && refused[name] == "" && mended[name] == "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func corpus(t testing.TB) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.in.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		docs[strings.TrimSuffix(filepath.Base(path), ".in.ipynb")] = string(b)
	}
	return docs
}

// rounds returns how many random documents to try: QUIRE_TEST_ROUNDS, or n.
func rounds(n int) int {
	if r, err := strconv.Atoi(os.Getenv("QUIRE_TEST_ROUNDS")); err == nil {
		return r
	}
	return n
}

func TestPythonAgreesOnRandomNotebooks(t *testing.T) {
	t.Parallel()
	p := startPython(t)
	if p == nil {
		return
	}
	for seed := range rounds(400) {
		g := generator{rand.New(rand.NewPCG(1, uint64(seed)))}
		if d := compare(t, p, g.notebook()); d != "" {
			t.Errorf("seed %d: %s", seed, d)
		}
	}
}

func TestPythonAgreesOnMutations(t *testing.T) {
	t.Parallel()
	p := startPython(t)
	if p == nil {
		return
	}
	docs := corpus(t)
	var names []string
	for name := range docs {
		// Of an old notebook that is wrong nbformat only says so: nothing to compare.
		if len(docs[name]) < 20_000 && refused[name] == "" && mended[name] == "" && !isOld(docs[name]) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for seed := range rounds(1500) {
		g := generator{rand.New(rand.NewPCG(2, uint64(seed)))}
		name := names[g.IntN(len(names))]
		doc := docs[name]
		if g.IntN(2) == 0 {
			name, doc = "random", g.notebook()
		}
		mutant, what := g.mutate(t, doc)
		if d := compare(t, p, mutant); d != "" && !knownDeviation(d) {
			t.Errorf("seed %d, %s, %s: %s", seed, name, what, d)
		}
	}
}

// knownDeviation reports the cases in which we differ on purpose: in a minor
// version newer than ours nbformat allows every cell_type and output_type that
// is none of the known ones, numbers too, and
// does not miss the id that it gives them; and it keeps an id that is "".
func knownDeviation(difference string) bool {
	return strings.HasPrefix(difference, "valid for Python: true") && strings.Contains(difference, "id is missing") ||
		strings.HasSuffix(difference, `"   \"id\": \"\","`) ||
		strings.HasPrefix(difference, "Python takes it") && strings.Contains(difference, "want a string") &&
			(strings.Contains(difference, "cell_type ") || strings.Contains(difference, "output_type "))
}

func TestPythonAgreesOnJSON(t *testing.T) {
	t.Parallel()
	p := startPython(t)
	if p == nil {
		return
	}
	for seed := range rounds(1500) {
		g := generator{rand.New(rand.NewPCG(3, uint64(seed)))}
		text := g.jsonText(4)
		a := p.ask(t, "json", text)
		if a.Error != "" {
			t.Fatalf("seed %d: %s: %.300s", seed, a.Error, text)
		}
		want := a.text(t)
		wr := writer{pretty: true}
		wr.rawValue(Raw(text))
		if d := firstDifference(wr.buf, []byte(want)); d != "" || wr.err != nil {
			t.Errorf("seed %d: Raw %.300s: %v %s", seed, text, wr.err, d)
		}
		v, err := Raw(text).Value()
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		wr = writer{pretty: true}
		wr.any(v)
		if d := firstDifference(wr.buf, []byte(want)); d != "" || wr.err != nil {
			t.Errorf("seed %d: Value %.300s: %v %s", seed, text, wr.err, d)
		}
	}
}

func TestPythonAgreesOnLines(t *testing.T) {
	t.Parallel()
	p := startPython(t)
	if p == nil {
		return
	}
	for seed := range rounds(300) {
		g := generator{rand.New(rand.NewPCG(4, uint64(seed)))}
		s := g.text(40)
		quoted := string(appendCompactString(nil, s))
		var want []string
		if err := json.Unmarshal(p.ask(t, "lines", quoted).Out, &want); err != nil {
			t.Fatal(err)
		}
		var got []string
		for rest := s; rest != ""; {
			n := firstLine(rest)
			got = append(got, rest[:n])
			rest = rest[n:]
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("lines of %q: got %q, want %q", s, got, want)
		}
	}
}

// A generator makes random notebooks and JSON.
type generator struct{ *rand.Rand }

var pieces = []string{
	"a", "x = 1", " ", "\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\u0085", "\u2028", "\u2029",
	"é", "漢字", "🙂", "\"", "\\", "/", "\t", "\b", "\x00", "\x1f", "\x7f", "\u00a0", "\ufeff", "\u200b", "</script>", "\ufffd",
}

func (g generator) text(most int) string {
	var b strings.Builder
	for range g.IntN(most) {
		b.WriteString(pieces[g.IntN(len(pieces))])
	}
	return b.String()
}

func (g generator) pick(list ...string) string { return list[g.IntN(len(list))] }

// quote writes a JSON string, sometimes with needless escapes.
func (g generator) quote(s string) string {
	if g.IntN(3) > 0 {
		return string(appendCompactString(nil, s))
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '/':
			b.WriteString(`\/`)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// multiline writes text as a string or as a list of pieces of it.
func (g generator) multiline(s string) string {
	if g.IntN(2) == 0 {
		return g.quote(s)
	}
	var items []string
	runes := []rune(s)
	for len(runes) > 0 {
		n := 1 + g.IntN(len(runes))
		items = append(items, g.quote(string(runes[:n])))
		runes = runes[n:]
	}
	return "[" + strings.Join(items, g.pick(",", ", ", "\n,\t")) + "]"
}

func (g generator) number() string {
	switch g.IntN(9) {
	case 0:
		return g.pick("0", "-0", "1", "-1", "NaN", "Infinity", "-Infinity", "1e5", "1E400", "-1e400", "1e-400", "0.0", "-0.0",
			"1.0", "1e16", "1e15", "123456789012345680.0", "0.0001", "0.00001", "1.10", "100e-2", "5e-324", "1e22", "2.5E+3")
	case 1:
		return strconv.FormatInt(g.Int64()-g.Int64(), 10)
	case 2:
		return strconv.Itoa(1+g.IntN(99)) + strings.Repeat("7", g.IntN(40))
	case 3:
		return strconv.FormatFloat(g.NormFloat64(), 'g', -1, 64)
	case 4:
		return strconv.FormatFloat(g.ExpFloat64(), 'e', g.IntN(20), 64)
	case 5:
		return strconv.FormatFloat(float64(g.IntN(100000))/1000, 'f', g.IntN(6), 64)
	default:
		return strconv.FormatFloat(g.Float64()*float64(g.Uint64()), 'g', 1+g.IntN(18), 64)
	}
}

func (g generator) jsonText(depth int) string {
	ws := g.pick("", "", " ", "\n\t")
	switch n := g.IntN(9); {
	case n == 0 && depth > 0:
		items := make([]string, g.IntN(5))
		for i := range items {
			items[i] = g.jsonText(depth - 1)
		}
		return ws + "[" + ws + strings.Join(items, ","+ws) + "]" + ws
	case n <= 3 && depth > 0:
		items := make([]string, g.IntN(6))
		for i := range items {
			items[i] = g.quote(g.pick("a", "b", "é", "/", "", "ab", "🙂", "\ufffd", g.text(3))) + ws + ":" + g.jsonText(depth-1)
		}
		return ws + "{" + ws + strings.Join(items, ws+",") + ws + "}" + ws
	case n <= 5:
		return ws + g.number()
	case n == 6:
		return g.pick("true", "false", "null") + ws
	}
	return ws + g.quote(g.text(8)) + ws
}

// object writes members in a random order.
func (g generator) object(members ...string) string {
	var kept []string
	for _, m := range members {
		if m != "" {
			kept = append(kept, m)
		}
	}
	g.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
	return "{" + strings.Join(kept, ",") + "}"
}

// maybe returns s one time out of n.
func (g generator) maybe(n int, s string) string {
	if g.IntN(n) == 0 {
		return s
	}
	return ""
}

func (g generator) list(most int, item func() string) string {
	items := make([]string, g.IntN(most))
	for i := range items {
		items[i] = item()
	}
	return "[" + strings.Join(items, ",") + "]"
}

func (g generator) bundle() string {
	return g.object(
		g.maybe(2, `"text/plain":`+g.multiline(g.text(9))),
		g.maybe(3, `"text/html":`+g.multiline(g.text(9))),
		g.maybe(4, `"image/png":`+g.multiline("aGVsbG8=\n")),
		g.maybe(4, `"image/svg+xml":`+g.multiline(g.text(5))),
		g.maybe(4, `"application/javascript":`+g.multiline(g.text(5))),
		g.maybe(3, `"application/json":`+g.jsonText(3)),
		g.maybe(4, `"application/vnd.x.v1+json":`+g.jsonText(4)),
		g.maybe(6, `"application/pdf":`+g.multiline(g.text(5))),
	)
}

func (g generator) output() string {
	count := `"execution_count":` + g.pick("null", "1", "42")
	meta := `"metadata":` + g.object(g.maybe(3, `"image/png":{"width":`+g.number()+`}`), g.maybe(3, `"x":`+g.jsonText(2)))
	switch g.IntN(4) {
	case 0:
		return g.object(`"output_type":"stream"`, `"name":`+g.pick(`"stdout"`, `"stderr"`), `"text":`+g.multiline(g.text(20)))
	case 1:
		return g.object(`"output_type":"display_data"`, meta, `"data":`+g.bundle())
	case 2:
		return g.object(`"output_type":"execute_result"`, count, meta, `"data":`+g.bundle())
	}
	return g.object(`"output_type":"error"`, `"ename":`+g.quote(g.text(3)), `"evalue":`+g.quote(g.text(5)),
		`"traceback":`+g.list(4, func() string { return g.quote(g.text(6)) }))
}

func (g generator) cell(minor, n int) string {
	kind := g.pick("code", "markdown", "raw")
	meta := g.object(
		g.maybe(3, `"tags":["parameters"]`),
		g.maybe(5, `"trusted":true`),
		g.maybe(5, `"jupyter":{"source_hidden":true}`),
		g.maybe(5, `"scrolled":`+g.pick("true", "false", `"auto"`)),
		g.maybe(5, `"name":"some name"`),
		g.maybe(3, `"extra":`+g.jsonText(3)),
	)
	members := []string{`"cell_type":"` + kind + `"`, `"metadata":` + meta, `"source":` + g.multiline(g.text(20))}
	if minor >= 5 {
		members = append(members, fmt.Sprintf(`"id":"cell-%d"`, n))
	}
	if kind == "code" {
		members = append(members, `"execution_count":`+g.pick("null", "3"), `"outputs":`+g.list(4, g.output))
	} else {
		members = append(members, g.maybe(3, `"attachments":`+g.object(
			g.maybe(2, `"a.png":`+g.bundle()), g.maybe(2, `"b.svg":`+g.bundle()))))
	}
	return g.object(members...)
}

func (g generator) notebook() string {
	minor := g.IntN(6)
	n := 0
	return g.object(
		`"nbformat":4`,
		fmt.Sprintf(`"nbformat_minor":%d`, minor),
		`"metadata":`+g.object(
			g.maybe(2, `"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"}`),
			g.maybe(2, `"language_info":{"name":"python","codemirror_mode":{"name":"ipython","version":3}}`),
			g.maybe(5, `"title":`+g.quote(g.text(4))),
			g.maybe(5, `"signature":"sha256:0"`),
			g.maybe(5, `"orig_nbformat":3`),
			g.maybe(5, `"authors":[{"name":"A"}]`),
			g.maybe(3, `"widgets":`+g.jsonText(4)),
		),
		`"cells":`+g.list(5, func() string { n++; return g.cell(minor, n) }),
	)
}

// mutate changes one random place of a document and says which.
func (g generator) mutate(t *testing.T, doc string) (mutant, what string) {
	t.Helper()
	var tree any
	dec := json.NewDecoder(strings.NewReader(strings.NewReplacer("-Infinity", "1", "Infinity", "2", "NaN", "3").Replace(doc)))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	var spots []func() string
	collect(g, tree, "", &spots)
	what = spots[g.IntN(len(spots))]()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		t.Fatal(err)
	}
	return b.String(), what
}

func (g generator) other() any {
	return []any{
		nil, true, "", "text", "a,b", json.Number("5"), json.Number("-1"), json.Number("2.0"), json.Number("0"),
		[]any{},
		[]any{"a", "b"},
		[]any{"a", "a"},
		[]any{json.Number("1")},
		map[string]any{},
		map[string]any{"a": "b"},
		map[string]any{"a": json.Number("1")},
	}[g.IntN(16)]
}

// collect lists everything that can be done to one place of the tree.
func collect(g generator, v any, at string, spots *[]func() string) {
	switch v := v.(type) {
	case map[string]any:
		keys := sortedKeys(v)
		for _, k := range keys {
			path := at + "/" + k
			*spots = append(*spots, func() string { v[k] = g.other(); return fmt.Sprintf("%s = %v", path, v[k]) })
			*spots = append(*spots, func() string { delete(v, k); return "without " + path })
			collect(g, v[k], path, spots)
		}
		known := []string{"id", "attachments", "outputs", "execution_count", "tags", "name", "kernelspec", "unknown", "title", "execution", "jupyter", "collapsed", "scrolled", "format", "text"}
		*spots = append(*spots, func() string {
			k := known[g.IntN(len(known))]
			v[k] = g.other()
			return fmt.Sprintf("%s/%s = %v", at, k, v[k])
		})
	case []any:
		for i := range v {
			path := fmt.Sprintf("%s[%d]", at, i)
			*spots = append(*spots, func() string { v[i] = g.other(); return fmt.Sprintf("%s = %v", path, v[i]) })
			collect(g, v[i], path, spots)
		}
	}
}
