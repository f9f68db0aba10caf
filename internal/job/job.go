package job

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"quire/internal/compute"
	"quire/internal/problem"
)

// A State is where a job or a task is.
type State string

// The states. A job is Accepted, KillInitiated or Finished. A task goes through
// them in this order, may leave some out, and never goes back, but for
// Disconnected, from which it returns to where it was.
const (
	Accepted       State = "Accepted"       // waits: for its time, for room, for its turn
	Launched       State = "Launched"       // it has room, its container is being made
	StartInitiated State = "StartInitiated" // its container is there and is being started
	Started        State = "Started"        // its command runs
	KillInitiated  State = "KillInitiated"  // it is being stopped
	Disconnected   State = "Disconnected"   // the place where it runs does not answer
	Finished       State = "Finished"
)

// order is how far a task has come.
func (s State) order() int {
	return slices.Index([]State{Accepted, Launched, StartInitiated, Started, Disconnected, KillInitiated, Finished}, s)
}

// The reason codes.
const (
	Normal               = "normal" // exit status 0
	Failed               = "failed" // another exit status, or a signal, or out of memory
	Killed               = "killed" // somebody asked for it
	ScaledDown           = "scaledDown"
	StuckInState         = "stuckInState"
	StuckInKillingState  = "stuckInKillingState"
	RuntimeLimitExceeded = "runtimeLimitExceeded"
	LostTask             = "lost" // how it ended is not known
	Evicted              = "evicted"
	InvalidRequest       = "invalidRequest" // it can never start as it was asked for
	Crashed              = "crashed"
	TransientSystemError = "transientSystemError"
	LocalSystemError     = "localSystemError"
	UnknownSystemError   = "unknownSystemError"
)

// SystemFailure reports whether a reason is the platform's fault and not
// charged to the user.
func SystemFailure(reason string) bool {
	switch reason {
	case StuckInState, Crashed, TransientSystemError, LocalSystemError, UnknownSystemError, LostTask:
		return true
	}
	return false
}

// A Status is a state, why, and since when.
type Status struct {
	State         State  `json:"state"`
	ReasonCode    string `json:"reasonCode,omitempty"`
	ReasonMessage string `json:"reasonMessage,omitempty"` // for a person
	Timestamp     int64  `json:"timestamp"`               // milliseconds since 1970
}

// At returns the time of the status.
func (s Status) At() time.Time { return time.UnixMilli(s.Timestamp).UTC() }

// A Job is what became of a descriptor.
type Job struct {
	ID         string     `json:"id"` // a UUID
	User       string     `json:"user"`
	Descriptor Descriptor `json:"jobDescriptor"` // with its defaults filled in
	Status     Status     `json:"status"`
	History    []Status   `json:"statusHistory,omitempty"` // earlier ones, oldest first
	Version    int64      `json:"version"`                 // larger after every change
	Created    int64      `json:"created"`                 // milliseconds since 1970
	Next       int        `json:"next"`                    // of a service job: the index of its next new task
	Ended      int        `json:"ended,omitempty"`         // of a batch job: how many indices are done
	Unwell     int        `json:"unwell,omitempty"`        // and how many of them did not end normally
	Extras     Extras     `json:"extras,omitzero"`

	IdempotencyHash string `json:"-"`
}

// Extras is what only the platform itself can ask for.
type Extras struct {
	Mounts  []compute.Mount       `json:"mounts,omitempty"`
	Network compute.NetworkPolicy `json:"network,omitzero"`
	Dir     string                `json:"dir,omitempty"`
	UID     int                   `json:"uid,omitempty"`
	GID     int                   `json:"gid,omitempty"`
	Once    bool                  `json:"once,omitempty"`    // nothing is tried again, whoever's fault the end was; a service job ends with its task
	Grace   time.Duration         `json:"grace,omitempty"`   // how long a container may take to end; 0 is the driver's
	Purpose string                `json:"purpose,omitempty"` // for people: "run 01h..."
}

