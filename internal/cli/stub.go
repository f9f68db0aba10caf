package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"quire/internal/notebook"
	"quire/internal/parameter"
)

func (j runJob) formatPaths() (string, string, error) { return j.paths.input, j.paths.output, nil }
func formatPath(p string, set parameter.Set, now time.Time) (string, error) { return p, nil }
func (c *runConfig) notebookHelp(ctx context.Context, p Process, cmd *cobra.Command, log *slog.Logger, in string, set parameter.Set) error {
	return nil
}

type stubDef struct{ Name, Default, Help string }
type stubInspect struct{ definitions []stubDef }

func inspectNotebook(nb *notebook.Notebook, a, b string) stubInspect { return stubInspect{} }
func newInspectCommand(p Process) *cobra.Command {
	return &cobra.Command{Use: "inspect", Short: "x", Run: func(*cobra.Command, []string) {}}
}
