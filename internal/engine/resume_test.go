package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// testResume fails a run after its second checkpoint and goes on from there,
// changes things, and damages the kept files.
func testResume(t *testing.T, name string) {
	dir := t.TempDir()
	path, log := filepath.Join(dir, "out.ipynb"), filepath.Join(dir, "log")
	cells := []string{
		"parameters:::n = 1",
		"open(r'" + log + "', 'a').write('load ')\nimport quire, math\ndata = {'n': n, 'list': [1, 2]}\nquire.checkpoint('data')\nquire.record('rows', 2)",
		"open(r'" + log + "', 'a').write('model ')\nmodel = [math.sqrt(x) for x in (1, 4)]\nquire.checkpoint('data', 'model')",
		"import os\nassert not os.environ.get('BREAK'), 'broken'\nprint(data, model, math.pi > 3)",
	}
	run := func(resume bool, env string, set parameter.Set, edit ...string) (*Result, error) {
		use := append([]string(nil), cells...)
		if len(edit) > 0 {
			use[1] = edit[0]
		}
		req := Request{
			Source: book(name, use...), OutputPath: path, Output: NewFile(path, FileOptions{}), Parameters: set,
			Checkpoints: CheckpointsBeside(path), Env: []string{"BREAK=" + env},
		}
		if resume {
			nb, _, err := ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			req.Resume = &Resume{Previous: nb}
		}
		return Run(context.Background(), req)
	}
	logged := func() string {
		data, _ := os.ReadFile(log)
		_ = os.Remove(log)
		return strings.TrimSpace(string(data))
	}
	set := params("n", 5)

	if res, err := run(false, "1", set); err != nil || res.Status != Failed || logged() != "load model" {
		t.Fatalf("first run: %v %v", res.Status, err)
	}
	res, err := run(true, "", set)
	if err != nil || res.Status != Succeeded {
		t.Fatalf("resumed: %s (%s), %v", res.Status, res.Reason, err)
	}
	if got := logged(); got != "" {
		t.Errorf("cells before the checkpoint ran again: %q", got)
	}
	out := readBook(t, path)
	if got := texts(out.Cells[4]); got[0] != "{'n': 5, 'list': [1, 2]} [1.0, 2.0] True\n" {
		t.Errorf("the rest shows %q", got)
	}
	if diff := cmp.Diff([]string{done, done, done, done, done}, statuses(out)); diff != "" {
		t.Errorf("cell states (-want +got):\n%s", diff)
	}
	if *out.Cells[4].ExecutionCount != 5 || out.Cells[2].Metadata.Object("quire")["resumed"] != true || res.Cells.Resumed != 4 || len(res.Records) != 1 {
		t.Errorf("count %d, cell %v, counts %+v", *out.Cells[4].ExecutionCount, out.Cells[2].Metadata["quire"], res.Cells)
	}

	// A resumed run can be resumed again; a changed parameter or cell starts over.
	if res, err := run(true, "", set); err != nil || res.Cells.Resumed != 4 || logged() != "" {
		t.Errorf("resumed again: %+v, %v", res.Cells, err)
	}
	if res, err := run(true, "", params("n", 6)); err != nil || res.Status != Succeeded || logged() != "load model" || len(res.Warnings) == 0 {
		t.Errorf("with another parameter: %s %v", res.Status, err)
	}
	if res, err := run(true, "", params("n", 6), cells[1]+"\n# edited"); err != nil || res.Status != Succeeded || logged() != "load model" {
		t.Errorf("with another cell: %s %v", res.Status, err)
	}

	// A damaged file of the last checkpoint: the one before it serves.
	kept, err := filepath.Glob(filepath.Join(CheckpointsBeside(path), "model-*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept files %v, %v: want those of this run only", kept, err)
	}
	if err := os.WriteFile(kept[0], []byte("[9]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res, err := run(true, "", params("n", 6), cells[1]+"\n# edited"); err != nil || res.Status != Succeeded || logged() != "model" {
		t.Errorf("with a damaged file: %s %v", res.Status, err)
	}
}

func TestVerifyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("good", 0o600)
	write("open", 0o666)
	if err := os.Symlink("good", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for _, tt := range []struct {
		name, file, sum string
		bytes           int64
		ok              bool
	}{
		{"good", "good", sum, 3, true},
		{"hash", "good", strings.Repeat("0", 64), 3, false},
		{"size", "good", sum, 4, false},
		{"others may write", "open", sum, 3, false},
		{"link", "link", sum, 3, false},
		{"outside", "../good", sum, 3, false},
		{"empty", "", sum, 3, false},
		{"missing", "none", sum, 3, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := verifyFile(dir, tt.file, tt.sum, tt.bytes); (err == nil) != tt.ok {
				t.Errorf("error %v, want ok %v", err, tt.ok)
			}
		})
	}
}

// TestResumeNeedsPython refuses other languages.
func TestResumeNeedsPython(t *testing.T) {
	t.Parallel()
	_, _, _, err := runFake(t, Request{Language: "R", Resume: &Resume{Previous: notebook.New()}, Checkpoints: t.TempDir()}, "print a")
	if problem.KindOf(err) != problem.Invalid || !strings.Contains(err.Error(), "needs a Python kernel") {
		t.Errorf("error %v", err)
	}
}
