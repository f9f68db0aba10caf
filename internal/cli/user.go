package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quire/internal/api"
)

func newUserCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "People of the server and their access tokens",
		Long: `People of the server: each has a workspace, users/<name>/. An administrator adds
and changes them; everybody makes and ends access tokens of their own.`,
		Example: "  quire user add ann --display-name 'Ann Lee' --email ann@example.com\n  quire user token ann --label laptop --expires 720h",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUserListCommand(p), newUserAddCommand(p), newUserChangeCommand(p),
		newUserTokenCommand(p), newUserTokensCommand(p), newUserRevokeCommand(p))
	return withExit(cmd, exitHelp)
}

// onServer is a command that asks the server and takes --json.
func onServer(use, short string, args cobra.PositionalArgs, do func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: use, DisableFlagsInUseLine: true, Short: short, Args: usageArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			return do(cmd, cl, args, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}

func newUserListCommand(p Process) *cobra.Command {
	return onServer("ls [flags]", "List people", cobra.NoArgs, func(cmd *cobra.Command, cl *api.Client, _ []string, asJSON bool) error {
		all, err := cl.Users(cmd.Context())
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(p.Stdout, all)
		}
		w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tDISPLAY NAME\tEMAIL\tROLE\tGROUPS\tSTATE")
		for _, u := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, printable(u.DisplayName), printable(u.Email), roleOf(u), printable(strings.Join(u.Groups, ", ")), stateOf(u))
		}
		return w.Flush()
	})
}

func roleOf(u api.UserModel) string {
	if u.Admin {
		return "administrator"
	}
	if u.Service != nil {
		return "service identity"
	}
	return "user"
}

func stateOf(u api.UserModel) string {
	if u.Disabled {
		return "disabled"
	}
	return "active"
}

func printUser(p Process, u api.UserModel, asJSON bool) error {
	if asJSON {
		return printJSON(p.Stdout, u)
	}
	_, err := fmt.Fprintf(p.Stdout, "%s\t%s\t%s\n", u.Name, roleOf(u), stateOf(u))
	return err
}

func newUserAddCommand(p Process) *cobra.Command {
	var u api.UserModel
	cmd := onServer("add [flags] NAME", "Add a user, with a workspace", cobra.ExactArgs(1),
		func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			u.Name = args[0]
			made, err := cl.AddUser(cmd.Context(), u)
			if err != nil {
				return err
			}
			return printUser(p, made, asJSON)
		})
	cmd.Flags().StringVar(&u.DisplayName, "display-name", "", "name for people to read")
	cmd.Flags().StringVar(&u.Email, "email", "", "address; who signs in elsewhere with it is this user")
	cmd.Flags().BoolVar(&u.Admin, "admin", false, "an administrator")
	return cmd
}

func newUserChangeCommand(p Process) *cobra.Command {
	var display, email string
	var admin, disabled bool
	cmd := onServer("change [flags] NAME", "Change a user; what is not named stays", cobra.ExactArgs(1),
		func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			var c api.UserChange
			given := cmd.Flags().Changed
			if given("display-name") {
				c.DisplayName = &display
			}
			if given("email") {
				c.Email = &email
			}
			if given("admin") {
				c.Admin = &admin
			}
			if given("disabled") {
				c.Disabled = &disabled
			}
			if c == (api.UserChange{}) {
				return usageError{fmt.Errorf("want at least one of --display-name, --email, --admin, --disabled")}
			}
			u, err := cl.ChangeUser(cmd.Context(), args[0], c)
			if err != nil {
				return err
			}
			return printUser(p, u, asJSON)
		})
	cmd.Flags().StringVar(&display, "display-name", "", "name for people to read")
	cmd.Flags().StringVar(&email, "email", "", "address")
	cmd.Flags().BoolVar(&admin, "admin", false, "an administrator, or with =false not any more")
	cmd.Flags().BoolVar(&disabled, "disabled", false, "may not sign in; signed out everywhere at once. =false undoes it")
	return cmd
}

func newUserTokenCommand(p Process) *cobra.Command {
	var req api.TokenRequest
	var life time.Duration
	cmd := onServer("token [flags] NAME", "Make an access token and print it, this once", cobra.ExactArgs(1),
		func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			req.ExpiresInSeconds = int64(life / time.Second)
			made, err := cl.NewToken(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, made)
			}
			_, err = fmt.Fprintln(p.Stdout, made.Token)
			return err
		})
	cmd.Flags().StringVar(&req.Label, "label", "", "what it is for")
	cmd.Flags().DurationVar(&life, "expires", 0, "how long it holds, as 720h; for ever when left out")
	return cmd
}

func newUserTokensCommand(p Process) *cobra.Command {
	return onServer("tokens [flags] NAME", "List access tokens; never the secrets", cobra.ExactArgs(1),
		func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			all, err := cl.Tokens(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, all)
			}
			w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tLABEL\tCREATED\tEXPIRES")
			for _, t := range all {
				expires := "never"
				if !t.Expires.IsZero() {
					expires = t.Expires.Format(time.RFC3339)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.ID, printable(t.Label), t.Created.Format(time.RFC3339), expires)
			}
			return w.Flush()
		})
}

func newUserRevokeCommand(Process) *cobra.Command {
	return onServer("revoke NAME TOKEN-ID", "End an access token", cobra.ExactArgs(2),
		func(cmd *cobra.Command, cl *api.Client, args []string, _ bool) error {
			return cl.Revoke(cmd.Context(), args[0], args[1])
		})
}
