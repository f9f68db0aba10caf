package nbtemplate_test

import (
	"strings"
	"testing"
	"time"

	"quire/internal/nbtemplate"
	"quire/internal/parameter"
	"quire/internal/problem"
)

func TestPlace(t *testing.T) {
	t.Parallel()
	definitions, _ := parameter.Inspect("python", "country: str = 'US'\nday: date\ntoken = ''  # secret")
	set, err := parameter.FromJSON("a set", []byte(`{"day":"2026-11-23","country":"FR"}`))
	if err != nil {
		t.Fatal(err)
	}
	place := nbtemplate.Place{
		User: "bob", Name: "report", Run: "abc", At: time.Date(2026, 11, 30, 1, 0, 0, 0, time.UTC), Schema: parameter.SchemaOf(definitions), Set: set,
	}
	for pattern, want := range map[string]string{
		"users/{user}/results/":                    "users/bob/results/report-abc.ipynb",
		"shared/{country}/{ds}.ipynb":              "shared/FR/2026-11-30.ipynb",
		"/shared/{day}/{name}-{run}.ipynb":         "shared/2026-11-23/report-abc.ipynb",
		"shared/{pm[current_datetime_utc]:%Y-%m}/": "shared/2026-11/report-abc.ipynb",
	} {
		place.Pattern = pattern
		if got, err := place.Path(); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %s", pattern, got, err, want)
		}
	}
	set.Put("country", parameter.String("../../bob"))
	for pattern, want := range map[string]string{
		"shared/{country}/x.ipynb": "not allowed", "shared/x.csv": "ends in .ipynb", "shared/{token}/": "token", "shared/{none}/": "none", "mounts/x/": "below users/ or shared/",
		"{ds}.ipynb": "below users/ or shared/", "shared/{ds.ipynb": "has no '}'", "shared/.x/": "hidden", strings.Repeat("shared/", 100): "at most 500", "shared/" + strings.Repeat("{ds}", 21) + "/": "placeholders",
		"shared/{ds:4096}/": "bytes",
	} {
		place.Pattern, place.Set = pattern, set
		if got, err := place.Path(); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s is %q, %v, want an error with %q", pattern, got, err, want)
		}
	}
}

// TestOutputIsCheckedAtPublish takes a place that a run can have and no other.
func TestOutputIsCheckedAtPublish(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for output, want := range map[string]string{"shared/{nothing}/": "nothing", "results/": "below users/ or shared/", "shared/{token}.ipynb": "token", "shared/x.txt": ".ipynb"} {
		_, _, err := b.templates.Publish(t.Context(), ann, nbtemplate.Publication{Name: "report", Notebook: "users/ann/report.ipynb", Output: output})
		if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("output %s: %v, want an error with %q", output, err, want)
		}
	}
	one, _ := b.publish(nbtemplate.Publication{Output: " users/{user}/{country}/{day}.ipynb "})
	if one.Version.Output != "users/{user}/{country}/{day}.ipynb" {
		t.Errorf("its output is %q", one.Version.Output)
	}
	if two, created := b.publish(nbtemplate.Publication{Output: "shared/"}); !created || two.Version.Number != 2 {
		t.Error("another output is no new version")
	}
}
