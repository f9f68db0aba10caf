package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quire/internal/api"
	"quire/internal/engine"
	"quire/internal/nbtemplate"
	"quire/internal/parameter"
	"quire/internal/run"
)

func newTemplateCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "template",
		Short: "Publish notebooks as templates, and run them with your values",
		Long: `Templates are notebooks that are published for others to run by a form: each
publication is a version that never changes.`,
		Example: "  quire template publish users/ann/report.ipynb --role 'data analyst'\n  quire template run report -p country FR --follow",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTemplatePublishCommand(p), newTemplateListCommand(p), newTemplateRunCommand(p), newTemplateCloneCommand(p))
	cmd.AddCommand(templateCommands(p)...)
	return withExit(cmd, exitHelp)
}

func newTemplatePublishCommand(p Process) *cobra.Command {
	var asked nbtemplate.Publication
	var size sizeFlags
	asJSON := false
	cmd := &cobra.Command{
		Use: "publish [flags] NOTEBOOK", Short: "Publish a notebook of a workspace as the next version of a template",
		DisableFlagsInUseLine: true,
		Long: `Publish a notebook that has a parameters cell. What is the newest version already
changes nothing.`,
		Example: "  quire template publish users/ann/report.ipynb --name weekly-report --role 'data analyst' --note 'by country'",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			asked.Notebook, asked.Container = filepath.ToSlash(args[0]), size.container()
			if asked.Name == "" {
				asked.Name = nbtemplate.NameFor(asked.Notebook)
			}
			t, err := cl.Publish(cmd.Context(), asked)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, t)
			}
			_, err = fmt.Fprintf(p.Stdout, "%s version %d\n", t.Name, t.Version.Number)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&asked.Name, "name", "", "of the template; the notebook's own when left out")
	f.StringVar(&asked.Title, "title", "", "one line; the notebook's first heading when left out")
	f.StringVar(&asked.Description, "description", "", "what question it answers, in Markdown")
	f.StringSliceVar(&asked.Roles, "role", nil, "whom it is made for: "+strings.Join(nbtemplate.Roles, ", "))
	f.StringSliceVar(&asked.Tags, "tag", nil, "words to find it by")
	f.StringVar(&asked.Note, "note", "", "what is new in this version")
	f.IntVar(&asked.Cover, "cover", 0, "number of the cell whose output stands in the gallery; 0 is the last picture")
	f.StringVar(&asked.Output, "output", "", "where the output of a run goes: a path that ends in .ipynb, or a folder that ends in /, with placeholders such as {country}, {ds}, {user} and {run}")
	f.Int64Var(&asked.NotebookVersion, "notebook-version", 0, "version of the notebook; the newest when left out")
	f.StringVar(&asked.IdempotencyKey, "idempotency-key", "", "the same key again is the same version")
	size.add(f)
	f.BoolVar(&asJSON, "json", false, "print the template as JSON")
	return withExit(cmd, exitHelp)
}

func newTemplateListCommand(p Process) *cobra.Command {
	var f nbtemplate.Filter
	asJSON := false
	cmd := &cobra.Command{
		Use: "ls", Short: "List templates", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			all, err := cl.Templates(cmd.Context(), f)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, all)
			}
			w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tVERSION\tTITLE\tFOR\tRUNS\tSUCCEEDED\tOWNER")
			for _, t := range all {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%s\t%s\n", t.Name, t.Version.Number, cut(printable(t.Version.Title), 50),
					cut(strings.Join(t.Version.Roles, ", "), 40), t.Use.Runs, rate(t.Use), t.Owner)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&f.Role, "role", "", "only those for this role")
	cmd.Flags().StringVar(&f.Tag, "tag", "", "only those with this tag")
	cmd.Flags().StringVarP(&f.Words, "query", "q", "", "only those with these words")
	cmd.Flags().StringVar(&f.Owner, "owner", "", "only those of this user")
	cmd.Flags().BoolVar(&f.Retired, "retired", false, "the retired ones too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}

func rate(u nbtemplate.Use) string {
	if u.Rate() < 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", u.Rate())
}

// A templateRun asks for one run of a template, or a sweep.
type templateRun struct {
	submitConfig
	version int
	sweep   string
	preview bool
}

func newTemplateRunCommand(p Process) *cobra.Command {
	c := &templateRun{}
	cmd := &cobra.Command{
		Use: "run [flags] TEMPLATE", Short: "Run a template with your values, durably",
		DisableFlagsInUseLine: true,
		Long: `Run a template on the server as yourself. --sweep runs it once for each set of
values of a file, as quire run does; --preview only says which.`,
		Example: "  quire template run weekly-report -p country FR --follow\n  quire template run weekly-report --sweep grid.yaml --preview",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.request.Template, c.request.TemplateVersion = args[0], c.version
			if c.sweep != "" {
				return c.runSweep(cmd.Context(), p)
			}
			return c.submit(cmd.Context(), p, "")
		},
	}
	f := cmd.Flags()
	c.flags(f)
	f.IntVar(&c.version, "version", 0, "number of the version; the newest when left out")
	f.StringVar(&c.sweep, "sweep", "", "a YAML or JSON file: names with lists of values, or a list of sets")
	f.BoolVar(&c.preview, "preview", false, "with --sweep: only say which runs would be started")
	return withExit(cmd, exitHelp)
}

