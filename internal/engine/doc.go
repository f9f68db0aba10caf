// Package engine runs one notebook once: it checks and injects parameters,
// executes the cells on one kernel, keeps what has run on disk, and says
// truthfully how it ended.
//
// It does what Papermill does, with the same cells, tags and metadata keys, so
// that tools which read Papermill's output read ours. Where Papermill's output
// is untrue (a killed cell that says "completed", a status that disagrees with
// the exit code) this package tells the truth instead. What it adds is kept in
// metadata.quire of the notebook and its cells.
//
// # One run
//
// Run clones the source, injects the parameters, starts the kernel and writes
// the pending notebook at the same time, then executes cell by cell. A finished
// cell is one line in a journal beside the output before the next one starts,
// at a cost that does not grow with the notebook; the notebook file itself is
// replaced atomically now and then, and at the end (see File). Recover puts a
// journal that a killed engine left behind back into its notebook.
//
// # Secrets
//
// Request.Secrets reach the kernel as files in a private directory, never as
// text in a notebook. Every output, error, record and event passes a mask that
// knows the values and their usual encodings (see masker).
//
// # Success
//
// A run succeeded when no cell failed and no declared check (tag "check") was
// false. Result.Status, metadata.papermill.exception and metadata.quire.status
// always agree.
package engine
