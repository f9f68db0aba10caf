package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"quire/internal/notebook"
	"quire/internal/parameter"
)

const runLong = `Run a notebook: set its parameters, execute every cell on a kernel, and write a
notebook with code, outputs, parameters and timings. The source is not changed.

It takes papermill's command line as it is: replace "papermill" by "quire run".
NOTEBOOK and OUTPUT are paths, URLs (s3://, gs://, az://, http://, https://), or
- for standard input and output; {name} in them stands for a parameter's value.
With a pipe on standard input a single path is the OUTPUT, as with papermill.
Flags may be written with underscores too (--parameters_raw).

Parameters given several times override each other in this order: -b, -f, -y,
-p, -r.`

const runExample = `  quire run report.ipynb out.ipynb -p country FR -p days 7
  quire run report.ipynb 'out-{country}.ipynb' -f params.yaml --strict
  quire run report.ipynb out.ipynb --secret token=env:API_TOKEN
  quire run report.ipynb s3://bucket/out.ipynb --write-once
  quire run report.ipynb out/ --sweep grid.yaml --jobs 4
  quire run report.ipynb out.ipynb --resume out.ipynb
  cat report.ipynb | quire run - - -p country FR > out.ipynb
  quire run --help-notebook report.ipynb`

func newRunCommand(p Process) *cobra.Command {
	c := &runConfig{}
	cmd := &cobra.Command{
		Use:                   "run [flags] NOTEBOOK [OUTPUT]",
		DisableFlagsInUseLine: true,
		Short:                 "Run a notebook with parameters",
		Long:                  runLong,
		Example:               runExample,
		Args:                  usageArgs(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.showVersion {
				_, err := fmt.Fprintln(p.Stdout, currentVersion().runLine())
				return err
			}
			return c.run(cmd.Context(), p, cmd, args)
		},
		ValidArgsFunction: completeNotebooks(2),
	}
	c.define(cmd.Flags())
	c.complete(cmd)
	return withExit(cmd, runExitHelp)
}

