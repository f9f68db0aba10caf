package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/internal/notebook"
	"quire/internal/parameter"
)

func object(t *testing.T, text string) orderedObject {
	t.Helper()
	var o orderedObject
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func testRows(t *testing.T) []resultRow {
	t.Helper()
	took := 1.25
	return []resultRow{
		{Output: "a.ipynb", Status: "succeeded", Seconds: &took, Parameters: object(t, `{"z": "FR", "n": 1, "same": true}`), Records: object(t, `{"rows": 42}`)},
		{Output: "b.ipynb", Status: "failed", Parameters: object(t, `{"z": "=1+1", "n": -2, "same": true}`), Records: object(t, `{}`), Error: "ValueError: x\x1b[2J\ny"},
	}
}

func TestWriteTable(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if err := writeTable(&out, &console{w: &errs}, testRows(t), false); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"STATUS     TIME   z     n   rows  OUTPUT",
		"succeeded  1.2 s  FR    1   42    a.ipynb",
		"failed     -      =1+1  -2  -     b.ipynb", "",
	}, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if got := errs.String(); got != "b.ipynb: ValueError: x y\n" {
		t.Errorf("said %q", got)
	}
	out.Reset()
	if err := writeTable(&out, &console{w: &errs}, testRows(t), true); err != nil || !strings.Contains(out.String(), "same") {
		t.Errorf("with all: %v\n%s", err, out.String())
	}
}

func TestWriteCSVDefusesFormulas(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := writeCSV(&out, testRows(t)); err != nil {
		t.Fatal(err)
	}
	want := "output,status,seconds,started,z,n,same,rows,error\n" +
		"a.ipynb,succeeded,1.25,,FR,1,true,42,\n" +
		"b.ipynb,failed,,,'=1+1,-2,true,,\"ValueError: x\x1b[2J\ny\"\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFillReadsPapermillsOutput(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, metadata string
		want           resultRow
	}{
		{
			"papermill, done", `{"papermill": {"parameters": {"x": NaN, "y": [1, 2]}, "duration": 2.5, "end_time": "t", "exception": null, "start_time": "s"}}`,
			resultRow{Status: "succeeded", Started: "s", Parameters: orderedObject{{"x", json.RawMessage(`"NaN"`)}, {"y", json.RawMessage(`[1,2]`)}}},
		},
		{
			"papermill, failed", `{"papermill": {"exception": true, "end_time": "t", "duration": 2.5}}`,
			resultRow{Status: "failed"},
		},
		{
			"papermill, killed", `{"papermill": {"exception": null, "end_time": null, "duration": null}}`,
			resultRow{Status: "unfinished"},
		},
		{
			"ours", `{"papermill": {"exception": true, "end_time": "t"}, "quire": {"status": "kernel_died", "reason": "out of memory",
			  "records": [{"name": "a", "value": 1}, {"name": "b", "value": 2}, {"name": "a", "value": 3}]}}`,
			resultRow{Status: "kernel_died", Error: "out of memory", Records: orderedObject{{"a", json.RawMessage(`3`)}, {"b", json.RawMessage(`2`)}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nb, err := notebook.Parse([]byte(`{"cells": [], "metadata": ` + tt.metadata + `, "nbformat": 4, "nbformat_minor": 5}`))
			if err != nil {
				t.Fatal(err)
			}
			var row resultRow
			row.fill(nb)
			if row.Status != tt.want.Status || row.Started != tt.want.Started || row.Error != tt.want.Error {
				t.Errorf("got %+v, want %+v", row, tt.want)
			}
			if diff := cmp.Diff(tt.want.Records, row.Records); diff != "" && len(tt.want.Records)+len(row.Records) > 0 {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.want.Parameters, row.Parameters); diff != "" && len(tt.want.Parameters)+len(row.Parameters) > 0 {
				t.Error(diff)
			}
		})
	}
}

func TestPlanSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sets := make([]parameter.Set, 2)
	sets[0].Put("c", parameter.String("FR"))
	sets[1].Put("c", parameter.String("US"))
	for _, tt := range []struct {
		name, output string
		want         []string
		folder, err  string
	}{
		{"folder", "/out", []string{"/out/run-001.ipynb", "/out/run-002.ipynb"}, "/out", ""},
		{"folder with a slash", "/out/", []string{"/out/run-001.ipynb", "/out/run-002.ipynb"}, "/out", ""},
		{"template", "/by/x-{c}.ipynb", []string{"/by/x-FR.ipynb", "/by/x-US.ipynb"}, "/by", ""},
		{"one file", "/one.ipynb", nil, "", "many notebooks"},
		{"the same name twice", "/{d}.ipynb", nil, "", "runs 1 and 2 of the sweep would both write"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := runJob{config: &runConfig{}, paths: runPaths{"in.ipynb", dir + tt.output}}
			job.given.Put("d", parameter.String("same"))
			plan, err := job.planSweep(sets)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error is %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.want {
				tt.want[i] = dir + tt.want[i]
			}
			if diff := cmp.Diff(tt.want, plan.outputs); diff != "" || plan.folder != dir+tt.folder {
				t.Errorf("folder %s\n%s", plan.folder, diff)
			}
		})
	}
}
