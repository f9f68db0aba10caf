package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"quire/internal/kernel/keeper"
	"quire/internal/problem"
	"quire/internal/server"
)

const notebookLong = `Serve a folder to Jupyter clients: JupyterLab, VS Code and everything else that
speaks to a Jupyter server. The address to open is the first line on standard
output, printed when requests are answered; it holds the access token.

Every save is kept as a version, and what is deleted goes to a trash. Kernels
go on when their clients go away, and end when the server is asked to end. When
it is killed they go on, and are found by the next one for the same folder. The
token comes from QUIRE_TOKEN, or is made at the first start.

Started by a JupyterHub (c.Spawner.cmd = ["quire", "notebook"]) it is the
single-user server of its user: people sign in at the Hub, which is told of
activity.`

func newNotebookCommand(p Process) *cobra.Command {
	var cfg server.NotebookConfig
	verbose, again := false, false
	cmd := &cobra.Command{
		Use:                   "notebook [DIR] [flags]",
		DisableFlagsInUseLine: true,
		Short:                 "Serve a folder to Jupyter clients",
		Long:                  notebookLong,
		Example:               "  quire notebook\n  quire notebook reports --listen 127.0.0.1:0 --base-url /user/ann/",
		Args:                  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if again {
				return serveAgain(cmd.Context(), p, slices.DeleteFunc(slices.Clone(p.Args), func(a string) bool { return a == againFlag }))
			}
			cfg.Token = takeToken()
			hub, err := server.HubFromEnvironment(&cfg)
			if err != nil {
				return err
			}
			cfg.Dir = append(args, ".")[0]
			if root := os.Getenv("JUPYTERHUB_ROOT_DIR"); hub != nil && len(args) == 0 && root != "" {
				cfg.Dir = root
			}
			self, err := os.Executable()
			if err != nil {
				return problem.Wrap(err, "finding this program")
			}
			cfg.Keeper = []string{self, keepCommand}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewTextHandler(p.Stderr, &slog.HandlerOptions{Level: level}))
			n, err := server.NewNotebook(cmd.Context(), cfg, server.Options{Log: log, Version: version})
			if err != nil {
				return err
			}
			// Requests are answered from here on: the listener is open.
			if cfg.Socket == "" && hub == nil {
				fmt.Fprintln(p.Stdout, n.SignInURL())
			}
			return errors.Join(n.Serve(cmd.Context()), n.Close())
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Listen, "listen", "", "HOST:PORT to answer on; port 0 picks a free one (default 127.0.0.1:8888)")
	f.StringVar(&cfg.Data, "data", "", "directory for versions and settings (default one for this folder in your data directory)")
	f.StringVar(&cfg.BaseURL, "base-url", "/", "path that everything is served under")
	f.StringVar(&cfg.Shared, "shared", "", "the platform's shared folder, whose notebooks open, too")
	f.StringVar(&cfg.Kernel, "kernel", "", "kernel for who names none (default python3)")
	f.StringVar(&cfg.User, "user", "", "your name to other people (default that of the system)")
	f.StringArrayVar(&cfg.Hosts, "host", nil, "a further Host header to answer, HOST:PORT; may be repeated")
	f.BoolVar(&cfg.InsecureBehindProxy, "insecure-behind-proxy", false, "answer on other addresses than loopback without TLS: a proxy in front adds it")
	f.IntVar(&cfg.Warm, "warm", 0, "started kernels that wait, for each kernelspec in use; -1 is none (default 1)")
	f.BoolVar(&cfg.NoTerminals, "no-terminals", false, "no shells")
	f.DurationVar(&cfg.Idle, "idle", 0, "end when for so long nobody was connected and nothing ran (default never)")
	f.StringVar(&cfg.Socket, "socket", "", "Unix socket to answer on instead: for the platform")
	_ = f.MarkHidden("socket")
	f.BoolVar(&again, againFlag[2:], false, "serve in a child process, which is started again when it is killed: for containers")
	_ = f.MarkHidden(againFlag[2:])
	f.BoolVar(&verbose, "verbose", false, "log every request")
	return withExit(cmd, "0 asked to stop, 1 error, 2 usage")
}

// againFlag makes a container's process outlive its server: see serveAgain.
const againFlag = "--again"

// Bounds of starting a server again.
const (
	againMost  = 5                // times
	againSince = 10 * time.Minute // within which so many are too many
	againLives = 5 * time.Second  // a server that ends sooner with an error does not start
)

// serveAgain serves in a child process, and starts another one when that is
// killed: a container lives as long as its first process, and the kernels in it
// are to outlive the server.
func serveAgain(ctx context.Context, p Process, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return problem.Wrap(err, "finding this program")
	}
	var starts []time.Time
	for {
		began := time.Now()
		starts = slices.DeleteFunc(append(starts, began), func(at time.Time) bool { return began.Sub(at) > againSince })
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = p.Stdin, p.Stdout, p.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())):
			return nil // it ended as it was asked to
		case !errors.As(err, &exit):
			return err
		}
		st, _ := exit.Sys().(syscall.WaitStatus)
		crashed := st.Signaled() || exit.ExitCode() == exitUsage && time.Since(began) > againLives // as a failing Go program exits
		if ctx.Err() != nil || !crashed {
			return statusError{status: max(exit.ExitCode(), 1), silent: true}
		}
		if len(starts) > againMost {
			return problem.New(problem.Unavailable, "the notebook server was killed %d times within %v: it needs more memory, or its log says more", len(starts), againSince)
		}
		fmt.Fprintf(p.Stderr, "the notebook server ended (%v) and is started again; its kernels go on\n", exit)
	}
}

// keepCommand is the process that keeps the kernels of a notebook server.
const keepCommand = "keep"

func newKeepCommand(p Process) *cobra.Command {
	var opt keeper.Options
	cmd := &cobra.Command{
		Use:    keepCommand + " DIR",
		Short:  "Keep the kernels of a notebook server (started by it)",
		Hidden: true,
		Args:   usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.Log = slog.New(slog.NewTextHandler(p.Stderr, nil))
			opt.Ready = func() { fmt.Fprintln(p.Stdout, "ready") }
			return keeper.Serve(cmd.Context(), args[0], opt)
		},
	}
	cmd.Flags().DurationVar(&opt.Orphan, "orphan", 0, "end when for so long there was no server and nothing ran (default 1h)")
	return cmd
}