// complete says what the shell may offer for the values of flags.
func (c *runConfig) complete(cmd *cobra.Command) {
	completeFlag(cmd, "kernel", completeKernels)
	completeFlag(cmd, "parameters", completeParameters)
	completeFlag(cmd, "parameters-raw", completeParameters)
	completeFlag(cmd, "only-tag", completeTags)
	completeFlag(cmd, "skip-tag", completeTags)
	completeFlag(cmd, "resume", completeNotebooks(0))
	for flag, extensions := range map[string][]string{
		"parameters-file": {"yaml", "yml", "json"}, "sweep": {"yaml", "yml"},
	} {
		completeFlag(cmd, flag, cobra.FixedCompletions(extensions, cobra.ShellCompDirectiveFilterFileExt))
	}
	completeFlag(cmd, "cwd", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	for flag, words := range map[string][]string{
		"log-level": {"NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"},
		"engine":    {"nbclient"},
		"language":  {"python", "R", "scala", "julia", "matlab", "bash", "javascript"},
	} {
		completeFlag(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
}

// validate finds what cannot be on one command line. Nothing has been started.
func (c *runConfig) validate(paths runPaths) error {
	switch {
	case c.jobs < 1:
		return usageError{fmt.Errorf("--jobs %d: want at least 1", c.jobs)}
	case c.autosave < 0:
		return usageError{errors.New("--autosave-cell-every: want 0 or more")}
	case c.startTimeout <= 0:
		return usageError{errors.New("--start-timeout: want more than 0")}
	case c.asJSON && paths.output == "-" && !c.helpNotebook:
		return usageError{errors.New("--json and the notebook would both go to standard output: give an OUTPUT")}
	case c.events == "-" && paths.output == "-" && !c.helpNotebook:
		return usageError{errors.New("--events and the notebook would both go to standard output: give --events=FILE or an OUTPUT")}
	case c.events == "-" && c.asJSON:
		return usageError{errors.New("--events and --json would both go to standard output: give --events=FILE")}
	case c.sweep == "" && (c.failFast || c.jobs > 1):
		return usageError{errors.New("--jobs and --fail-fast are for --sweep")}
	case c.sweep != "" && paths.output == "-":
		return usageError{errors.New("--sweep writes many notebooks: OUTPUT is a folder, or a path with {name} in it")}
	case c.sweep != "" && c.resume != "":
		return usageError{errors.New("--resume goes on with one run: leave --sweep out")}
	}
	for _, pair := range append(append(pairs(nil), c.parameters...), c.raw...) {
		if pair.name == "" {
			return usageError{errors.New("a parameter's name is empty")}
		}
	}
	return nil
}

// level is papermill's log level: INFO is lowered to ERROR when the notebook
// goes to standard output.
func (c *runConfig) level(output string) slog.Level {
	if output == "-" && c.logLevel == "INFO" {
		return slog.LevelError
	}
	return logLevels[c.logLevel]
}

func (c *runConfig) run(ctx context.Context, p Process, cmd *cobra.Command, args []string) error {
	paths, err := rulesOf(p, c.helpNotebook).resolve(args)
	if err != nil {
		return err
	}
	if err := c.validate(paths); err != nil {
		return err
	}
	con := newConsole(p)
	log := newLogger(con, c.level(paths.output))
	set, err := c.gather(ctx, paths)
	if err != nil {
		return err
	}
	for _, text := range c.parameterFileWarnings() {
		log.Warn(text)
	}
	if c.helpNotebook {
		return c.notebookHelp(ctx, p, cmd, log, paths.input, set)
	}
	if c.engine != "" && c.engine != "nbclient" {
		return fmt.Errorf("no engine named %q found: the only one is nbclient", c.engine)
	}
	secrets, err := readSecrets(c.secrets)
	if err != nil {
		return err
	}
	job := runJob{config: c, process: p, console: con, log: log, paths: paths, given: set, secrets: secrets, at: p.now()}
	if c.sweep != "" {
		return job.sweep(ctx)
	}
	return job.one(ctx)
}

// A runJob is one quire run, its command line understood.
type runJob struct {
	config  *runConfig
	process Process
	console *console
	log     *slog.Logger
	paths   runPaths
	given   parameter.Set
	secrets map[string]string
	at      time.Time
}

// completeParameters offers the parameters of the notebook that stands before.
func completeParameters(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	nb := completionNotebook(cmd, args)
	if nb == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	given := map[string]bool{}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if p, ok := f.Value.(*pairs); ok {
			for _, pair := range *p {
				given[pair.name] = true
			}
		}
	})
	var names []string
	for _, def := range inspectNotebook(nb, "", "").definitions {
		if !given[def.Name] {
			names = append(names, cobra.CompletionWithDesc(def.Name, strings.TrimSpace(def.Default+"  "+def.Help)))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeTags offers the tags of the notebook that stands before.
func completeTags(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	nb := completionNotebook(cmd, args)
	var tags []string
	seen := map[string]bool{"parameters": true, "injected-parameters": true}
	for _, cell := range cellsOf(nb) {
		for _, tag := range cell.Tags() {
			if !seen[tag] {
				seen[tag] = true
				tags = append(tags, tag)
			}
		}
	}
	return tags, cobra.ShellCompDirectiveNoFileComp
}

// completionNotebook reads the first argument, a local notebook, or nothing.
func completionNotebook(cmd *cobra.Command, args []string) *notebook.Notebook {
	if len(args) == 0 || !isFile(args[0]) {
		return nil
	}
	nb, err := loadNotebook(cmd.Context(), args[0])
	if err != nil {
		return nil
	}
	return nb
}

func cellsOf(nb *notebook.Notebook) []*notebook.Cell {
	if nb == nil {
		return nil
	}
	return nb.Cells
}
