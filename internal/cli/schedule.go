package cli

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quire/internal/problem"
	"quire/internal/schedule"
)

func newScheduleCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Run notebooks at their times: check, apply, pause, backfill",
		Long: `Notebooks that run by themselves: at times of a time zone, in intervals, one after
another. A schedule is a small file; quire schedule check says what is wrong with
it, quire schedule apply gives it to the server.`,
		Example: "  quire schedule next --cron '30 2 * * *' --tz Europe/Berlin\n  quire schedule apply nightly.yaml",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newScheduleNextCommand(p), newScheduleCheckCommand(p), newScheduleImportCommand(p))
	cmd.AddCommand(scheduleCommands(p)...)
	return withExit(cmd, exitHelp)
}

// A nextConfig says which fires to print.
type nextConfig struct {
	cron, zone, from string
	n                int
	asJSON           bool
}

// maxNext is the most fires that are printed.
const maxNext = 10_000

func newScheduleNextCommand(p Process) *cobra.Command {
	c := &nextConfig{}
	cmd := &cobra.Command{
		Use:                   "next [flags] [FILE | NAME]",
		DisableFlagsInUseLine: true,
		Short:                 "Print when a cron, a file or a schedule of the server fires",
		Long: `Print the next times at which a cron, a definition in a file, or a schedule of the
server fires, after --from, and what it waits for that has no time. With --json they
are a list of instants in UTC.`,
		Example: "  quire schedule next --cron '30 2 * * *' --tz America/New_York --from 2026-03-07T00:00:00Z -n 5 --json",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.print(cmd, p, args) },
	}
	f := cmd.Flags()
	f.StringVar(&c.cron, "cron", "", "five fields: minute hour day month weekday")
	f.StringVar(&c.zone, "tz", "", "IANA time zone of --cron; UTC when left out")
	f.StringVar(&c.from, "from", "", "print what comes after this time, as 2026-03-07T00:00:00Z; now when left out")
	f.IntVarP(&c.n, "count", "n", 5, "how many, 1 to 10000")
	f.BoolVar(&c.asJSON, "json", false, "print a JSON list of instants in UTC")
	return withExit(cmd, exitHelp)
}

func (c *nextConfig) print(cmd *cobra.Command, p Process, args []string) error {
	if c.n < 1 || c.n > maxNext {
		return usageError{fmt.Errorf("-n: want 1 to %d", maxNext)}
	}
	if (c.cron == "") == (len(args) == 0) {
		return usageError{fmt.Errorf("want --cron, or the file or name of one schedule")}
	}
	from := p.now()
	if c.from != "" {
		var err error
		if from, err = time.Parse(time.RFC3339, c.from); err != nil {
			return usageError{fmt.Errorf("--from %q: want a time such as 2026-03-07T00:00:00Z", c.from)}
		}
	}
	d, err := c.definition(cmd, args)
	if err != nil {
		return err
	}
	table, err := d.Timetable()
	if err != nil {
		return usageError{err}
	}
	slots := table.Upcoming(from, c.n)
	if c.asJSON {
		all := make([]string, len(slots))
		for i, slot := range slots {
			all[i] = slot.UTC().Format(time.RFC3339)
		}
		return printJSON(p.Stdout, all)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	for _, slot := range slots {
		fmt.Fprintf(w, "%s\t%s\t%s\n", slot.Format(time.RFC3339), table.Local(slot).Format("Mon 2006-01-02 15:04:05 MST"), table.Note(slot))
	}
	for _, event := range d.Events() {
		fmt.Fprintf(w, "%s\n", event)
	}
	return w.Flush()
}

func (c *nextConfig) definition(cmd *cobra.Command, args []string) (schedule.Definition, error) {
	if c.cron != "" {
		return schedule.Definition{Zone: c.zone, Triggers: []schedule.Trigger{{Cron: c.cron}}}, nil
	}
	if schedule.ValidName(args[0]) {
		if _, err := os.Stat(args[0]); err != nil {
			return serverDefinition(cmd.Context(), args[0])
		}
	}
	_, d, err := readDefinition(args[0], cmd.InOrStdin())
	return d, err
}

// readDefinition reads a file, or standard input for "-". Its error names every
// fault with its line.
func readDefinition(name string, stdin io.Reader) ([]byte, schedule.Definition, error) {
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, schedule.Definition{}, problem.WrapAs(problem.NotFound, err, "opening the definition")
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, schedule.MaxText+1))
	if err != nil {
		return nil, schedule.Definition{}, problem.WrapAs(problem.Unavailable, err, "reading %s", name)
	}
	d, faults := schedule.Read(text)
	if len(faults) == 0 {
		return text, d, nil
	}
	err = fmt.Errorf("%s has %d %s", name, len(faults), map[bool]string{true: "error", false: "errors"}[len(faults) == 1])
	for _, f := range faults {
		err = fmt.Errorf("%w\n  %s", err, f)
	}
	return nil, d, problem.WrapAs(problem.Invalid, err, "reading the definition")
}

func newScheduleCheckCommand(p Process) *cobra.Command {
	return withExit(&cobra.Command{
		Use: "check FILE...", Short: "Say everything that is wrong in definitions, with its line", Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				_, d, err := readDefinition(name, cmd.InOrStdin())
				if err != nil {
					return err
				}
				fmt.Fprintf(p.Stdout, "%s: schedule %s is right\n", name, d.Name)
			}
			return nil
		},
	}, exitHelp)
}
