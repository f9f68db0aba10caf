package schedule_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

// people are who a world knows, by name.
type people map[string]auth.User

func (p people) user(_ context.Context, name string) (auth.User, error) {
	u, ok := p[name]
	if !ok {
		return u, problem.New(problem.NotFound, "no user %s", name)
	}
	return u, nil
}

func (p people) services(context.Context) (all []auth.User, err error) {
	for _, u := range p {
		if u.Service != nil {
			all = append(all, u)
		}
	}
	return all, nil
}

// withPeople makes the world's only server one that knows people.
func (w *world) withPeople(p people) *schedule.Schedules {
	w.servers = []*schedule.Schedules{schedule.New(schedule.Config{
		Store: w.records, Runs: fakeRuns{w, w.records}, Now: func() time.Time { return w.now }, User: p.user, Services: p.services,
		Groups: func(name string) []string { return map[string][]string{"carl": {"data"}, "bob": {"sales"}}[name] },
	})}
	return w.servers[0]
}

const nightly = "schedule: 1\nname: s\nrunAs: etl\nnotebook: shared/etl/a.ipynb\nstrategy: parallel\nparallel: 9\ntriggers: [{cron: 0 * * * *}]\n"

// TestRunsAsServiceIdentity: its runs are the identity's, whoever leaves, and whoever
// may use it may change it.
func TestRunsAsServiceIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	etl := &auth.Service{Users: []string{"ann"}, Groups: []string{"data"}, Run: []string{"shared/etl"}}
	p := people{"ann": ann, "bob": {Name: "bob"}, "carl": {Name: "carl"}, "etl": {Name: "etl", Service: etl}}
	s, ctx := w.withPeople(p), t.Context()
	for who, text := range map[string]string{"bob": nightly, "etl": nightly, "ann": strings.Replace(nightly, "etl", "nobody", 1), "carl": strings.Replace(nightly, "runAs: etl", "runAs: ann", 1)} {
		if _, _, err := s.Apply(ctx, p[who], []byte(text)); !problem.Is(err, problem.Denied) && !problem.Is(err, problem.Invalid) {
			t.Errorf("%s applied %.60q: %v", who, text, err)
		}
	}
	made, _, err := s.Apply(ctx, ann, []byte(nightly))
	if err != nil || made.Owner != "etl" || made.Author != "ann" || made.May != "runs shared/etl" {
		t.Fatalf("applied: %+v, %v", made, err)
	}
	p["ann"] = auth.User{Name: "ann", Disabled: true}
	w.look(time.Hour)
	if live := w.live(); len(live) != 1 || live[0].Owner != "etl" {
		t.Fatalf("the runs are %+v", live)
	}
	w.finishAll(run.Succeeded)
	if _, err := s.Pause(ctx, p["bob"], "s", ""); !problem.Is(err, problem.Denied) {
		t.Errorf("bob paused it: %v", err)
	}
	if mine := s.Mine(ctx, p["carl"]); !mine(made) || s.Mine(ctx, p["bob"])(made) {
		t.Error("whose it is, is not said right")
	}
	again, created, err := s.Apply(ctx, p["carl"], []byte(nightly+"tags: [x]\n"))
	if err != nil || created || again.Owner != "etl" || again.Author != "carl" || again.Revision != 2 {
		t.Fatalf("applied by carl: %+v, %v", again, err)
	}
	own, _, err := s.Apply(ctx, p["carl"], []byte(strings.Replace(nightly, "runAs: etl\n", "", 1)))
	if err != nil || own.Owner != "carl" || own.May != "" {
		t.Fatalf("without runAs: %+v, %v", own, err)
	}
}

