package notebook

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// compareWithRead holds OpenBook against Read: the same notebook, or the same
// error.
func compareWithRead(t testing.TB, data []byte) (split bool) {
	t.Helper()
	want, wantErr := Parse(data)
	b, err := OpenBook(bytes.NewReader(data), int64(len(data)))
	if fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("OpenBook: %v, Read: %v", err, wantErr)
	}
	if err != nil {
		return false
	}
	got, err := b.Whole()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Cells) != len(want.Cells) {
		t.Fatalf("%d cells, want %d", len(got.Cells), len(want.Cells))
	}
	for i, c := range got.Cells {
		c.ID = want.Cells[i].ID // made anew where it was missing
	}
	got.Warnings = want.Warnings // the order differs
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("the book differs from the notebook:\n%.2000s", data)
	}
	return b.r != nil
}

func TestBookIsTheNotebook(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.ipynb")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	split := 0
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if compareWithRead(t, data) {
			split++
		}
	}
	if split == 0 {
		t.Error("no notebook was read as a book")
	}
}

func TestBookLayouts(t *testing.T) {
	t.Parallel()
	md := func(id string) string { return `{"cell_type":"markdown","id":"` + id + `","metadata":{},"source":"x"}` }
	rest := `"metadata":{},"nbformat":4,"nbformat_minor":5}`
	big := strings.Repeat(`a\\\"b{[,`, 40_000)
	for name, tt := range map[string]struct {
		json  string
		split bool
	}{
		"empty":                 {`{"cells":[],` + rest, true},
		"spaces":                {"{ \n\"cells\" : [ \n ] , " + rest, true},
		"cells last":            {`{"metadata":{"cells":[1,{"cells":[]}]},"nbformat":4,"nbformat_minor":5,"cells":[` + md("a") + " ,\n" + md("b") + `]}`, true},
		"brackets in strings":   {`{"cells":[{"cell_type":"raw","id":"a","metadata":{},"source":"` + big + `"}],` + rest, true},
		"value called cells":    {`{"metadata":{},"x":"cells","cells":[` + md("a") + `],"nbformat":4,"nbformat_minor":5}`, true},
		"no cells":              {`{` + rest, false},
		"cells twice":           {`{"cells":[` + md("a") + `],"cells":[],` + rest, false},
		"cells twice, escaped":  {`{"cells":[` + md("a") + `],"c\u0065lls":[` + md("b") + `],` + rest, false},
		"no list":               {`{"cells":{},` + rest, false},
		"comma first":           {`{"cells":[,` + md("a") + `],` + rest, false},
		"comma last":            {`{"cells":[` + md("a") + `,],` + rest, false},
		"no comma":              {`{"cells":[` + md("a") + md("b") + `],` + rest, false},
		"a number":              {`{"cells":[7],` + rest, false},
		"a string":              {`{"cells":["a"],` + rest, false},
		"cut":                   {`{"cells":[` + md("a"), false},
		"cut in a string":       {`{"cells":[{"cell_type":"raw`, false},
		"more after":            {`{"cells":[],` + rest + "}", false},
		"wrong bracket":         {`{"cells":[` + md("a") + `},` + rest, false},
		"deep":                  {`{"cells":[` + strings.Repeat("[", 20_000), false},
		"old":                   {`{"worksheets":[{"cells":[]}],"metadata":{},"nbformat":3,"nbformat_minor":0}`, false},
		"old with cells":        {`{"cells":[],"worksheets":[],"metadata":{},"nbformat":3,"nbformat_minor":0}`, false},
		"missing and double ID": {`{"cells":[` + md("a") + "," + md("a") + `,{"cell_type":"raw","metadata":{},"source":""}],` + rest, true},
		"nothing":               {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if split := compareWithRead(t, []byte(tt.json)); split != tt.split {
				t.Errorf("read as a book: %t, want %t", split, tt.split)
			}
		})
	}
}

// TestBookHoldsLittle: large outputs are not in the notebook, errors are.
func TestBookHoldsLittle(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 2*keptOutputs)
	data := []byte(nb45(code(`{"output_type":"stream","name":"stdout","text":"` + large + `"},` +
		`{"output_type":"error","ename":"E","evalue":"v","traceback":[]}`)))
	b, err := OpenBook(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Notebook.Cells[0].Outputs; len(got) != 1 || got[0].Type != ErrorOutput {
		t.Errorf("kept: %v", got)
	}
	if c, err := b.Cell(0); err != nil || len(c.Outputs) != 2 {
		t.Errorf("%v, %v", c, err)
	}
	copy(data, bytes.Repeat([]byte(" "), len(data)))
	if _, err := b.Cell(0); err == nil || !strings.Contains(err.Error(), "reading cell 1 again") {
		t.Errorf("of a file that changed: %v", err)
	}
}

func FuzzBook(f *testing.F) {
	f.Add([]byte(nb45(code(""))))
	f.Add([]byte(`{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}`))
	f.Fuzz(func(t *testing.T, data []byte) { compareWithRead(t, data) })
}
