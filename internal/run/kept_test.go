package run

import (
	"context"
	"testing"
	"time"

	"quire/internal/compute"
)

var noSize compute.Resources

// TestKeptContainersEnd says which of the kept containers are to end.
func TestKeptContainersEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		younger int
		age     time.Duration
		used    bool
		ends    bool
	}{
		{"just failed", 0, time.Minute, false, false},
		{"past its time", 0, 16 * time.Minute, false, true},
		{"past its time and in use", 0, 16 * time.Minute, true, false},
		{"too many are younger", 2, time.Minute, true, true},
		{"a day old, whatever it says", 0, 25 * time.Hour, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := New(Config{Now: func() time.Time { return now }, Containers: &Containers{
				Keep: 15 * time.Minute, Kept: 2, InUse: func(context.Context, string, string) bool { return tt.used },
			}})
			if why := s.overdue(t.Context(), tt.younger, Run{ID: NewID(now), Finished: now.Add(-tt.age)}); (why != "") != tt.ends {
				t.Errorf("it ends because %q", why)
			}
		})
	}
}

// TestWhatIsKept says of which attempts the container is kept.
func TestWhatIsKept(t *testing.T) {
	t.Parallel()
	s := New(Config{Containers: &Containers{Keep: time.Minute, Kept: 1, Files: "/files", Base: "/base"}})
	with := Run{ID: "x", Owner: "ann", Notebook: "users/ann/a.ipynb", Container: &noSize}
	for _, tt := range []struct {
		name    string
		run     Run
		attempt int
		kept    bool
	}{
		{"a run with a container", with, 1, true},
		{"one without", Run{ID: "x", Owner: "ann", Notebook: "users/ann/a.ipynb"}, 1, false},
		{"one that is tried again", Run{ID: "x", Owner: "ann", Notebook: "users/ann/a.ipynb", Container: &noSize, Retries: 1}, 1, false},
		{"its last try", Run{ID: "x", Owner: "ann", Notebook: "users/ann/a.ipynb", Container: &noSize, Retries: 1}, 2, true},
		{"of another's notebook", Run{ID: "x", Owner: "bob", Notebook: "users/ann/a.ipynb", Container: &noSize}, 1, false},
		{"of no workspace", Run{ID: "x", Owner: "ann", Notebook: "mounts/lake/a.ipynb", Container: &noSize}, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := s.keepSpec(tt.run, Attempt{Run: "x", Number: tt.attempt})
			if (got != nil) != tt.kept {
				t.Fatalf("got %+v", got)
			}
			if got != nil && (*got != KeepSpec{For: time.Minute, Owner: "ann", Workspace: "/files/users/ann", Base: "/base/attached/x"}) {
				t.Errorf("got %+v", got)
			}
		})
	}
}
