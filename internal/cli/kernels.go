package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quire/internal/kernel"
)

// A kernelReport is one kernel as quire kernels --json prints it.
type kernelReport struct {
	Name        string   `json:"name"`
	DisplayName string   `json:"displayName"`
	Language    string   `json:"language"`
	Dir         string   `json:"dir"` // empty: it is in this program
	Argv        []string `json:"argv"`
}

func newKernelsCommand(p Process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "kernels",
		Short: "List the kernels that notebooks can run on",
		Long: `List the kernels that notebooks can run on: every kernelspec on the paths where
Jupyter looks (JUPYTER_PATH, the user's and the system's folders, the Python
environment in use), in Quire's own environment, and the kernel for SQL that is
in this program.`,
		Example: "  quire kernels\n  quire kernels --json",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(*cobra.Command, []string) error { return runKernels(p, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return withExit(cmd, exitHelp)
}

func runKernels(p Process, asJSON bool) error {
	specs, problems := kernel.Finder{}.List()
	report := struct {
		Kernels  []kernelReport `json:"kernels"`
		Problems []string       `json:"problems"` // kernelspecs that cannot be used
		Paths    []string       `json:"paths"`    // where it looked
	}{Kernels: []kernelReport{}, Problems: []string{}, Paths: kernel.DefaultPaths()}
	for _, s := range specs {
		report.Kernels = append(report.Kernels, kernelReport{s.Name, s.DisplayName, s.Language, s.Dir, s.Argv})
	}
	for _, err := range problems {
		report.Problems = append(report.Problems, err.Error())
	}
	if asJSON {
		return printJSON(p.Stdout, report)
	}
	c := newConsole(p)
	for _, text := range report.Problems {
		c.Println(c.paint(styleWarning, printable("cannot be used: "+text)))
	}
	if len(specs) == 0 {
		c.Println("no kernel is installed; looked in " + strings.Join(report.Paths, ", "))
		return nil
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tLANGUAGE\tDISPLAY NAME\tFOLDER")
	for _, k := range report.Kernels {
		if k.Dir == "" {
			k.Dir = "(built in)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", printable(k.Name), printable(k.Language), printable(k.DisplayName), k.Dir)
	}
	return w.Flush()
}
