package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A Process is what a command sees of the world it was started in.
type Process struct {
	Args    []string // without the program's name
	Stdin   *os.File
	Stdout  *os.File
	Stderr  *os.File
	Signals <-chan os.Signal // what asks the command to end; may be nil

	now   func() time.Time // nil is time.Now
	force <-chan struct{}  // closed when the command is to end at once
}

// forceGrace is how long a command may take to put its things away once it is
// told to end at once.
const forceGrace = 2 * time.Second

// Main runs the command that p.Args name and returns its exit status. The
// first signal asks the command to end in order, the second to end at once; a
// third, or two seconds, end it as it is.
func Main(p Process) int {
	if status, asked := containerShim(p); asked {
		return status
	}
	if status, asked := sqlKernel(p); asked {
		return status
	}
	if p.now == nil {
		p.now = time.Now
	}
	force := make(chan struct{})
	p.force = force
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)

	status := make(chan int, 1)
	go func() { status <- execute(ctx, p) }()

	var first os.Signal
	var timeout <-chan time.Time
	for {
		select {
		case s := <-status:
			return s
		case <-timeout:
			return signalStatus(first)
		case s := <-p.Signals:
			switch {
			case first == nil:
				first = s
				cancel(signalCause{s})
			case timeout == nil:
				timeout = time.After(forceGrace)
				close(force)
			default:
				return signalStatus(first)
			}
		}
	}
}

// execute runs one command and prints its error.
func execute(ctx context.Context, p Process) int {
	root := newRoot(p)
	args, err := joinPairs(root, p.Args)
	cmd := root
	if err != nil {
		if found, _, findErr := root.Find(p.Args); findErr == nil {
			cmd = found
		}
	} else {
		root.SetArgs(args)
		cmd, err = root.ExecuteContextC(ctx)
	}
	printError(p, cmd, err)
	return exitStatus(ctx, err)
}

// newRoot returns the quire command with all its commands.
func newRoot(p Process) *cobra.Command {
	root := &cobra.Command{
		Use:   "quire",
		Short: "Run, inspect and tidy notebooks",
		Long: `Quire runs notebooks: it puts parameters in, executes every cell on a kernel,
and writes a notebook with code, outputs, parameters and timings.`,
		Example: `  quire run report.ipynb out.ipynb -p country FR
  quire inspect report.ipynb
  quire kernels`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.SetHelpFunc(printHelp)
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := fmt.Fprint(cmd.ErrOrStderr(), usage(cmd))
		return err
	})
	root.Flags().Bool("version", false, "print the version and end")
	root.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if show, _ := cmd.Flags().GetBool("version"); show {
			fmt.Fprintln(p.Stdout, currentVersion().line())
			return statusError{status: exitDone, silent: true}
		}
		return nil
	}
	for _, newCommand := range []func(Process) *cobra.Command{
		newRunCommand,
		newInspectCommand,
		newFmtCommand,
		newKernelsCommand,
		newResultsCommand,
		newRecoverCommand,
		newViewCommand,
		newDiffCommand,
		newUpCommand,
		newServeCommand,
		newNotebookCommand,
		newConfigCommand,
		newSubmitCommand,
		newRunsCommand,
		newQueryCommand, newConnectionCommand, newSecretCommand,
		newJobCommand,
		newScheduleCommand,
		newLineageCommand,
		newUserCommand,
		newTemplateCommand,
		newAttemptCommand, newKeepCommand,
		newVersionCommand,
		newCompletionCommand,
	} {
		root.AddCommand(newCommand(p))
	}
	return root
}

// printError prints err on standard error, unless it is nil or has
// been printed.
func printError(p Process, cmd *cobra.Command, err error) {
	var status statusError
	if err == nil || errors.As(err, &status) && status.silent || errors.Is(err, syscall.EPIPE) {
		return // a reader that has gone away needs no message
	}
	c := newConsole(p)
	c.Println(c.paint(styleError, cmd.CommandPath()+": "+dropRepeats(printable(err.Error()))))
	var usage usageError
	if errors.As(err, &usage) {
		c.Println("Usage: " + cmd.UseLine())
		c.Println("Try '" + cmd.CommandPath() + " --help'.")
	}
}

// dropRepeats takes out of a chain of causes what stands twice in a row: two
// layers often say that they were doing the same thing.
func dropRepeats(text string) string {
	const most = 50 // causes; a longer chain is left as it is
	parts := strings.SplitN(text, ": ", most)
	for n := len(parts) / 2; n > 0; n-- {
		for i := 0; i+2*n <= len(parts); i++ {
			if slices.Equal(parts[i:i+n], parts[i+n:i+2*n]) {
				parts = slices.Delete(parts, i, i+n)
				i--
			}
		}
	}
	return strings.Join(parts, ": ")
}

// flagError makes pflag's complaint a usage error and says which flag was
// perhaps meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		if near := nearestFlag(cmd.Flags(), name); near != "" && len(name) > 1 {
			return usageError{fmt.Errorf("%w; did you mean --%s?", err, near)}
		}
	}
	return usageError{err}
}

// usageArgs makes what check finds a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// nearestFlag returns the flag whose name is closest to name, or "" when none
// is close.
func nearestFlag(flags *pflag.FlagSet, name string) string {
	best, bestAt := "", 1+len(name)/3
	flags.VisitAll(func(f *pflag.Flag) {
		if d := distance(f.Name, name); !f.Hidden && d <= bestAt && (best == "" || d < bestAt) {
			best, bestAt = f.Name, d
		}
	})
	return best
}

// distance is the number of single-byte edits between two short names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
