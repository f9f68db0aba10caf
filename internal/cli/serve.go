package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"quire/internal/server"
)

func newServeCommand(p Process) *cobra.Command {
	var file, listen, data string
	verbose := false
	cmd := &cobra.Command{
		Use:                   "serve --config FILE",
		DisableFlagsInUseLine: true,
		Short:                 "Start a platform server from a configuration file",
		Long: `Start a platform server. What the configuration file says is overridden by the
flags here; the access token comes from QUIRE_TOKEN, or is made at the first
start and kept in the file "token" of the data directory. The address is printed,
with the token on a terminal only. quire config print shows every setting with its
default.`,
		Example: "  quire serve --config quire.yaml",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			if listen != "" {
				cfg.Listen = listen
			}
			if data != "" {
				cfg.Data = data
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			address := (*server.Server).URL // what is no terminal is kept, as a service manager's log
			if term.IsTerminal(int(p.Stdout.Fd())) {
				address = (*server.Server).SignInURL
			}
			return serve(cmd.Context(), p, cfg, level, address)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "YAML file with the configuration")
	cmd.Flags().StringVar(&listen, "listen", "", "HOST:PORT to answer on; port 0 picks a free one")
	cmd.Flags().StringVar(&data, "data", "", "directory for everything that is kept")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log every request")
	return withExit(cmd, exitHelp)
}

func loadConfig(file string) (server.Config, error) {
	cfg := server.Config{}
	if file != "" {
		var err error
		if cfg, err = server.LoadConfig(file); err != nil {
			return cfg, err
		}
	}
	cfg.Token = takeToken()
	return cfg, nil
}

func newConfigCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Check and print the configuration of a server",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(withExit(&cobra.Command{
		Use: "check FILE", Short: "Say everything that is wrong with a configuration", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := loadConfig(args[0])
			if err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.Stdout, args[0]+" is right")
			return err
		},
	}, exitHelp))
	cmd.AddCommand(withExit(&cobra.Command{
		Use: "print [FILE]", Short: "Print a configuration with all defaults", Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := loadConfig(append(args, "")[0])
			if err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return err
			}
			data, err := cfg.YAML()
			if err != nil {
				return err
			}
			_, err = p.Stdout.Write(data)
			return err
		},
	}, exitHelp))
	return withExit(cmd, exitHelp)
}