// A Task is one container of a job.
type Task struct {
	ID         string            `json:"id"` // a UUID, and its container's id
	JobID      string            `json:"jobId"`
	Index      int               `json:"index"` // 0 to size-1, kept by replacements
	OriginalID string            `json:"originalId"`
	ResubmitOf string            `json:"resubmitOf,omitempty"`
	Tries      Tries             `json:"tries"`
	NotBefore  int64             `json:"notBefore,omitempty"` // milliseconds since 1970: it is not launched before
	Status     Status            `json:"status"`
	History    []Status          `json:"statusHistory,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	MovedFrom  string            `json:"movedFrom,omitempty"` // job id
	Replaced   bool              `json:"replaced,omitempty"`  // a newer task has its index, or none shall
	Done       bool              `json:"done,omitempty"`      // it finished, and what comes after it is decided
	Version    int64             `json:"version"`
	Node       string            `json:"node,omitempty"`
	Exit       *compute.Exit     `json:"exit,omitempty"` // nil where none is known
	Pull       Pull              `json:"pull,omitzero"`
	Usage      Usage             `json:"usage,omitzero"`
}

// Tries counts the tasks before this one of the same index, by whose fault they
// ended.
type Tries struct {
	User     int `json:"user,omitempty"`
	System   int `json:"system,omitempty"`
	Eviction int `json:"eviction,omitempty"`
	Streak   int `json:"streak,omitempty"` // failures of the user's in a row, for the delay
}

// Usage is what a task used, as last measured.
type Usage struct {
	At              time.Time     `json:"at,omitzero"`
	CPU             time.Duration `json:"cpuNanos,omitempty"`
	MemoryBytes     int64         `json:"memoryBytes,omitempty"`
	PeakMemoryBytes int64         `json:"peakMemoryBytes,omitempty"`
	DiskBytes       int64         `json:"diskBytes,omitempty"`
	RxBytes         int64         `json:"rxBytes,omitempty"`
	TxBytes         int64         `json:"txBytes,omitempty"`
	OOMKills        int64         `json:"oomKills,omitempty"`
}

// Live reports whether a task has not finished.
func (t Task) Live() bool { return t.Status.State != Finished }

// hasContainer reports whether the task's container was started and is not known
// to have ended.
func (t Task) hasContainer() bool {
	_, started := t.Since(Started)
	return started && t.Live()
}

// Since returns when the task came into a state for the first time; ok is false
// when it never did.
func (t Task) Since(s State) (at time.Time, ok bool) {
	for _, one := range append(slices.Clone(t.History), t.Status) {
		if one.State == s {
			return one.At(), true
		}
	}
	return time.Time{}, false
}

// NewID returns a random UUID.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// ValidID reports whether id has the form of NewID.
func ValidID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i, c := range []byte(id) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// A StateError says that a job or task is in a state in which what was asked is
// not possible. Its kind is Conflict; the HTTP status is 412.
type StateError struct{ Err error }

// Error implements error.
func (e *StateError) Error() string { return e.Err.Error() }

// Unwrap returns the problem.
func (e *StateError) Unwrap() error { return e.Err }

func wrongState(format string, args ...any) error {
	return &StateError{problem.New(problem.Conflict, format, args...)}
}

// A Filter chooses jobs; zero fields do not.
type Filter struct {
	User   string
	Active bool // only those that have not finished
	State  State
	Group  string // capacity group
	// Purpose chooses the platform's own jobs of that purpose.
	Purpose string
	After   Cursor // only older ones
	Limit   int    // 0 is without end
}

// A Cursor is a place in a list of jobs, newest first. The zero value is before
// the first.
type Cursor struct {
	Created int64
	ID      string
}

// Saved is a job to be saved.
type Saved struct {
	Job    Job
	Before int64 // the version that it had
	Tasks  []Task
}

// A Store keeps jobs and tasks. It is safe for concurrent use. Each call is one
// transaction and on the disk when it returns. What is missing is an error of
// kind NotFound.
type Store interface {
	// CreateJob adds a job with its first tasks. When its IdempotencyHash is not
	// empty and a job of the same user has it, that one is returned and nothing is
	// added. An active job of the same Key makes it fail with kind Exists.
	CreateJob(ctx context.Context, w Whole) (Job, error)
	// SaveJobs replaces jobs whose version is still Before, and adds or replaces
	// their tasks. It fails with kind Unavailable when a version is another one;
	// then nothing changes.
	SaveJobs(ctx context.Context, all ...Saved) error
	// Job returns a job.
	Job(ctx context.Context, id string) (Job, error)
	// Jobs returns jobs, newest first.
	Jobs(ctx context.Context, f Filter) ([]Job, error)
	// Task returns a task.
	Task(ctx context.Context, id string) (Task, error)
	// Tasks returns the tasks of a job: all, or those that no newer one replaced;
	// by index, then oldest first.
	Tasks(ctx context.Context, job string, all bool) ([]Task, error)
	// ActiveJobs returns all jobs that have not finished, with the tasks that
	// count.
	ActiveJobs(ctx context.Context) ([]Whole, error)
	// DeleteJobs removes jobs that finished before the time, with their tasks,
	// and returns the tasks' ids.
	DeleteJobs(ctx context.Context, before time.Time) ([]string, error)
}
