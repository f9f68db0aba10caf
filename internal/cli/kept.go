package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quire/internal/kernel"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/server"
)

// keepAttempt serves the kernel of an attempt that failed to its owner, on a
// socket in the attempt's spool.
func keepAttempt(p Process) func(context.Context, string, run.KeepSpec, string, *kernel.Kernel) error {
	return func(ctx context.Context, dir string, spec run.KeepSpec, name string, k *kernel.Kernel) error {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return errors.Join(problem.WrapAs(problem.Unavailable, err, "keeping the kernel"), k.Close())
		}
		log := slog.New(slog.NewTextHandler(p.Stderr, nil))
		n, err := server.NewNotebook(ctx, server.NotebookConfig{
			Dir: spec.Workspace, Data: dir, Socket: filepath.Join(dir, run.KeptSocket), User: spec.Owner, BaseURL: spec.Base,
			Kernel: name, Warm: -1, Idle: spec.For, Adopt: k,
		}, server.Options{Log: log, Version: version})
		if err != nil {
			return errors.Join(problem.Wrap(err, "keeping the kernel"), k.Close())
		}
		return errors.Join(n.Serve(ctx), n.Close())
	}
}

func newRunsAttachCommand(p Process) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "attach RUN", Short: "Open a failed run's kept kernel at the cell that failed",
		Long: `Put the notebook of a failed run into the workspace as a new one, with the kernel
in which it failed, and print the address to go on at. The container of a run with
a size is kept for a while after it failed; only its owner works in it.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			got, err := cl.Attach(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			base, err := url.Parse(cl.URL)
			if err != nil {
				return problem.WrapAs(problem.Invalid, err, "reading the server's address")
			}
			got.URL = base.Scheme + "://" + base.Host + "/" + strings.TrimPrefix(got.URL, "/")
			if asJSON {
				return printJSON(p.Stdout, got)
			}
			fmt.Fprintf(p.Stdout, "%s\nnotebook %s\n", printable(got.URL), printable(got.Path))
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}

func newRunsKeepCommand(p Process) *cobra.Command {
	asJSON := false
	length := time.Hour
	cmd := &cobra.Command{
		Use: "keep RUN", Short: "Keep a failed run's container for longer, or let it go with --for 0",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			if length == 0 {
				return cl.LetGo(cmd.Context(), args[0])
			}
			if length < time.Minute {
				return problem.New(problem.Invalid, "--for %v: want a minute or more, or 0 to let it go", length)
			}
			got, err := cl.KeepRun(cmd.Context(), args[0], length)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, got)
			}
			if got.StopsAt.IsZero() {
				fmt.Fprintln(p.Stdout, "it is in use, and stays")
				return nil
			}
			fmt.Fprintf(p.Stdout, "kept until %s\n", stamp(got.StopsAt))
			return nil
		},
	}
	cmd.Flags().DurationVar(&length, "for", length, "how long from now")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}
