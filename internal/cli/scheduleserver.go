package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quire/internal/api"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

// serverDefinition is the definition of a schedule of the server.
func serverDefinition(ctx context.Context, name string) (schedule.Definition, error) {
	cl, err := client()
	if err != nil {
		return schedule.Definition{}, problem.Wrap(err, "there is no file %s, so it is looked for on the server", name)
	}
	s, err := cl.Schedule(ctx, name)
	return s.Definition, err
}

// scheduleCommands are the commands that ask the server.
func scheduleCommands(p Process) []*cobra.Command {
	var reason, key, from string
	var inputs, parameters []string
	show := func(s schedule.Schedule, err error, asJSON bool) error { return showSchedule(p, s, err, asJSON) }
	fire := func(f schedule.Fire, err error, asJSON bool) error { return showFire(p, f, err, asJSON) }
	one := func(use, short string, n int, do func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error) *cobra.Command {
		return onServer(use, short, cobra.ExactArgs(n), do)
	}
	pause := one("pause NAME", "Fire nothing until it is resumed", 1, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
		s, err := cl.PauseSchedule(cmd.Context(), args[0], reason)
		return show(s, err, asJSON)
	})
	pause.Flags().StringVar(&reason, "reason", "", "why, for others to read")
	run := one("run NAME", "Fire by hand, now", 1, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
		given, err := pairsOf("--input", inputs)
		if err != nil {
			return err
		}
		values, err := schedule.GivenInputs(given)
		if err != nil {
			return err
		}
		f, err := cl.RunSchedule(cmd.Context(), args[0], key, values)
		return fire(f, err, asJSON)
	})
	run.Flags().StringArrayVar(&inputs, "input", nil, "NAME=VALUE of an input of the definition, as JSON or as text; may be repeated")
	run.Aliases = []string{"trigger"} // the word of other schedulers
	run.Flags().StringVar(&key, "idempotency-key", "", "the same key again is the same fire")
	restart := one("restart NAME FIRE", "Run a fire again, from what failed", 2, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
		values, err := valuesOf(inputs, parameters)
		if err != nil {
			return err
		}
		f, err := cl.RestartFire(cmd.Context(), args[0], args[1], from, values)
		return fire(f, err, asJSON)
	})
	restart.Flags().StringArrayVar(&inputs, "input", nil, "NAME=VALUE: an input that is to be another than it was, as JSON or as text; may be repeated")
	restart.Flags().StringArrayVar(&parameters, "parameter", nil, "STEP.NAME=VALUE: a parameter of a step, where the definition has no inputs; without STEP of its one notebook")
	restart.Example = "  quire schedule restart nightly FIRE --from load --input day=2026-11-24\n  quire schedule restart daily FIRE --from @beginning --parameter days=7"
	restart.Flags().StringVar(&from, "from", string(schedule.FromFailed), "@failed, @beginning, or the name of a step")
	return []*cobra.Command{
		one("apply FILE", "Give a definition to the server", 1, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			text, _, err := readDefinition(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			s, err := cl.ApplySchedule(cmd.Context(), text)
			return show(s, err, asJSON)
		}),
		one("ls", "List schedules", 0, func(cmd *cobra.Command, cl *api.Client, _ []string, asJSON bool) error {
			return listSchedules(cmd.Context(), p, cl, asJSON)
		}),
		one("show NAME", "Show a schedule", 1, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			s, err := cl.Schedule(cmd.Context(), args[0])
			return show(s, err, asJSON)
		}),
		one("history NAME", "List what a schedule fired and skipped, newest first", 1, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			return listFires(cmd.Context(), p, cl, args[0], asJSON)
		}),
		one("fire NAME FIRE", "Show a fire: its steps with their runs and parameters, and how often it was run again", 2, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			f, err := cl.Fire(cmd.Context(), args[0], args[1])
			return fire(f, err, asJSON)
		}),
		one("notices NAME", "List who was told what about a schedule, newest first", 1, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			return listNotices(cmd.Context(), p, cl, args[0], asJSON)
		}),
		one("activity NAME", "List who did what to a schedule, newest first", 1, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			return listActivity(cmd.Context(), p, cl, args[0], asJSON)
		}),
		one("backfills NAME", "List the backfills of a schedule and how they stand, newest first", 1, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			return listBackfills(cmd.Context(), p, cl, args[0], asJSON)
		}),
		pause,
		one("resume NAME", "Fire again, from now on", 1, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			s, err := cl.ResumeSchedule(cmd.Context(), args[0])
			return show(s, err, asJSON)
		}),
		run, restart,
		one("stop NAME FIRE", "Skip a fire that waits, stop one that runs", 2, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			f, err := cl.StopFire(cmd.Context(), args[0], args[1])
			return fire(f, err, asJSON)
		}),
		newBackfillCommand(p),
		one("pause-backfill NAME BACKFILL", "Start no further fires of a backfill", 2, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			b, err := cl.PauseBackfill(cmd.Context(), args[0], args[1], true)
			return showBackfill(p, b, "paused", err, asJSON)
		}),
		one("resume-backfill NAME BACKFILL", "Let a backfill go on", 2, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			b, err := cl.PauseBackfill(cmd.Context(), args[0], args[1], false)
			return showBackfill(p, b, "going on", err, asJSON)
		}),
		one("stop-backfill NAME BACKFILL", "End a backfill: skip what waits, stop what runs", 2, func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			b, err := cl.StopBackfill(cmd.Context(), args[0], args[1])
			return showBackfill(p, b, "stopped", err, asJSON)
		}),
		one("rm NAME", "Remove a schedule and its records; its runs stay", 1, func(cmd *cobra.Command, cl *api.Client, args []string, _ bool) error {
			return cl.DeleteSchedule(cmd.Context(), args[0])
		}),
	}
}

