package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quire/internal/notebook"
	"quire/internal/parameter"
)

// An inspection is what a notebook declares.
type inspection struct {
	kernel      string // kernelspec name, "" when the notebook names none
	language    string // as the notebook says it, "" when it does not
	cell        int    // index of the parameters cell, -1 when there is none
	readable    bool   // parameters of the language can be read
	definitions []parameter.Definition
	warnings    []parameter.Warning
	schema      parameter.Schema
}

// inspectNotebook reads a notebook's parameters. kernel and language override
// what the notebook says when they are not empty.
func inspectNotebook(nb *notebook.Notebook, kernel, language string) inspection {
	in := inspection{kernel: nb.KernelName(), language: nb.Language(), cell: nb.ParametersCell()}
	if kernel != "" {
		in.kernel = kernel
	}
	if language != "" {
		in.language = language
	}
	name, known := parameter.LanguageOf(in.kernel, in.language)
	in.readable = known
	if in.cell < 0 || !known {
		return in
	}
	in.definitions, in.warnings = parameter.Inspect(name, nb.Cells[in.cell].Source)
	in.schema = parameter.SchemaOf(in.definitions)
	return in
}

// A parameterReport is one parameter as quire inspect --json prints it. The
// first four fields have the names that papermill's inspect_notebook gives them.
type parameterReport struct {
	Name             string            `json:"name"`
	InferredTypeName string            `json:"inferred_type_name"` // the annotation's text, "None" when there is none
	Default          string            `json:"default"`            // source text, "" when it is required
	Help             string            `json:"help"`
	Type             string            `json:"type"` // what is checked: str, int, float, bool, list, dict, any ...
	Required         bool              `json:"required"`
	Nullable         bool              `json:"nullable,omitempty"`
	Secret           bool              `json:"secret,omitempty"`
	Element          string            `json:"element,omitempty"` // type of a list's elements or a dict's values
	Choices          []parameter.Value `json:"choices,omitempty"`
	Min              *parameter.Bound  `json:"min,omitempty"`
	Max              *parameter.Bound  `json:"max,omitempty"`
	Value            *parameter.Value  `json:"value,omitempty"` // the default, when it is a literal and no secret
	Line             int               `json:"line"`            // in the parameters cell, from 1
}

// An inspectReport is what quire inspect --json prints.
type inspectReport struct {
	Path       string            `json:"path"`
	Kernel     string            `json:"kernel"`
	Language   string            `json:"language"`
	Cells      int               `json:"cells"`
	Cell       *int              `json:"parametersCell"` // its number, from 1; null when there is none
	Parameters []parameterReport `json:"parameters"`
	Warnings   []string          `json:"warnings"`
}

