package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/notify"
	"quire/internal/problem"
	"quire/internal/run"
)

// Get returns the schedule of a name.
func (s *Schedules) Get(ctx context.Context, u auth.User, name string) (Schedule, error) {
	if u.Name == "" {
		return Schedule{}, problem.New(problem.Denied, "sign in first")
	}
	if !ValidName(name) {
		return Schedule{}, problem.New(problem.NotFound, "no schedule %q", name)
	}
	return s.cfg.Store.Schedule(ctx, name)
}

// List returns all schedules, by name.
func (s *Schedules) List(ctx context.Context, u auth.User) ([]Schedule, error) {
	if u.Name == "" {
		return nil, problem.New(problem.Denied, "sign in first")
	}
	return s.cfg.Store.Schedules(ctx)
}

// own returns a schedule that u may change.
func (s *Schedules) own(ctx context.Context, u auth.User, name string) (Schedule, error) {
	found, err := s.Get(ctx, u, name)
	if err != nil {
		return found, err
	}
	return found, s.allow(ctx, u, found)
}

// act changes a schedule that u may change, decides about it, and returns it as
// it is then.
func (s *Schedules) act(ctx context.Context, u auth.User, name string, first func(*View) error) (Schedule, error) {
	found, err := s.own(ctx, u, name)
	if err != nil {
		return found, err
	}
	if err := s.change(ctx, found.ID, first); err != nil {
		return found, err
	}
	return s.cfg.Store.Schedule(ctx, name)
}

// Delete removes a schedule and its records. Its runs stay, and what runs goes
// on.
func (s *Schedules) Delete(ctx context.Context, u auth.User, name string) error {
	found, err := s.own(ctx, u, name)
	if err != nil {
		return err
	}
	return s.change(ctx, found.ID, func(v *View) error {
		v.Deleted = true
		m := &machine{view: v, now: s.now(), changed: map[string]bool{}}
		for i := range v.Live {
			f := &v.Live[i]
			f.State, f.Reason = Failed, "schedule "+name+" was removed by "+u.Name
			m.tellParent(f)
		}
		v.did(s.now(), Activity{By: u.Name, Did: DeletedIt})
		return nil
	})
}

// Pause keeps a schedule from firing until Resume. What runs goes on; what waits
// for its turn is skipped.
func (s *Schedules) Pause(ctx context.Context, u auth.User, name, reason string) (Schedule, error) {
	if len(reason) > 500 {
		return Schedule{}, problem.New(problem.Invalid, "the reason: at most 500 bytes")
	}
	return s.act(ctx, u, name, func(v *View) error {
		c := &v.Schedule
		if c.Paused {
			return nil
		}
		now := s.now()
		table, err := c.Definition.Timetable()
		if err != nil {
			return err
		}
		m := &machine{view: v, now: now, table: table, changed: map[string]bool{}}
		m.recordSlots()
		for i := range v.Add {
			if v.Add[i].State == Due {
				m.skip(&v.Add[i], "the schedule was paused by "+u.Name)
			}
		}
		for i := range v.Live {
			if f := &v.Live[i]; f.State == Due && f.Lane == LaneSchedule {
				m.skip(f, "the schedule was paused by "+u.Name)
				v.Put = append(v.Put, *f)
			}
		}
		c.Paused, c.PausedBy, c.PauseReason, c.Updated = true, u.Name, reason, now
		v.did(now, Activity{By: u.Name, Did: PausedIt, Detail: reason})
		return nil
	})
}

