package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"quire/internal/engine"
	"quire/internal/notebook"
	"quire/internal/parameter"
)

func (j runJob) formatPaths() (string, string, error)                  { return j.paths.input, j.paths.output, nil }
func (j runJob) resume(ctx context.Context, req *engine.Request) error { return nil }
func (j runJob) sweep(ctx context.Context) error                       { return nil }
func (c *runConfig) notebookHelp(ctx context.Context, p Process, cmd *cobra.Command, log *slog.Logger, in string, set parameter.Set) error {
	return nil
}

type stubDef struct{ Name, Default, Help string }
type stubInspect struct{ definitions []stubDef }

func inspectNotebook(nb *notebook.Notebook, a, b string) stubInspect { return stubInspect{} }
func newInspectCommand(p Process) *cobra.Command {
	return &cobra.Command{Use: "inspect", Short: "x", Run: func(*cobra.Command, []string) {}}
}
