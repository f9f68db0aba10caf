package schedule

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"quire/internal/notify"
)

// Format is the version of definitions that this package reads and writes.
const Format = 1

// A Definition says what runs and when. Read makes it from a file; it is kept
// with its text, so that a person sees what they wrote.
type Definition struct {
	Format      int      `json:"schedule"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Zone        string   `json:"timezone"`

	RunAs string `json:"runAs,omitempty"` // the service identity that it runs as; "" is its owner

	Triggers []Trigger `json:"triggers"`         // none: it fires by hand only
	Only     []string  `json:"only,omitempty"`   // the local dates with fires; none: all. See dates
	Except   []string  `json:"except,omitempty"` // local dates without fires, whatever Only says
	Start    time.Time `json:"start,omitzero"`   // no slot before it
	End      time.Time `json:"end,omitzero"`     // no slot after it

	// Inputs are an object of names and what they are when nobody gives others: a
	// value, which may hold expressions of dates, or null for what must be given.
	// Outputs are what a step of another schedule that runs this one is given; null
	// is what each step recorded.
	Inputs  json.RawMessage `json:"inputs,omitempty"`
	Outputs json.RawMessage `json:"outputs,omitempty"`

	Steps []Step `json:"steps"` // at least one, in an order in which they may run

	Strategy           Strategy `json:"strategy"`
	Parallel           int      `json:"parallel"` // fires at once, for Parallel; 1 to 100
	CatchUp            CatchUp  `json:"catchUp"`
	WindowSeconds      int64    `json:"windowSeconds"`      // CatchAll: how old a missed slot may be; 0 is any age
	StartWithinSeconds int64    `json:"startWithinSeconds"` // a fire that waits longer is skipped; 0 is for ever
	DoneWithinSeconds  int64    `json:"doneWithinSeconds"`  // a fire that takes longer, from its slot, is late; 0 is never
	DoneBy             string   `json:"doneBy,omitempty"`   // or that is not over when the clock next shows this: "07:00", "07:00 Europe/Paris"
	LongSeconds        int64    `json:"longSeconds"`        // a fire that runs longer, from its start, is told about; 0 is never
	StopAtFailure      bool     `json:"stopAtFailure"`      // a failed step stops the others of its fire
	Priority           int      `json:"priority"`           // of the runs, -100 to 100
	// Notify says who is told what became of fires: of the schedule's own, and of
	// those by hand; a backfill's are not told.
	Notify []notify.Rule `json:"notify,omitempty"`
}

// A Trigger is one of a cron, an interval, a single time, or signals.
type Trigger struct {
	Cron         string    `json:"cron,omitempty"`
	EverySeconds int64     `json:"everySeconds,omitempty"` // 1 s to 366 days
	From         time.Time `json:"from,omitzero"`          // EverySeconds is counted from it; zero is 1970
	At           time.Time `json:"at,omitzero"`
	// Signals are what it waits for: it fires each time when one of each has come.
	// Join is the name of a value that must be the same in all of them.
	Signals []Wait `json:"signals,omitempty"`
	Join    string `json:"join,omitempty"`
}

// A Step is one notebook of a definition, or what becomes one, or decides what runs.
type Step struct {
	Name       string          `json:"name"`
	Notebook   string          `json:"notebook,omitempty"`   // path on the volume
	Template   string          `json:"template,omitempty"`   // or the name of a template
	SQL        string          `json:"sql,omitempty"`        // or statements, with parameters as :name
	Connection string          `json:"connection,omitempty"` // of SQL; "" is the default one
	Command    string          `json:"command,omitempty"`    // or a command for bash, with parameters as variables of its environment
	Schedule   string          `json:"schedule,omitempty"`   // or the name of a schedule, whose inputs Parameters are
	Branch     []Case          `json:"branch,omitempty"`     // or the ways that may be gone from here: the first that holds
	Source     Source          `json:"source"`               // which version of it runs
	Ref        string          `json:"ref,omitempty"`        // of Git: a branch, a tag or a commit of the repository that the notebook lies in
	Parameters json.RawMessage `json:"parameters,omitempty"` // an object; strings may hold {{ expressions }}
	// Secrets are names of secrets of whom the schedule runs as, by parameter: its runs
	// are given their values.
	Secrets map[string]string `json:"secrets,omitempty"`
	Kernel  string            `json:"kernel,omitempty"`
	// TimeoutSeconds is how long a try may take; 0 is without end.
	TimeoutSeconds int64    `json:"timeoutSeconds,omitempty"`
	Retries        Retries  `json:"retries"`
	After          []string `json:"after,omitempty"` // steps that end before it
	When           When     `json:"when"`            // a word, or a condition as an expression
	// Foreach is a list, or an expression that gives one: the step runs once for
	// each element, which is {{ item }} then. Null is once.
	Foreach  json.RawMessage `json:"foreach,omitempty"`
	Parallel int             `json:"parallel,omitempty"` // of Foreach: how many at once; 0 is all
	// While, a condition, runs the step again and again as long as it is true: before
	// each round it is looked at, with {{ round }} and what the one before recorded,
	// {{ last.NAME }}. A loop that is not over after Rounds fails.
	While        string `json:"while,omitempty"`
	Rounds       int    `json:"rounds,omitempty"`       // 0 is 100
	PauseSeconds int64  `json:"pauseSeconds,omitempty"` // between rounds
	// IgnoreFailure lets the steps after it, and the fire, go on as if it had
	// succeeded.
	IgnoreFailure bool `json:"ignoreFailure,omitempty"`
}

// Retries say how often a step is tried again after a failure of each class.
type Retries struct {
	Notebook       int   `json:"notebook"` // a cell, a check or the kernel failed
	Platform       int   `json:"platform"` // attempts were lost
	Timeout        int   `json:"timeout"`
	WaitSeconds    int64 `json:"waitSeconds"`    // before the first retry; 0 is 10
	Exponential    bool  `json:"exponential"`    // each further wait is twice as long
	MaxWaitSeconds int64 `json:"maxWaitSeconds"` // 0 is 600
}

// A Source says which version of a notebook a step runs.
type Source string

// The sources. A change of the notebook in its workspace is never taken over
// silently, nor silently left out: the schedule says which it is.
const (
	Snapshot Source = "snapshot" // as it was when the definition was applied
	Latest   Source = "latest"   // as it is when the fire starts
	Git      Source = "git"      // as it is in the commit that Ref is when the fire starts
)

// A Strategy says what a fire does while earlier ones of its schedule are not
// over.
type Strategy string

// The strategies.
const (
	Sequential       Strategy = "sequential"        // waits for them
	StrictSequential Strategy = "strict-sequential" // waits, and does not start after a failure
	FirstOnly        Strategy = "first-only"        // is skipped
	LastOnly         Strategy = "last-only"         // stops them and takes their place
	Parallel         Strategy = "parallel"          // runs beside them, up to a number
)

// A CatchUp says what becomes of slots that came while nobody looked: more than
// Grace ago. Slots that came while the schedule was paused are always skipped.
type CatchUp string

// The policies for missed slots.
const (
	CatchNone   CatchUp = "none"   // all are skipped
	CatchLatest CatchUp = "latest" // the newest fires, the others are skipped
	CatchAll    CatchUp = "all"    // all within the window fire
)

// Grace is how late a slot may be decided about and not count as missed.
const Grace = time.Minute

// A When is what the steps before must have come to.
type When string

// The conditions on the steps before.
const (
	WhenSucceeded When = "succeeded"      // all of them succeeded
	WhenFailed    When = "failed"         // at least one of them failed
	WhenEnded     When = "ended"          // all are over, whatever came of them
	WhenSome      When = "some-succeeded" // at least one of them succeeded and none failed; skipped ones do not count
)

// Limits of a definition.
const (
	MaxText     = 256 << 10 // bytes
	MaxTriggers = 50
	MaxSteps    = 100
	MaxExcept   = 2000
	MaxItems    = 1000 // of a Foreach
	maxNameLen  = 63
	maxRetries  = 100
)

var (
	namePattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// ValidName reports whether name may be a schedule's or step's: 1 to 63
// lower-case letters, digits, "-" and "_".
func ValidName(name string) bool { return len(name) <= maxNameLen && namePattern.MatchString(name) }

// What says in words what a step runs.
func (s Step) What() string {
	switch {
	case s.Schedule != "":
		return "schedule " + s.Schedule
	case s.Branch != nil:
		var to []string
		for _, c := range s.Branch {
			to = append(to, c.To...)
		}
		return "branch to " + strings.Join(to, ", ")
	}
	return s.Notebook
}

// step returns the step of the name.
func (d Definition) step(name string) (Step, bool) {
	for _, s := range d.Steps {
		if s.Name == name {
			return s, true
		}
	}
	return Step{}, false
}