// Resume lets a paused, or blocked, schedule fire again, from now on: the slots
// that came meanwhile are recorded as skipped, whatever its catch-up policy, and
// can be backfilled.
func (s *Schedules) Resume(ctx context.Context, u auth.User, name string) (Schedule, error) {
	found, err := s.own(ctx, u, name)
	if err != nil {
		return found, err
	}
	may, err := s.accept(ctx, found)
	if err != nil {
		return found, err
	}
	return s.act(ctx, u, name, func(v *View) error {
		c := &v.Schedule
		now := s.now()
		if c.Paused || c.Blocked != "" {
			v.did(now, Activity{By: u.Name, Did: ResumedIt, Detail: auth.Change(c.May, may)})
		}
		c.May = may
		c.Blocked = ""
		if !c.Paused {
			return nil
		}
		table, err := c.Definition.Timetable()
		if err != nil {
			return err
		}
		m := &machine{view: v, now: now, table: table}
		by := c.PausedBy
		if by == "" {
			by = "Quire"
		}
		if slots, dropped, first := m.slots(c.Cursor, now); len(slots) > 0 {
			m.skipMany(first, slots[len(slots)-1], dropped+len(slots), "the schedule was paused by "+by)
			if dropped == 0 {
				v.Add[len(v.Add)-1].From = slots[0]
			}
		}
		c.Paused, c.PausedBy, c.PauseReason, c.Cursor, c.Updated = false, "", "", now, now
		return nil
	})
}

// RunNow fires a schedule by hand, now, with its inputs as they are when nobody
// gives others.
func (s *Schedules) RunNow(ctx context.Context, u auth.User, name, key string) (Fire, error) {
	return s.RunWith(ctx, u, name, key, nil)
}

// RunWith fires a schedule by hand, now. The same key again is the same fire; ""
// makes one up. inputs is an object of those that are given; nil is none.
func (s *Schedules) RunWith(ctx context.Context, u auth.User, name, key string, inputs json.RawMessage) (Fire, error) {
	if len(inputs) > maxOutputs {
		return Fire{}, problem.New(problem.TooLarge, "the inputs: at most %d KiB", maxOutputs>>10)
	}
	if len(inputs) == 0 {
		inputs = nil
	}
	if key == "" {
		key = newKey()
	}
	if len(key) > 256 {
		return Fire{}, problem.New(problem.Invalid, "the idempotency key: at most 256 bytes")
	}
	found, err := s.own(ctx, u, name)
	if err != nil {
		return Fire{}, err
	}
	if inputs != nil {
		if err := refuseValues(u, found); err != nil {
			return Fire{}, err
		}
	}
	if err := found.Definition.given(inputs); err != nil {
		return Fire{}, err
	}
	now := s.now()
	lane, slot := LaneManual+"/"+key, now.Truncate(time.Second)
	f := Fire{
		ID: fireID(found.ID, lane, slot), Schedule: found.ID, Slot: slot, Lane: lane, State: Due, Count: 1, By: u.Name, Inputs: inputs, Created: now,
	}
	err = s.change(ctx, found.ID, func(v *View) error {
		old, ok, err := v.Find("", f.Lane)
		if ok {
			f = old
		} else if err == nil {
			v.Add = append(v.Add, f)
			did := Activity{By: u.Name, Did: RanIt, Fire: f.ID}
			if inputs != nil {
				did.Detail = "with " + brief(inputs)
			}
			v.did(now, did)
		}
		return err
	})
	if err != nil {
		return Fire{}, err
	}
	return s.cfg.Store.Fire(ctx, f.ID)
}

// Span reads the ends of a backfill as a person writes them: a date or a time of the
// schedule's zone, or one with a zone of its own. A date as the end is all of its day.
func (d Definition) Span(from, to string) (first, last time.Time, err error) {
	zone, err := LoadZone(d.Zone)
	if err != nil {
		return first, last, err
	}
	if first, err = parseMoment(from, zone); err != nil {
		return first, last, problem.Wrap(err, "from")
	}
	if day, wrong := time.Parse(time.DateOnly, to); wrong == nil {
		return first, LocalTime(day.AddDate(0, 0, 1), zone).Add(-time.Second).UTC(), nil
	}
	last, err = parseMoment(to, zone)
	return first, last, problem.Wrap(err, "to")
}

// A BackfillRequest asks for the slots from From to To, both included.
type BackfillRequest struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Parallel int       `json:"parallel"` // fires at once, 1 to 100; 0 is 1
	Newest   bool      `json:"newest"`   // newest first
	Paused   bool      `json:"paused"`   // nothing starts before it is resumed
}

