package cli

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A runConfig is the command line of quire run. Its zero value is not ready:
// define sets the defaults.
type runConfig struct {
	// What goes in.
	parameters pairs
	raw        pairs
	files      []string
	yamls      []string
	base64s    []string
	secrets    []string // NAME=env:VAR or NAME=file:PATH
	strict     bool

	injectInput, injectOutput, injectPaths bool

	// What is done.
	engine       string
	prepareOnly  *bool
	kernel       string
	language     string
	cwd          string
	onlyTags     []string
	skipTags     []string
	resume       string
	startTimeout time.Duration // until the kernel answers
	cellTimeout  time.Duration // of each cell; 0 or less: none

	// What is written.
	requestSave *bool
	autosave    time.Duration // 0: not within a cell
	reportMode  *bool
	maxOutput   int64 // bytes of one cell kept in the notebook; 0 or less: the engine's default
	writeOnce   bool

	// What is said.
	progressBar *bool
	logOutput   *bool
	logLevel    string
	stdoutFile  string
	stderrFile  string
	events      string // "" none, "-" standard output, else a file
	asJSON      bool

	// Many runs.
	sweep    string
	jobs     int
	failFast bool

	helpNotebook bool
	showVersion  bool
}

// define defines the flags of quire run: papermill's, in papermill's forms, and
// ours.
func (c *runConfig) define(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	c.defineParameters(flags)
	c.defineExecution(flags)
	c.defineOutput(flags)
	c.defineMessages(flags)
	c.defineSweep(flags)
	flags.BoolVar(&c.helpNotebook, "help-notebook", false, "show the notebook's parameters and end")
	flags.BoolVar(&c.showVersion, "version", false, "print the version and end")
}

func (c *runConfig) defineParameters(flags *pflag.FlagSet) {
	flags.VarP(&c.parameters, "parameters", "p", "set a parameter; True, False, None and numbers are typed, the rest is text")
	flags.VarP(&c.raw, "parameters-raw", "r", "set a parameter to this text, whatever it looks like")
	flags.StringArrayVarP(&c.files, "parameters-file", "f", nil, "read parameters from a YAML or JSON `FILE` (or URL)")
	flags.StringArrayVarP(&c.yamls, "parameters-yaml", "y", nil, "take parameters from this `YAML` text")
	flags.StringArrayVarP(&c.base64s, "parameters-base64", "b", nil, "take parameters from this base64 of YAML `TEXT`")
	flags.BoolVar(&c.injectInput, "inject-input-path", false, "pass the input's path as PAPERMILL_INPUT_PATH")
	flags.BoolVar(&c.injectOutput, "inject-output-path", false, "pass the output's path as PAPERMILL_OUTPUT_PATH")
	flags.BoolVar(&c.injectPaths, "inject-paths", false, "pass both paths")
	flags.StringArrayVar(&c.secrets, "secret", nil,
		"pass a secret by reference, `NAME=env:VAR` or NAME=file:PATH; its value is never written to a notebook or log, and masked in outputs")
	flags.BoolVar(&c.strict, "strict", false, "refuse parameters that the notebook does not declare")
	group(flags, "Parameters", "parameters", "parameters-raw", "parameters-file", "parameters-yaml", "parameters-base64",
		"inject-input-path", "inject-output-path", "inject-paths", "secret", "strict")
}

func (c *runConfig) defineExecution(flags *pflag.FlagSet) {
	c.startTimeout = time.Minute
	flags.StringVarP(&c.kernel, "kernel", "k", "", "run on the kernel `NAME`, whatever the notebook says")
	flags.StringVarP(&c.language, "language", "l", "", "take the notebook to be in the language `NAME`")
	flags.StringVar(&c.cwd, "cwd", "", "run the kernel in `DIR`; paths given here stay relative to where you are")
	flags.StringArrayVar(&c.onlyTags, "only-tag", nil,
		"run only code cells with this `TAG`; the parameters are always set")
	flags.StringArrayVar(&c.skipTags, "skip-tag", nil, "leave out code cells with this `TAG`")
	flags.StringVar(&c.resume, "resume", "",
		"go on after the last valid checkpoint of the earlier output notebook `FILE`")
	flags.Var(&secondsValue{&c.startTimeout, "60"}, "start-timeout", "how long the kernel may take to start")
	flags.Var(&secondsValue{&c.cellTimeout, ""}, "execution-timeout", "how long each cell may take (default: for ever)")
	switchPair(flags, &c.prepareOnly, "prepare-only", "prepare-execute", "write the notebook with its parameters and do not run it")
	flags.StringVar(&c.engine, "engine", "", "accepted for papermill's sake; the only `NAME` is nbclient")
	group(flags, "Execution", "kernel", "language", "cwd", "only-tag", "skip-tag", "resume", "start-timeout",
		"execution-timeout", "prepare-only", "engine")
}

func (c *runConfig) defineOutput(flags *pflag.FlagSet) {
	c.autosave = 30 * time.Second
	flags.Var(&secondsValue{&c.autosave, "30"}, "autosave-cell-every", "how often a long cell's output so far is saved; 0: never")
	switchPair(flags, &c.requestSave, "request-save-on-cell-execute", "no-request-save-on-cell-execute",
		"save after each cell")
	switchPair(flags, &c.reportMode, "report-mode", "no-report-mode", "hide the code in the output notebook")
	flags.Var(&sizeValue{&c.maxOutput, ""}, "max-output",
		"how much output of one cell the notebook keeps (default 64MiB); the rest goes to a file beside it")
	flags.BoolVar(&c.writeOnce, "write-once", false, "fail when the output exists already")
	group(flags, "Output notebook", "autosave-cell-every", "request-save-on-cell-execute", "report-mode", "max-output", "write-once")
}

func (c *runConfig) defineMessages(flags *pflag.FlagSet) {
	c.logLevel = "INFO"
	switchPair(flags, &c.progressBar, "progress-bar", "no-progress-bar",
		"show how far the run is; on unless --log-output is, or the output is -")
	switchPair(flags, &c.logOutput, "log-output", "no-log-output", "show what cells print, line by line")
	flags.StringVar(&c.stdoutFile, "stdout-file", "", "write what cells print on standard output to `FILE`")
	flags.StringVar(&c.stderrFile, "stderr-file", "", "write what cells print on standard error to `FILE`")
	level := &choiceValue{&c.logLevel, []string{"NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}}
	flags.Var(level, "log-level", "say what is at least of this `LEVEL`: "+strings.Join(level.want, ", "))
	flags.StringVar(&c.events, "events", "", "write each event as a line of JSON to standard output, or to `FILE`")
	flags.Lookup("events").NoOptDefVal = "-"
	flags.BoolVar(&c.asJSON, "json", false, "print the result as one JSON object")
	group(flags, "Messages", "progress-bar", "log-output", "stdout-file", "stderr-file", "log-level", "events", "json")
}

func (c *runConfig) defineSweep(flags *pflag.FlagSet) {
	c.jobs = 1
	flags.StringVar(&c.sweep, "sweep", "",
		"run once for each combination in the YAML `FILE`; OUTPUT is then a folder, or a path with {name} in it")
	flags.IntVarP(&c.jobs, "jobs", "j", 1, "run `N` notebooks of a sweep at a time, each on a kernel of its own")
	flags.BoolVar(&c.failFast, "fail-fast", false, "start no further run of a sweep once one has failed")
	group(flags, "Sweeps", "sweep", "jobs", "fail-fast")
}
