package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"quire/internal/problem"
	"quire/internal/schedule"
	"quire/internal/server"
)

// An importConfig says which jobs become definitions, and how.
type importConfig struct {
	crontab, jupyter string
	system           bool
	out, zone, user  string
	places           []string
	home             string
	asJSON           bool
}

func newScheduleImportCommand(p Process) *cobra.Command {
	c := &importConfig{}
	cmd := &cobra.Command{
		Use:                   "import (--crontab FILE | --jupyter-scheduler FILE) [flags]",
		DisableFlagsInUseLine: true,
		Short:                 "Make definitions of a crontab, or of jupyter-scheduler's jobs",
		Long: `Make definitions of the lines of a crontab, or of the job definitions of
jupyter-scheduler: its database (scheduler.sqlite in Jupyter's data directory) or
what GET /scheduler/job_definitions answers. They are printed, or with --out
written as files that quire schedule check and apply take.

A line that runs a notebook (papermill, jupyter nbconvert --execute, jupyter
execute, quire run) becomes a schedule of the notebook; any other command becomes
a notebook with the command in a cell, and a schedule of it. What cannot be carried
over is said with its line, and the exit status is 1 then; the rest is written.`,
		Example: "  crontab -l | quire schedule import --crontab - --out schedules/\n" +
			"  quire schedule import --jupyter-scheduler ~/.local/share/jupyter/scheduler.sqlite --place /home/ann/work=users/ann",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), p, cmd.InOrStdin()) },
	}
	f := cmd.Flags()
	f.StringVar(&c.crontab, "crontab", "", "a crontab; - is standard input")
	f.BoolVar(&c.system, "system", false, "the crontab has a user before each command, as /etc/crontab")
	f.StringVar(&c.jupyter, "jupyter-scheduler", "", "jupyter-scheduler's database, or its API's answer as JSON; - is standard input")
	f.StringVarP(&c.out, "out", "o", "", "write NAME.yaml files (and NAME.ipynb for commands) into this directory; none that is there is replaced")
	f.StringVar(&c.zone, "tz", "", "IANA time zone of jobs that name none; this machine's when left out")
	f.StringVar(&c.user, "user", "", "whose workspace the notebooks are in; your own name when left out")
	f.StringArrayVar(&c.places, "place", nil, "DIR=PATH: notebooks below DIR are at PATH on the platform; can be repeated")
	f.StringVar(&c.home, "home", "", "directory of relative paths, which is users/USER on the platform; your home directory when left out")
	f.BoolVar(&c.asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}

func (c *importConfig) options() (schedule.ImportOptions, error) {
	o := schedule.ImportOptions{User: c.user, Zone: c.zone, Home: c.home, Places: map[string]string{}}
	if o.User == "" {
		o.User = server.LocalUser()
	}
	if o.Home == "" {
		o.Home, _ = os.UserHomeDir() // without one, paths are those that are named
	}
	if o.Zone == "" {
		o.Zone = machineZone()
	}
	if _, err := schedule.LoadZone(o.Zone); err != nil {
		return o, usageError{fmt.Errorf("--tz: %w", err)}
	}
	for _, place := range c.places {
		from, to, ok := strings.Cut(place, "=")
		if !ok || !filepath.IsAbs(from) || to == "" {
			return o, usageError{fmt.Errorf("--place %q: want DIR=PATH, such as /srv/notebooks=shared/notebooks", place)}
		}
		o.Places[filepath.Clean(from)] = strings.Trim(to, "/")
	}
	return o, nil
}

// machineZone is the name of this machine's time zone; UTC when it has none.
func machineZone() string {
	if name := os.Getenv("TZ"); name != "" {
		return strings.TrimPrefix(name, ":")
	}
	if at, err := filepath.EvalSymlinks("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(at, "/zoneinfo/"); ok {
			if _, err := schedule.LoadZone(name); err == nil {
				return name
			}
		}
	}
	return "UTC"
}

