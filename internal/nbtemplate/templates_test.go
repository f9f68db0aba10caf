package nbtemplate_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/db/sqlite"
	"quire/internal/nbtemplate"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/storage/mem"
)

var ann, bob = auth.User{Name: "ann"}, auth.User{Name: "bob"}

const report = `{"cells":[
{"cell_type":"markdown","id":"t","metadata":{},"source":"# Weekly report"},
{"cell_type":"code","id":"p","metadata":{"tags":["parameters"]},"execution_count":null,"outputs":[],"source":"country: str = \"US\"  # one of: US, FR\nday: date\ntoken = \"\"  # secret"},
{"cell_type":"code","id":"w","metadata":{},"execution_count":null,"outputs":[],"source":"print(country)"}],
"metadata":{"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"}},"nbformat":4,"nbformat_minor":5}`

type bundle struct {
	*testing.T
	templates *nbtemplate.Templates
	volume    *contents.Volume
}

func setup(t *testing.T) *bundle {
	t.Helper()
	dir := t.TempDir()
	d, err := sqlite.Open(t.Context(), filepath.Join(dir, "q.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	volume, err := contents.Open(t.Context(), contents.Config{
		Dir: filepath.Join(dir, "files"), Blobs: &contents.Blobs{Store: mem.New(mem.Config{})}, Versions: d, Trust: d,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = volume.Close() })
	for _, u := range []auth.User{ann, bob} {
		if err := volume.AddWorkspace(u.Name); err != nil {
			t.Fatal(err)
		}
	}
	b := &bundle{T: t, volume: volume, templates: nbtemplate.New(nbtemplate.Config{
		Store: d, Blobs: &contents.Blobs{Store: mem.New(mem.Config{})}, Volume: volume, Now: func() time.Time { return time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC) },
	})}
	b.save("users/ann/report.ipynb", report)
	return b
}

func (b *bundle) save(path, text string) {
	b.Helper()
	if _, err := b.volume.Save(b.Context(), ann, path, strings.NewReader(text), contents.SaveOptions{Plain: true}); err != nil {
		b.Fatal(err)
	}
}

func (b *bundle) publish(p nbtemplate.Publication) (nbtemplate.Template, bool) {
	b.Helper()
	p.Name, p.Notebook = "report", "users/ann/report.ipynb"
	t, created, err := b.templates.Publish(b.Context(), ann, p)
	if err != nil {
		b.Fatal(err)
	}
	return t, created
}

func TestVersionsNeverChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, created := b.publish(nbtemplate.Publication{Roles: []string{"data analyst"}, Tags: []string{" weekly ", ""}})
	if !created || one.Version.Number != 1 || one.Version.Title != "Weekly report" || one.Owner != "ann" || len(one.Version.Tags) != 1 {
		t.Fatalf("published %+v, created %t", one, created)
	}
	names := ""
	for _, p := range one.Version.Schema.Parameters {
		names += p.Name + " "
	}
	if names != "country day token " || !one.Version.Schema.Parameters[1].Required || !one.Version.Schema.Parameters[2].Secret {
		t.Fatalf("schema %+v", one.Version.Schema)
	}
	if _, created = b.publish(nbtemplate.Publication{Roles: []string{"data analyst"}, Tags: []string{"weekly"}, Note: "nothing"}); created {
		t.Fatal("publishing the same again made a version")
	}
	b.save("users/ann/report.ipynb", strings.Replace(report, "print(country)", "print(2)", 1))
	two, created := b.publish(nbtemplate.Publication{Note: "prints 2"})
	if !created || two.Version.Number != 2 {
		t.Fatalf("the changed notebook is %+v, created %t", two.Version, created)
	}
	for number, want := range map[int]string{0: "print(2)", 1: "print(country)", 2: "print(2)"} {
		_, source, err := b.templates.Source(t.Context(), bob, "report", number)
		if err != nil || !strings.Contains(string(source), want) {
			t.Errorf("version %d: %v, without %s", number, err, want)
		}
	}
	all, err := b.templates.Versions(t.Context(), bob, "report")
	if err != nil || len(all) != 2 || all[0].Number != 2 || all[0].Note != "prints 2" {
		t.Errorf("versions %+v, %v", all, err)
	}
}

func TestSameKeyIsOneVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(nbtemplate.Publication{IdempotencyKey: "k"})
	b.save("users/ann/report.ipynb", strings.Replace(report, "print(country)", "print(2)", 1))
	again, created := b.publish(nbtemplate.Publication{IdempotencyKey: "k"})
	if created || again.Version.Number != 1 {
		t.Fatalf("the same key made %+v, created %t", again.Version, created)
	}
}

