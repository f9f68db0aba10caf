package run

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"strings"
	"time"

	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/notify"
	"quire/internal/problem"
)

// A State is where a run or an attempt is.
type State string

// The states of a run. A run ends in one of the last four and stays there.
const (
	Queued    State = "queued"    // waits for its turn
	Starting  State = "starting"  // an attempt has been given the work
	Running   State = "running"   // cells are executed
	Succeeded State = "succeeded" // all that was to run ran, and every check held
	Failed    State = "failed"    // a cell, a check, the kernel or the platform failed; Reason says which
	Cancelled State = "cancelled" // somebody asked to stop
	TimedOut  State = "timed_out" // it took longer than its limit
	Lost      State = "lost"      // of attempts only: the process went away without a result
)

// Ended reports whether a run or attempt in this state is over.
func (s State) Ended() bool {
	switch s {
	case Queued, Starting, Running:
		return false
	}
	return true
}

// A Run is a request to run a notebook and what became of it.
type Run struct {
	ID       string `json:"id"`
	Owner    string `json:"owner"`
	Notebook string `json:"notebook"` // path of the source on the volume
	Version  int64  `json:"version"`  // of the source; 0 when it has none
	Source   string `json:"source"`   // hex SHA-256 of the source as it was taken
	// Template is the template that the run is of, with its version; Notebook is
	// nbtemplate.Path of it then. "" is none.
	Template        string `json:"template,omitempty"`
	TemplateVersion int    `json:"templateVersion,omitempty"`
	// Git says of which commit the source is, when it is of a git repository.
	Git *GitSource `json:"git,omitempty"`
	// Tested is the lock hash of the environment that the notebook was tested with,
	// as its schedule knows it; see Environment.
	Tested string `json:"tested,omitempty"`

	Parameters json.RawMessage `json:"parameters"` // a JSON object; never secrets
	// Secrets are the names of its owner's secrets that parameters are given, by
	// parameter; never values.
	Secrets map[string]string `json:"secrets,omitempty"`
	Kernel  string            `json:"kernel,omitempty"`
	Tags    []string          `json:"tags,omitempty"`

	Priority       int   `json:"priority"`       // larger is earlier; -100 to 100
	TimeoutSeconds int64 `json:"timeoutSeconds"` // of an attempt; 0 is without end
	Retries        int   `json:"retries"`        // how often to try again after a failure of the notebook

	State       State           `json:"state"`
	Reason      string          `json:"reason"`  // in words; "" while there is nothing to say
	Attempt     int             `json:"attempt"` // number of the newest attempt; 0 before the first
	Lost        int             `json:"lost"`    // how many attempts were lost
	CancelledBy string          `json:"cancelledBy,omitempty"`
	Created     time.Time       `json:"created"`
	NotBefore   time.Time       `json:"notBefore"` // it is not tried before
	Started     time.Time       `json:"started"`   // of the newest attempt's first cell
	Finished    time.Time       `json:"finished"`
	Result      json.RawMessage `json:"result,omitempty"` // engine.Result of the last attempt
	Published   bool            `json:"published"`        // the output is in the object store
	RetryOf     string          `json:"retryOf,omitempty"`
	// Container is the size of the container that the run asked for, filled in;
	// nil is a plain process of the server's machine.
	Container *compute.Resources `json:"container,omitempty"`
	// Used is what the container of the newest attempt that ended used.
	Used *job.Usage `json:"used,omitempty"`
	// Notify says who is told what became of it.
	Notify []notify.Rule `json:"notify,omitempty"`
	// Output is where the output notebook is put when the run succeeds; "" is nowhere
	// but here. OutputProblem says why it could not be put there.
	Output          string `json:"output,omitempty"`
	OutputProblem   string `json:"outputProblem,omitempty"`
	IdempotencyHash string `json:"-"`
}

// Name is the name of the notebook without its folder and extension.
func (r Run) Name() string {
	name := r.Notebook[strings.LastIndexByte(r.Notebook, '/')+1:]
	return strings.TrimSuffix(name, ".ipynb")
}

// Duration is how long the newest attempt has run, until now when it runs
// still; 0 before it started.
func (r Run) Duration(now time.Time) time.Duration {
	if r.Started.IsZero() {
		return 0
	}
	if r.Finished.IsZero() {
		return now.Sub(r.Started)
	}
	return r.Finished.Sub(r.Started)
}