// MaxBackfill is the most slots of one backfill.
const MaxBackfill = 10_000

// Preview returns the slots that a backfill would fire.
func (s *Schedules) Preview(ctx context.Context, u auth.User, name string, req BackfillRequest) ([]time.Time, error) {
	found, err := s.Get(ctx, u, name)
	if err != nil {
		return nil, err
	}
	if req.From.IsZero() || req.To.IsZero() {
		return nil, problem.New(problem.Invalid, "a backfill wants the time of its first slot and that of its last one: from and to")
	}
	if req.To.Before(req.From) {
		return nil, problem.New(problem.Invalid, "from %s to %s: the end is before the beginning", req.From.Format(time.RFC3339), req.To.Format(time.RFC3339))
	}
	if req.Parallel < 0 || req.Parallel > 100 {
		return nil, problem.New(problem.Invalid, "parallel: want 1 to 100")
	}
	table, err := found.Definition.Timetable()
	if err != nil {
		return nil, err
	}
	var slots []time.Time
	for at := req.From.Add(-1); ; {
		slot, ok := table.Next(at)
		if !ok || slot.After(req.To) {
			break
		}
		if len(slots) == MaxBackfill {
			return nil, problem.New(problem.TooLarge, "more than %d slots lie between %s and %s: fill them in parts", MaxBackfill, req.From.Format(time.RFC3339), req.To.Format(time.RFC3339))
		}
		slots, at = append(slots, slot), slot
	}
	if len(slots) == 0 {
		return nil, problem.New(problem.Invalid, "no slot lies between %s and %s", req.From.Format(time.RFC3339), req.To.Format(time.RFC3339))
	}
	if req.Newest {
		slices.Reverse(slots)
	}
	return slots, nil
}

// Backfill fires the slots of a time span, beside the schedule's own ones and
// whether they have fired before or not.
func (s *Schedules) Backfill(ctx context.Context, u auth.User, name string, req BackfillRequest) (Backfill, error) {
	slots, err := s.Preview(ctx, u, name, req)
	if err != nil {
		return Backfill{}, err
	}
	now := s.now()
	b := Backfill{
		ID: run.NewID(now), From: req.From.UTC(), To: req.To.UTC(), Parallel: max(req.Parallel, 1), Newest: req.Newest, Paused: req.Paused, By: u.Name, Created: now,
		Counts: map[State]int{Due: len(slots)},
	}
	_, err = s.act(ctx, u, name, func(v *View) error {
		b.Schedule = v.Schedule.ID
		v.Backfill, v.Backfills = append(v.Backfill, b), append(v.Backfills, b)
		v.did(now, Activity{By: u.Name, Did: Backfilled, Detail: b.describe(len(slots))})
		for _, slot := range slots {
			v.Add = append(v.Add, Fire{ID: fireID(b.Schedule, b.ID, slot), Schedule: b.Schedule, Slot: slot, Lane: b.ID, State: Due, Count: 1, By: u.Name, Created: now})
		}
		return nil
	})
	return b, err
}

// PauseBackfill keeps a backfill from starting fires, or lets it go on.
func (s *Schedules) PauseBackfill(ctx context.Context, u auth.User, name, id string, pause bool) (Backfill, error) {
	var changed Backfill
	_, err := s.act(ctx, u, name, func(v *View) error {
		for i := range v.Backfills {
			if b := &v.Backfills[i]; b.ID == id {
				if b.Paused != pause {
					v.did(s.now(), Activity{By: u.Name, Did: map[bool]Deed{true: PausedBackfill, false: ResumedBackfill}[pause], Detail: b.span()})
				}
				b.Paused = pause
				changed = *b
				v.Backfill = append(v.Backfill, *b)
				return nil
			}
		}
		return problem.New(problem.NotFound, "schedule %s has no backfill %q", name, id)
	})
	return changed, err
}

