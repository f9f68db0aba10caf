package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"quire/internal/api"
	"quire/internal/problem"
	"quire/internal/secret"
)

func newSecretCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Secrets of yours on the server, which your runs are given by name",
		Long: `Secrets of yours on the server: kept encrypted and shown to nobody, you included.
A run gets those that are bound to it: quire submit --secret PARAMETER=NAME. With
--of they are those of a service identity that you may use.`,
		Example: "  quire secret set api_token\n  quire secret set api_token < /run/secrets/api\n  quire submit users/ann/report.ipynb --secret token=api_token",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSecretSetCommand(p), newSecretListCommand(p), newSecretRemoveCommand(p))
	return withExit(cmd, exitHelp)
}

func ofFlag(cmd *cobra.Command, of *string) *cobra.Command {
	cmd.Flags().StringVar(of, "of", "", "the service identity whose it is, instead of yours")
	return cmd
}

func newSecretSetCommand(p Process) *cobra.Command {
	of := ""
	return ofFlag(onServer("set [flags] NAME", "Set a secret: asked for, or read from standard input; one line end behind it is not part of it", cobra.ExactArgs(1), func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
		if !secret.ValidName(args[0]) {
			// It may be the value, given by mistake.
			return usageError{errors.New("want the name of a secret: letters, digits and _, not beginning with a digit; its value is asked for, or read from standard input")}
		}
		value, err := readValue(p, args[0])
		if err != nil {
			return err
		}
		if err := cl.SetSecret(cmd.Context(), of, args[0], value); err != nil {
			return err
		}
		return secretDone(p, args[0], "set", asJSON)
	}), &of)
}

func newSecretListCommand(p Process) *cobra.Command {
	of := ""
	return ofFlag(onServer("ls [flags]", "List the names of your secrets, never their values", cobra.NoArgs, func(cmd *cobra.Command, cl *api.Client, _ []string, asJSON bool) error {
		all, err := cl.Secrets(cmd.Context(), of)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(p.Stdout, all)
		}
		w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tSET\tLAST USED")
		for _, one := range all {
			used := stamp(one.Used)
			if used == "" {
				used = "never"
			}
			set := stamp(one.Set)
			if one.By != "" {
				set += " by " + printable(one.By)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", printable(one.Name), set, used)
		}
		return w.Flush()
	}), &of)
}

func newSecretRemoveCommand(p Process) *cobra.Command {
	of := ""
	return ofFlag(onServer("rm [flags] NAME", "Forget a secret", cobra.ExactArgs(1), func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
		if err := cl.RemoveSecret(cmd.Context(), of, args[0]); err != nil {
			return err
		}
		return secretDone(p, args[0], "removed", asJSON)
	}), &of)
}

// secretDone says what was done, for programs only: a person sees no error.
func secretDone(p Process, name, did string, asJSON bool) error {
	if !asJSON {
		return nil
	}
	return printJSON(p.Stdout, map[string]string{"name": name, "did": did})
}

// readValue reads a secret that nobody sees: a line from the terminal, or all of
// standard input but one line end.
func readValue(p Process, name string) (string, error) {
	if fd := int(p.Stdin.Fd()); term.IsTerminal(fd) { //nolint:gosec // as the system has it
		value, err := askSecret(p, "Value of "+name+" (it is not shown): ")
		if err == nil && value == "" {
			err = problem.New(problem.Invalid, "no value was typed: %s stays as it was", name)
		}
		return value, err
	}
	data, err := io.ReadAll(io.LimitReader(p.Stdin, secret.MaxBytes+3))
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case err != nil:
		return "", problem.WrapAs(problem.Invalid, err, "reading standard input")
	case value == "":
		return "", problem.New(problem.Invalid, "no value came: type it at a terminal, or send it to standard input from a file or another program")
	case len(value) > secret.MaxBytes:
		return "", problem.New(problem.TooLarge, "what came on standard input is longer than %d KiB, the longest secret", secret.MaxBytes>>10)
	case !utf8.ValidString(value):
		return "", problem.New(problem.Invalid, "what came on standard input is no text in UTF-8: send it as base64, and decode it in the notebook")
	}
	return value, nil
}

// readBindings reads which secrets are bound to which parameters: PARAMETER=NAME.
func readBindings(texts []string) (map[string]string, error) {
	var bound map[string]string
	for _, one := range texts {
		parameter, name, ok := strings.Cut(one, "=")
		if !ok || parameter == "" || !secret.ValidName(name) {
			// The whole of it may be a secret that was given by mistake.
			return nil, usageError{errors.New("--secret: want PARAMETER=NAME, with the name of a secret of yours (quire secret ls); the value itself is never given on the command line")}
		}
		if _, twice := bound[parameter]; twice {
			return nil, usageError{fmt.Errorf("--secret %s: it is given twice", parameter)}
		}
		if bound == nil {
			bound = map[string]string{}
		}
		bound[parameter] = name
	}
	return bound, nil
}
