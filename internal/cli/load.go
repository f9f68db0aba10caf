package cli

import (
	"context"
	"io"
	"strings"

	"quire/internal/engine"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/server"
	"quire/internal/storage"
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
	if name != "-" {
		store, at, err := server.OpenPath(ctx, name)
		if err != nil {
			return nil, problem.Wrap(err, "reading notebook %s", shown(name))
		}
		defer store.Close() //nolint:errcheck // only read
		nb, _, err := getNotebook(ctx, store, at)
		return nb, problem.Wrap(err, "reading notebook %s", shown(name))
	}
	data, err := readPath(ctx, name, maxNotebook)
	if err != nil {
		return nil, problem.Wrap(err, "reading notebook %s", shown(name))
	}
	if len(data) == 0 {
		return nil, problem.New(problem.Invalid,
			"standard input is empty: want a notebook (with a pipe on standard input a single path is the output, as with papermill)")
	}
	nb, err := notebook.Parse(data)
	return nb, problem.Wrap(err, "reading notebook %s", shown(name))
}

// getNotebook reads a notebook without a second copy of its bytes in memory.
func getNotebook(ctx context.Context, store storage.Store, at string) (*notebook.Notebook, storage.Info, error) {
	r, info, err := store.Get(ctx, at, storage.GetOptions{})
	if err != nil {
		return nil, info, unnamed(err, store, at)
	}
	defer r.Close() //nolint:errcheck // only read
	if info.Size > maxNotebook {
		return nil, info, problem.New(problem.TooLarge, "it has %d bytes: at most %d are read", info.Size, int64(maxNotebook))
	}
	nb, err := notebook.Read(sized{r, info.Size})
	return nb, info, unnamed(err, store, at)
}

// sized is a reader that knows how much is to come; -1 when it does not.
type sized struct {
	io.Reader
	bytes int64
}

// Len is how many bytes are to come.
func (s sized) Len() int { return int(max(s.bytes, 0)) }

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

// isURL reports whether name is a URL and not a path of this machine.
func isURL(name string) bool { return strings.Contains(name, "://") }
