package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	if report.Changed, err = differs(ctx, store, at, nb); err != nil || !report.Changed || c.check {
		return problem.Wrap(err, "comparing notebook %s", name)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(nb.Write(w)) }()
	_, err = store.Put(ctx, at, r, storage.PutOptions{IfMatch: info.ETag, ContentType: notebookType})
	_ = r.Close() // ends the writing when the store gave up
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

// differs reports whether a notebook would be written in other bytes than are
// stored. It looks no further than the first of them.
func differs(ctx context.Context, store storage.Store, at string, nb *notebook.Notebook) (bool, error) {
	stored, _, err := store.Get(ctx, at, storage.GetOptions{})
	if err != nil {
		return false, err
	}
	defer stored.Close() //nolint:errcheck // only read
	w := &comparer{r: bufio.NewReaderSize(stored, 256<<10)}
	if err := nb.Write(w); err != nil {
		if errors.Is(err, errDiffers) {
			return true, nil
		}
		return false, err
	}
	_, err = w.r.ReadByte()
	if err == io.EOF {
		return false, nil
	}
	return true, err
}

var errDiffers = errors.New("other bytes")

// A comparer fails the first write of bytes that are not the next ones of r.
type comparer struct {
	r   *bufio.Reader
	buf []byte
}

// Write implements io.Writer.
func (c *comparer) Write(p []byte) (int, error) {
	if cap(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	n, err := io.ReadFull(c.r, c.buf[:len(p)])
	switch {
	case !bytes.Equal(c.buf[:n], p):
		return 0, errDiffers
	case err != nil:
		return 0, err
	}
	return len(p), nil
}
