package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"quire/internal/kernel"
	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// Defaults and bounds of a Request.
const (
	DefaultAutosave       = 30 * time.Second
	DefaultInterruptGrace = 5 * time.Second
	maxSecrets            = 1000
	maxSecretBytes        = 1 << 20
	maxRetries            = 1000
)

// A Request says what to run and how. Source is required; the zero value of
// everything else is a default.
type Request struct {
	// Source is the notebook to run. It is not changed.
	Source *notebook.Notebook
	// InputPath and OutputPath are recorded in metadata.papermill; templates in
	// them are filled in by the caller.
	InputPath, OutputPath string
	// Output keeps the output notebook; nil keeps it in memory only.
	Output Output
	// SaveAtEnd keeps nothing on the way (--no-request-save-on-cell-execute).
	SaveAtEnd bool

	// Parameters are injected, in their order. None injects no cell.
	Parameters parameter.Set
	// Strict refuses parameters that the notebook does not declare.
	Strict bool
	// Comment heads the injected cell; empty is "Parameters".
	Comment string
	// Secrets are values by name that the kernel gets as files and, in languages
	// where we know how, as variables. See the package comment.
	Secrets map[string]string
	// Hidden are values that are masked as secrets are, and given to nobody.
	Hidden []string

	// Kernel and Language override what the notebook says.
	Kernel, Language string
	// Kernels finds the kernel; its zero value looks on all Jupyter paths.
	Kernels kernel.Finder
	// Dir is the kernel's working directory; empty is ours.
	Dir string
	// Env is added to the kernel's environment, "NAME=VALUE".
	Env []string
	// StartKernel starts it; nil is kernel.Start. A pool or a forkserver goes here.
	StartKernel func(ctx context.Context, cfg kernel.Config) (*kernel.Kernel, error)
	// Keep, when not nil, is given the kernel of a run that failed in a cell, with
	// everything in it, once the output is stored; it owns it from then on.
	Keep func(k *kernel.Kernel)
	// KernelOutput gets what the kernel's process writes to its own standard
	// streams; nil drops it (its end is kept for the message of a death).
	KernelOutput io.Writer

	// PrepareOnly parameterizes and writes, and starts no kernel.
	PrepareOnly bool
	// ReportMode hides the source of every code cell.
	ReportMode bool
	// AllowExpectedErrors lets a run succeed although a cell tagged
	// raises-exception raised. Papermill fails such a run at its end, and so do we
	// by default.
	AllowExpectedErrors bool
	// OnlyTags, when not empty, runs only the code cells that have one of these
	// tags, and the parameters cells. SkipTags leaves out cells that have one.
	OnlyTags, SkipTags []string

	// StartTimeout is how long the kernel may take to answer; zero is 60 s.
	StartTimeout time.Duration
	// CellTimeout is how long a cell may run; zero is without end. A cell's own
	// metadata.quire.timeoutSeconds comes first.
	CellTimeout time.Duration
	// InterruptGrace is how long an interrupted cell may take to end before the
	// kernel is killed; zero is 5 s.
	InterruptGrace time.Duration
	// Autosave is how often the outputs of a running cell are saved, from 100 ms;
	// zero is never.
	Autosave time.Duration
	// MaxOutput is how many bytes of one cell's outputs the notebook keeps; the
	// rest goes to a file beside it. Zero is DefaultMaxOutput.
	MaxOutput int64

	// Resume continues an earlier run; nil starts at the first cell.
	Resume *Resume
	// Checkpoints is the folder for what quire.checkpoint keeps; empty makes that
	// call do nothing. CheckpointsBeside gives the usual one.
	Checkpoints string

	// Events, when not nil, is called for everything that happens, in order, from
	// one goroutine at a time. It must not block for long: the run waits for it.
	Events func(Event)
	// Log is for operators; nil discards. Cell contents never go there.
	Log *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Version is Quire's version, recorded in the notebook; empty is "dev".
	Version string
}

// validate says what is wrong with the Request.
func (q *Request) validate() error {
	switch {
	case q.Source == nil:
		return problem.New(problem.Internal, "a run without a source notebook")
	case q.CellTimeout < 0 || q.StartTimeout < 0 || q.Autosave < 0 || q.InterruptGrace < 0:
		return problem.New(problem.Invalid, "a negative timeout: want zero or more")
	case q.MaxOutput < 0:
		return problem.New(problem.Invalid, "an output limit of %d bytes: want zero or more", q.MaxOutput)
	case len(q.Secrets) > maxSecrets:
		return problem.New(problem.TooLarge, "%d secrets: at most %d", len(q.Secrets), maxSecrets)
	}
	for name, value := range q.Secrets {
		if !ValidSecret(name) {
			return problem.New(problem.Invalid, "secret %q: want a name of letters, digits, _, . and -, not starting with a digit", clip(name, 64))
		}
		if len(value) > maxSecretBytes {
			return problem.New(problem.TooLarge, "secret %s has %d bytes: at most %d", name, len(value), maxSecretBytes)
		}
		if q.Parameters.Has(name) {
			return problem.New(problem.Invalid, "%s is given as a parameter and as a secret: want one of them", name)
		}
	}
	return nil
}