func newInspectCommand(p Process) *cobra.Command {
	var asJSON bool
	var kernel, language string
	cmd := &cobra.Command{
		Use:   "inspect [flags] NOTEBOOK",
		Short: "Show a notebook's parameters",
		Long: `Show the parameters that a notebook declares in its cell tagged "parameters":
names, types, defaults and what may be given. No kernel is started.`,
		Example: "  quire inspect report.ipynb\n  quire inspect s3://bucket/report.ipynb --json",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			nb, err := loadNotebook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			report := inspectionReport(args[0], nb, inspectNotebook(nb, kernel, language))
			if asJSON {
				return printJSON(p.Stdout, report)
			}
			return report.print(p)
		},
		ValidArgsFunction: completeNotebooks(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	cmd.Flags().StringVarP(&kernel, "kernel", "k", "", "read the parameters as those of the kernel `NAME`")
	cmd.Flags().StringVarP(&language, "language", "l", "", "read the parameters as those of the language `NAME`")
	completeFlag(cmd, "kernel", completeKernels)
	return withExit(cmd, exitHelp)
}

func inspectionReport(path string, nb *notebook.Notebook, in inspection) inspectReport {
	report := inspectReport{
		Path: path, Kernel: in.kernel, Language: in.language, Cells: len(nb.Cells),
		Parameters: []parameterReport{}, Warnings: []string{},
	}
	if in.cell >= 0 {
		n := in.cell + 1
		report.Cell = &n
	}
	for _, w := range in.warnings {
		report.Warnings = append(report.Warnings, fmt.Sprintf("line %d: %s", w.Line, w.Text))
	}
	if in.cell >= 0 && !in.readable {
		report.Warnings = append(report.Warnings, noReader(in.language))
	}
	for i, d := range in.definitions {
		s := in.schema.Parameters[i]
		report.Parameters = append(report.Parameters, parameterReport{
			Name: d.Name, InferredTypeName: d.Type, Default: s.DefaultText, Help: d.Help, Line: d.Line,
			Type: string(s.Type), Element: string(s.Element), Required: s.Required, Nullable: s.Nullable, Secret: s.Secret,
			Choices: s.Choices, Min: s.Min, Max: s.Max, Value: s.Default,
		})
	}
	return report
}

func noReader(language string) string {
	if language == "" {
		return "the notebook names no language, so that its parameters cannot be read: give one with --language"
	}
	return fmt.Sprintf("parameters of the language %q cannot be read", language)
}

// print writes the report for a person.
func (r inspectReport) print(p Process) error {
	con := newConsole(p)
	for _, text := range r.Warnings {
		con.Println(con.paint(styleWarning, printable(text)))
	}
	switch {
	case r.Cell == nil:
		_, err := fmt.Fprintf(p.Stdout, "%s has no cell tagged \"parameters\"\n", r.Path)
		return err
	case len(r.Parameters) == 0:
		_, err := fmt.Fprintf(p.Stdout, "%s declares no parameters (cell %d)\n", r.Path, *r.Cell)
		return err
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tTYPE\tDEFAULT\tHELP")
	for _, v := range r.Parameters {
		fmt.Fprintln(w, strings.Join([]string{field(v.Name, 60), field(v.kind(), 60), field(v.given(), 60), field(v.about(), 200)}, "\t"))
	}
	return w.Flush()
}

// kind is the declared type, else the one that is checked.
func (r parameterReport) kind() string {
	if r.InferredTypeName != parameter.NoType {
		return r.InferredTypeName
	}
	return r.Type
}

func (r parameterReport) given() string {
	if r.Required {
		return "(required)"
	}
	if r.Secret {
		return "(secret)"
	}
	return r.Default
}

// about is the help with what may be given.
func (r parameterReport) about() string {
	var parts []string
	if r.Help != "" {
		parts = append(parts, r.Help)
	}
	if len(r.Choices) > 0 && !strings.Contains(r.InferredTypeName, "Literal") && !strings.Contains(r.Help, "one of") {
		var words []string
		for _, c := range r.Choices {
			words = append(words, c.String())
		}
		parts = append(parts, "one of "+strings.Join(words, ", "))
	}
	if r.Min != nil && !strings.Contains(r.Help, "..") {
		parts = append(parts, bound(r.Min, "at least ", "more than "))
	}
	if r.Max != nil && !strings.Contains(r.Help, "..") {
		parts = append(parts, bound(r.Max, "at most ", "less than "))
	}
	return strings.Join(parts, "; ")
}

func bound(b *parameter.Bound, inclusive, exclusive string) string {
	if b.Exclusive {
		return exclusive + b.Value.String()
	}
	return inclusive + b.Value.String()
}

// notebookHelp is papermill's --help-notebook: the usage line and the
// notebook's parameters. A notebook without a parameters cell ends with 1.
func (c *runConfig) notebookHelp(ctx context.Context, p Process, cmd *cobra.Command, log *slog.Logger, input string, set parameter.Set) error {
	path, err := parameter.Format(input, set, builtins(p.now()))
	if err != nil {
		return err
	}
	log.Info("Input Notebook:  " + shortPath(path))
	nb, err := loadNotebook(ctx, path)
	if err != nil {
		return err
	}
	in := inspectNotebook(nb, c.kernel, c.language)
	fmt.Fprintf(p.Stdout, "Usage: %s\n\nParameters inferred for notebook '%s':\n", cmd.UseLine(), shortPath(input))
	if in.cell < 0 {
		fmt.Fprintln(p.Stdout, "\n  No cell tagged 'parameters'")
		return statusError{status: exitFailed, silent: true}
	}
	if !in.readable {
		log.Warn(noReader(in.language))
	}
	for _, w := range in.warnings {
		log.Warn(fmt.Sprintf("line %d: %s", w.Line, w.Text))
	}
	_, err = io.WriteString(p.Stdout, printable(parameter.FormatHelp(in.definitions)))
	return err
}
