package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"quire/internal/api"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/server"
)

const upLong = `Start the platform on this machine: workspaces, runs and their pages, with
nothing else installed. The address to open is the first line on standard
output, printed when requests are answered; it holds the access token.

Everything is kept in the data directory. Runs go on when the server stops, and
are found again when it starts. On a terminal only what is wrong is told after
the address; --verbose tells everything.`

func newUpCommand(p Process) *cobra.Command {
	var cfg server.Config
	verbose := false
	cmd := &cobra.Command{
		Use:                   "up [flags]",
		DisableFlagsInUseLine: true,
		Short:                 "Start the platform on this machine",
		Long:                  upLong,
		Example:               "  quire up\n  quire up --listen 127.0.0.1:0 --data /srv/quire",
		Args:                  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			switch {
			case verbose:
				level = slog.LevelDebug
			case term.IsTerminal(int(p.Stderr.Fd())):
				level = slog.LevelWarn // the address stays in sight
			}
			cfg.Token = takeToken()
			cfg.Sample = true
			return serve(cmd.Context(), p, cfg, level, (*server.Server).SignInURL)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Listen, "listen", "", "HOST:PORT to answer on; port 0 picks a free one (default 127.0.0.1:8888)")
	f.StringVar(&cfg.Data, "data", "", "directory for everything that is kept (default quire in your data directory)")
	f.StringVar(&cfg.User, "user", "", "name of the local user (default your own)")
	f.DurationVar(&cfg.NotebookIdle, "notebook-idle", 0, "how long a notebook server with nobody there goes on; -1s is for ever (default 1h)")
	f.BoolVar(&verbose, "verbose", false, "log everything, each request too")
	return withExit(cmd, "0 asked to stop, 1 error, 2 usage")
}

// takeToken returns the access token that a server was given, and takes it out
// of the environment: kernels and containers inherit that, and a notebook must
// not be able to act as its server's owner.
func takeToken() string {
	token := os.Getenv("QUIRE_TOKEN")
	_ = os.Unsetenv("QUIRE_TOKEN")
	return token
}

// serve runs a server until the command is asked to end, which is its success.
// What address says of it is printed.
func serve(ctx context.Context, p Process, cfg server.Config, level slog.Level, address func(*server.Server) string) error {
	self, err := os.Executable()
	if err != nil {
		return problem.Wrap(err, "finding this program")
	}
	log := slog.New(slog.NewTextHandler(p.Stderr, &slog.HandlerOptions{Level: level}))
	s, err := server.New(ctx, cfg, server.Options{Log: log, Version: version, Command: []string{self, "attempt"}, Notebook: []string{self, "notebook"}})
	if err != nil {
		return err
	}
	// Requests are answered from here on: the listener is open.
	fmt.Fprintln(p.Stdout, address(s))
	return errors.Join(s.Serve(ctx), s.Close())
}

// newAttemptCommand is the process of one attempt at a run. Servers start it.
func newAttemptCommand(p Process) *cobra.Command {
	warm := false
	cmd := &cobra.Command{
		Use:    "attempt DIR | attempt --warm",
		Short:  "Execute one attempt of a run (started by the server)",
		Hidden: true,
		Args: usageArgs(func(cmd *cobra.Command, args []string) error {
			if warm {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if warm {
				return run.Await(cmd.Context(), "python3", p.Stdin, p.Stdout, run.AttemptOptions{Secrets: api.AttemptSecrets})
			}
			state, err := run.RunAttempt(cmd.Context(), args[0], run.AttemptOptions{Keep: keepAttempt(p), Secrets: api.AttemptSecrets})
			if err == nil && state != run.Succeeded {
				return statusError{status: exitFailed, silent: true} // for the container that it runs in
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&warm, "warm", false, "start a kernel, then wait on standard input for the directory")
	return cmd
}