// pairsOf reads NAME=VALUE pairs.
func pairsOf(flag string, pairs []string) (map[string]string, error) {
	given := map[string]string{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("%s %q: want NAME=VALUE", flag, pair)}
		}
		given[name] = value
	}
	return given, nil
}

// valuesOf reads what a fire is given when it runs again.
func valuesOf(inputs, parameters []string) (schedule.Values, error) {
	given, err := pairsOf("--input", inputs)
	if err != nil {
		return schedule.Values{}, err
	}
	all := schedule.Values{Inputs: schedule.Typed(given)}
	if given, err = pairsOf("--parameter", parameters); err != nil {
		return schedule.Values{}, err
	}
	steps := map[string]map[string]string{}
	for name, value := range given {
		step, of, ok := strings.Cut(name, ".")
		if !ok {
			step, of = schedule.SoleStep, name
		}
		if steps[step] == nil {
			steps[step] = map[string]string{}
		}
		steps[step][of] = value
	}
	for step, texts := range steps {
		if all.Parameters == nil {
			all.Parameters = map[string]map[string]json.RawMessage{}
		}
		all.Parameters[step] = schedule.Typed(texts)
	}
	return all, nil
}

func newBackfillCommand(p Process) *cobra.Command {
	var from, to string
	var req schedule.BackfillRequest
	var preview, asJSON bool
	cmd := &cobra.Command{
		Use: "backfill NAME --from TIME --to TIME", Short: "Fire the slots of a time span", Args: usageArgs(cobra.ExactArgs(1)),
		DisableFlagsInUseLine: true,
		Long: `Fire the slots of a schedule from one time to another, both included, beside its
own ones and whether they have fired before or not. A date or a time without a zone
is one of the schedule's zone; a date as the end is all of its day. --preview only
says which slots.`,
		Example: "  quire schedule backfill nightly --from 2026-10-01 --to 2026-10-31 --parallel 4 --preview",
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" || to == "" {
				return usageError{fmt.Errorf("want --from and --to, such as --from 2026-10-01 --to 2026-10-31")}
			}
			cl, err := client()
			if err != nil {
				return err
			}
			s, err := cl.Schedule(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if req.From, req.To, err = s.Definition.Span(from, to); err != nil {
				return usageError{err}
			}
			a, err := cl.Backfill(cmd.Context(), args[0], req, preview)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, a)
			}
			for _, slot := range a.Slots {
				fmt.Fprintln(p.Stdout, slot.Format(time.RFC3339))
			}
			if a.Backfill != nil {
				fmt.Fprintf(p.Stderr, "backfill %s: %d fires, %d at once\n", a.Backfill.ID, len(a.Slots), a.Backfill.Parallel)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "first slot, as 2026-10-01, 2026-10-01T06:00 or 2026-10-01T00:00:00Z")
	f.StringVar(&to, "to", "", "last slot")
	f.IntVar(&req.Parallel, "parallel", 1, "how many at once, 1 to 100")
	f.BoolVar(&req.Newest, "newest", false, "newest slots first")
	f.BoolVar(&req.Paused, "paused", false, "start nothing before quire schedule resume-backfill")
	f.BoolVar(&preview, "preview", false, "only say which slots")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}

