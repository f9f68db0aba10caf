package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"quire/internal/api"
	"quire/internal/problem"
)

func newConnectionCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connection",
		Short: "Connections to data, and their credentials",
		Long: `Connections to data: engines under a name, which the server's configuration has.
Where it says dsn: stored, an administrator sets the engine's address with its
credentials here: it is kept encrypted and shown to nobody.`,
		Example: "  quire connection ls\n  quire connection set warehouse\n  quire connection set warehouse < /run/secrets/warehouse",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConnectionListCommand(p), newConnectionSetCommand(p),
		onServer("unset NAME", "Forget the credential of a connection", cobra.ExactArgs(1), func(cmd *cobra.Command, cl *api.Client, args []string, _ bool) error {
			return cl.UnsetCredential(cmd.Context(), args[0])
		}),
		onServer("rotate [flags]", "Encrypt all credentials, and secrets of people, with a new key", cobra.NoArgs, func(cmd *cobra.Command, cl *api.Client, _ []string, asJSON bool) error {
			n, err := cl.RotateCredentialKey(cmd.Context())
			if err != nil || asJSON {
				if err == nil {
					err = printJSON(p.Stdout, map[string]int{"credentials": n})
				}
				return err
			}
			_, err = fmt.Fprintf(p.Stdout, "%d credentials and secrets are encrypted with a new key\n", n)
			return err
		}))
	return withExit(cmd, exitHelp)
}

func newConnectionListCommand(p Process) *cobra.Command {
	return onServer("ls [flags]", "List the connections that you may use", cobra.NoArgs, func(cmd *cobra.Command, cl *api.Client, _ []string, asJSON bool) error {
		all, err := cl.Connections(cmd.Context())
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(p.Stdout, all)
		}
		w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "CONNECTION\tENGINE\tWRITES\tDESCRIPTION\tWHO, AND HOW MUCH")
		for _, c := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Name, c.Engine, map[bool]string{true: "no", false: "yes"}[c.ReadOnly], printable(c.Description), printable(c.Rights()))
		}
		return w.Flush()
	})
}

func newConnectionSetCommand(p Process) *cobra.Command {
	return onServer("set NAME", "Set the credential of a connection: asked for, or read from standard input", cobra.ExactArgs(1), func(cmd *cobra.Command, cl *api.Client, args []string, _ bool) error {
		secret, err := askSecret(p, "Address of "+args[0]+" with its credentials (it is not shown): ")
		if err != nil {
			return err
		}
		return cl.SetCredential(cmd.Context(), args[0], secret)
	})
}

// askSecret reads a line that nobody sees: from the terminal, or standard input.
func askSecret(p Process, prompt string) (string, error) {
	fd := int(p.Stdin.Fd()) //nolint:gosec // as the system has it
	if term.IsTerminal(fd) {
		fmt.Fprint(p.Stderr, prompt)
		data, err := term.ReadPassword(fd)
		fmt.Fprintln(p.Stderr)
		return string(data), problem.WrapAs(problem.Invalid, err, "reading from the terminal")
	}
	data, err := io.ReadAll(io.LimitReader(p.Stdin, maxSecret+1))
	if err != nil {
		return "", problem.WrapAs(problem.Invalid, err, "reading standard input")
	}
	secret := strings.TrimSpace(string(data))
	switch {
	case secret == "":
		return "", problem.New(problem.Invalid, "no credential came: type it at a terminal, or send it to standard input from a file or another program")
	case len(data) > maxSecret:
		return "", problem.New(problem.Invalid, "what came on standard input is longer than %d KiB, which no credential is", maxSecret>>10)
	}
	return secret, nil
}
