package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/internal/notebook"
)

// TestAgainstPapermill runs the same notebooks through Papermill itself and
// compares cells, tags, outputs and metadata keys. QUIRE_TEST_PAPERMILL names
// its program; without it nothing is registered.
func TestAgainstPapermill(t *testing.T) {
	program := os.Getenv("QUIRE_TEST_PAPERMILL")
	if program == "" {
		return
	}
	name, _, _ := strings.Cut(os.Getenv("QUIRE_TEST_KERNELS"), ",")
	if name == "" {
		t.Fatal("QUIRE_TEST_PAPERMILL needs QUIRE_TEST_KERNELS")
	}
	// Cases in which Papermill's output is untrue are left out: dead kernels,
	// timeouts, input, and the states of a cell that ends the run as a success.
	untrue := []string{"input", "raises-exception allowed"}
	for _, tt := range papermillCases {
		if slices.Contains(untrue, tt.name) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			compare(t, program, name, tt)
		})
	}
}

func compare(t *testing.T, program, kernelName string, tt realCase) {
	dir := t.TempDir()
	in, theirs := filepath.Join(dir, "in.ipynb"), filepath.Join(dir, "theirs.ipynb")
	nb := book(kernelName, tt.cells...)
	data, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, data, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{in, theirs}
	for name, v := range tt.req.Parameters.All() {
		args = append(args, "-p", name, v.String())
	}
	if tt.req.ReportMode {
		args = append(args, "--report-mode")
	}
	text, err := exec.Command(program, args...).CombinedOutput()
	res, ours, _ := runReal(t, nb, tt.req)
	if (err == nil) != res.Status.OK() {
		t.Fatalf("papermill: %v, quire: %s\n%s", err, res.Status, text)
	}
	want, got := shape(readBook(t, theirs), tt.status == Stopped), shape(ours, tt.status == Stopped)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("papermill (-) and quire (+):\n%s", diff)
	}
}

// shape is what must be the same of two output notebooks.
func shape(nb *notebook.Notebook, stopped bool) []string {
	all := []string{"papermill: " + strings.Join(keys(nb.Metadata.Object("papermill")), " ")}
	for _, c := range nb.Cells {
		lines := []string{string(c.Type), c.Source, strings.Join(c.Tags(), ","), strings.Join(keys(c.Metadata.Object("papermill")), " ")}
		if !stopped { // we say that such a cell has not failed
			lines = append(lines, cellStatus(c))
		}
		lines = append(lines, strings.Join(keys(c.Metadata.Object("execution")), " "))
		if c.ExecutionCount != nil {
			lines = append(lines, "counted")
		}
		stream := ""
		for _, o := range c.Outputs {
			if o.Type == notebook.Stream {
				stream += o.Name + ":" + o.Text // Papermill keeps a stream's messages apart
				continue
			}
			lines = append(lines, string(o.Type)+" "+o.Ename+" "+o.Evalue+" "+strings.Join(keys(notebook.Object(o.Data)), " "))
		}
		all = append(all, strings.Join(append(lines, stream), "|"))
	}
	return all
}

func keys(o notebook.Object) []string {
	list := make([]string, 0, len(o))
	for k := range o {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
