package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		also     int
		ok       bool
		want     []string
		not      []string
	}{
		{
			name: "passed",
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}`,
			also: 2, ok: true,
			want: []string{"ok  \tp\t0.1s\n", "3 passed, 0 failed\n"},
			not:  []string{"noise"},
		},
		{
			name: "failed",
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"why\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}`,
			want: []string{"why\n", "0 passed, 1 failed\n"},
		},
		{
			name: "skipped",
			in:   `{"Action":"skip","Package":"p","Test":"TestA"}`,
			want: []string{"--- SKIP: p TestA", "0 passed, 1 failed\n"},
		},
		{
			name: "panicked",
			in: `{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"panic: help\n"}
{"Action":"fail","Package":"p"}`,
			want: []string{"panic: help\n", "1 passed, 1 failed\n"},
		},
		{
			name: "does not build",
			in: `{"Action":"build-output","ImportPath":"p","Output":"p.go:1: undefined\n"}
{"Action":"build-fail","ImportPath":"p"}
{"Action":"fail","Package":"p"}`,
			want: []string{"p.go:1: undefined\n", "0 passed, 1 failed\n"},
		},
		{
			name: "TestMain failed",
			in:   `{"Action":"fail","Package":"p"}`,
			want: []string{"0 passed, 1 failed\n"},
		},
		{
			name: "TestMain failed after another package",
			in:   `{"Action":"fail","Package":"o","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"p"}`,
			want: []string{"0 passed, 2 failed\n"},
		},
		{name: "nothing ran", in: "go: no such module\n", want: []string{"go: no such module\n", "no Go test ran\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			s := summary{out: &out, passed: tt.also, output: map[[2]string]*strings.Builder{}}
			if err := s.read(strings.NewReader(tt.in)); err != nil {
				t.Fatal(err)
			}
			if ok := s.finish(tt.also, 0); ok != tt.ok {
				t.Errorf("ok is %v", ok)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in\n%s", want, out.String())
				}
			}
			for _, not := range tt.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("%q is in\n%s", not, out.String())
				}
			}
		})
	}
}
