package engine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quire/internal/kernel"
	"quire/internal/notebook"
	"quire/internal/parameter"
)

// TestRealKernels runs the cases that need a real kernel. QUIRE_TEST_KERNELS
// names the kernels that must be there; without it nothing is registered.
func TestRealKernels(t *testing.T) {
	names := os.Getenv("QUIRE_TEST_KERNELS")
	if names == "" {
		return
	}
	for _, name := range strings.Split(names, ",") {
		spec, err := kernel.Finder{}.Find(name)
		if err != nil {
			t.Fatalf("QUIRE_TEST_KERNELS asks for %s: %v", name, err)
		}
		if spec.Language == "python" {
			t.Run(name, func(t *testing.T) { pythonCases(t, name) })
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testLanguage(t, spec)
		})
	}
}

// pythonCases are the tests on a Python kernel.
func pythonCases(t *testing.T, name string) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, kernelName string)
	}{
		{"simple", testSimple},
		{"interrupt", testInterrupt},
		{"secrets", testSecrets},
		{"retries", testRetries},
		{"autosave", testAutosave},
		{"widgets", testWidgets},
		{"resume", testResume},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, name)
		})
	}
	for _, tt := range slices.Concat(papermillCases, ownCases) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			testCase(t, name, tt)
		})
	}
}

// testLanguage runs a kernel of another language: parameters reach it, its
// errors fail the run, and so does its death.
func testLanguage(t *testing.T, spec kernel.Spec) {
	code, ok := map[string][2]string{
		"R":          {"cat(msg)", "stop('no')"},
		"typescript": {"console.log(msg)", "throw new Error('no')"},
		"bash":       {"echo $msg", "no-such-command"},
	}[spec.Language]
	if !ok {
		t.Fatalf("no code for a kernel of %s", spec.Language)
	}
	nb := book(spec.Name, "", code[0], code[1], code[0])
	nb.Metadata["language_info"] = notebook.Object{"name": spec.Language}
	nb.Metadata["kernelspec"] = notebook.Object{"name": spec.Name, "display_name": spec.Name, "language": spec.Language}
	res, out, _ := runReal(t, nb, Request{Parameters: params("msg", "Hällo '$HOME' \"x\"")})
	if res.Status != Failed || res.Error.Source != code[1] {
		t.Fatalf("status %s, error %+v (%s)", res.Status, res.Error, res.Reason)
	}
	if got := texts(out.Cells[3]); len(got) == 0 || strings.TrimSpace(got[0]) != `Hällo '$HOME' "x"` {
		t.Errorf("printed %q", got)
	}
	if got := statuses(out); !slices.Equal(got, []string{"completed", "completed", "completed", "failed", "pending"}) {
		t.Errorf("statuses %v", got)
	}
}

// book makes a notebook of code cells; a cell "tag,tag: source" has tags.
func book(kernelName string, cells ...string) *notebook.Notebook {
	nb := notebook.New()
	nb.Metadata["kernelspec"] = notebook.Object{"name": kernelName, "display_name": kernelName, "language": "python"}
	nb.Metadata["language_info"] = notebook.Object{"name": "python"}
	for _, text := range cells {
		c := notebook.NewCode(text)
		if tags, source, ok := strings.Cut(text, ":::"); ok {
			c = notebook.NewCode(source)
			list := strings.Split(tags, ",")
			if list[0] == "md" {
				c, list = notebook.NewMarkdown(source), list[1:]
			}
			c.SetTags(list)
		}
		nb.Cells = append(nb.Cells, c)
	}
	return nb
}

// runReal runs nb into a file of the test and reads that file back.
func runReal(t *testing.T, nb *notebook.Notebook, req Request) (*Result, *notebook.Notebook, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.ipynb")
	req.Source, req.InputPath, req.OutputPath = nb, "in.ipynb", path
	if req.Output == nil {
		req.Output = NewFile(path, FileOptions{})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	res, err := Run(ctx, req)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return res, readBook(t, path), path
}

func readBook(t *testing.T, path string) *notebook.Notebook {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	nb, err := notebook.Parse(data)
	if err != nil {
		t.Fatalf("the output does not read back: %v", err)
	}
	if err := nb.Validate(); err != nil {
		t.Errorf("the output is not valid: %v", err)
	}
	return nb
}

// statuses are the cells' papermill states in order, markers left out.
func statuses(nb *notebook.Notebook) []string {
	var all []string
	for _, c := range nb.Cells {
		if !c.HasTag(errorMarkerTag) {
			all = append(all, cellStatus(c))
		}
	}
	return all
}

func params(pairs ...any) parameter.Set {
	var s parameter.Set
	for i := 0; i < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		switch v := pairs[i+1].(type) {
		case string:
			s.Put(name, parameter.String(v))
		case int:
			s.Put(name, parameter.Int(int64(v)))
		case float64:
			s.Put(name, parameter.Float(v))
		}
	}
	return s
}

func testSimple(t *testing.T, name string) {
	nb := book(name, "parameters:::msg = None", "print(msg)", "21*2")
	res, out, path := runReal(t, nb, Request{Parameters: params("msg", "Hello")})
	if res.Status != Succeeded || res.Error != nil {
		t.Fatalf("status %s, error %v", res.Status, res.Error)
	}
	if got, want := out.Cells[1].Source, "# Parameters\nmsg = \"Hello\"\n"; got != want {
		t.Errorf("injected cell %q, want %q", got, want)
	}
	if got := out.Cells[2].Outputs[0].Text; got != "Hello\n" {
		t.Errorf("printed %q", got)
	}
	if got := out.Cells[3].Outputs[0].Data["text/plain"]; got != "42" {
		t.Errorf("result %v", got)
	}
	if got := statuses(out); !slices.Equal(got, []string{"completed", "completed", "completed", "completed"}) {
		t.Errorf("statuses %v", got)
	}
	if _, err := os.Stat(journalName(path)); err == nil {
		t.Error("the journal is still there")
	}
}
