package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"quire/internal/engine"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/server"
)

// A recoverReport is what quire recover --json says about one notebook.
type recoverReport struct {
	Path      string `json:"path"`
	Recovered bool   `json:"recovered"`      // false when there was nothing to do
	Cells     int    `json:"cells"`          // how many finished cells the journal held
	Running   *int   `json:"running"`        // number of the cell that was running, from 1; null when none was
	Torn      bool   `json:"torn,omitempty"` // the last entry was cut short, and left out
}

func newRecoverCommand(p Process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "recover [flags] NOTEBOOK...",
		Short: "Complete the output of a run that was killed",
		Long: `Complete the output notebook of a run that was killed (kill -9, a crash, a power
cut). While a run goes on, each finished cell is kept in a journal beside the
output, .NAME.quire-journal; recover puts it into the notebook and marks the
cell that was running. Of an output in an object store, the journal is kept in
the cache folder of the user who ran it, on that machine. A notebook that a run is writing now is left alone.`,
		Example: "  quire recover out.ipynb",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			reports := []recoverReport{}
			for _, name := range args {
				report, err := recoverNotebook(cmd.Context(), name)
				if err != nil {
					return err
				}
				reports = append(reports, report)
				if !asJSON {
					fmt.Fprintln(p.Stdout, report.line())
				}
			}
			if asJSON {
				return printJSON(p.Stdout, reports)
			}
			return nil
		},
		ValidArgsFunction: completeNotebooks(0),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array with an object for each notebook")
	return withExit(cmd, exitHelp)
}

// journalFolder is where the journals of outputs in object stores are kept: ""
// where the user has no such place.
func journalFolder() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "quire", "journals")
}

// recoverFound recovers an output in a store, or a local one.
func recoverFound(ctx context.Context, name string) (*engine.Recovery, error) {
	if !isURL(name) {
		return engine.Recover(name)
	}
	store, at, err := server.OpenPath(ctx, name)
	if err != nil {
		return nil, err
	}
	found, err := engine.RecoverStore(ctx, store, at, journalFolder())
	return found, errors.Join(err, store.Close())
}

func recoverNotebook(ctx context.Context, name string) (recoverReport, error) {
	report := recoverReport{Path: publicPath(name)}
	if !isURL(name) && !isFile(name) {
		return report, problem.New(problem.NotFound, "%s is not a file", name)
	}
	found, err := recoverFound(ctx, name)
	if err != nil {
		return report, problem.Wrap(err, "recovering %s", publicPath(name))
	}
	if found == nil {
		return report, nil
	}
	report.Recovered, report.Cells, report.Torn = true, found.Finished, found.Torn
	if found.Running >= 0 {
		report.Running = &found.Number
	}
	return report, nil
}

func (r recoverReport) line() string {
	switch {
	case !r.Recovered:
		return r.Path + ": nothing to recover"
	case r.Running == nil:
		return fmt.Sprintf("%s: recovered %d finished cells", r.Path, r.Cells)
	}
	return fmt.Sprintf("%s: recovered %d finished cells; %s was running", r.Path, r.Cells, notebook.CellName(*r.Running))
}
