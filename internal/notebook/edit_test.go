package notebook

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNew(t *testing.T) {
	t.Parallel()
	nb := New()
	nb.Cells = append(nb.Cells, NewMarkdown("# A"), NewCode("x = 1"), NewRaw("r"))
	if err := nb.Validate(); err != nil {
		t.Error(err)
	}
	b, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(nb, back); d != "" {
		t.Errorf("read back (-wrote +read):\n%s", d)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	c := &Cell{Type: Code}
	if c.Tags() != nil || c.HasTag("a") {
		t.Errorf("tags %q of a bare cell", c.Tags())
	}
	c.AddTag("a")
	c.AddTag("b")
	c.AddTag("a")
	if got := c.Tags(); !slices.Equal(got, []string{"a", "b"}) || !c.HasTag("b") || c.HasTag("c") {
		t.Errorf("tags %q", got)
	}
	c.Metadata["tags"] = []string{"x"}
	if !c.HasTag("x") {
		t.Error("tags in a []string were not found")
	}
	c.SetTags(nil)
	if c.HasTag("x") || len(c.Tags()) > 0 {
		t.Errorf("tags %q after SetTags(nil)", c.Tags())
	}
}

func TestTaggedCells(t *testing.T) {
	t.Parallel()
	nb := New()
	if nb.ParametersCell() != -1 || nb.InjectedCell() != -1 {
		t.Error("found a cell in an empty notebook")
	}
	for _, tag := range []string{"", ParametersTag, InjectedTag, ParametersTag} {
		c := NewCode("")
		if tag != "" {
			c.AddTag(tag)
		}
		nb.Cells = append(nb.Cells, c)
	}
	if p, i := nb.ParametersCell(), nb.InjectedCell(); p != 1 || i != 2 {
		t.Errorf("parameters in %d, injected in %d, want 1 and 2", p, i)
	}
}

func TestLanguageAndKernel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ metadata, language, kernel string }{
		{`{}`, "", ""},
		{`{"kernelspec":{"name":"ir","display_name":"R","language":"R"}}`, "R", "ir"},
		{`{"kernelspec":{"name":"x","display_name":"","language":"a"},"language_info":{"name":"b"}}`, "b", "x"},
	} {
		nb, err := Parse([]byte(`{"nbformat":4,"nbformat_minor":5,"cells":[],"metadata":` + tt.metadata + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if nb.Language() != tt.language || nb.KernelName() != tt.kernel {
			t.Errorf("%s: %q, %q", tt.metadata, nb.Language(), nb.KernelName())
		}
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	in := `{"nbformat":4,"nbformat_minor":2,"metadata":{},"cells":[{"cell_type":"raw","metadata":{},"source":""},` +
		`{"cell_type":"raw","id":"keep","metadata":{},"source":""},{"cell_type":"raw","id":"keep","metadata":{},"source":""},` +
		`{"cell_type":"raw","id":7,"metadata":{},"source":""},{"cell_type":"raw","id":"not valid","metadata":{},"source":""}]}`
	nb, err := Parse([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	nb.Upgrade(counter())
	var ids []string
	for _, c := range nb.Cells {
		ids = append(ids, c.ID)
	}
	want := []string{"00000001", "keep", "00000004", "00000002", "00000003"}
	if !slices.Equal(ids, want) || nb.Minor != 5 {
		t.Errorf("ids %q in 4.%d, want %q", ids, nb.Minor, want)
	}
	if err := nb.Validate(); err != nil {
		t.Error(err)
	}
	nb.Cells = append(nb.Cells, nb.Cells[0].Clone())
	nb.Upgrade(func() string { return "keep" }) // repeats itself
	if err := nb.Validate(); err != nil {
		t.Error(err)
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/nbformat-test4.5.in.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	nb, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	nb.Metadata["deep"] = Object{"list": []any{Object{"a": "b"}}, "s": []string{"x"}, "o": []Object{{"k": "v"}}, "m": map[string]any{"z": "z"}}
	before, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	c := nb.Clone()
	if d := cmp.Diff(nb, c); d != "" {
		t.Fatalf("the clone differs:\n%s", d)
	}
	deep := c.Metadata.Object("deep")
	deep["list"].([]any)[0].(Object)["a"] = "changed"
	deep["s"].([]string)[0] = "changed"
	deep["o"].([]Object)[0]["k"] = "changed"
	deep["m"].(map[string]any)["z"] = "changed"
	for _, cell := range c.Cells {
		cell.Source = "changed"
		cell.AddTag("changed")
		if cell.ExecutionCount != nil {
			*cell.ExecutionCount = 99
		}
		for _, o := range cell.Outputs {
			o.Text, o.Ename = "changed", "changed"
			for i := range o.Traceback {
				o.Traceback[i] = "changed"
			}
			for mime := range o.Data {
				o.Data[mime] = "changed"
			}
			if o.Metadata != nil {
				o.Metadata["changed"] = true
			}
		}
	}
	after, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if d := firstDifference(after, before); d != "" {
		t.Errorf("a change of the clone changed the original: %s", d)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	minus := int64(-1)
	for _, tt := range []struct {
		name string
		do   func(nb *Notebook)
		want string
	}{
		{"fine", func(*Notebook) {}, ""},
		{"same ids", func(nb *Notebook) { nb.Cells[1].ID = nb.Cells[0].ID }, `cell 2: id "one": cell 1 has the same`},
		{"no id", func(nb *Notebook) { nb.Cells[1].ID = "" }, "cell 2: id is missing"},
		{"no id in 4.4", func(nb *Notebook) { nb.Cells[1].ID = ""; nb.Minor = 4 }, ""},
		{"cell type", func(nb *Notebook) { nb.Cells[0].Type = "x" }, `cell 1: cell_type "x": want one of code, markdown, raw`},
		{"cell type from the future", func(nb *Notebook) { nb.Cells[0].Type = "x"; nb.Minor = 6 }, ""},
		{"output type", func(nb *Notebook) { nb.Cells[0].Outputs[1].Type = "strem" }, `cell 1: outputs[1]: output_type "strem": want one of`},
		{"count", func(nb *Notebook) { nb.Cells[0].ExecutionCount = &minus }, "cell 1: execution_count -1: want 0 or more"},
		{"result count", func(nb *Notebook) {
			nb.Cells[0].Outputs[1] = &Output{Type: ExecuteResult, ExecutionCount: &minus}
		}, "cell 1: outputs[1]: execution_count -1: want 0 or more"},
		{"data", func(nb *Notebook) { nb.Cells[0].Outputs[1].Data["text/plain"] = Number("1") }, "cell 1: outputs[1]: data: text/plain is a number: want a string"},
		{"two", func(nb *Notebook) { nb.Cells[0].ID, nb.Cells[1].ID = "", "" }, "cell 1: id is missing (and 1 more)"},
		{"title", func(nb *Notebook) { nb.Metadata["title"] = 3 }, "metadata: title is a number: want a string"},
		{"title in 4.1", func(nb *Notebook) { nb.Metadata["title"] = 3; nb.Minor = 1 }, ""},
		{"execution", func(nb *Notebook) { nb.Cells[0].Metadata["execution"] = Object{"iopub.status.busy": nil} }, "cell 1: metadata: execution: iopub.status.busy is null: want a string"},
		{"nil cell", func(nb *Notebook) { nb.Cells[0] = nil }, "cell 1: is nil"},
		{"name", func(nb *Notebook) { nb.Cells[0].Metadata["name"] = "a\nb" }, `cell 1: metadata: name "a\nb": want one line`},
		{"scrolled", func(nb *Notebook) { nb.Cells[0].Metadata["scrolled"] = "x" }, `cell 1: metadata: scrolled is a string: want true, false or "auto"`},
		{"format", func(nb *Notebook) { nb.Format = 3 }, "nbformat 3: want 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nb := New()
			nb.Cells = []*Cell{NewCode(""), NewMarkdown("")}
			nb.Cells[0].ID, nb.Cells[1].ID = "one", "two"
			nb.Cells[0].Outputs = []*Output{{Type: Stream, Name: "stdout"}, {Type: DisplayData, Data: MimeBundle{}}}
			tt.do(nb)
			err := nb.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestWriteAcceptsGoValues(t *testing.T) {
	t.Parallel()
	w := writer{}
	one := int64(1)
	w.any(Object{
		"a": 1, "b": int64(2), "c": 2.5, "d": math.NaN(), "e": []string{"x"}, "f": map[string]any{"z": nil}, "g": true, "h": 1e16, "i": math.Inf(-1),
		"j": []Object{{}}, "k": json.Number("1.0"), "l": json.RawMessage(`[ 1 ]`), "m": &one, "n": Number("-0"), "o": "bad \xff",
	})
	want := `{"a":1,"b":2,"c":2.5,"d":NaN,"e":["x"],"f":{"z":null},"g":true,"h":1e+16,"i":-Infinity,"j":[{}],"k":1.0,"l":[1],"m":1,"n":0,"o":"bad ` + "\ufffd\"}"
	if w.err != nil || string(w.buf) != want {
		t.Errorf("got %s, %v\nwant %s", w.buf, w.err, want)
	}
	for name, bad := range map[string]any{
		"type": struct{}{}, "number": Number("1x"), "empty number": Number(""), "string number": Number(`"1"`), "raw": Raw("{"), "empty raw": Raw(""), "two values": Raw("1 2"),
	} {
		nb := New()
		nb.Cells = []*Cell{NewMarkdown(""), NewMarkdown("")}
		nb.Cells[1].Metadata["x"] = bad
		if err := nb.Write(&failing{after: 1 << 20}); err == nil || !strings.HasPrefix(err.Error(), "cell 2: ") {
			t.Errorf("%s: got %v, want an error for cell 2", name, err)
		}
	}
	loop := Object{}
	loop["self"] = loop
	if w := (writer{}); true {
		if w.any(loop); w.err == nil {
			t.Error("an object that holds itself was written")
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	if i, ok := Number("12").Int64(); !ok || i != 12 {
		t.Errorf("%d, %t", i, ok)
	}
	if _, ok := Number("1.0").Int64(); ok {
		t.Error("1.0 is no whole number in Python either")
	}
	if f := Number("-Infinity").Float64(); !math.IsInf(f, -1) {
		t.Error(f)
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	o := Object{"a": Object{"s": "x"}, "r": Raw(` {"s": "y"}`)}
	o.Set("a", "t", "u")
	o.Set("new", "k", "v")
	if o.Object("a").String("t") != "u" || o.Object("new").String("k") != "v" || o.Object("none").String("x") != "" {
		t.Errorf("got %v", o)
	}
	v, err := o["r"].(Raw).Value()
	if err != nil || v.(Object).String("s") != "y" {
		t.Errorf("got %v, %v", v, err)
	}
}
