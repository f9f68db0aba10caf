package schedule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"quire/internal/notify"
	"quire/internal/run"
)

// A Schedule is a definition that was applied, and how it stands.
type Schedule struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Owner      string     `json:"owner"`            // whose runs its fires are: a person, or the service identity of Definition.RunAs
	Author     string     `json:"author,omitempty"` // who applied the definition
	May        string     `json:"may,omitempty"`    // what the service identity could do when somebody last looked, in words
	Revision   int        `json:"revision"`         // of the definition, from 1
	Text       string     `json:"text"`             // the definition as it was written
	Definition Definition `json:"definition"`
	// Pinned is the version of each step's notebook that runs, by step; steps
	// whose source is latest have none.
	Pinned map[string]int64 `json:"pinned"`
	// Tested is the environment that each step's notebook was tested with, by step,
	// Found one that its newest fire ran in and that is another.
	Tested      map[string]Environment `json:"tested,omitempty"`
	Found       map[string]Environment `json:"found,omitempty"`
	Paused      bool                   `json:"paused"`
	PausedBy    string                 `json:"pausedBy,omitempty"` // "" when the platform did
	PauseReason string                 `json:"pauseReason,omitempty"`
	Blocked     string                 `json:"blocked,omitempty"` // why a strict-sequential schedule starts nothing; "" when it does
	Cursor      time.Time              `json:"cursor"`            // every slot until then is recorded
	Wake        time.Time              `json:"wake,omitzero"`     // when it is looked at next; zero is never
	Last        State                  `json:"last,omitempty"`    // of the newest of its own fires that succeeded or failed
	Created     time.Time              `json:"created"`
	Updated     time.Time              `json:"updated"`
}

// A State is where a fire or a task is.
type State string

// The states. A fire is due, running, or in one of the last five for good
// (unless somebody asks to run it again); a task begins as waiting.
const (
	Due       State = "due"     // recorded; waits for its turn
	Waiting   State = "waiting" // a task whose steps before are not over
	Ready     State = "ready"   // a task that is to be given to the runs
	Running   State = "running" // it has a run
	Succeeded State = "succeeded"
	Failed    State = "failed"
	TimedOut  State = "timed_out"
	Cancelled State = "cancelled"
	Skipped   State = "skipped" // it did not run; Reason says why
)

// Ended reports whether a fire or task in this state is over.
func (s State) Ended() bool {
	switch s {
	case Due, Waiting, Ready, Running:
		return false
	}
	return true
}

// Lanes keep fires apart that do not wait for each other. A backfill is a lane
// of its own, by its id.
const (
	LaneSchedule = ""       // the slots of the triggers
	LaneManual   = "manual" // somebody asked; followed by "/" and a key
)

// A Fire is the record of one slot: (Schedule, Slot, Lane) is unique.
type Fire struct {
	ID       string    `json:"id"`
	Schedule string    `json:"schedule"` // id
	Slot     time.Time `json:"slot"`
	Lane     string    `json:"lane"`
	State    State     `json:"state"`
	Reason   string    `json:"reason,omitempty"` // in words
	Revision int       `json:"revision"`         // of the definition that it ran by; 0 before it started
	// From and Count make one record of many skipped slots, from From to Slot.
	From  time.Time `json:"from,omitzero"`
	Count int       `json:"count"`          // of slots; 1 but for such a record
	Late  bool      `json:"late,omitempty"` // it was not over when it had to be
	Long  bool      `json:"long,omitempty"` // it ran longer than is usual
	// Generation counts how often it was begun again.
	Generation int    `json:"generation,omitempty"`
	By         string `json:"by,omitempty"` // who asked, when somebody did
	// Event are the values of the signals that it was fired by.
	Event json.RawMessage `json:"event,omitempty"`
	// Inputs are an object: those that it was given or, once it has started, all.
	Inputs json.RawMessage `json:"inputs,omitempty"`
	// Parameters are what steps are given, by step and name, in place of what the
	// definition says: somebody ran the fire again with them. Reruns are the newest 20
	// times that somebody did, oldest first.
	Parameters map[string]map[string]json.RawMessage `json:"parameters,omitempty"`
	Reruns     []Rerun                               `json:"reruns,omitempty"`

	Outputs  json.RawMessage `json:"outputs,omitempty"` // an object, when it succeeded and has any
	Parent   *Parent         `json:"parent,omitempty"`  // who waits for it
	Tasks    []Task          `json:"tasks"`             // none before it started
	Created  time.Time       `json:"created"`
	Started  time.Time       `json:"started,omitzero"`
	Finished time.Time       `json:"finished,omitzero"`
	// Definition is what it runs by, kept from its start.
	Definition *Definition      `json:"-"`
	Pinned     map[string]int64 `json:"-"`
}

