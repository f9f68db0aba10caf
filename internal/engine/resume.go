package engine

import "quire/internal/notebook"

// A Resume continues an earlier run from its output notebook.
type Resume struct {
	// Previous is the output of the earlier run.
	Previous *notebook.Notebook
}

func (r *run) planResume() error { return nil }

func (r *run) resumeFrom() int { return 0 }

func (r *run) concludeResume(notebook.Object) {}
