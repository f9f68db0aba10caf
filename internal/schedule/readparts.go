package schedule

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"quire/internal/notify"
	"quire/internal/problem"
	"quire/internal/run"
)

func (r *reader) definition(n *yaml.Node, d *Definition) {
	r.top, r.zone, r.stepLines = n, time.UTC, map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 { // what is written as local time needs it first
		if n.Content[i].Value == "timezone" {
			zone, err := LoadZone(n.Content[i+1].Value)
			if err != nil {
				r.fail(n.Content[i+1], "timezone: %v", err)
				continue
			}
			r.zone = zone
		}
	}
	format := 0
	one := Step{Name: SoleStep, Source: Snapshot, When: WhenSucceeded}
	single := false
	parts := map[string]part{
		"schedule":      r.whole("schedule", Format, Format, &format),
		"name":          r.text("name", &d.Name),
		"description":   r.text("description", &d.Description),
		"tags":          r.texts("tags", 18, &d.Tags),
		"timezone":      r.text("timezone", &d.Zone),
		"runAs":         r.text("runAs", &d.RunAs),
		"triggers":      func(n *yaml.Node) { r.triggers(n, d) },
		"only":          r.dates("only", &d.Only),
		"except":        r.dates("except", &d.Except),
		"start":         r.moment("start", &d.Start),
		"end":           r.moment("end", &d.End),
		"strategy":      oneOf(r, "strategy", &d.Strategy, Sequential, StrictSequential, FirstOnly, LastOnly, Parallel),
		"parallel":      r.whole("parallel", 1, 100, &d.Parallel),
		"catchUp":       oneOf(r, "catchUp", &d.CatchUp, CatchNone, CatchLatest, CatchAll),
		"window":        r.span("window", 1, &d.WindowSeconds),
		"startWithin":   r.span("startWithin", 1, &d.StartWithinSeconds),
		"doneWithin":    r.span("doneWithin", 1, &d.DoneWithinSeconds),
		"doneBy":        func(n *yaml.Node) { r.clock(n, "doneBy", &d.DoneBy) },
		"longRunning":   r.span("longRunning", 1, &d.LongSeconds),
		"stopAtFailure": r.yes("stopAtFailure", &d.StopAtFailure),
		"priority":      r.whole("priority", -100, 100, &d.Priority),
		"steps":         func(n *yaml.Node) { r.steps(n, d) },
		"inputs":        r.object("inputs", &d.Inputs),
		"outputs":       r.object("outputs", &d.Outputs),
		"notify":        func(n *yaml.Node) { r.notify(n, d) },
	}
	for key, read := range r.notebookParts(&one) {
		parts[key] = func(n *yaml.Node) { single = true; read(n) }
	}
	r.mapping(n, "a definition", parts)
	switch {
	case single && len(d.Steps) > 0:
		r.fail(n, "a definition has notebook or steps, not both")
	case single:
		r.stepLines[one.Name] = n.Line
		d.Steps = []Step{one}
	}
	if len(r.faults) > 0 {
		return
	}
	if format == 0 {
		r.fail(n, "the line \"schedule: %d\" is missing: it is the version of this format", Format)
	}
	if !ValidName(d.Name) {
		r.fail(n, "name: want 1 to 63 lower-case letters, digits, \"-\" and \"_\", not %q", d.Name)
	}
	if len(d.Steps) == 0 {
		r.fail(n, "there is nothing to run: name a notebook, a template, sql, a command, or steps")
	}
}

// notebookParts are the keys about one notebook, in a step or at the top.
func (r *reader) notebookParts(s *Step) map[string]part {
	return map[string]part{
		"notebook":   r.text("notebook", &s.Notebook),
		"template":   r.text("template", &s.Template),
		"sql":        r.text("sql", &s.SQL),
		"connection": r.text("connection", &s.Connection),
		"command":    r.text("command", &s.Command),
		"source":     oneOf(r, "source", &s.Source, Snapshot, Latest, Git),
		"ref":        r.text("ref", &s.Ref),
		"parameters": r.object("parameters", &s.Parameters),
		"secrets":    func(n *yaml.Node) { r.secrets(n, &s.Secrets) },
		"kernel":     r.text("kernel", &s.Kernel),
		"timeout":    r.span("timeout", 1, &s.TimeoutSeconds),
		"retries":    func(n *yaml.Node) { r.retries(n, &s.Retries) },
		"foreach":    func(n *yaml.Node) { s.Foreach = r.json(n) },
	}
}