// fireID is the id of the record of a slot: whoever makes it makes the same one,
// and so asks for the same runs.
func fireID(schedule, lane string, slot time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", schedule, lane, slot.UnixMicro()))
	return hex.EncodeToString(sum[:16])
}

// A Task is one notebook of a fire.
type Task struct {
	Step       string          `json:"step"`
	Index      int             `json:"index"` // of the element of foreach; -1 without one
	Item       json.RawMessage `json:"item,omitempty"`
	State      State           `json:"state"`
	Reason     string          `json:"reason,omitempty"`
	Notebook   string          `json:"notebook"`
	Version    int64           `json:"version"`              // of the notebook; 0 before it is known
	Repository string          `json:"repository,omitempty"` // that the notebook is of, and Commit the one that runs: source git
	Commit     string          `json:"commit,omitempty"`
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Try        int             `json:"try"`           // number of the newest run, from 1; 0 before
	Run        string          `json:"run,omitempty"` // the newest run
	Earlier    []string        `json:"earlier,omitempty"`
	Failures   int             `json:"failures,omitempty"` // tries that failed by the notebook, since the last restart
	Losses     int             `json:"losses,omitempty"`   // by the platform
	Timeouts   int             `json:"timeouts,omitempty"`
	NotBefore  time.Time       `json:"notBefore,omitzero"`
	Started    time.Time       `json:"started,omitzero"`
	Finished   time.Time       `json:"finished,omitzero"`
	Stop       bool            `json:"stop,omitempty"` // its run is asked to stop
	// Failed is the cell that failed, from 1, and Message what it said.
	Failed  int    `json:"failed,omitempty"`
	Message string `json:"message,omitempty"`
	// Lock is the hash of the environment that it ran in, "" where it is not known,
	// and Tested that of the one that its notebook was tested with, where they differ.
	Lock   string `json:"lock,omitempty"`
	Tested string `json:"tested,omitempty"`
	// Outputs are the values that its notebook recorded.
	Outputs map[string]json.RawMessage `json:"outputs,omitempty"`
	Broken  bool                       `json:"broken,omitempty"` // it was skipped since something before it failed
	Last    bool                       `json:"last,omitempty"`   // the last round of a loop that is over
	// Schedule is the one whose fire it is, and Child that fire.
	Schedule string `json:"schedule,omitempty"`
	Child    string `json:"child,omitempty"` // the fire of another schedule that it waits for
}

// A Backfill is a lane of slots of the past that somebody asked for.
type Backfill struct {
	ID       string    `json:"id"`
	Schedule string    `json:"schedule"` // id
	From     time.Time `json:"from"`     // of the slots, included
	To       time.Time `json:"to"`       // included
	Parallel int       `json:"parallel"`
	Newest   bool      `json:"newest"` // newest slots first
	Paused   bool      `json:"paused"`
	By       string    `json:"by"`
	Created  time.Time `json:"created"`
	// Counts are its fires by state; it is over when none is due or running.
	Counts map[State]int `json:"counts"`
}

// Open reports whether some of its fires are not over.
func (b Backfill) Open() bool { return b.Counts[Due]+b.Counts[Running] > 0 }

