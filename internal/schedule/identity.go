package schedule

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// identitiesEvery is how often it is looked whether service identities may do
// something else.
const identitiesEvery = 10 * time.Second

// runner is who a definition runs as, and as whom its notebooks are looked at: a
// service identity where it names one, else its owner, and u.
func (s *Schedules) runner(ctx context.Context, u auth.User, d Definition, old Schedule) (owner string, as auth.User, err error) {
	if u.Service != nil {
		return "", u, problem.New(problem.Denied, "%s is a service identity: people apply schedules", u.Name)
	}
	if d.RunAs == "" {
		if old.Owner == "" || old.Definition.RunAs != "" {
			return u.Name, u, nil
		}
		return old.Owner, u, nil
	}
	as, err = s.cfg.User(ctx, d.RunAs)
	switch {
	case problem.Is(err, problem.NotFound), err == nil && (as.Service == nil || as.Disabled):
		return "", u, problem.New(problem.Invalid, "runAs: there is no service identity %s: an administrator adds it to the server's configuration (identities)", d.RunAs)
	case err != nil:
		return "", u, problem.Wrap(err, "looking up service identity %s", d.RunAs)
	case !as.Service.UsedBy(u, s.groupsOf(u)):
		return "", u, problem.New(problem.Denied, "%s may not let schedules run as %s: the server's configuration says who may (users and groups of identities.%s)", u.Name, d.RunAs, d.RunAs)
	}
	return as.Name, as, nil
}

// secretive reports whether a definition gives its runs secrets.
func (d Definition) secretive() bool {
	return slices.ContainsFunc(d.Steps, func(s Step) bool { return len(s.Secrets) > 0 })
}

// mayBind says why u may not apply a definition that gives its runs secrets: a person's
// are bound by that person, those of a service identity by who may use it, and none by
// what runs with a pass.
func (s *Schedules) mayBind(u, as auth.User, owner string, d Definition) error {
	switch {
	case !d.secretive():
		return nil
	case as.Service == nil && u.Name != owner:
		return problem.New(problem.Denied, "schedule %s runs as %s and names secrets, which only %s binds: let it run as a service identity (runAs), or take secrets out", d.Name, owner, owner)
	}
	return auth.RefusePass(u, "no secret is bound by a schedule")
}

// refuseValues says why what asks with a pass may not choose the values of runs that
// are given secrets: they may say where those go.
func refuseValues(u auth.User, one Schedule) error {
	if !one.Definition.secretive() {
		return nil
	}
	return auth.RefusePass(u, "no values are chosen for runs that are given secrets")
}

// mayOf is what a service identity may do, in words; "" for a person.
func mayOf(u auth.User) string {
	if u.Service == nil {
		return ""
	}
	return u.Service.May()
}

// mayGoOn says why what runs as u is not to run: a person who has left, a service
// identity that may do something else than when the schedule was applied.
func mayGoOn(u auth.User, runAs, may string) error {
	switch {
	case u.Disabled && runAs != "", runAs != "" && u.Service == nil:
		return problem.New(problem.Denied, "service identity %s is not in the server's configuration any more", u.Name)
	case u.Disabled:
		return problem.New(problem.Denied, "%s may not sign in any more: let the schedule run as a service identity (runAs)", u.Name)
	case runAs != "" && may != mayOf(u):
		return problem.New(problem.Denied, "what service identity %s may do has changed since somebody looked at it; %s", u.Name, auth.Change(may, mayOf(u)))
	}
	return nil
}

// allow says whether u may change a schedule: its owner and administrators may,
// and those who may use the service identity that it runs as.
func (s *Schedules) allow(ctx context.Context, u auth.User, one Schedule) error {
	err := auth.Allow(u, auth.Write, auth.Object{Kind: auth.RunKind, Owner: one.Owner})
	if err == nil || one.Definition.RunAs == "" {
		return err
	}
	if as, wrong := s.cfg.User(ctx, one.Owner); wrong == nil && as.Service.UsedBy(u, s.groupsOf(u)) {
		return nil
	}
	return err
}

func (s *Schedules) groupsOf(u auth.User) []string {
	if s.cfg.Groups == nil {
		return nil
	}
	return s.cfg.Groups(u.Name)
}

// Mine returns what tells whether u may change a schedule. It is for one request.
func (s *Schedules) Mine(ctx context.Context, u auth.User) func(Schedule) bool {
	known := map[string]bool{}
	return func(one Schedule) bool {
		mine, ok := known[one.Owner]
		if !ok {
			mine = s.allow(ctx, u, one) == nil
			known[one.Owner] = mine
		}
		return mine
	}
}

// accept looks at who a schedule runs as, and returns what that may do now.
func (s *Schedules) accept(ctx context.Context, one Schedule) (may string, err error) {
	as, err := s.cfg.User(ctx, one.Owner)
	if err != nil {
		return "", problem.Wrap(err, "looking up who the schedule runs as")
	}
	may = mayOf(as)
	if err := mayGoOn(as, one.Definition.RunAs, may); err != nil {
		return "", problem.WrapAs(problem.Conflict, err, "resuming %s", one.Name)
	}
	return may, nil
}

// heedIdentities pauses the schedules whose service identity may do something else
// than when somebody last looked at it, before they fire again.
func (s *Schedules) heedIdentities(ctx context.Context) error {
	if s.cfg.Services == nil {
		return nil
	}
	all, err := s.cfg.Services(ctx)
	if err != nil {
		return problem.Wrap(err, "looking at the service identities")
	}
	seen, by := map[string]string{}, map[string]auth.User{}
	for _, u := range all {
		by[u.Name], seen[u.Name] = u, mayOf(u)
		if u.Disabled {
			seen[u.Name] = ""
		}
	}
	if maps.Equal(seen, s.seen) {
		return nil
	}
	schedules, err := s.cfg.Store.Schedules(ctx)
	if err != nil {
		return err
	}
	for _, one := range schedules {
		u, ok := by[one.Owner]
		if !ok || one.Paused || one.Definition.RunAs == "" || mayGoOn(u, one.Definition.RunAs, one.May) == nil {
			continue
		}
		err := s.change(ctx, one.ID, func(v *View) error {
			c := &v.Schedule
			if wrong := mayGoOn(u, c.Definition.RunAs, c.May); wrong != nil && !c.Paused && c.Owner == u.Name {
				(&machine{view: v, now: s.now(), changed: map[string]bool{}}).pause(wrong.Error(), "")
			}
			return nil
		})
		if err != nil && !problem.Is(err, problem.NotFound) {
			return err
		}
	}
	s.seen = seen
	return nil
}

// pause stops a schedule from firing, by the platform: what waits for its turn is
// skipped, so that nothing fires by surprise when it goes on.
func (m *machine) pause(reason, fire string) {
	s := &m.view.Schedule
	s.Paused, s.PausedBy, s.PauseReason, s.Updated = true, "", reason, m.now
	for i := range m.view.Live {
		if f := &m.view.Live[i]; f.State == Due && f.Lane == LaneSchedule {
			m.skip(f, "the schedule was paused by Quire")
			m.view.Put = append(m.view.Put, *f)
		}
	}
	m.view.did(m.now, Activity{Did: PausedIt, Detail: reason, Fire: fire})
}

// keepIdentities looks at the service identities now and then, until ctx ends.
func (s *Schedules) keepIdentities(ctx context.Context) {
	tick := time.NewTicker(identitiesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.heedIdentities(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.LogAttrs(ctx, slog.LevelError, "looking at the service identities", slog.String("error", err.Error()))
		}
	}
}
