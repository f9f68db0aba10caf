package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpRunsStarters starts the platform as a newcomer does: every template that
// comes with Quire is there and runs on a real kernel, and the gallery has the
// proof. Two of them are run with values that must change the outcome.
func TestUpRunsStarters(t *testing.T) {
	if !strings.Contains(os.Getenv("QUIRE_TEST_KERNELS"), "python3") {
		return // without a kernel there is nothing to run
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := site{startQuire(t, nil, "up", "--listen", "127.0.0.1:0", "--data", dir)}
	type template struct {
		Name string
		Use  struct {
			Runs, Recent, Succeeded int
			Good                    string
		}
	}
	list := func() (all []template) {
		var page struct{ Templates []template }
		s.call(t, "GET", "api/templates", "", &page)
		return page.Templates
	}
	all := list()
	if len(all) < 9 {
		t.Fatalf("only %d templates are there: %v", len(all), all)
	}
	submit := func(name, parameters, key string) string {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"api/runs", strings.NewReader(fmt.Sprintf(`{"template":%q,"parameters":%s}`, name, parameters)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+harnessToken)
		req.Header.Set("Idempotency-Key", key)
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var r struct{ ID, Detail string }
		if err := json.NewDecoder(answer.Body).Decode(&r); err != nil || r.ID == "" {
			t.Fatalf("%s: %d %s %v", name, answer.StatusCode, r.Detail, err)
		}
		return r.ID
	}
	runs := map[string]string{}
	for _, one := range all { // the runs that the platform itself asks for one after another
		runs[one.Name] = submit(one.Name, "{}", "the first run of the template")
	}
	spoilt := submit("data-quality-audit", `{"spoil":true}`, "")
	never := submit("weekly-scorecard", `{"week":"2030-01-01"}`, "")
	for name, id := range runs {
		if state, reason := s.await(t, id); state != "succeeded" {
			t.Errorf("%s is %s: %s", name, state, reason)
		}
		if status, _ := s.do(t, "GET", "templates/"+name+"/cover/"+id+"?cell=0", ""); status != http.StatusOK {
			t.Errorf("%s has no picture for the gallery: %d", name, status)
		}
	}
	for id, want := range map[string]string{spoilt: "not fit", never: "there is no viewing"} {
		if state, reason := s.await(t, id); state != "failed" || !strings.Contains(reason, want) {
			t.Errorf("a run that must fail with %q is %s: %s", want, state, reason)
		}
	}
	for _, one := range list() {
		want := 1
		if one.Name == "data-quality-audit" || one.Name == "weekly-scorecard" {
			want = 2
		}
		if one.Use.Runs != want || one.Use.Recent != want || one.Use.Succeeded != 1 || one.Use.Good != runs[one.Name] {
			t.Errorf("what became of the runs of %s: %+v, want %d runs", one.Name, one.Use, want)
		}
	}
	if status, page := s.do(t, "GET", "templates", ""); status != http.StatusOK || strings.Count(string(page), "/cover/") != len(all) {
		t.Errorf("the gallery has %d covers, want %d", strings.Count(string(page), "/cover/"), len(all))
	}
}
