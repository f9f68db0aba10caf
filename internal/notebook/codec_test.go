package notebook

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/internal/problem"
)

func TestCellCodec(t *testing.T) {
	t.Parallel()
	n := 0
	for seed := range 300 {
		g := generator{rand.New(rand.NewPCG(6, uint64(seed)))}
		nb, err := Parse([]byte(g.notebook()))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range nb.Cells {
			n++
			line, err := MarshalCell(c)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.ContainsAny(line, "\n\r") {
				t.Fatalf("seed %d: a line end in %s", seed, line)
			}
			back, err := UnmarshalCell(line)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c, back, sameJSON); d != "" {
				t.Fatalf("seed %d (-cell +back):\n%s", seed, d)
			}
			for _, o := range c.Outputs {
				line, err := MarshalOutput(o)
				if err != nil {
					t.Fatal(err)
				}
				back, err := UnmarshalOutput(line)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(o, back, sameJSON); d != "" {
					t.Fatalf("seed %d (-output +back):\n%s", seed, d)
				}
			}
		}
	}
	if n < 300 {
		t.Errorf("only %d cells", n)
	}
}

// sameJSON compares Raw values by what they hold.
var sameJSON = cmp.Transformer("json", func(r Raw) string {
	w := writer{}
	w.rawValue(r)
	return string(w.buf)
})

func TestMarshalJSON(t *testing.T) {
	t.Parallel()
	c := NewCode("a\nb")
	c.ID = "x"
	c.Outputs = []*Output{{Type: Stream, Name: "stdout", Text: "<é>"}}
	b, err := json.Marshal(map[string]any{"cell": c})
	want := `{"cell":{"cell_type":"code","execution_count":null,"id":"x","metadata":{},"outputs":[{"name":"stdout","output_type":"stream","text":"` +
		"\\u003cé\\u003e" + `"}],"source":"a\nb"}}`
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v\nwant %s", b, err, want)
	}
}

func TestUnmarshalErrors(t *testing.T) {
	t.Parallel()
	if _, err := UnmarshalCell([]byte(`{"cell_type":"code"`)); err == nil || err.Error() != "reading a cell: line 1 (byte 19): the document ends too early: it is cut off" {
		t.Errorf("got %v", err)
	}
	if _, err := UnmarshalOutput([]byte(`[]`)); err == nil || err.Error() != "reading an output: []: want an object (line 1)" {
		t.Errorf("got %v", err)
	}
}

func TestNewOutput(t *testing.T) {
	t.Parallel()
	three := int64(3)
	for _, tt := range []struct {
		name, kind, content string
		want                *Output
	}{
		{"stream", "stream", `{"name":"stderr","text":"a\nb","x":1}`, &Output{Type: Stream, Name: "stderr", Text: "a\nb"}},
		{"stream without a name", "stream", `{"text":["a\n","b"]}`, &Output{Type: Stream, Name: "stdout", Text: "a\nb"}},
		{"error", "error", `{"ename":"E","evalue":"v","traceback":["t"],"status":"error"}`, &Output{Type: ErrorOutput, Ename: "E", Evalue: "v", Traceback: []string{"t"}}},
		{"bare error", "error", `{}`, &Output{Type: ErrorOutput, Traceback: []string{}}},
		{
			"result", "execute_result", `{"execution_count":3,"data":{"text/plain":["1\n","2"],"application/json":{"b": 1}},"metadata":{"a":1},"transient":{"display_id":"x"}}`,
			&Output{Type: ExecuteResult, ExecutionCount: &three, Metadata: Object{"a": Number("1")}, Data: MimeBundle{"text/plain": "1\n2", "application/json": Raw(`{"b": 1}`)}},
		},
		{
			"display update", "update_display_data", `{"data":{"image/png":"aGk="},"metadata":null}`,
			&Output{Type: DisplayData, Metadata: Object{}, Data: MimeBundle{"image/png": "aGk="}},
		},
		{
			"odd data", "display_data", `{"data":{"text/plain":5,"text/html":null,"image/png":{"a": 1},"text/latex":["a",1]},"metadata":{}}`,
			&Output{Type: DisplayData, Metadata: Object{}, Data: MimeBundle{"text/plain": "5", "image/png": `{"a": 1}`, "text/latex": `["a",1]`}},
		},
		{"no data", "display_data", `{}`, &Output{Type: DisplayData, Metadata: Object{}, Data: MimeBundle{}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			content := []byte(tt.content)
			got, err := NewOutput(tt.kind, content)
			if err != nil {
				t.Fatal(err)
			}
			clear(content) // nothing of it may be kept
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			nb := New()
			nb.Cells = []*Cell{NewCode("")}
			nb.Cells[0].Outputs = []*Output{got}
			if err := nb.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, tt := range []struct{ kind, content, want string }{
		{"status", `{}`, "reading a kernel's status message: is no output"},
		{"stream", `{"name":1,"text":""}`, "reading a kernel's stream message: name 1: want a string"},
		{"stream", `[]`, "reading a kernel's stream message: content []: want an object"},
		{"display_data", `{"data":[]}`, "reading a kernel's display_data message: data []: want an object"},
		{"error", `{"traceback":[1]}`, "reading a kernel's error message: traceback[0] 1: want a string"},
		{"stream", "{\"text\":\"\xff\"}", "reading a kernel's stream message: line 1, column 10 (byte 9): byte 0xff is not valid UTF-8"},
	} {
		_, err := NewOutput(tt.kind, []byte(tt.content))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || !problem.Is(err, problem.Invalid) {
			t.Errorf("%s %s: got %v, want %s", tt.kind, tt.content, err, tt.want)
		}
	}
}