// secrets reads names of secrets by parameter.
func (r *reader) secrets(n *yaml.Node, into *map[string]string) {
	if n.Kind != yaml.MappingNode || len(n.Content) > 2*run.MaxSecrets {
		r.fail(n, "secrets: want a mapping of parameters and names of secrets, of at most %d", run.MaxSecrets)
		return
	}
	*into = map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		parameter, name := n.Content[i], n.Content[i+1]
		if !variableName.MatchString(parameter.Value) {
			r.fail(parameter, "secrets: %.60q: want the name of a parameter: letters, digits and _", parameter.Value)
			continue
		}
		// What stands there may be the secret itself: it is not repeated.
		if name.Kind != yaml.ScalarNode || !variableName.MatchString(name.Value) || len(name.Value) > 128 {
			r.fail(name, "secrets: %s: want the name of a secret (quire secret ls), and never its value", parameter.Value)
			continue
		}
		(*into)[parameter.Value] = name.Value
	}
}

// object reads a mapping of any values.
func (r *reader) object(what string, into *json.RawMessage) part {
	return func(n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			r.fail(n, "%s: want a mapping, not %s", what, kindOf(n))
			return
		}
		*into = r.json(n)
	}
}

// condition reads an expression that is true or false.
func (r *reader) condition(what string, into *string) part {
	return func(n *yaml.Node) {
		r.text(what, into)(n)
		r.noteText(n)
		if n.Kind == yaml.ScalarNode && !strings.Contains(n.Value, "{{") {
			r.fail(n, "%s: want a condition such as \"{{ steps.count.rows > 0 }}\", not %s", what, kindOf(n))
		}
	}
}

// when reads a word or a condition.
func (r *reader) when(n *yaml.Node, into *When) {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "{{") {
		r.noteText(n)
		*into = When(n.Value)
		return
	}
	oneOf(r, "when", into, WhenSucceeded, WhenSome, WhenFailed, WhenEnded)(n)
}

// branch reads the cases of a branch.
func (r *reader) branch(n *yaml.Node, s *Step) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > maxCases {
		r.fail(n, "branch: want a list of 1 to %d cases, each with to and when", maxCases)
		return
	}
	s.Branch = []Case{}
	for i, c := range n.Content {
		var one Case
		r.mapping(c, "a case of branch", map[string]part{
			"when": r.condition("when", &one.When),
			"to": func(n *yaml.Node) {
				if n.Kind == yaml.ScalarNode {
					one.To = []string{n.Value}
					return
				}
				r.texts("to", MaxSteps, &one.To)(n)
			},
		})
		if len(one.To) == 0 {
			r.fail(c, "a case of branch: to: want the name of a step, or a list of names")
		}
		if one.When == "" && i < len(n.Content)-1 {
			r.fail(c, "a case of branch without when is for all that is left: it is the last one")
		}
		s.Branch = append(s.Branch, one)
	}
}

func (r *reader) retries(n *yaml.Node, into *Retries) {
	if n.Kind == yaml.ScalarNode {
		r.whole("retries", 0, maxRetries, &into.Notebook)(n)
		return
	}
	var backoff string
	r.mapping(n, "retries", map[string]part{
		"notebook": r.whole("retries.notebook", 0, maxRetries, &into.Notebook),
		"platform": r.whole("retries.platform", 0, maxRetries, &into.Platform),
		"timeout":  r.whole("retries.timeout", 0, maxRetries, &into.Timeout),
		"wait":     r.span("retries.wait", 1, &into.WaitSeconds),
		"maxWait":  r.span("retries.maxWait", 1, &into.MaxWaitSeconds),
		"backoff":  oneOf(r, "retries.backoff", &backoff, "fixed", "exponential"),
	})
	into.Exponential = backoff == "exponential"
}

func (r *reader) triggers(n *yaml.Node, d *Definition) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > MaxTriggers {
		r.fail(n, "triggers: want a list of at most %d", MaxTriggers)
		return
	}
	for _, c := range n.Content {
		var t Trigger
		r.mapping(c, "a trigger", map[string]part{
			"cron": func(n *yaml.Node) {
				r.text("cron", &t.Cron)(n)
				if _, err := ParseCron(t.Cron); err != nil {
					r.fail(n, "cron %q: %v", t.Cron, err)
				}
			},
			"every":    r.span("every", 1, &t.EverySeconds),
			"from":     r.moment("from", &t.From),
			"at":       r.moment("at", &t.At),
			"schedule": func(*yaml.Node) {}, "webhook": func(*yaml.Node) {}, "when": func(*yaml.Node) {}, "match": func(*yaml.Node) {}, // read by wait
			"file": func(*yaml.Node) {}, "table": func(*yaml.Node) {}, "connection": func(*yaml.Node) {},
			"signals": func(n *yaml.Node) { r.waits(n, &t) },
			"join":    r.text("join", &t.Join),
		})
		if slices.ContainsFunc(c.Content, func(n *yaml.Node) bool { return slices.Contains(waitKinds, n.Value) }) && t.Signals == nil {
			t.Signals = []Wait{r.wait(c)}
		}
		kinds := 0
		for _, is := range []bool{t.Cron != "", t.EverySeconds != 0, !t.At.IsZero(), len(t.Signals) > 0} {
			if is {
				kinds++
			}
		}
		if kinds != 1 && len(r.faults) == 0 {
			r.fail(c, "a trigger is one of cron, every, at, schedule, webhook, file, table and signals")
		}
		if t.Join != "" && len(t.Signals) < 2 && len(r.faults) == 0 {
			r.fail(c, "join goes with signals, of which there are several")
		}
		for _, w := range t.Signals {
			if slices.Contains(d.Sources(), w.source()) {
				r.fail(c, "two triggers wait for %s", w.source())
			}
		}
		if !t.From.IsZero() && t.EverySeconds == 0 && len(r.faults) == 0 {
			r.fail(c, "from goes with every")
		}
		if t.EverySeconds > 366*86400 {
			r.fail(c, "every: at most 366 days")
		}
		d.Triggers = append(d.Triggers, t)
	}
}

