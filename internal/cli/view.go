package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"quire/internal/problem"
	"quire/internal/viewer"
)

func newViewCommand(p Process) *cobra.Command {
	var out string
	hide := false
	cmd := &cobra.Command{
		Use:                   "view [flags] NOTEBOOK",
		DisableFlagsInUseLine: true,
		Short:                 "Render a notebook as one HTML file, a script or Markdown",
		Long: `Render a notebook, also one that is being run, as one HTML file that needs no
other and runs no script, as a Python script or as Markdown, by the extension of
the output: .html, .py or .md. Without -o the HTML goes to standard output.`,
		Example: "  quire view report.ipynb -o report.html\n  quire view --hide-code out.ipynb -o report.html",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return view(cmd.Context(), p, args[0], out, hide)
		},
		ValidArgsFunction: completeNotebooks(1),
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write: .html, .py or .md")
	cmd.Flags().BoolVar(&hide, "hide-code", false, "fold the code away")
	return withExit(cmd, exitHelp)
}

func view(ctx context.Context, p Process, name, out string, hide bool) error {
	nb, err := loadOutput(ctx, name)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	switch ext := strings.ToLower(filepath.Ext(out)); ext {
	case ".py", ".r", ".jl", ".txt":
		err = viewer.WriteScript(&b, nb)
	case ".md":
		err = viewer.WriteMarkdown(&b, nb)
	case ".html", ".htm", "":
		title := strings.TrimSuffix(filepath.Base(publicPath(name)), ".ipynb")
		err = viewer.Render(&b, nb, viewer.Options{Standalone: true, HideCode: hide, Title: title})
	default:
		return usageError{problem.New(problem.Invalid, "-o %s: want a name that ends in .html, .py or .md", out)}
	}
	if err != nil {
		return err
	}
	if out == "" || out == "-" {
		_, err = b.WriteTo(p.Stdout)
		return err
	}
	return problem.Wrap(fileError(os.WriteFile(out, b.Bytes(), 0o644), out), "writing %s", out)
}

func newDiffCommand(p Process) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:                   "diff [flags] A B",
		DisableFlagsInUseLine: true,
		Short:                 "Compare two notebooks cell by cell",
		Long: `Compare two notebooks cell by cell: source, outputs, parameters. Metadata that
changes with every run is left out.`,
		Example: "  quire diff monday.ipynb tuesday.ipynb",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := loadOutput(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			b, err := loadOutput(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			d := viewer.Compare(a, b)
			if asJSON {
				return d.WriteJSON(p.Stdout)
			}
			return d.WriteText(p.Stdout, newConsole(p).colour)
		},
		ValidArgsFunction: completeNotebooks(2),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}
