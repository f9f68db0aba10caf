package engine

import (
	"context"
	"io"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// An Output keeps the output notebook while it comes into being. The engine
// calls its methods from one goroutine at a time, in the order Begin, any
// number of Update and Overflow, Finish, Close; Finish alone is right too.
//
// An Output never edits what it is given, and the engine never edits it either
// once handed over, so the Output may keep it for another goroutine.
type Output interface {
	// Begin stores the pending notebook, so that the path is seen to work before
	// anything runs. Its failure ends the run.
	Begin(ctx context.Context, nb *notebook.Notebook) error
	// Update keeps changes: when it returns they survive the death of this
	// process. Its cost is that of the changes, not of the notebook. A failure is
	// reported to the user and the run goes on.
	Update(changes []Change) error
	// Overflow creates a file of the given name (one path element) beside the
	// notebook for an output that is too large for it, and returns how a reader of
	// the notebook finds it. A nil writer means that there is no such place.
	Overflow(name string) (w io.WriteCloser, ref string, err error)
	// Finish replaces what is stored by the finished notebook.
	Finish(ctx context.Context, nb *notebook.Notebook) error
	// Close ends what the Output still does in the background. What was kept
	// stays. Close after Finish, and twice, is fine.
	Close() error
	// Location names the output for a person, without credentials.
	Location() string
}

// A Change is what became of one cell, or of the notebook's metadata.
type Change struct {
	Index    int             // of the cell, in the notebook that Begin got
	Cell     *notebook.Cell  // nil when only Metadata changed
	Partial  bool            // the cell still runs: worth showing, not worth a journal entry
	Metadata notebook.Object // of the notebook; nil when unchanged
}

// A Saved tells when an Output has rewritten the notebook in the background.
type Saved struct {
	Bytes   int64
	Seconds float64
	Err     error
}

// A StreamOutput writes the finished notebook once to a writer: a pipe.
type StreamOutput struct {
	W    io.Writer
	Name string // for messages; "-" when empty
}

var _ Output = (*StreamOutput)(nil)

// Begin does nothing.
func (s *StreamOutput) Begin(context.Context, *notebook.Notebook) error { return nil }

// Update does nothing: a pipe is written once.
func (s *StreamOutput) Update([]Change) error { return nil }

// Overflow reports that a pipe has no place beside it.
func (s *StreamOutput) Overflow(string) (io.WriteCloser, string, error) { return nil, "", nil }

// Finish writes the notebook.
func (s *StreamOutput) Finish(_ context.Context, nb *notebook.Notebook) error {
	if err := nb.Write(s.W); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "writing the notebook to %s", s.Location())
	}
	return nil
}

// Close does nothing: the writer is the caller's.
func (s *StreamOutput) Close() error { return nil }

// Location returns the name.
func (s *StreamOutput) Location() string {
	if s.Name == "" {
		return "-"
	}
	return s.Name
}
