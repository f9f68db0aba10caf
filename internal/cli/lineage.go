package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quire/internal/api"
	"quire/internal/run"
)

func newLineageCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lineage",
		Short: "Say which run wrote or read a table or a file",
		Long: `Which run wrote or read which table or file: tables as the data gateway saw them in
statements, files as notebooks recorded them under the names "wrote" and "read".`,
		Example: "  quire lineage table duckdb plays\n  quire lineage file shared/plays.parquet\n  quire lineage run 06h2r7ep6tjqf8msnkwbffs8v0",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	uses := func(cmd *cobra.Command, cl *api.Client, d run.Dataset, asJSON bool) error {
		a, err := cl.DatasetLineage(cmd.Context(), d)
		if err != nil || asJSON {
			if err == nil {
				err = printJSON(p.Stdout, a)
			}
			return err
		}
		w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "AT\tDID\tRUN\tNOTEBOOK\tOWNER\tSTATE")
		for _, side := range []struct {
			did string
			all []run.DatasetRun
		}{{"wrote", a.WrittenBy}, {"read", a.ReadBy}} {
			for _, r := range side.all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", stamp(r.At), side.did, r.Run, printable(r.Notebook), r.Owner, r.State)
			}
		}
		return w.Flush()
	}
	cmd.AddCommand(
		onServer("table CONNECTION NAME", "List the runs that wrote and read a table", cobra.ExactArgs(2), func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			return uses(cmd, cl, run.Dataset{Kind: run.Table, Connection: args[0], Name: args[1]}, asJSON)
		}),
		onServer("file PATH", "List the runs that wrote and read a file", cobra.ExactArgs(1), func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			return uses(cmd, cl, run.Dataset{Kind: run.File, Name: args[0]}, asJSON)
		}),
		onServer("run ID", "List what a run wrote and read", cobra.ExactArgs(1), func(cmd *cobra.Command, cl *api.Client, args []string, asJSON bool) error {
			l, err := cl.RunLineage(cmd.Context(), args[0])
			if err != nil || asJSON {
				if err == nil {
					err = printJSON(p.Stdout, l)
				}
				return err
			}
			for _, side := range []struct {
				did string
				all []run.Dataset
			}{{"wrote", l.Wrote}, {"read", l.Read}} {
				for _, d := range side.all {
					fmt.Fprintf(p.Stdout, "%s %s %s\n", side.did, d.Kind, printable(d.Connection+map[bool]string{true: " "}[d.Connection != ""]+d.Name))
				}
			}
			return nil
		}),
	)
	return withExit(cmd, exitHelp)
}