// waitKinds are the keys of which one makes a trigger a signal.
var waitKinds = []string{"schedule", "webhook", "file", "table"}

// waits reads the signals that a trigger waits for.
func (r *reader) waits(n *yaml.Node, t *Trigger) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > maxWaits {
		r.fail(n, "signals: want a list of 1 to %d", maxWaits)
		return
	}
	for _, c := range n.Content {
		w := r.wait(c)
		if slices.ContainsFunc(t.Signals, func(o Wait) bool { return o.source() == w.source() }) {
			r.fail(c, "it waits for %s twice", w.source())
		}
		t.Signals = append(t.Signals, w)
	}
}

// wait reads one signal to wait for.
func (r *reader) wait(n *yaml.Node) Wait {
	var w Wait
	r.mapping(n, "a signal", map[string]part{
		"schedule":   r.text("schedule", &w.Schedule),
		"webhook":    r.text("webhook", &w.Webhook),
		"file":       r.text("file", &w.File),
		"table":      r.text("table", &w.Table),
		"connection": r.text("connection", &w.Connection),
		"when":       oneOf(r, "when", &w.When, WhenSucceeded, WhenFailed, WhenEnded),
		"match": func(n *yaml.Node) {
			if n.Kind != yaml.MappingNode || len(n.Content) > 2*maxWaits {
				r.fail(n, "match: want a mapping of values and patterns, of at most %d", maxWaits)
				return
			}
			w.Match = map[string]string{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				pattern := n.Content[i+1]
				if _, err := path.Match(pattern.Value, ""); err != nil || pattern.Kind != yaml.ScalarNode {
					r.fail(pattern, "match: %s: want a pattern such as *.csv, [a-c]?, or a value", kindOf(pattern))
				}
				w.Match[n.Content[i].Value] = pattern.Value
			}
		},
	})
	kinds := 0
	for _, is := range []bool{w.Schedule != "", w.Webhook != "", w.File != "", w.Table != ""} {
		if is {
			kinds++
		}
	}
	w.Table = strings.ToLower(w.Table)
	switch {
	case kinds != 1:
		r.fail(n, "a signal is of one of schedule, webhook, file and table")
	case w.File != "" && checkFile(w.File) != "":
		r.fail(n, "file: %s", checkFile(w.File))
	case w.Table != "" && (len(w.Table) > maxTable || strings.ContainsAny(w.Table, " /\t\n*?;")):
		r.fail(n, "table: want the name of a table as statements write it, such as plays or sales.plays, not %.80q", w.Table)
	case w.Connection != "" && w.Table == "":
		r.fail(n, "connection goes with table")
	case w.When != "" && w.Schedule == "":
		r.fail(n, "when goes with schedule")
	case w.Schedule != "" && !ValidName(w.Schedule):
		r.fail(n, "schedule: want the name of a schedule, not %q", w.Schedule)
	case w.Webhook != "" && !ValidName(w.Webhook):
		r.fail(n, "webhook: want the name of one in the server's configuration, not %q", w.Webhook)
	}
	return w
}