// StopBackfill ends a backfill: the fires of it that wait are skipped, those that
// run are stopped.
func (s *Schedules) StopBackfill(ctx context.Context, u auth.User, name, id string) (Backfill, error) {
	var stopped Backfill
	_, err := s.act(ctx, u, name, func(v *View) error {
		i := slices.IndexFunc(v.Backfills, func(b Backfill) bool { return b.ID == id })
		if i < 0 {
			return problem.New(problem.NotFound, "schedule %s has no backfill %q", name, id)
		}
		stopped = v.Backfills[i]
		m := &machine{view: v, now: s.now(), changed: map[string]bool{}}
		skipped, ended := 0, 0
		for i := range v.Live {
			f := &v.Live[i]
			switch {
			case f.Lane != id:
				continue
			case f.State == Due:
				m.skip(f, u.Name+" stopped the backfill")
				skipped++
			default:
				m.stop(f, u.Name+" stopped the backfill")
				ended++
			}
			v.Put = append(v.Put, *f)
		}
		if skipped+ended == 0 {
			return problem.New(problem.Conflict, "the backfill is over already")
		}
		v.did(m.now, Activity{By: u.Name, Did: StoppedBackfill, Detail: fmt.Sprintf("%s; %d that waited were skipped, %d that ran stopped", stopped.span(), skipped, ended)})
		return nil
	})
	if err != nil {
		return Backfill{}, err
	}
	return stopped, nil
}

// span is the time that a backfill fills, in words.
func (b Backfill) span() string {
	return b.From.UTC().Format("2006-01-02 15:04") + " to " + b.To.UTC().Format("2006-01-02 15:04 UTC")
}

func (b Backfill) describe(slots int) string {
	order := "oldest first"
	if b.Newest {
		order = "newest first"
	}
	return fmt.Sprintf("%s: %d slots, %d at once, %s", b.span(), slots, b.Parallel, order)
}

// maxBackfills is how many backfills of a schedule are told about.
const maxBackfills = 20

// Backfills returns the newest 20 backfills of a schedule, newest first.
func (s *Schedules) Backfills(ctx context.Context, u auth.User, name string) ([]Backfill, error) {
	found, err := s.Get(ctx, u, name)
	if err != nil {
		return nil, err
	}
	return s.cfg.Store.Backfills(ctx, found.ID, maxBackfills)
}

// Fire returns one fire of a schedule.
func (s *Schedules) Fire(ctx context.Context, u auth.User, name, id string) (Fire, error) {
	found, err := s.Get(ctx, u, name)
	if err != nil {
		return Fire{}, err
	}
	f, err := s.cfg.Store.Fire(ctx, id)
	if err == nil && f.Schedule != found.ID {
		err = problem.New(problem.NotFound, "schedule %s has no fire %q", name, id)
	}
	return f, err
}

// History returns fires of a schedule, newest slot first; f.Schedule is not
// looked at.
func (s *Schedules) History(ctx context.Context, u auth.User, name string, f FireFilter) ([]Fire, error) {
	found, err := s.Get(ctx, u, name)
	if err != nil {
		return nil, err
	}
	f.Schedule = found.ID
	if f.Limit < 1 || f.Limit > 1000 {
		f.Limit = 50
	}
	return s.cfg.Store.Fires(ctx, f)
}

// Notices returns the newest 100 notices about a schedule: who was told what,
// and what could not be sent yet.
func (s *Schedules) Notices(ctx context.Context, u auth.User, name string) ([]notify.Notice, error) {
	found, err := s.Get(ctx, u, name)
	if err != nil {
		return nil, err
	}
	const most = 100
	return s.cfg.Store.Notices(ctx, found.Name, most)
}

// Recent returns the newest n fires of every schedule, by its id.
func (s *Schedules) Recent(ctx context.Context, u auth.User, n int) (map[string][]Fire, error) {
	if u.Name == "" {
		return nil, problem.New(problem.Denied, "sign in first")
	}
	return s.cfg.Store.LastFires(ctx, n)
}

