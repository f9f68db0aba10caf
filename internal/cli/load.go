package cli

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"quire/internal/engine"
	"quire/internal/notebook"
	"quire/internal/problem"
)

const (
	// maxNotebook is the largest notebook that is read, in bytes.
	maxNotebook = 4 << 30
	// notebookType is the media type of a notebook.
	notebookType = "application/x-ipynb+json"
)

// loadNotebook reads the notebook at a path or URL, or of standard input for
// "-".
func loadNotebook(ctx context.Context, name string) (*notebook.Notebook, error) {
	data, err := readPath(ctx, name, maxNotebook)
	if err != nil {
		return nil, problem.Wrap(err, "reading notebook %s", shown(name))
	}
	if len(data) == 0 && name == "-" {
		return nil, problem.New(problem.Invalid,
			"standard input is empty: want a notebook (with a pipe on standard input a single path is the output, as with papermill)")
	}
	nb, err := notebook.Parse(data)
	return nb, problem.Wrap(err, "reading notebook %s", shown(name))
}

// loadOutput is loadNotebook for the output of a run, which may still go on or
// have been killed: what its journal holds is part of it.
func loadOutput(ctx context.Context, name string) (*notebook.Notebook, error) {
	if !isFile(name) {
		return loadNotebook(ctx, name)
	}
	nb, _, err := engine.ReadFile(name)
	return nb, problem.Wrap(err, "reading notebook %s", shown(name))
}

// shown is a path for a message.
func shown(name string) string {
	if name == "-" {
		return "from standard input"
	}
	return publicPath(name)
}

// missingFolder reports whether err says that something does not exist.
func missingFolder(err error) bool {
	return problem.Is(err, problem.NotFound) || errors.Is(err, fs.ErrNotExist)
}

// isURL reports whether name is a URL and not a path of this machine.
func isURL(name string) bool { return strings.Contains(name, "://") }