func TestWhoMayPublish(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, _, err := b.templates.Publish(t.Context(), bob, nbtemplate.Publication{Name: "mine", Notebook: "users/ann/report.ipynb"})
	if !problem.Is(err, problem.Denied) {
		t.Errorf("bob published ann's notebook: %v", err)
	}
	b.publish(nbtemplate.Publication{})
	b.save("shared/report.ipynb", report)
	_, _, err = b.templates.Publish(t.Context(), bob, nbtemplate.Publication{Name: "report", Notebook: "shared/report.ipynb"})
	if !problem.Is(err, problem.Denied) {
		t.Errorf("bob published under ann's name: %v", err)
	}
	if _, err = b.templates.Retire(t.Context(), bob, "report", ""); !problem.Is(err, problem.Denied) {
		t.Errorf("bob retired ann's template: %v", err)
	}
}

func TestBadPublications(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save("users/ann/bare.ipynb", strings.Replace(report, `"parameters"`, `"other"`, 1))
	for _, tt := range []struct {
		name, want string
		p          nbtemplate.Publication
	}{
		{"everything", "name: \"A b\"", nbtemplate.Publication{Name: "A b", Notebook: "users/ann/report.ipynb"}},
		{"role", "roles: \"king\": want some of business analyst", nbtemplate.Publication{Name: "r", Roles: []string{"king"}, Notebook: "users/ann/report.ipynb"}},
		{"bare", "no parameters cell", nbtemplate.Publication{Name: "r", Notebook: "users/ann/bare.ipynb"}},
		{"cover", "there is no cell 9", nbtemplate.Publication{Name: "r", Cover: 9, Notebook: "users/ann/report.ipynb"}},
	} {
		_, _, err := b.templates.Publish(t.Context(), ann, tt.p)
		if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestRetired(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(nbtemplate.Publication{})
	if _, err := b.templates.Retire(t.Context(), ann, "report", "use daily"); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.templates.Runnable(t.Context(), bob, "report", 0)
	if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "retired by ann: use daily") {
		t.Errorf("a retired template is given to runs: %v", err)
	}
	if all, _ := b.templates.List(t.Context(), bob, nbtemplate.Filter{}); len(all) != 0 {
		t.Errorf("it is in the gallery: %+v", all)
	}
	if _, _, err := b.templates.Source(t.Context(), bob, "report", 1); err != nil {
		t.Errorf("its source is not there any more: %v", err)
	}
	if _, created := b.publish(nbtemplate.Publication{}); !created {
		t.Error("publishing did not bring it back")
	}
}

func TestCloneTakesFreeName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(nbtemplate.Publication{})
	for _, want := range []string{"users/bob/report.ipynb", "users/bob/report-2.ipynb"} {
		got, err := b.templates.Clone(t.Context(), bob, "report", 0, "")
		if err != nil || got != want {
			t.Errorf("cloned to %q, %v, want %q", got, err, want)
		}
	}
	if _, err := b.templates.Clone(t.Context(), bob, "report", 0, "users/ann"); !problem.Is(err, problem.Denied) {
		t.Errorf("bob cloned into ann's workspace: %v", err)
	}
}

func TestBuiltinGivesWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(nbtemplate.Publication{})
	created, err := b.templates.PublishBuiltin(t.Context(), nbtemplate.Publication{Name: "report"}, []byte(report))
	if err != nil || created {
		t.Errorf("what comes with Quire took ann's name: %t, %v", created, err)
	}
	for _, want := range []bool{true, false} {
		created, err = b.templates.PublishBuiltin(t.Context(), nbtemplate.Publication{Name: "starter"}, []byte(report))
		if err != nil || created != want {
			t.Errorf("created %t, %v, want %t", created, err, want)
		}
	}
}

func TestCover(t *testing.T) {
	t.Parallel()
	out := func(kind, data string) *notebook.Output {
		return &notebook.Output{Type: notebook.DisplayData, Data: notebook.MimeBundle{kind: data}}
	}
	cell := func(tag string, outputs ...*notebook.Output) *notebook.Cell {
		c := &notebook.Cell{Type: notebook.Code, Metadata: notebook.Object{}, Outputs: outputs}
		if tag != "" {
			c.SetTags([]string{tag})
		}
		return c
	}
	nb := &notebook.Notebook{Cells: []*notebook.Cell{
		cell("parameters"), cell(notebook.InjectedTag), cell("", out("image/png", "QUJD")), cell("", out("image/jpeg", "REVG")), cell("", out("text/plain", "last")),
	}}
	for _, tt := range []struct {
		cell int
		want string
	}{{0, "DEF"}, {2, "ABC"}, {4, "last"}, {1, "DEF"}, {99, "DEF"}} {
		c, ok := nbtemplate.CoverOf(nb, tt.cell)
		if !ok || string(c.Data) != tt.want {
			t.Errorf("cell %d: %s, %t, want %s", tt.cell, c.Data, ok, tt.want)
		}
	}
	if _, ok := nbtemplate.CoverOf(&notebook.Notebook{Cells: []*notebook.Cell{cell("", out("image/png", "%%"))}}, 0); ok {
		t.Error("a picture that is none is a cover")
	}
}

func TestNameFor(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"users/ann/My Report (2).ipynb": "my-report-2", "a/é.ipynb": "", "x/" + strings.Repeat("a", 80) + ".ipynb": strings.Repeat("a", 63)} {
		if got := nbtemplate.NameFor(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
