package cli

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"quire/internal/server"
)

const notebookLong = `Serve a folder to Jupyter clients: JupyterLab, VS Code and everything else that
speaks to a Jupyter server. The address to open is the first line on standard
output, printed when requests are answered; it holds the access token.

Every save is kept as a version, and what is deleted goes to a trash. Kernels
go on when their clients go away, and end with the server. The token comes from
QUIRE_TOKEN, or is made at the first start.`

func newNotebookCommand(p Process) *cobra.Command {
	var cfg server.NotebookConfig
	verbose := false
	cmd := &cobra.Command{
		Use:                   "notebook [DIR] [flags]",
		DisableFlagsInUseLine: true,
		Short:                 "Serve a folder to Jupyter clients",
		Long:                  notebookLong,
		Example:               "  quire notebook\n  quire notebook reports --listen 127.0.0.1:0 --base-url /user/ann/",
		Args:                  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Dir = append(args, ".")[0]
			cfg.Token = takeToken()
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
			if cfg.Socket == "" {
				fmt.Fprintln(p.Stdout, n.SignInURL())
			}
			return errors.Join(n.Serve(cmd.Context()), n.Close())
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Listen, "listen", "", "HOST:PORT to answer on; port 0 picks a free one (default 127.0.0.1:8888)")
	f.StringVar(&cfg.Data, "data", "", "directory for versions and settings (default one for this folder in your data directory)")
	f.StringVar(&cfg.BaseURL, "base-url", "/", "path that everything is served under")
	f.StringVar(&cfg.Kernel, "kernel", "", "kernel for who names none (default python3)")
	f.StringVar(&cfg.User, "user", "", "your name to other people (default that of the system)")
	f.StringArrayVar(&cfg.Hosts, "host", nil, "a further Host header to answer, HOST:PORT; may be repeated")
	f.BoolVar(&cfg.InsecureBehindProxy, "insecure-behind-proxy", false, "answer on other addresses than loopback without TLS: a proxy in front adds it")
	f.IntVar(&cfg.Warm, "warm", 0, "started kernels that wait, for each kernelspec in use; -1 is none (default 1)")
	f.BoolVar(&cfg.NoTerminals, "no-terminals", false, "no shells")
	f.DurationVar(&cfg.Idle, "idle", 0, "end when for so long nobody was connected and nothing ran (default never)")
	f.StringVar(&cfg.Socket, "socket", "", "Unix socket to answer on instead: for the platform")
	_ = f.MarkHidden("socket")
	f.BoolVar(&verbose, "verbose", false, "log every request")
	return withExit(cmd, "0 asked to stop, 1 error, 2 usage")
}
