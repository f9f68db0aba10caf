package notebook

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/*.want.ipynb with testdata/want.py (QUIRE_TEST_PYTHON names its Python)")

// counter returns ids that count up, as testdata/want.py makes them.
func counter() func() string {
	n := 0
	return func() string {
		n++
		return fmt.Sprintf("%08x", n)
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	if *update {
		python := os.Getenv("QUIRE_TEST_PYTHON")
		if python == "" {
			fmt.Fprintln(os.Stderr, "-update: QUIRE_TEST_PYTHON must name a Python with nbformat")
			os.Exit(2)
		}
		if out, err := exec.Command(python, "testdata/want.py").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "testdata/want.py: %v\n%s", err, out)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

// refused are the notebooks that Read refuses, with what it says. Python's
// nbformat lets the last two pass with a logged error.
var refused = map[string]string{
	"nbformat-test3_no_worksheets":           "worksheets is missing: want a list of worksheets",
	"nbformat-test3_worksheet_with_no_cells": "worksheet without cells: want a list of cells (line 8)",
	"nbformat-invalid":                       `cell 3: cell_type "heading": want one of code, markdown, raw (line 15)`,
	"nbformat-v4_5_invalid_metadata":         "metadata: kernelspec is a string: want an object",
}

// mended are the notebooks without a field that every notebook has: Python's
// nbformat refuses the first and leaves the second as it is, Read puts the field in.
var mended = map[string]string{
	"nbformat-test3_no_metadata": "metadata is missing: taken for empty",
	"nbformat-no_min_version":    "nbformat_minor is missing: taken for 0",
}

func TestGolden(t *testing.T) {
	t.Parallel()
	inputs, err := filepath.Glob("testdata/*.in.ipynb")
	if err != nil || len(inputs) < 50 {
		t.Fatalf("%d golden notebooks, %v", len(inputs), err)
	}
	for _, path := range inputs {
		name := strings.TrimSuffix(filepath.Base(path), ".in.ipynb")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			nb, err := parse(in, counter())
			if want, ok := refused[name]; ok {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("got %v, want an error that says %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := nb.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if want, ok := mended[name]; ok {
				if len(nb.Warnings) == 0 || nb.Warnings[0] != want {
					t.Errorf("warnings %q, want %q", nb.Warnings, want)
				}
				sameAgain(t, got)
				return
			}
			want, err := os.ReadFile(strings.TrimSuffix(path, ".in.ipynb") + ".want.ipynb")
			if err != nil {
				t.Fatal(err)
			}
			if d := firstDifference(got, want); d != "" {
				t.Errorf("written differently from nbformat: %s", d)
			}
			sameAgain(t, got)
		})
	}
}

// sameAgain checks that reading and writing what was written changes nothing.
func sameAgain(t *testing.T, written []byte) {
	t.Helper()
	nb, err := Parse(written)
	if err != nil {
		t.Fatalf("reading what was written: %v", err)
	}
	again, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if d := firstDifference(again, written); d != "" {
		t.Errorf("read and written again: %s", d)
	}
}

func firstDifference(got, want []byte) string {
	if bytes.Equal(got, want) {
		return ""
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: got %.200q, want %.200q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}