// A View is what a change of a schedule sees and what it wants, in one
// transaction.
type View struct {
	Schedule  Schedule
	Live      []Fire // that are not over, by slot, then lane
	Backfills []Backfill
	Ended     map[string]run.Run // the runs of Live's tasks that are over, by id
	Lost      map[string]bool    // runs of Live's tasks that are not in the records any more

	Signals []Signal // that have come for it, oldest first

	// Find returns the fire of an id or, when id is "", one in a lane; with the
	// definition that it ran by.
	Find func(id, lane string) (f Fire, ok bool, err error)

	// What is wanted. A fire of Add whose (slot, lane) is recorded already is not
	// added; the record that is there stands.
	Add      []Fire
	Put      []Fire          // replaced by id
	Backfill []Backfill      // added, or replaced by id
	Notices  []notify.Notice // added; one whose id is there already is not
	// Runs are added to the records of runs. Where there is one with the key of one
	// of them already, tasks that name the new one name the old one instead, and
	// Instead says so: old by new id.
	Runs    []run.Run
	Instead map[string]string
	// Emit are told to the schedules that wait for them; the same one again is not.
	// Taken are the Signals, by id, that are done with; all others are kept.
	Emit  []Signal
	Taken map[string]bool
	// Activities are added.
	Activities []Activity
	Revised    bool // Schedule.Text is a new revision
	Deleted    bool
	Skip       bool // nothing is wanted
}

// A FireFilter chooses fires.
type FireFilter struct {
	Schedule string // id
	Lane     string // "" with Any false is the schedule's own
	Any      bool   // of any lane
	Limit    int    // 1 to 1000
	Before   string // id: only older ones
}

// A Store keeps schedules and fires. It is safe for concurrent use, also by
// several servers. Each call is one transaction, on the disk when it returns. A
// missing schedule or fire is an error of kind NotFound.
type Store interface {
	// CreateSchedule adds a schedule, and a as what was done to it; kind Exists
	// when the name is taken.
	CreateSchedule(ctx context.Context, s Schedule, a Activity) error
	// Schedule returns the schedule of a name.
	Schedule(ctx context.Context, name string) (Schedule, error)
	// Schedules returns all, by name.
	Schedules(ctx context.Context) ([]Schedule, error)
	// ChangeSchedules calls change with each of the schedules and makes what it wants
	// so, all of it or, after an error, nothing. One that is not there is left out;
	// without wait also one that somebody else changes now. Changes of one schedule
	// come one after another.
	ChangeSchedules(ctx context.Context, ids []string, wait bool, change func(*View) error) error
	// Signal tells the schedules that wait for it of a signal, and says how many there
	// are. The same one again is none.
	Signal(ctx context.Context, s Signal) (waiting int, err error)
	// Watches returns the patterns of files that schedules wait for.
	Watches(ctx context.Context) ([]Watch, error)
	// Arrive notes the files that are there for a watch, and tells its schedule of
	// those that are new, or not as they were. At the first look new are those that
	// changed since the schedule began to wait.
	Arrive(ctx context.Context, w Watch, files []File, now time.Time) (arrived int, err error)
	// DueSchedules returns ids of schedules whose Wake has come, for which a signal
	// has come, or of which a run has ended that is not noted yet.
	DueSchedules(ctx context.Context, now time.Time, limit int) ([]string, error)
	// Fire returns a fire, with the definition that it ran by.
	Fire(ctx context.Context, id string) (Fire, error)
	// Fires returns fires, newest slot first.
	Fires(ctx context.Context, f FireFilter) ([]Fire, error)
	// LastFires returns the newest n fires of the schedules' own lane, newest
	// first, by id of the schedule.
	LastFires(ctx context.Context, n int) (map[string][]Fire, error)
	// Notices returns the newest notices about the schedule of a name.
	Notices(ctx context.Context, name string, limit int) ([]notify.Notice, error)
	// Backfills returns the newest backfills of a schedule, newest first, with
	// counts.
	Backfills(ctx context.Context, schedule string, limit int) ([]Backfill, error)
	// Activity returns what was done to the schedule of a name, newest first.
	Activity(ctx context.Context, name string, f ActivityFilter) ([]Activity, error)
}