// ValidSecret reports whether name is what the notebook helper accepts.
func ValidSecret(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for i, c := range name {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '.' && c != '-') {
			return false
		}
	}
	return true
}

// A Status is how a run ended.
type Status string

// The ends of a run.
const (
	Succeeded   Status = "succeeded"   // all cells that were to run have run, and no check was false
	Stopped     Status = "stopped"     // a cell ended the run early, as a success
	Prepared    Status = "prepared"    // nothing was to run
	Failed      Status = "failed"      // a cell or a check failed
	TimedOut    Status = "timed_out"   // a cell took longer than it may
	KernelDied  Status = "kernel_died" // the kernel's process ended by itself
	Interrupted Status = "interrupted" // somebody asked us to stop
)

// OK reports whether the status is a success.
func (s Status) OK() bool { return s == Succeeded || s == Stopped || s == Prepared }

// A CellError is what a cell failed with.
type CellError struct {
	// Cell is the number of the cell as in notebook.Numbers: from 1, as it stands
	// in the source. 0 is the cell of the run's parameters.
	Cell int `json:"cell"`
	// Index is the cell's place in the output notebook as it is stored, from 0,
	// its error markers included.
	Index int `json:"index"`
	// ExecutionCount is what In [N] shows; nil when the cell has none.
	ExecutionCount *int64 `json:"executionCount"`
	// Source is the cell's code.
	Source string `json:"-"`
	// Ename, Evalue and Traceback are the kernel's, secrets masked; the traceback
	// may hold ANSI colours.
	Ename     string   `json:"ename"`
	Evalue    string   `json:"evalue"`
	Traceback []string `json:"traceback"`
}

// Error returns the name and the value in one line.
func (e *CellError) Error() string {
	if e.Evalue == "" {
		return e.Ename
	}
	return e.Ename + ": " + clip(strings.ReplaceAll(e.Evalue, "\n", " "), 2000)
}

// A Check is the verdict of one cell tagged check.
type Check struct {
	Cell   int    `json:"cell"` // number of the cell, as in notebook.Numbers
	Passed bool   `json:"passed"`
	Reason string `json:"reason,omitempty"` // why it is false
}

// Counts says what became of the cells.
type Counts struct {
	Total     int `json:"total"`
	Executed  int `json:"executed"` // code cells that ran on the kernel
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
	Pending   int `json:"pending"` // not reached
	Skipped   int `json:"skipped"` // left out by their tags
	Resumed   int `json:"resumed"` // taken over from an earlier run
}

// A Result is how a run went. It is complete when Run returns a nil error; with
// an error it holds as much as is known.
type Result struct {
	Status     Status             `json:"status"`
	Reason     string             `json:"reason,omitempty"` // in words, when Status is not Succeeded
	Error      *CellError         `json:"error,omitempty"`  // the cell that decided the status
	Run        string             `json:"run"`              // a UUID
	Input      string             `json:"input"`
	Output     string             `json:"output"`
	Parameters parameter.Set      `json:"parameters"`
	Kernel     string             `json:"kernel,omitempty"`
	Started    time.Time          `json:"started"`
	Finished   time.Time          `json:"finished"`
	Seconds    float64            `json:"seconds"`
	Cells      Counts             `json:"cells"`
	Records    []Record           `json:"records"`
	Checks     []Check            `json:"checks,omitempty"`
	Usage      Usage              `json:"usage"`
	Warnings   []string           `json:"warnings,omitempty"`
	Death      string             `json:"death,omitempty"` // how the kernel died, in words
	Lock       string             `json:"lock,omitempty"`  // hash of the packages that the kernel had; "" where they are not known
	Notebook   *notebook.Notebook `json:"-"`               // as it was stored
}

// Usage is what the kernel used. Zero where the system does not say.
type Usage struct {
	CPUSeconds float64 `json:"cpuSeconds"`
	PeakBytes  int64   `json:"peakBytes"`
}

// Err returns the failure as an error, nil for a success.
func (res *Result) Err() error {
	if res.Status.OK() {
		return nil
	}
	kind := problem.Invalid
	switch res.Status {
	case TimedOut:
		kind = problem.Timeout
	case Interrupted:
		kind = problem.Canceled
	case KernelDied:
		kind = problem.Unavailable
	}
	if res.Error != nil && res.Status == Failed {
		return problem.WrapAs(kind, res.Error, "%s", notebook.CellName(res.Error.Cell))
	}
	return problem.New(kind, "%s", fmt.Sprintf("the run is %s: %s", strings.ReplaceAll(string(res.Status), "_", " "), res.Reason))
}