// notify reads who is told what.
func (r *reader) notify(n *yaml.Node, d *Definition) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > notify.MaxRules {
		r.fail(n, "notify: want a list of at most %d", notify.MaxRules)
		return
	}
	for _, c := range n.Content {
		var one notify.Rule
		var events []string
		r.mapping(c, "a rule of notify", map[string]part{
			"channel": r.text("channel", &one.Channel),
			"email":   func(n *yaml.Node) { r.addresses(n, &one.Email) },
			"on":      r.texts("on", len(notify.Events), &events),
			"digest":  r.span("digest", 60, &one.DigestSeconds),
		})
		if (one.Channel == "") == (len(one.Email) == 0) {
			r.fail(c, "a rule of notify has a channel or email")
		}
		if len(events) == 0 {
			events = []string{string(notify.Failure), string(notify.Recovery)}
		}
		for _, e := range events {
			if !slices.Contains(notify.Events, notify.Event(e)) {
				r.fail(c, "notify: on: %q: want some of %v", e, notify.Events)
			}
			one.On = append(one.On, notify.Event(e))
		}
		if slices.Contains(one.On, notify.Late) {
			r.lateLine = c.Line
		}
		if slices.Contains(one.On, notify.LongRunning) {
			r.longLine = c.Line
		}
		if one.DigestSeconds > notify.MaxDigest {
			r.fail(c, "notify: digest: at most a week")
		}
		d.Notify = append(d.Notify, one)
	}
}

// addresses reads one e-mail address or several.
func (r *reader) addresses(n *yaml.Node, into *[]string) {
	var all []string
	if n.Kind == yaml.ScalarNode {
		all = []string{n.Value}
	} else {
		r.texts("email", notify.MaxAddresses, &all)(n)
	}
	for _, one := range all {
		a, err := notify.Address(one)
		if err != nil {
			r.fail(n, "notify: %v", err)
			continue
		}
		*into = append(*into, a)
	}
}

func (r *reader) steps(n *yaml.Node, d *Definition) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > MaxSteps {
		r.fail(n, "steps: want a list of 1 to %d", MaxSteps)
		return
	}
	for _, c := range n.Content {
		s := Step{Source: Snapshot, When: WhenSucceeded}
		parts := r.notebookParts(&s)
		parts["name"] = r.text("name", &s.Name)
		parts["after"] = r.texts("after", MaxSteps, &s.After)
		parts["when"] = func(n *yaml.Node) { r.when(n, &s.When) }
		parts["schedule"] = r.text("schedule", &s.Schedule)
		parts["branch"] = func(n *yaml.Node) { r.branch(n, &s) }
		parts["while"] = r.condition("while", &s.While)
		parts["rounds"] = r.whole("rounds", 1, maxRoundsLoop, &s.Rounds)
		parts["pause"] = r.span("pause", 1, &s.PauseSeconds)
		parts["parallel"] = r.whole("parallel", 1, 100, &s.Parallel)
		parts["ignoreFailure"] = r.yes("ignoreFailure", &s.IgnoreFailure)
		r.mapping(c, "a step", parts)
		if !ValidName(s.Name) {
			r.fail(c, "name of a step: want 1 to 63 lower-case letters, digits, \"-\" and \"_\", not %q", s.Name)
		}
		if _, twice := r.stepLines[s.Name]; twice {
			r.fail(c, "two steps are called %q", s.Name)
		}
		r.stepLines[s.Name] = c.Line
		d.Steps = append(d.Steps, s)
	}
}

// dates reads a list of dates and calendars.
func (r *reader) dates(what string, into *[]string) part {
	return func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			n = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{n}, Line: n.Line}
		}
		if n.Kind != yaml.SequenceNode || len(n.Content) > MaxExcept {
			r.fail(n, "%s: want a list of at most %d dates or names of calendars", what, MaxExcept)
			return
		}
		if r.datesLine == 0 {
			r.datesLine = n.Line
		}
		for _, c := range n.Content {
			if _, err := parseDates(c.Value); err != nil || c.Kind != yaml.ScalarNode {
				if err == nil {
					err = problem.New(problem.Invalid, "%s is no date", kindOf(c))
				}
				r.fail(c, "%s: %v", what, err)
			}
			*into = append(*into, c.Value)
		}
	}
}

// clock reads a time of the day, with a zone or without.
func (r *reader) clock(n *yaml.Node, what string, into *string) {
	if _, _, _, err := parseClock(n.Value, r.zone); err != nil || n.Kind != yaml.ScalarNode {
		r.fail(n, "%s: %v", what, err)
		return
	}
	*into = n.Value
}

// someDate looks for a date that only and except leave.
func (r *reader) someDate(d Definition) {
	if d.Only == nil && d.Except == nil || len(r.faults) > 0 || !slices.ContainsFunc(d.Triggers, func(t Trigger) bool { return t.At.IsZero() && t.Signals == nil }) {
		return
	}
	table, err := d.Timetable()
	if err != nil {
		return
	}
	from := d.Start
	if from.IsZero() {
		from = time.Now().AddDate(-1, 0, 0)
	}
	if _, ok := table.Next(from.Add(-1)); !ok {
		r.fail(&yaml.Node{Line: r.datesLine}, "only and except leave no date on which it fires")
	}
}