// An Attempt is one try at a run.
type Attempt struct {
	Run      string    `json:"run"`
	Number   int       `json:"number"` // from 1
	Fence    string    `json:"-"`      // random; only its holder may complete the attempt
	State    State     `json:"state"`
	Reason   string    `json:"reason"`
	Claimed  time.Time `json:"claimed"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Lease    time.Time `json:"lease"` // until when the server vouches for it
}

// Limits of a request.
const (
	MaxPriority   = 100
	MaxRetries    = 100
	MaxTags       = 20
	MaxTagBytes   = 64
	MaxParamBytes = 1 << 20
	// maxLost is how many attempts of a run may be lost before it fails.
	maxLost = 3
)

// validate checks what a caller may choose, all at once.
func (r Run) validate() error {
	var wrong []string
	if r.Priority < -MaxPriority || r.Priority > MaxPriority {
		wrong = append(wrong, "priority: must be between -100 and 100")
	}
	if r.Retries < 0 || r.Retries > MaxRetries {
		wrong = append(wrong, "retries: must be between 0 and 100")
	}
	if r.TimeoutSeconds < 0 {
		wrong = append(wrong, "timeoutSeconds: must be 0 or more")
	}
	if len(r.Parameters) > MaxParamBytes {
		wrong = append(wrong, "parameters: at most 1 MiB")
	}
	if len(r.Tags) > MaxTags {
		wrong = append(wrong, "tags: at most 20")
	}
	for _, tag := range r.Tags {
		if tag == "" || len(tag) > MaxTagBytes {
			wrong = append(wrong, "tags: each must have 1 to 64 bytes")
			break
		}
	}
	if len(wrong) > 0 {
		return problem.New(problem.Invalid, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

// idEncoding keeps the order of the bytes and reads well.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns a name for a run: 26 characters that sort by time, to the
// millisecond, and hold 80 random bits.
func NewID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:])
	return idEncoding.EncodeToString(b[:])
}

// ValidID reports whether id has the form of NewID, and so is safe in a path.
func ValidID(id string) bool {
	if len(id) != 26 {
		return false
	}
	_, err := idEncoding.DecodeString(id)
	return err == nil
}

// A Filter chooses runs; zero fields do not.
type Filter struct {
	Owner    string
	Notebook string // the exact path
	Template string
	State    State
	Tag      string
	Limit    int    // 0 is 50; at most 500
	Before   string // id: only older ones
}

// A Store keeps runs and attempts. It is safe for concurrent use. Each call is
// one transaction and on the disk when it returns. A missing run is an error of
// kind NotFound.
type Store interface {
	// CreateRun adds a run. When its IdempotencyHash is not empty and a run of the
	// same owner has it, that one is returned and nothing is added.
	CreateRun(ctx context.Context, r Run) (Run, error)
	// Run returns a run.
	Run(ctx context.Context, id string) (Run, error)
	// Runs returns runs, newest first.
	Runs(ctx context.Context, f Filter) ([]Run, error)
	// CountRuns counts the runs that have not ended, by state.
	CountRuns(ctx context.Context) (map[State]int, error)
	// LastRuns returns the newest run of each notebook of the paths that has one,
	// by path.
	LastRuns(ctx context.Context, notebooks []string) (map[string]Run, error)
	// Attempts returns the attempts of a run, oldest first.
	Attempts(ctx context.Context, id string) ([]Attempt, error)
	// Claim gives the queued run that is due, of highest priority and then
	// oldest, a new attempt with the fence, unless permits attempts are live
	// already. ok is false when there is nothing to do.
	Claim(ctx context.Context, fence string, now, lease time.Time, permits int) (r Run, a Attempt, ok bool, err error)
	// Live returns the attempts that have not ended.
	Live(ctx context.Context) ([]Attempt, error)
	// Advance notes that an attempt runs, or renews its lease. It fails with kind
	// Conflict when the fence is not that of the run's newest attempt.
	Advance(ctx context.Context, a Attempt) error
	// Complete ends an attempt and puts its run into the state that next
	// computes from it. It fails with kind Conflict when the fence is not that of
	// the run's newest attempt or the attempt has ended; then nothing changes.
	Complete(ctx context.Context, a Attempt, next func(Run) Run) (Run, error)
	// ChangeRun replaces a run that has not ended, or marks one published, by
	// what change makes of it. An error of change leaves it as it is.
	ChangeRun(ctx context.Context, id string, change func(Run) (Run, error)) (Run, error)
	// Unpublished returns ended runs whose output is not in the object store.
	Unpublished(ctx context.Context) ([]Run, error)
	// LineageOfRun returns the datasets that a run wrote and read.
	LineageOfRun(ctx context.Context, id string) ([]Use, error)
	// RunsOfDataset returns the newest runs that wrote, or read, a dataset, with when.
	RunsOfDataset(ctx context.Context, d Dataset, wrote bool, limit int) ([]Run, []time.Time, error)
	// DeleteRuns removes runs that ended before the time and returns their ids.
	DeleteRuns(ctx context.Context, before time.Time) ([]string, error)
}