func (c *importConfig) run(ctx context.Context, p Process, stdin io.Reader) error {
	if (c.crontab == "") == (c.jupyter == "") {
		return usageError{errors.New("want one of --crontab and --jupyter-scheduler")}
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	all, faults, err := c.read(ctx, stdin, o)
	if err != nil {
		return err
	}
	switch {
	case c.asJSON:
		err = printJSON(p.Stdout, importAnswer(all, faults))
	case c.out != "":
		err = writeImported(p, c.out, all)
	default:
		for i, one := range all {
			if i > 0 {
				fmt.Fprintln(p.Stdout, "---")
			}
			fmt.Fprint(p.Stdout, string(one.Text))
		}
	}
	if err != nil || len(faults) == 0 {
		return err
	}
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = "  " + f.String()
	}
	return problem.New(problem.Invalid, "%d of %d could not be carried over:\n%s", len(faults), len(all)+len(faults), strings.Join(lines, "\n"))
}

func (c *importConfig) read(ctx context.Context, stdin io.Reader, o schedule.ImportOptions) ([]schedule.Imported, []schedule.Fault, error) {
	const most = 64 << 20
	name := c.crontab + c.jupyter
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, nil, problem.WrapAs(problem.NotFound, err, "opening the jobs")
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return nil, nil, problem.WrapAs(problem.Unavailable, err, "reading %s", name)
	}
	if c.crontab != "" {
		all, faults := schedule.ImportCrontab(text, c.system, o)
		return all, faults, nil
	}
	var definitions []schedule.JupyterDefinition
	if strings.HasPrefix(string(text), "SQLite format 3\x00") {
		definitions, err = server.ReadJupyterScheduler(ctx, name)
	} else {
		definitions, err = schedule.ReadJupyterDefinitions(text)
	}
	if err != nil {
		return nil, nil, err
	}
	all, faults := schedule.ImportJupyterScheduler(definitions, o)
	return all, faults, nil
}

// An importedAnswer is what was imported, for programs.
type importedAnswer struct {
	Definitions []importedDefinition `json:"definitions"`
	Faults      []schedule.Fault     `json:"faults"`
}

type importedDefinition struct {
	Name     string   `json:"name"`
	Line     int      `json:"line"`
	Text     string   `json:"text"`
	Notes    []string `json:"notes"`
	Notebook string   `json:"notebook,omitempty"` // its text, when it was made for a command
	Path     string   `json:"path,omitempty"`     // where that is to be put
}

func importAnswer(all []schedule.Imported, faults []schedule.Fault) importedAnswer {
	a := importedAnswer{Definitions: []importedDefinition{}, Faults: faults}
	if faults == nil {
		a.Faults = []schedule.Fault{}
	}
	for _, one := range all {
		notes := one.Notes
		if notes == nil {
			notes = []string{}
		}
		a.Definitions = append(a.Definitions, importedDefinition{one.Name, one.Line, string(one.Text), notes, string(one.Notebook), one.Path})
	}
	return a
}

func writeImported(p Process, dir string, all []schedule.Imported) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making the directory")
	}
	for _, one := range all {
		at := filepath.Join(dir, one.Name)
		if err := writeNew(at+".yaml", one.Text); err != nil {
			return err
		}
		fmt.Fprintln(p.Stdout, at+".yaml")
		for _, note := range one.Notes {
			fmt.Fprintf(p.Stderr, "%s: %s\n", one.Name, printable(note))
		}
		if one.Notebook == nil {
			continue
		}
		if err := writeNew(at+".ipynb", one.Notebook); err != nil {
			return err
		}
		fmt.Fprintf(p.Stdout, "%s.ipynb  to be put at %s\n", at, one.Path)
	}
	return nil
}

// writeNew writes a file that is not there yet.
func writeNew(name string, text []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return problem.WrapAs(problem.Exists, err, "writing a definition")
	}
	_, err = file.Write(text)
	return problem.WrapAs(problem.Unavailable, errors.Join(err, file.Close()), "writing %s", name)
}
