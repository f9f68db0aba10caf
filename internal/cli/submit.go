package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"quire/internal/api"
	"quire/internal/engine"
	"quire/internal/job"
	"quire/internal/notebook"
	"quire/internal/notify"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/server"
	"quire/internal/viewer"
)

// client finds the server: QUIRE_URL and QUIRE_TOKEN, or the one that runs on
// this machine with the default data directory.
func client() (*api.Client, error) {
	address, token := os.Getenv("QUIRE_URL"), os.Getenv("QUIRE_TOKEN")
	if address != "" && token != "" {
		return &api.Client{URL: address, Token: token}, nil
	}
	found, err := server.Local()
	if err != nil {
		return nil, problem.New(problem.NotFound, "no server is known: start one with quire up, or set QUIRE_URL and QUIRE_TOKEN")
	}
	if address == "" {
		address = found.URL
	}
	if token == "" {
		token = found.Token
	}
	return &api.Client{URL: address, Token: token}, nil
}

type submitConfig struct {
	parameters pairs
	raw        pairs
	request    run.Request
	timeout    time.Duration
	size       sizeFlags
	follow     bool
	notify     []string
	notifyOn   []string
	secrets    []string // PARAMETER=NAME
	asJSON     bool
}

func newSubmitCommand(p Process) *cobra.Command {
	c := &submitConfig{}
	cmd := &cobra.Command{
		Use:                   "submit [flags] NOTEBOOK",
		DisableFlagsInUseLine: true,
		Short:                 "Run a notebook of a workspace on the server, durably",
		Long: `Ask the server to run a notebook of a workspace. The notebook is copied as it is
now. The run goes on when this command, or the server, ends; its page keeps its
address for ever.`,
		Example: "  quire submit users/mufford/New_Titles.ipynb -p country FR --follow",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.submit(cmd.Context(), p, args[0])
		},
	}
	c.flags(cmd.Flags())
	cmd.Flags().StringVar(&c.request.Ref, "ref", "", "take the notebook from the git repository that it lies in, at this branch, tag or commit")
	return withExit(cmd, exitHelp)
}

// flags adds what any request for a run can say.
func (c *submitConfig) flags(f *pflag.FlagSet) {
	f.VarP(&c.parameters, "parameters", "p", "set a parameter; True, False, None and numbers are typed, the rest is text")
	f.VarP(&c.raw, "parameters-raw", "r", "set a parameter to this text, whatever it looks like")
	f.StringArrayVar(&c.secrets, "secret", nil, "give a parameter a secret of yours, as `PARAMETER=NAME`; quire secret set keeps one")
	f.BoolVar(&c.request.Strict, "strict", false, "refuse parameters that the notebook does not declare")
	f.StringVarP(&c.request.Kernel, "kernel", "k", "", "kernel to run on, instead of the notebook's")
	f.StringSliceVar(&c.request.Tags, "tag", nil, "words to find the run by")
	f.IntVar(&c.request.Priority, "priority", 0, "-100 to 100; larger is earlier")
	f.IntVar(&c.request.Retries, "retries", 0, "how often to try again after a cell has failed")
	f.DurationVar(&c.timeout, "timeout", 0, "longest the run may take, as 90s or 2h")
	f.StringVar(&c.request.Output, "output", "", "where in the workspaces the output goes when the run succeeds: a path that ends in .ipynb, or a folder that ends in /, with placeholders such as {country}, {ds}, {user} and {run}; - is nowhere")
	f.StringVar(&c.request.IdempotencyKey, "idempotency-key", "", "the same key and request again is the same run")
	f.StringSliceVar(&c.notify, "notify", nil, "tell an e-mail address, or a channel of the server's configuration, what became of it")
	f.StringSliceVar(&c.notifyOn, "notify-on", nil, "what is told: failure, success; both when left out")
	c.size.add(f)
	f.BoolVar(&c.follow, "follow", false, "show what happens until the run has ended; its failure is the exit status")
	f.BoolVar(&c.asJSON, "json", false, "print the run as JSON")
}

