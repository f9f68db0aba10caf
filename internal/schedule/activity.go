package schedule

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/run"
)

// An Activity is one thing that somebody did to a schedule. It is recorded in
// the transaction that did it, and outlives the schedule.
type Activity struct {
	ID       string    `json:"id"`       // sorts by time
	Schedule string    `json:"schedule"` // name
	At       time.Time `json:"at"`
	By       string    `json:"by,omitempty"` // "" is the platform
	Did      Deed      `json:"did"`
	Detail   string    `json:"detail,omitempty"`   // in words
	Revision int       `json:"revision,omitempty"` // of the definition, for Created and Changed
	Fire     string    `json:"fire,omitempty"`     // that it was done to
}

// A Deed is a kind of Activity.
type Deed string

// The deeds.
const (
	Created         Deed = "created"
	Changed         Deed = "changed" // another definition, or other versions of its notebooks
	PausedIt        Deed = "paused"
	ResumedIt       Deed = "resumed"
	RanIt           Deed = "ran" // by hand
	RestartedFire   Deed = "restarted"
	StoppedFire     Deed = "stopped" // or skipped before it ran
	Backfilled      Deed = "backfilled"
	PausedBackfill  Deed = "paused-backfill"
	ResumedBackfill Deed = "resumed-backfill"
	StoppedBackfill Deed = "stopped-backfill"
	DeletedIt       Deed = "deleted"
	FoundOther      Deed = "found-environment" // a step ran in another one than it was tested with
)

// did records what somebody does, with the change that a view wants.
func (v *View) did(now time.Time, a Activity) {
	a.ID, a.Schedule, a.At = run.NewID(now), v.Schedule.Name, now
	v.Activities = append(v.Activities, a)
}

// An ActivityFilter chooses activities.
type ActivityFilter struct {
	Limit  int    // 1 to 1000
	Before string // id: only older ones
}

// Activity returns what was done to the schedule of a name, newest first; also
// to one that is not there any more.
func (s *Schedules) Activity(ctx context.Context, u auth.User, name string, f ActivityFilter) ([]Activity, error) {
	if u.Name == "" {
		return nil, problem.New(problem.Denied, "sign in first")
	}
	if !ValidName(name) {
		return nil, problem.New(problem.NotFound, "no schedule %q", name)
	}
	if f.Limit < 1 || f.Limit > 1000 {
		f.Limit = 50
	}
	return s.cfg.Store.Activity(ctx, name, f)
}

// changes says in words what differs between two definitions and the versions
// of their notebooks.
func changes(old, fresh Definition, oldPins, pins map[string]int64) string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if a, b := old.Describe(), fresh.Describe(); a != b {
		say("fires %s, was %s", b, a)
	}
	for _, step := range fresh.Steps {
		before, there := old.step(step.Name)
		switch a, b := oldPins[step.Name], pins[step.Name]; {
		case !there:
			say("step %s is new", step.Name)
		case step.written() && before.written(): // said below
		case before.Notebook != step.Notebook:
			say("step %s runs %s, was %s", step.Name, step.Notebook, before.Notebook)
		case a != b && a == 0:
			say("step %s runs version %d, was latest", step.Name, b)
		case a != b && b == 0:
			say("step %s runs latest, was version %d", step.Name, a)
		case a != b:
			say("step %s runs version %d, was %d", step.Name, b, a)
		}
		if there && (before.SQL != step.SQL || before.Connection != step.Connection) {
			say("step %s has other SQL", step.Name)
		}
		if there && before.Command != step.Command {
			say("step %s has another command", step.Name)
		}
		if there && before.Ref != step.Ref {
			say("step %s runs what ref %s is, was %s", step.Name, refWords(step.Ref), refWords(before.Ref))
		}
		if there && string(before.Parameters) != string(step.Parameters) {
			say("step %s has other parameters", step.Name)
		}
		if there && !maps.Equal(before.Secrets, step.Secrets) {
			say("step %s is given other secrets", step.Name)
		}
		if there && !slices.Equal(before.After, step.After) {
			say("step %s begins after %s", step.Name, listWords(step.After))
		}
	}
	for _, step := range old.Steps {
		if _, there := fresh.step(step.Name); !there {
			say("step %s is gone", step.Name)
		}
	}
	if old.Strategy != fresh.Strategy {
		say("strategy %s, was %s", fresh.Strategy, old.Strategy)
	}
	if old.RunAs != fresh.RunAs {
		say("runs as %s, was %s", runAsWords(fresh.RunAs), runAsWords(old.RunAs))
	}
	if old.CatchUp != fresh.CatchUp {
		say("missed slots %s, was %s", fresh.CatchUp, old.CatchUp)
	}
	if len(all) == 0 {
		return "the text"
	}
	const most = 20
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(all, "; ")
}

func runAsWords(name string) string {
	if name == "" {
		return "a person"
	}
	return "service identity " + name
}

func refWords(ref string) string {
	if ref == "" {
		return "none"
	}
	return ref
}

func listWords(all []string) string {
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}