func (c *templateRun) runSweep(ctx context.Context, p Process) error {
	cl, err := client()
	if err != nil {
		return err
	}
	data, err := readPath(ctx, c.sweep, maxParametersFile)
	if err != nil {
		return err
	}
	sets, err := engine.ParseGrid(publicPath(c.sweep), data)
	if err != nil {
		return err
	}
	values := make([]parameter.Value, len(sets))
	for i, set := range sets {
		values[i] = set.Value()
	}
	if err := c.fill(); err != nil {
		return err
	}
	req := run.SweepRequest{Request: c.request, Preview: c.preview}
	if req.Grid, err = json.Marshal(parameter.List(values...)); err != nil {
		return err
	}
	made, err := cl.Sweep(ctx, req)
	if err != nil {
		return err
	}
	if c.asJSON {
		return printJSON(p.Stdout, made)
	}
	for i, set := range made.Sets {
		id := ""
		if i < len(made.Runs) {
			id = made.Runs[i].ID + "  "
		}
		fmt.Fprintf(p.Stdout, "%s%s\n", id, printable(string(set)))
	}
	fmt.Fprintf(p.Stderr, "%d runs, tag %s\n", len(made.Sets), made.Tag)
	return nil
}

func newTemplateCloneCommand(p Process) *cobra.Command {
	var version int
	var folder string
	cmd := &cobra.Command{
		Use: "clone [flags] TEMPLATE", Short: "Save the notebook of a template in a workspace", Args: usageArgs(cobra.ExactArgs(1)),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			path, err := cl.CloneTemplate(cmd.Context(), args[0], version, folder)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.Stdout, path)
			return err
		},
	}
	cmd.Flags().IntVar(&version, "version", 0, "number of the version; the newest when left out")
	cmd.Flags().StringVar(&folder, "folder", "", "folder on the volume; your workspace when left out")
	return withExit(cmd, exitHelp)
}

// templateCommands are the commands about one template.
func templateCommands(p Process) []*cobra.Command {
	var reason string
	one := func(use, short string, do func(ctx context.Context, cl *api.Client, name string, asJSON bool) error) *cobra.Command {
		asJSON := false
		cmd := &cobra.Command{
			Use: use, Short: short, Args: usageArgs(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				cl, err := client()
				if err != nil {
					return err
				}
				return do(cmd.Context(), cl, args[0], asJSON)
			},
		}
		cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
		return withExit(cmd, exitHelp)
	}
	said := func(t nbtemplate.Template, err error, asJSON bool, word string) error {
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(p.Stdout, t)
		}
		_, err = fmt.Fprintf(p.Stdout, "template %s is %s\n", t.Name, word)
		return err
	}
	retire := one("retire TEMPLATE", "Take a template out of the gallery; what it has run stays", func(ctx context.Context, cl *api.Client, name string, asJSON bool) error {
		t, err := cl.RetireTemplate(ctx, name, reason)
		return said(t, err, asJSON, "retired")
	})
	retire.Flags().StringVar(&reason, "reason", "", "why, for others to read")
	return []*cobra.Command{
		one("show TEMPLATE", "Show a template: its parameters and what became of its runs", func(ctx context.Context, cl *api.Client, name string, asJSON bool) error {
			return showTemplate(ctx, p, cl, name, asJSON)
		}),
		one("versions TEMPLATE", "List the versions of a template, newest first", func(ctx context.Context, cl *api.Client, name string, asJSON bool) error {
			all, err := cl.TemplateVersions(ctx, name)
			if err != nil || asJSON {
				if err == nil {
					err = printJSON(p.Stdout, all)
				}
				return err
			}
			w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "VERSION\tPUBLISHED\tBY\tNOTEBOOK\tNOTE")
			for _, v := range all {
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", v.Number, stamp(v.Published), v.By, printable(v.Notebook), cut(printable(v.Note), 60))
			}
			return w.Flush()
		}),
		retire,
		one("restore TEMPLATE", "Bring a retired template back", func(ctx context.Context, cl *api.Client, name string, asJSON bool) error {
			t, err := cl.RestoreTemplate(ctx, name)
			return said(t, err, asJSON, "back")
		}),
	}
}

func showTemplate(ctx context.Context, p Process, cl *api.Client, name string, asJSON bool) error {
	t, err := cl.Template(ctx, name)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, t)
	}
	v := t.Version
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	retired := ""
	if !t.Retired.IsZero() {
		retired = strings.TrimRight("by "+t.RetiredBy+": "+t.Reason, ": ")
	}
	for _, line := range [][2]string{
		{"template", t.Name},
		{"title", v.Title},
		{"retired", retired},
		{"version", fmt.Sprintf("%d, by %s at %s", v.Number, v.By, stamp(v.Published))},
		{"notebook", v.Notebook},
		{"for", strings.Join(v.Roles, ", ")},
		{"tags", strings.Join(v.Tags, ", ")},
		{"output", v.Output},
		{"owner", t.Owner},
		{"runs", fmt.Sprintf("%d by %d people, %s succeeded in the last 30 days", t.Use.Runs, t.Use.People, rate(t.Use))},
		{"last good run", t.Use.Good},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], printable(line[1]))
		}
	}
	for _, one := range v.Schema.Parameters {
		words := string(one.Type)
		switch {
		case one.Required && one.Secret:
			words += ", secret, required"
		case one.Required:
			words += ", required"
		case one.Secret:
			words += ", secret"
		default:
			words += " = " + one.DefaultText
		}
		if one.Help != "" {
			words += "  # " + one.Help
		}
		fmt.Fprintf(w, "parameter %s\t%s\n", printable(one.Name), printable(words))
	}
	return w.Flush()
}