// StopFire skips a fire that waits, and stops one that runs.
func (s *Schedules) StopFire(ctx context.Context, u auth.User, name, fire string) (Fire, error) {
	_, err := s.act(ctx, u, name, func(v *View) error {
		for i := range v.Live {
			f := &v.Live[i]
			if f.ID != fire {
				continue
			}
			m := &machine{view: v, now: s.now(), changed: map[string]bool{}}
			if f.State == Due {
				m.skip(f, u.Name+" skipped it")
			} else {
				m.stop(f, u.Name+" asked to stop")
			}
			v.did(m.now, Activity{By: u.Name, Did: StoppedFire, Fire: f.ID, Detail: "the fire of " + f.Slot.UTC().Format("2006-01-02 15:04 UTC")})
			v.Put = append(v.Put, *f)
			return nil
		}
		return problem.New(problem.NotFound, "schedule %s has no fire %q that waits or runs", name, fire)
	})
	if err != nil {
		return Fire{}, err
	}
	return s.cfg.Store.Fire(ctx, fire)
}

// Describe says in words when a definition fires and by which rules.
func (d Definition) Describe() string {
	var all []string
	for _, t := range d.Triggers {
		switch {
		case t.Cron != "":
			c, err := ParseCron(t.Cron)
			if err != nil {
				c.text = t.Cron
			}
			all = append(all, c.words())
		case t.EverySeconds > 0:
			all = append(all, "every "+words(t.EverySeconds))
		case len(t.Signals) > 0:
			all = append(all, t.waits())
		default:
			all = append(all, "once at "+t.At.Format(time.RFC3339))
		}
	}
	if len(all) == 0 {
		return "by hand only"
	}
	return strings.Join(all, ", ") + ", " + d.Zone
}

// Deadlines says in words when a fire is late and when it runs long: "is late when it
// is not over 90 minutes after its slot"; "" where nothing says so.
func (d Definition) Deadlines() string {
	span := func(seconds int64) string {
		if text := words(seconds); text[0] < '0' || text[0] > '9' {
			return "1 " + text
		}
		return words(seconds)
	}
	var late, all []string
	if d.DoneWithinSeconds > 0 {
		late = append(late, span(d.DoneWithinSeconds)+" after its slot")
	}
	if d.DoneBy != "" {
		late = append(late, "by "+d.DoneBy)
	}
	if late != nil {
		all = append(all, "is late when it is not over "+strings.Join(late, " or "))
	}
	if d.LongSeconds > 0 {
		all = append(all, "runs long after "+span(d.LongSeconds))
	}
	return strings.Join(all, ", and ")
}

// Events says in words what a definition waits for that has no time: Timetable
// knows nothing of it.
func (d Definition) Events() []string {
	var all []string
	for _, t := range d.Triggers {
		if len(t.Signals) > 0 {
			all = append(all, t.waits())
		}
	}
	return all
}

// waits says in words which signals a trigger waits for.
func (t Trigger) waits() string {
	var all []string
	for _, w := range t.Signals {
		all = append(all, w.words())
	}
	return strings.Join(all, " and ")
}

func (w Wait) words() string {
	if w.Webhook != "" {
		return "when webhook " + w.Webhook + " is called"
	}
	if w.File != "" {
		return "when " + w.File + " has arrived"
	}
	if w.Table != "" {
		if w.Connection != "" {
			return "when table " + w.Table + " of " + w.Connection + " was written"
		}
		return "when table " + w.Table + " was written"
	}
	switch w.When {
	case WhenFailed:
		return "when " + w.Schedule + " has failed"
	case WhenEnded:
		return "when " + w.Schedule + " is over"
	}
	return "when " + w.Schedule + " has succeeded"
}

func words(seconds int64) string {
	for _, u := range []struct {
		n    int64
		name string
	}{{86400, "day"}, {3600, "hour"}, {60, "minute"}} {
		if seconds%u.n == 0 {
			if seconds == u.n {
				return u.name
			}
			return fmt.Sprintf("%d %ss", seconds/u.n, u.name)
		}
	}
	if seconds == 1 {
		return "second"
	}
	return fmt.Sprintf("%d seconds", seconds)
}
