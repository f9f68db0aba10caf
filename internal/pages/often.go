package pages

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/schedule"
)

// An often is how often a schedule fires, as a person says it: the form makes a
// cron of it. What cannot be said so is written as a cron.
type often struct {
	Often   string // day, weekday, week, month, lastday, hour, cron
	At      string // HH:MM; of an hour only the minutes count
	Weekday string // of "week": mon to sun
	Cron    string // of "cron"
	// What has no time: Often is "schedule", "file", "table" or "webhook".
	Other      string // of "schedule"
	Outcome    string // of "schedule": what it came to
	File       string
	Table      string
	Connection string // of "table"; "" is any
	Hook       string
}

// daily is what stands in the form at first.
var daily = often{Often: "day", At: "06:00", Weekday: "mon", Cron: "0 6 * * *"}

// A choice is a value and its words.
type choice struct{ Value, Words string }

// Choices are the ways to say how often.
func (often) Choices() []choice {
	return []choice{
		{"day", "every day"},
		{"weekday", "every weekday, Monday to Friday"},
		{"week", "every week"},
		{"month", "on the first of each month"},
		{"lastday", "on the last day of each month"},
		{"hour", "every hour"},
		{"cron", "as a cron says"},
		{"schedule", "when another schedule is over"},
		{"file", "when a file arrives"},
		{"table", "when a table was written"},
		{"webhook", "when a program calls"},
		{"hand", "by hand only"},
	}
}

// Outcomes are what another schedule may have come to.
func (often) Outcomes() []choice {
	return []choice{{string(schedule.WhenSucceeded), "has succeeded"}, {string(schedule.WhenFailed), "has failed"}, {string(schedule.WhenEnded), "is over, whatever came of it"}}
}

// Weekdays are the choices for a day of the week.
func (often) Weekdays() []choice {
	return []choice{{"mon", "Monday"}, {"tue", "Tuesday"}, {"wed", "Wednesday"}, {"thu", "Thursday"}, {"fri", "Friday"}, {"sat", "Saturday"}, {"sun", "Sunday"}}
}

// take reads what a person chose. A form that has only a cron is one of a script.
func (o *often) take(form url.Values) {
	o.Often, o.At, o.Cron = form.Get("often"), strings.TrimSpace(form.Get("at")), strings.TrimSpace(form.Get("cron"))
	if o.Often == "" {
		o.Often = "cron"
	}
	if day := form.Get("weekday"); day != "" {
		o.Weekday = day
	}
	for name, into := range map[string]*string{"other": &o.Other, "outcome": &o.Outcome, "file": &o.File, "table": &o.Table, "connection": &o.Connection, "hook": &o.Hook} {
		*into = strings.TrimSpace(form.Get(name))
	}
}

// A trigger is one of a definition, as the form writes it.
type trigger struct {
	Cron       string `yaml:"cron,omitempty"`
	Schedule   string `yaml:"schedule,omitempty"`
	When       string `yaml:"when,omitempty"`
	File       string `yaml:"file,omitempty"`
	Table      string `yaml:"table,omitempty"`
	Connection string `yaml:"connection,omitempty"`
	Webhook    string `yaml:"webhook,omitempty"`
}

// triggers are what is chosen, as a definition has them.
func (o *often) triggers() ([]trigger, error) {
	want := func(value, question string) error {
		if value == "" {
			return problem.New(problem.Invalid, "%s: it is empty", question)
		}
		return nil
	}
	switch o.Often {
	case "hand":
		return []trigger{}, nil
	case "schedule":
		one := trigger{Schedule: o.Other}
		if o.Outcome != string(schedule.WhenSucceeded) {
			one.When = o.Outcome
		}
		return []trigger{one}, want(o.Other, "which schedule")
	case "file":
		return []trigger{{File: o.File}}, want(o.File, "which file")
	case "table":
		return []trigger{{Table: o.Table, Connection: o.Connection}}, want(o.Table, "which table")
	case "webhook":
		return []trigger{{Webhook: o.Hook}}, want(o.Hook, "which webhook")
	}
	cron, err := o.expression()
	return []trigger{{Cron: cron}}, err
}

// expression is the cron of what is chosen.
func (o *often) expression() (string, error) {
	if o.Often == "cron" {
		return o.Cron, nil
	}
	at, err := time.Parse("15:04", o.At)
	if err != nil {
		return "", problem.New(problem.Invalid, "at what time: %.40q is none; want hours and minutes such as 06:00", o.At)
	}
	minute, hour := strconv.Itoa(at.Minute()), strconv.Itoa(at.Hour())
	switch o.Often {
	case "day":
		return minute + " " + hour + " * * *", nil
	case "weekday":
		return minute + " " + hour + " * * mon-fri", nil
	case "week":
		if !slices.ContainsFunc(o.Weekdays(), func(c choice) bool { return c.Value == o.Weekday }) {
			return "", problem.New(problem.Invalid, "on which day: %.40q is none", o.Weekday)
		}
		return minute + " " + hour + " * * " + o.Weekday, nil
	case "month":
		return minute + " " + hour + " 1 * *", nil
	case "lastday":
		return minute + " " + hour + " L * *", nil
	case "hour":
		return minute + " * * * *", nil
	}
	return "", problem.New(problem.Invalid, "how often: %.40q is no choice", o.Often)
}