func showSchedule(p Process, s schedule.Schedule, err error, asJSON bool) error {
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, s)
	}
	state := "on"
	switch {
	case s.Paused:
		by := s.PausedBy
		if by == "" {
			by = "Quire"
		}
		state = strings.TrimRight("paused by "+by+": "+s.PauseReason, ": ")
	case s.Blocked != "":
		state = "blocked: " + s.Blocked
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	lines := [][2]string{
		{"schedule", s.Name},
		{"state", state},
		{"fires", s.Definition.Describe()},
		{"strategy", string(s.Definition.Strategy)},
		{"missed slots", string(s.Definition.CatchUp)},
		{"owner", s.Owner},
	}
	if s.Definition.RunAs != "" {
		lines[len(lines)-1] = [2]string{"runs as", "service identity " + s.Owner + ", which " + s.May}
		lines = append(lines, [2]string{"applied by", s.Author})
	}
	lines = append(lines, [2]string{"revision", fmt.Sprint(s.Revision)})
	if text := s.Definition.Deadlines(); text != "" {
		lines = append(lines, [2]string{"a fire", text})
	}
	for _, in := range s.Definition.Takes() {
		lines = append(lines, [2]string{"input " + in.Name, cmp.Or(in.Default, "must be given")})
	}
	for _, step := range s.Definition.Steps {
		source := "latest: as it is when it fires"
		if v, ok := s.Pinned[step.Name]; ok {
			source = fmt.Sprintf("snapshot: version %d", v)
		}
		if step.Source == schedule.Git {
			source = "git: what " + step.Ref + " is when it fires"
		}
		what := step.What()
		if step.Notebook != "" {
			what += " (" + source + ")"
		}
		lines = append(lines, [2]string{"step " + step.Name, what})
		if len(step.Secrets) > 0 {
			lines = append(lines, [2]string{"  secrets", run.BoundWords(step.Secrets)})
		}
		if tested := s.Tested[step.Name]; tested.Lock != "" {
			lines = append(lines, [2]string{"  environment", "tested with " + schedule.ShortLock(tested.Lock) + ", by run " + tested.Run})
		}
		if found := s.Found[step.Name]; found.Lock != "" {
			lines = append(lines, [2]string{"  it differs", "its newest fire ran in " + schedule.ShortLock(found.Lock) + ", run " + found.Run + ": apply the definition again to take that"})
		}
	}
	for _, line := range lines {
		fmt.Fprintf(w, "%s\t%s\n", line[0], printable(line[1]))
	}
	if table, err := s.Definition.Timetable(); err == nil && !s.Paused {
		for _, slot := range table.Upcoming(p.now(), 3) {
			fmt.Fprintf(w, "next\t%s\n", strings.TrimSpace(slot.Format(time.RFC3339)+table.Local(slot).Format("  Mon 2006-01-02 15:04:05 MST  ")+table.Note(slot)))
		}
	}
	return w.Flush()
}