// TestIdentityThatMayDoSomethingElse pauses, before anything fires under other
// rights, and says what differs; who resumes it has looked.
func TestIdentityThatMayDoSomethingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	p := people{"ann": ann, "etl": {Name: "etl", Service: &auth.Service{Users: []string{"ann"}, Run: []string{"shared/etl"}}}}
	s, ctx := w.withPeople(p), t.Context()
	if _, _, err := s.Apply(ctx, ann, []byte(nightly)); err != nil {
		t.Fatal(err)
	}
	heed := func() schedule.Schedule {
		t.Helper()
		if err := schedule.HeedIdentities(ctx, s); err != nil {
			t.Fatal(err)
		}
		w.look(time.Hour)
		one, err := s.Get(ctx, ann, "s")
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
	if one := heed(); one.Paused {
		t.Fatalf("it is paused: %s", one.PauseReason)
	}
	w.finishAll(run.Succeeded)
	p["etl"] = auth.User{Name: "etl", Service: &auth.Service{Users: []string{"ann"}, Run: []string{"shared/etl", "shared/pay"}, Write: []string{"shared/pay"}}}
	one := heed()
	if want := "it was: runs shared/etl; it is: runs shared/etl, shared/pay; writes shared/pay"; !one.Paused || one.PausedBy != "" || !strings.Contains(one.PauseReason, want) {
		t.Fatalf("paused %v: %s", one.Paused, one.PauseReason)
	}
	if live := w.live(); len(live) != 0 {
		t.Fatalf("it fired under other rights: %+v", live)
	}
	if one, err := s.Resume(ctx, ann, "s"); err != nil || one.Paused || !strings.Contains(one.May, "shared/pay") {
		t.Fatalf("resumed: %+v, %v", one, err)
	}
	if live := w.live(); len(live) != 0 {
		t.Fatalf("resuming fired: %+v", live)
	}
	if one := heed(); one.Paused || len(w.live()) != 1 {
		t.Fatalf("after it was resumed: paused %v (%s), %d runs", one.Paused, one.PauseReason, len(w.live()))
	}
	w.finishAll(run.Succeeded)
	p["etl"] = auth.User{Name: "etl", Disabled: true, Service: p["etl"].Service}
	if one := heed(); !one.Paused || !strings.Contains(one.PauseReason, "not in the server's configuration any more") {
		t.Fatalf("paused %v: %s", one.Paused, one.PauseReason)
	}
	if _, err := s.Resume(ctx, auth.User{Name: "root", Admin: true}, "s"); !problem.Is(err, problem.Conflict) {
		t.Errorf("resumed without its identity: %v", err)
	}
}

// TestOwnerWhoLeft: a schedule of a person who may not sign in any more pauses when
// it fires next, and says what to do.
func TestOwnerWhoLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	p := people{"ann": ann}
	s := w.withPeople(p)
	w.apply("triggers: [{cron: 0 * * * *}]")
	p["ann"] = auth.User{Name: "ann", Disabled: true}
	w.look(time.Hour)
	w.look(6 * time.Second)
	one, err := s.Get(t.Context(), ann, "s")
	if err != nil || !one.Paused || !strings.Contains(one.PauseReason, "runAs") || len(w.live()) != 0 {
		t.Fatalf("paused %v: %s (%v), %d runs", one.Paused, one.PauseReason, err, len(w.live()))
	}
}

