package schedule

import (
	"encoding/json"
	"regexp"
	"time"
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

	Triggers []Trigger `json:"triggers"`         // none: it fires by hand only
	Except   []string  `json:"except,omitempty"` // local dates without fires: 2026-12-25, 12-25, 2026-12-24..2026-12-31
	Start    time.Time `json:"start,omitzero"`   // no slot before it
	End      time.Time `json:"end,omitzero"`     // no slot after it

	Steps []Step `json:"steps"` // at least one, in an order in which they may run

	Strategy           Strategy `json:"strategy"`
	Parallel           int      `json:"parallel"` // fires at once, for Parallel; 1 to 100
	CatchUp            CatchUp  `json:"catchUp"`
	WindowSeconds      int64    `json:"windowSeconds"`      // CatchAll: how old a missed slot may be; 0 is any age
	StartWithinSeconds int64    `json:"startWithinSeconds"` // a fire that waits longer is skipped; 0 is for ever
	DoneWithinSeconds  int64    `json:"doneWithinSeconds"`  // a fire that takes longer, from its slot, is late; 0 is never
	StopAtFailure      bool     `json:"stopAtFailure"`      // a failed step stops the others of its fire
	Priority           int      `json:"priority"`           // of the runs, -100 to 100
}

// A Trigger is one of a cron, an interval or a single time.
type Trigger struct {
	Cron         string    `json:"cron,omitempty"`
	EverySeconds int64     `json:"everySeconds,omitempty"` // 1 s to 366 days
	From         time.Time `json:"from,omitzero"`          // EverySeconds is counted from it; zero is 1970
	At           time.Time `json:"at,omitzero"`
}

// A Step is one notebook of a definition.
type Step struct {
	Name       string          `json:"name"`
	Notebook   string          `json:"notebook"`             // path on the volume
	Source     Source          `json:"source"`               // which version of it runs
	Parameters json.RawMessage `json:"parameters,omitempty"` // an object; strings may hold {{ expressions }}
	Kernel     string          `json:"kernel,omitempty"`
	// TimeoutSeconds is how long a try may take; 0 is without end.
	TimeoutSeconds int64    `json:"timeoutSeconds,omitempty"`
	Retries        Retries  `json:"retries"`
	After          []string `json:"after,omitempty"` // steps that end before it
	When           When     `json:"when"`
	// Foreach is a list, or an expression that gives one: the step runs once for
	// each element, which is {{ item }} then. Null is once.
	Foreach  json.RawMessage `json:"foreach,omitempty"`
	Parallel int             `json:"parallel,omitempty"` // of Foreach: how many at once; 0 is all
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
	WhenSucceeded When = "succeeded" // all of them succeeded
	WhenFailed    When = "failed"    // at least one of them failed
	WhenEnded     When = "ended"     // all are over, whatever came of them
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

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// ValidName reports whether name may be a schedule's or step's: 1 to 63
// lower-case letters, digits, "-" and "_".
func ValidName(name string) bool { return len(name) <= maxNameLen && namePattern.MatchString(name) }

// step returns the step of the name.
func (d Definition) step(name string) (Step, bool) {
	for _, s := range d.Steps {
		if s.Name == name {
			return s, true
		}
	}
	return Step{}, false
}