func listSchedules(ctx context.Context, p Process, cl *api.Client, asJSON bool) error {
	all, err := cl.Schedules(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, all)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tFIRES\tNEXT\tOWNER")
	for _, s := range all {
		state, next := "on", "-"
		if s.Blocked != "" {
			state = "blocked"
		}
		if s.Paused {
			state = "paused"
		} else if table, err := s.Definition.Timetable(); err == nil {
			if slot, ok := table.Next(p.now()); ok {
				next = slot.Format(time.RFC3339)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Name, state, cut(printable(s.Definition.Describe()), 60), next, s.Owner)
	}
	return w.Flush()
}

func listFires(ctx context.Context, p Process, cl *api.Client, name string, asJSON bool) error {
	all, err := cl.Fires(ctx, name, 50)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, all)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIRE\tSLOT\tLANE\tSTATE\tRUN\tREASON")
	for _, f := range all {
		run, state := "-", string(f.State)
		if len(f.Tasks) == 1 && f.Tasks[0].Run != "" {
			run = f.Tasks[0].Run
		} else if len(f.Tasks) > 1 {
			run = fmt.Sprintf("%d tasks", len(f.Tasks))
		}
		if f.Count > 1 {
			state += fmt.Sprintf(" x%d", f.Count)
		}
		if f.Late {
			state += ", late"
		}
		if f.Long {
			state += ", ran long"
		}
		lane := f.Lane
		if lane == schedule.LaneSchedule {
			lane = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.ID, f.Slot.Format(time.RFC3339), printable(lane), state, run, cut(printable(f.Reason), 80))
	}
	return w.Flush()
}

func listNotices(ctx context.Context, p Process, cl *api.Client, name string, asJSON bool) error {
	all, err := cl.Notices(ctx, name)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, all)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tABOUT\tTO\tSTATE\tTRIES\tERROR")
	for _, n := range all {
		to := n.Rule.Channel
		if to == "" {
			to = strings.Join(n.Rule.Email, ",")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", stamp(n.Created), n.Fact.Event, printable(to), n.State, n.Tries, cut(printable(n.Error), 80))
	}
	return w.Flush()
}

func showFire(p Process, f schedule.Fire, err error, asJSON bool) error {
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, f)
	}
	fmt.Fprintf(p.Stdout, "fire %s is %s\n", f.ID, f.State)
	if f.Inputs != nil {
		fmt.Fprintf(p.Stdout, "  inputs %s\n", printable(string(f.Inputs)))
	}
	for _, r := range f.Reruns {
		fmt.Fprintf(p.Stdout, "  %s  run again by %s %s\n", stamp(r.At), r.By, printable(r.String()))
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	for _, t := range f.Tasks {
		name, run := t.Step, cmp.Or(t.Run, t.Child, "-")
		if t.Index >= 0 {
			name += fmt.Sprintf(" %d", t.Index+1)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", name, t.State, run, cut(printable(string(t.Parameters)), 60), cut(printable(t.Reason), 120))
	}
	return w.Flush()
}

func listActivity(ctx context.Context, p Process, cl *api.Client, name string, asJSON bool) error {
	all, err := cl.ScheduleActivity(ctx, name, 100)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, all)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tBY\tDID\tWHAT")
	for _, a := range all {
		by := a.By
		if by == "" {
			by = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", stamp(a.At), by, a.Did, cut(printable(a.Detail), 120))
	}
	return w.Flush()
}

func listBackfills(ctx context.Context, p Process, cl *api.Client, name string, asJSON bool) error {
	all, err := cl.Backfills(ctx, name)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, all)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BACKFILL\tFROM\tTO\tAT ONCE\tBY\tSTATE\tFIRES")
	for _, b := range all {
		state := "over"
		if b.Open() {
			state = map[bool]string{true: "paused", false: "open"}[b.Paused]
		}
		var counts []string
		for _, one := range slices.Sorted(maps.Keys(b.Counts)) {
			counts = append(counts, fmt.Sprintf("%d %s", b.Counts[one], one))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", b.ID, b.From.Format(time.RFC3339), b.To.Format(time.RFC3339), b.Parallel, b.By, state, strings.Join(counts, ", "))
	}
	return w.Flush()
}

func showBackfill(p Process, b schedule.Backfill, word string, err error, asJSON bool) error {
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, b)
	}
	fmt.Fprintf(p.Stdout, "backfill %s is %s\n", b.ID, word)
	return nil
}