// TestOtherEnvironment: what a notebook was tested with is what its newest run that
// succeeded had, and a fire in another one is told of until it is applied again.
func TestOtherEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	locks := map[string]string{"a": strings.Repeat("a", 64), "b": strings.Repeat("b", 64)}
	tested, ctx := "a", t.Context()
	s := schedule.New(schedule.Config{
		Store: w.records, Runs: fakeRuns{w, w.records}, Now: func() time.Time { return w.now }, User: w.userOf,
		Tested: func(context.Context, auth.User, string) (string, string, error) {
			return locks[tested], "r-" + tested, nil
		},
	})
	w.servers = []*schedule.Schedules{s}
	made := w.apply("triggers: [{cron: 0 * * * *}]")
	if got := made.Tested["notebook"]; got.Lock != locks["a"] || got.Run != "r-a" {
		t.Fatalf("tested with %+v", got)
	}
	fire := func(in string) (schedule.Schedule, schedule.Task, run.Run) {
		t.Helper()
		w.look(time.Hour)
		live := w.live()
		if len(live) != 1 {
			t.Fatalf("%d runs", len(live))
		}
		if _, err := w.records.ChangeRun(ctx, live[0].ID, func(r run.Run) (run.Run, error) {
			r.State, r.Finished, r.Result = run.Succeeded, w.now, fmt.Appendf(nil, `{"lock":%q}`, locks[in])
			return r, nil
		}); err != nil {
			t.Fatal(err)
		}
		w.look(time.Second)
		one, err := s.Get(ctx, ann, "s")
		if err != nil {
			t.Fatal(err)
		}
		r, err := w.records.Run(ctx, live[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		return one, w.fires()[0].Tasks[0], r
	}
	if one, task, r := fire("a"); len(one.Found) != 0 || task.Tested != "" || r.Tested != locks["a"] || r.OtherEnvironment() {
		t.Errorf("in the same one: found %v, task %+v, run %q", one.Found, task, r.Tested)
	}
	one, task, r := fire("b")
	if one.Found["notebook"].Lock != locks["b"] || task.Tested != locks["a"] || task.Lock != locks["b"] || !r.OtherEnvironment() {
		t.Errorf("in another one: found %v, task %+v", one.Found, task)
	}
	tested = "b"
	if again := w.apply("triggers: [{cron: 0 * * * *}]"); again.Revision != 2 || again.Tested["notebook"].Lock != locks["b"] || len(again.Found) != 0 {
		t.Errorf("applied again: revision %d, %+v, %+v", again.Revision, again.Tested, again.Found)
	}
	if one, task, _ := fire("b"); len(one.Found) != 0 || task.Tested != "" {
		t.Errorf("after that: found %v, task %+v", one.Found, task)
	}
}

// TestSecretsOfASchedule: its runs are given those of whom it runs as, and nobody binds
// another person's.
func TestSecretsOfASchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	p := people{
		"ann": ann, "bob": {Name: "bob"}, "root": {Name: "root", Admin: true},
		"etl": {Name: "etl", Service: &auth.Service{Users: []string{"ann", "bob"}, Run: []string{"shared/etl"}}},
	}
	s, ctx := w.withPeople(p), t.Context()
	has := map[string]string{"ann": "api", "etl": "warehouse"}
	w.asked = func(u auth.User, req run.Request) error {
		for parameter, name := range req.Secrets {
			if has[u.Name] != name {
				return problem.New(problem.Invalid, "secret %s: you have no secret named %s", parameter, name)
			}
		}
		return nil
	}
	own := "schedule: 1\nname: own\nnotebook: users/ann/a.ipynb\ntriggers: [{cron: 0 * * * *}]\nsecrets: {token: api}\ninputs: {a: 1}\n"
	for who, text := range map[auth.User]string{
		{Name: "ann", Pass: true}: own, p["bob"]: own, p["root"]: own, ann: strings.Replace(own, "api", "other", 1),
		{Name: "bob", Email: "x"}: strings.Replace(nightly, "name: s", "name: s\nsecrets: {token: api}", 1), // etl has none of that name
	} {
		if _, _, err := s.Apply(ctx, who, []byte(text)); !problem.Is(err, problem.Denied) && !problem.Is(err, problem.Invalid) {
			t.Errorf("%+v applied %.90q: %v", who, text, err)
		}
	}
	if _, _, err := s.Apply(ctx, ann, []byte(own)); err != nil {
		t.Fatal(err)
	}
	// An administrator may change it, but not with ann's secrets in it.
	if _, _, err := s.Apply(ctx, p["root"], []byte(own+"tags: [x]\n")); !problem.Is(err, problem.Denied) || !strings.Contains(err.Error(), "only ann binds") {
		t.Errorf("an administrator changed it: %v", err)
	}
	// What asks with a pass does not say with what values it runs.
	pass := auth.User{Name: "ann", Pass: true}
	if _, err := s.RunWith(ctx, pass, "own", "k", []byte(`{"a":2}`)); !problem.Is(err, problem.Denied) {
		t.Errorf("with values, by a pass: %v", err)
	}
	w.look(time.Hour)
	if live := w.live(); len(live) != 1 || live[0].Owner != "ann" || live[0].Secrets["token"] != "api" {
		t.Fatalf("the runs are %+v", live)
	}
	w.finishAll(run.Succeeded)
	if _, err := s.Pause(ctx, ann, "own", ""); err != nil {
		t.Fatal(err)
	}
	// One that runs as a service identity, by who may use it.
	if _, _, err := s.Apply(ctx, p["bob"], []byte(nightly+"secrets: {token: warehouse}\n")); err != nil {
		t.Fatal(err)
	}
	w.look(time.Hour)
	if live := w.live(); len(live) != 1 || live[0].Owner != "etl" || live[0].Secrets["token"] != "warehouse" {
		t.Fatalf("the runs are %+v", live)
	}
}