// fill takes over what the flags say into the request.
func (c *submitConfig) fill() (err error) {
	var set parameter.Set
	for _, one := range c.parameters {
		set.Put(one.name, parameter.FromFlag(one.value))
	}
	for _, one := range c.raw {
		set.Put(one.name, parameter.FromRaw(one.value))
	}
	if c.request.Secrets, err = readBindings(c.secrets); err != nil {
		return err
	}
	c.request.TimeoutSeconds = int64(c.timeout / time.Second)
	c.request.Container = c.size.container()
	for _, one := range c.notify {
		rule, err := notify.ParseRule(one)
		if err != nil {
			return usageError{fmt.Errorf("--notify %q: %w", one, err)}
		}
		for _, event := range c.notifyOn {
			rule.On = append(rule.On, notify.Event(event))
		}
		c.request.Notify = append(c.request.Notify, rule)
	}
	c.request.Parameters, err = json.Marshal(set)
	return err
}

func (c *submitConfig) submit(ctx context.Context, p Process, path string) error {
	cl, err := client()
	if err != nil {
		return err
	}
	if err := c.fill(); err != nil {
		return err
	}
	c.request.Notebook = filepath.ToSlash(path)
	r, err := cl.Submit(ctx, c.request)
	if err != nil {
		return err
	}
	if c.follow {
		fmt.Fprintln(p.Stderr, "run "+r.ID+": "+strings.TrimSuffix(cl.URL, "/")+"/runs/"+r.ID)
		return follow(ctx, p, cl, r.ID, c.asJSON)
	}
	if c.asJSON {
		return printJSON(p.Stdout, r)
	}
	_, err = fmt.Fprintln(p.Stdout, r.ID)
	return err
}

// follow prints what a run prints until it has ended, and returns its failure.
func follow(ctx context.Context, p Process, cl *api.Client, id string, asJSON bool) error {
	var starts func([]job.Phase)
	if !asJSON {
		starts = newStartPrinter(p).show
	}
	r, err := cl.Follow(ctx, id, func(event []byte) error { return printEvent(p, event, asJSON) }, starts)
	if ctx.Err() != nil {
		return fmt.Errorf("%w; run %s goes on", context.Cause(ctx), id)
	}
	if err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(p.Stdout, r); err != nil {
			return err
		}
	}
	if r.State != run.Succeeded {
		return statusError{status: exitFailed, err: fmt.Errorf("run %s %s: %s", id, ended[r.State], r.Reason)}
	}
	if asJSON {
		return nil
	}
	fmt.Fprintf(p.Stderr, "run %s succeeded in %s\n", id, seconds(r.Finished.Sub(r.Started)))
	if r.Output != "" {
		fmt.Fprintf(p.Stderr, "its output goes to %s\n", printable(r.Output))
	}
	return nil
}

// ended says how a run ended that did not succeed.
var ended = map[run.State]string{run.Failed: "failed", run.Cancelled: "was cancelled", run.TimedOut: "timed out"}

func printEvent(p Process, line []byte, asJSON bool) error {
	if asJSON {
		_, err := p.Stdout.Write(append(line, '\n'))
		return err
	}
	var e engine.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return nil //nolint:nilerr // a line of a newer server; the next may be known
	}
	switch e.Type {
	case engine.EventCellStarted:
		fmt.Fprintln(p.Stderr, notebook.CellName(e.Cell))
	case engine.EventOutput:
		to := p.Stdout
		if e.Stream == "stderr" {
			to = p.Stderr
		}
		text := e.Text
		if e.OutputType != "stream" && !strings.HasSuffix(text, "\n") && !e.More {
			text += "\n"
		}
		_, err := fmt.Fprint(to, printable(text))
		return err
	}
	return nil
}

func newRunsCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List, show, follow, compare, cancel and retry runs of the server",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRunsListCommand(p), newRunsDiffCommand(p), newRunsAttachCommand(p), newRunsKeepCommand(p))
	for _, one := range []struct {
		use, short string
		do         func(ctx context.Context, cl *api.Client, id string, asJSON bool) error
	}{
		{"show RUN", "Show a run", func(ctx context.Context, cl *api.Client, id string, asJSON bool) error {
			r, err := cl.Run(ctx, id)
			return showRun(p, r, asJSON, err)
		}},
		{"logs RUN", "Print what a run prints, until it has ended", func(ctx context.Context, cl *api.Client, id string, asJSON bool) error {
			return follow(ctx, p, cl, id, asJSON)
		}},
		{"cancel RUN", "Ask a run to stop", func(ctx context.Context, cl *api.Client, id string, asJSON bool) error {
			r, err := cl.Cancel(ctx, id)
			return showRun(p, r, asJSON, err)
		}},
		{"retry RUN", "Run again what a run ran", func(ctx context.Context, cl *api.Client, id string, asJSON bool) error {
			r, err := cl.Retry(ctx, id)
			return showRun(p, r, asJSON, err)
		}},
	} {
		asJSON := false
		sub := &cobra.Command{
			Use: one.use, Short: one.short, Args: usageArgs(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				cl, err := client()
				if err != nil {
					return err
				}
				return one.do(cmd.Context(), cl, args[0], asJSON)
			},
		}
		sub.Flags().BoolVar(&asJSON, "json", false, "print JSON")
		cmd.AddCommand(withExit(sub, exitHelp))
	}
	return withExit(cmd, exitHelp)
}

func showRun(p Process, r run.Run, asJSON bool, err error) error {
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.Stdout, r)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"run", r.ID},
		{"notebook", r.Notebook},
		{"commit", commitWords(r.Git)},
		{"environment", environmentWords(r)},
		{"state", string(r.State)},
		{"reason", r.Reason},
		{"cancelled by", r.CancelledBy},
		{"parameters", string(r.Parameters)},
		{"secrets", run.BoundWords(r.Secrets)},
		{"output", r.Output},
		{"not there", r.OutputProblem},
		{"tags", strings.Join(r.Tags, ", ")},
		{"retry of", r.RetryOf},
		{"owner", r.Owner},
		{"attempt", fmt.Sprint(r.Attempt)},
		{"created", stamp(r.Created)},
		{"started", stamp(r.Started)},
		{"finished", stamp(r.Finished)},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], printable(line[1]))
		}
	}
	return w.Flush()
}

func commitWords(g *run.GitSource) string {
	if g == nil {
		return ""
	}
	return g.Commit + " of " + g.Repository + " (" + g.Ref + ")"
}

// environmentWords say which packages a run had, and whether it was tested with
// others.
func environmentWords(r run.Run) string {
	lock := r.Lock()
	if r.OtherEnvironment() {
		return lock + ", and it was tested with " + r.Tested
	}
	return lock
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

func newRunsListCommand(p Process) *cobra.Command {
	var f run.Filter
	var state string
	asJSON := false
	cmd := &cobra.Command{
		Use: "ls", Short: "List runs, newest first", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			f.State = run.State(state)
			runs, err := cl.Runs(cmd.Context(), f)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, runs)
			}
			w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "RUN\tSTATE\tNOTEBOOK\tPARAMETERS\tCREATED\tSECONDS")
			for _, r := range runs {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f\n", r.ID, r.State, printable(r.Notebook), cut(printable(string(r.Parameters)), 60),
					stamp(r.Created), r.Duration(p.now()).Seconds())
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&f.Notebook, "notebook", "", "only runs of this notebook")
	cmd.Flags().StringVar(&f.Template, "template", "", "only runs of this template")
	cmd.Flags().StringVar(&f.Owner, "owner", "", "only runs of this user")
	cmd.Flags().StringVar(&state, "state", "", "only runs in this state")
	cmd.Flags().StringVar(&f.Tag, "tag", "", "only runs with this tag")
	cmd.Flags().IntVarP(&f.Limit, "limit", "n", 50, "how many, 1 to 500")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}

func newRunsDiffCommand(p Process) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:                   "diff [flags] A B",
		DisableFlagsInUseLine: true,
		Short:                 "Compare two runs: parameters, code, outputs",
		Long: `Compare what two runs of the server have put out, cell by cell, as quire diff
does with two files. A run that goes on is compared as far as it has come.`,
		Example: "  quire runs diff 06h0nax974k8qw7wcbqe8mdh48 06h0xz219yszf0dhzyshpq1p3g",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := client()
			if err != nil {
				return err
			}
			var sides [2]*notebook.Notebook
			for i, id := range args {
				if sides[i], err = cl.Output(cmd.Context(), id); err != nil {
					return err
				}
			}
			d := viewer.Compare(sides[0], sides[1])
			if asJSON {
				return d.WriteJSON(p.Stdout)
			}
			return d.WriteText(p.Stdout, newConsole(p).colour)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}
