package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/internal/kernel/kerneltest"
	"quire/internal/parameter"
)

func TestParseGrid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, text string
		want             []string
		err              string
	}{
		{"product", "g.yaml", "a: [1, 2]\nb: [x, y]\n", []string{"{'a': 1, 'b': 'x'}", "{'a': 1, 'b': 'y'}", "{'a': 2, 'b': 'x'}", "{'a': 2, 'b': 'y'}"}, ""},
		{"scalar", "g.yaml", "a: [1, 2]\nb: x\n", []string{"{'a': 1, 'b': 'x'}", "{'a': 2, 'b': 'x'}"}, ""},
		{"list", "g.yaml", "- {a: 1}\n- {a: 2, b: z}\n", []string{"{'a': 1}", "{'a': 2, 'b': 'z'}"}, ""},
		{"json list", "g.json", `[{"a": 1}, {"a": 2}]`, []string{"{'a': 1}", "{'a': 2}"}, ""},
		{"empty", "g.yaml", "", nil, "empty grid"},
		{"no values", "g.yaml", "a: []", nil, "a has no values"},
		{"list of scalars", "g.yaml", "- 1", nil, "item 1 is a int"},
		{"not YAML", "g.yaml", "a: [", nil, "g.yaml"},
		{"too large", "g.yaml", "a: [" + strings.Repeat("1,", 999) + "1]\nb: [" + strings.Repeat("1,", 999) + "1]", nil, "over 100000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sets, err := ParseGrid(tt.file, []byte(tt.text))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range sets {
				got = append(got, strings.ReplaceAll(s.Value().String(), `"`, `'`))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sets (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSweep runs six notebooks, two at once, of which one fails.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var sets []parameter.Set
	for i := range 6 {
		sets = append(sets, params("n", i, "text", "=cmd()"))
	}
	s := &Sweep{
		Base: Request{
			Source:  book("fake", "parameters:::n = 0", `iopub display_data {"data": {"application/x-quire-record": "{\"name\": \"rows\", \"value\": 5}"}, "metadata": {}}`),
			Kernels: fakeKernels(t, kerneltest.Options{}), Parameters: params("base", "b"),
		},
		Sets: sets, Jobs: 2,
		Prepare: func(i int, req *Request) error {
			req.OutputPath = filepath.Join(dir, fmt.Sprintf("out-%d.ipynb", i))
			req.Output = NewFile(req.OutputPath, FileOptions{})
			if i == 2 {
				req.Source = book("fake", "error Boom went off")
			}
			return nil
		},
	}
	res, err := s.Run(context.Background())
	if err != nil || res.Status != Failed || res.Failures != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	for i, run := range res.Runs {
		want := Succeeded
		if i == 2 {
			want = Failed
		}
		if run.Status != want || run.Index != i || (want == Succeeded && len(run.Records) != 1) {
			t.Errorf("run %d: %+v", i, run)
		}
		readBook(t, run.Output)
	}
	var table, object bytes.Buffer
	if err := res.WriteCSV(&table); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(table.String(), "\n")
	if lines[0] != "run,status,seconds,output,param.base,param.n,param.text,record.rows,error" ||
		!strings.Contains(lines[1], ",b,0,'=cmd(),5,") || !strings.Contains(lines[3], "Boom: went off") {
		t.Errorf("table:\n%s", table.String())
	}
	if err := res.WriteJSON(&object); err != nil || !json.Valid(object.Bytes()) {
		t.Errorf("JSON: %v", err)
	}
}

// TestSweepStops starts nothing after a failure when asked to.
func TestSweepStops(t *testing.T) {
	t.Parallel()
	s := &Sweep{
		Base: Request{Source: book("fake", "error Boom x"), Kernels: fakeKernels(t, kerneltest.Options{})},
		Sets: make([]parameter.Set, 5), StopOnFailure: true,
	}
	res, err := s.Run(context.Background())
	if err != nil || res.Failures != 1 || res.Runs[1].Status != NotStarted {
		t.Errorf("%+v, %v", res, err)
	}
}
