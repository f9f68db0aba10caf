package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/server"
	"quire/internal/storage"
)

// A fmtConfig is the command line of quire fmt.
type fmtConfig struct {
	check  bool
	asJSON bool
}

// A fmtReport is what quire fmt --json says about one notebook.
type fmtReport struct {
	Path    string `json:"path"`
	Changed bool   `json:"changed"`           // it was not as nbformat writes it
	Written bool   `json:"written"`           // it is now
	Problem string `json:"problem,omitempty"` // why it could not be done
}

func newFmtCommand(p Process) *cobra.Command {
	c := &fmtConfig{}
	cmd := &cobra.Command{
		Use:   "fmt [flags] NOTEBOOK...",
		Short: "Write notebooks as Python's nbformat would",
		Long: `Write each notebook byte for byte as Python's nbformat would: one-space indents,
sorted keys, lines in lists. Notebooks of version 3 become version 4. The names
of the notebooks that were not so already are printed, and only these are
written. A notebook that somebody changes meanwhile is left alone.
With - it reads standard input and writes standard output.`,
		Example: "  quire fmt report.ipynb\n  quire fmt --check *.ipynb",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), p, args)
		},
		ValidArgsFunction: completeNotebooks(0),
	}
	cmd.Flags().BoolVar(&c.check, "check", false, "only say which differ; the status is 1 when one does")
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print a JSON array with an object for each notebook")
	return withExit(cmd, strings.Replace(exitHelp, "it could not be done",
		"a notebook could not be read or written, or differs (--check)", 1))
}

func (c *fmtConfig) run(ctx context.Context, p Process, names []string) error {
	stderr := newConsole(p)
	reports := []fmtReport{}
	bad := false
	for _, name := range names {
		report := fmtReport{Path: name}
		err := c.one(ctx, p, name, &report)
		if err != nil {
			report.Problem = err.Error()
			stderr.Println(stderr.paint(styleError, "quire fmt: "+printable(err.Error())))
		}
		bad = bad || err != nil || c.check && report.Changed
		reports = append(reports, report)
		if !c.asJSON && report.Changed && name != "-" {
			fmt.Fprintln(p.Stdout, name)
		}
	}
	if c.asJSON {
		if err := printJSON(p.Stdout, reports); err != nil {
			return err
		}
	}
	if bad {
		return statusError{status: exitFailed, silent: true}
	}
	return nil
}

// one writes one notebook as nbformat would and fills in the report. It holds
// the notebook in memory once, whatever its size.
func (c *fmtConfig) one(ctx context.Context, p Process, name string, report *fmtReport) error {
	store, at, err := server.OpenPath(ctx, name)
	if err != nil {
		return problem.Wrap(err, "reading notebook %s", name)
	}
	defer store.Close() //nolint:errcheck // a Put that returned has been written
	if name == "-" {
		return c.pipe(ctx, p, store, at, report)
	}
	nb, info, err := getNotebook(ctx, store, at)
	if err != nil {
		return problem.Wrap(err, "reading notebook %s", name)
	}
	after, err := os.CreateTemp("", "quire-fmt-")
	if err != nil {
		return problem.Wrap(err, "writing notebook %s", name)
	}
	defer os.Remove(after.Name()) //nolint:errcheck // it is ours
	defer after.Close()           //nolint:errcheck // it was only read since it was synced with its size
	if err := nb.Write(after); err != nil {
		return problem.Wrap(err, "writing notebook %s", name)
	}
	if report.Changed, err = differs(ctx, store, at, after); err != nil || !report.Changed || c.check {
		return problem.Wrap(err, "comparing notebook %s", name)
	}
	if _, err := after.Seek(0, io.SeekStart); err != nil {
		return problem.Wrap(err, "writing notebook %s", name)
	}
	_, err = store.Put(ctx, at, after, storage.PutOptions{IfMatch: info.ETag, ContentType: notebookType})
	report.Written = err == nil
	return problem.Wrap(err, "writing notebook %s", name)
}

// pipe is one for standard input and output.
func (c *fmtConfig) pipe(ctx context.Context, p Process, store storage.Store, at string, report *fmtReport) error {
	before, _, err := storage.ReadAll(ctx, store, at, maxNotebook)
	if err != nil {
		return problem.Wrap(err, "reading notebook -")
	}
	nb, err := notebook.Parse(before)
	if err != nil {
		return problem.Wrap(err, "reading notebook -")
	}
	after, err := nb.Bytes()
	if err != nil {
		return problem.Wrap(err, "writing notebook -")
	}
	report.Changed = !bytes.Equal(before, after)
	if c.check || c.asJSON {
		return nil
	}
	_, err = p.Stdout.Write(after)
	report.Written = err == nil
	return problem.Wrap(err, "writing notebook -")
}

// differs reports whether a file holds other bytes than what is stored.
func differs(ctx context.Context, store storage.Store, at string, file *os.File) (bool, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	stored, _, err := store.Get(ctx, at, storage.GetOptions{})
	if err != nil {
		return false, err
	}
	defer stored.Close() //nolint:errcheck // only read
	const block = 256 << 10
	a, b := make([]byte, block), make([]byte, block)
	for {
		n, errA := io.ReadFull(stored, a)
		m, errB := io.ReadFull(file, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return true, nil
		}
		if ended(errA) && ended(errB) {
			return false, nil
		}
		if err := first(unended(errA), unended(errB)); err != nil {
			return false, err
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func unended(err error) error {
	if ended(err) {
		return nil
	}
	return err
}
