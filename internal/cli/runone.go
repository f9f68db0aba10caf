package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"quire/internal/engine"
	"quire/internal/kernel"
	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/server"
)

// A runReport is what quire run --json prints.
type runReport struct {
	ExitCode int    `json:"exitCode"`
	Message  string `json:"message,omitempty"` // what is printed on standard error, when it is no success
	engine.Result
}

// one runs the one notebook of the command line.
func (j runJob) one(ctx context.Context) error {
	defer j.announceSignal(ctx)()
	res, err := j.execute(ctx)
	if res == nil {
		res = &engine.Result{}
	}
	if err == nil {
		err = j.verdict(ctx, res)
	}
	if j.config.asJSON {
		if jsonErr := j.report(ctx, res, err); jsonErr != nil && err == nil {
			err = jsonErr
		}
	}
	return err
}

// announceSignal says what a signal does, when one comes before the function
// that it returns is called.
func (j runJob) announceSignal(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() {
		j.console.Println(fmt.Sprintf("%s: interrupting; once more ends it at once", context.Cause(ctx)))
	})
}

// execute runs the notebook. Its error is that the run could not be done.
func (j runJob) execute(ctx context.Context) (res *engine.Result, err error) {
	input, output, err := j.formatPaths()
	if err != nil {
		return nil, err
	}
	j.warnNames(input, output)
	req, err := j.request(ctx, input, output)
	if err != nil {
		return nil, err
	}
	watch, err := j.config.watcher(j.process, j.console, j.log, j.paths.output)
	if err != nil {
		return nil, err
	}
	// That a file of what was printed could not be written is a failure too, but
	// not the first one to tell.
	defer func() { err = first(err, watch.Close()) }()
	req.Events = watch.Event

	out, closeOut, err := j.output(ctx, output, watch)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, closeOut()) }()
	req.Output = out
	return engine.Run(ctx, *req)
}

// request is the engine's request, but for its output.
func (j runJob) request(ctx context.Context, input, output string) (*engine.Request, error) {
	c := j.config
	j.log.Info("Input Notebook:  " + shortPath(input))
	j.log.Info("Output Notebook: " + shortPath(output))
	if c.cwd != "" {
		if st, err := os.Stat(c.cwd); err != nil {
			return nil, problem.Wrap(fileError(err, c.cwd), "working directory")
		} else if !st.IsDir() {
			return nil, problem.New(problem.Invalid, "working directory %s is not a folder", c.cwd)
		}
		j.log.Info("Working directory: " + shortPath(c.cwd))
	}
	source, err := loadNotebook(ctx, input)
	if err != nil {
		return nil, err
	}
	req := &engine.Request{
		Source: source, InputPath: publicPath(input), OutputPath: publicPath(output), SaveAtEnd: !on(c.requestSave, true),
		Parameters: j.given, Strict: c.strict, Secrets: j.secrets,
		Kernel: c.kernel, Language: c.language, Dir: c.cwd,
		PrepareOnly: on(c.prepareOnly, false), ReportMode: on(c.reportMode, false),
		OnlyTags: c.onlyTags, SkipTags: c.skipTags,
		StartTimeout: c.startTimeout, CellTimeout: max(0, c.cellTimeout),
		Autosave: c.autosave, MaxOutput: max(0, c.maxOutput),
		Version: version, Now: j.process.now, StartKernel: j.startKernel,
	}
	if j.log.Enabled(ctx, slog.LevelDebug) {
		req.Log = j.log
	}
	return req, j.resume(ctx, req, output)
}

// warnNames says, as papermill does, which path does not look like a notebook's.
func (j runJob) warnNames(input, output string) {
	if !notebookName(input) {
		j.log.Warn(fmt.Sprintf("the input %s does not end in .ipynb or .json", publicPath(input)))
	}
	if !notebookName(output) && !strings.HasPrefix(output, "/dev/") {
		j.log.Warn(fmt.Sprintf("the output %s does not end in .ipynb or .json", publicPath(output)))
	}
}

// startKernel starts a kernel.
func (j runJob) startKernel(ctx context.Context, cfg kernel.Config) (*kernel.Kernel, error) {
	return j.guard(kernel.Start(ctx, cfg))
}

// guard kills a kernel that was started when the command is to end at once.
func (j runJob) guard(k *kernel.Kernel, err error) (*kernel.Kernel, error) {
	if err == nil {
		go func() {
			select {
			case <-j.process.force:
				_ = k.Kill() // one that is gone already is as well
			case <-k.Done():
			}
		}()
	}
	return k, err
}

// output opens what keeps the output notebook, and returns what closes it.
func (j runJob) output(ctx context.Context, path string, watch *watcher) (engine.Output, func() error, error) {
	if path == "-" {
		out := &engine.StreamOutput{W: j.process.Stdout, Name: "standard output"}
		return out, out.Close, nil
	}
	opt := engine.FileOptions{WriteOnce: j.config.writeOnce, Saved: watch.Saved}
	if !isURL(path) {
		out := engine.NewFile(path, opt)
		return out, out.Close, nil
	}
	store, at, err := server.OpenPath(ctx, path)
	if err != nil {
		return nil, nil, problem.Wrap(err, "output %s", publicPath(path))
	}
	opt.Journals = journalFolder()
	out := engine.NewStoreFile(store, at, opt)
	return out, func() error { return errors.Join(out.Close(), store.Close()) }, nil
}

// verdict says how the run ended and gives it its exit status.
func (j runJob) verdict(ctx context.Context, res *engine.Result) error {
	if res.Status.OK() {
		j.success(res)
		return nil
	}
	if e := res.Error; e != nil && (res.Status == engine.Failed || res.Status == engine.TimedOut) && worthShowing(e) {
		j.console.Println(j.traceback(e))
	}
	return statusError{status: runStatus(ctx, res.Status), err: failure(res)}
}

// success says at the end of a run what came out of it.
func (j runJob) success(res *engine.Result) {
	const most = 20
	for i, r := range lastRecords(res.Records) {
		if i == most {
			j.log.Info(fmt.Sprintf("... and %d more recorded values", len(res.Records)-most))
			break
		}
		j.log.Info("Recorded: " + r.Name + " = " + cut(string(r.Value), 120))
	}
	took := seconds(time.Duration(res.Seconds * float64(time.Second)))
	switch {
	case j.paths.output == "-":
	case res.Status == engine.Prepared:
		j.log.Info("Prepared " + shortPath(res.Output))
	case res.Status == engine.Stopped:
		text := "Stopped early, as a success, after " + took
		if res.Reason != "" {
			text += ": " + res.Reason
		}
		j.log.Info(text)
	default:
		j.log.Info(fmt.Sprintf("Done in %s: %s", took, shortPath(res.Output)))
	}
}

// traceback is a failing cell's traceback as papermill shows it; colours are
// kept on a terminal.
func (j runJob) traceback(e *engine.CellError) string {
	text := strings.Join(e.Traceback, "\n")
	if j.console.colour {
		text = coloursOnly(text) + styleReset
	} else {
		text = printable(text)
	}
	return fmt.Sprintf("\n%s\nException encountered at \"In [%s]\":\n%s\n", strings.Repeat("-", 75), count(e), strings.TrimRight(text, "\n"))
}

// worthShowing reports whether a traceback says more than the error's line.
func worthShowing(e *engine.CellError) bool {
	return len(e.Traceback) > 1 || len(e.Traceback) == 1 && e.Traceback[0] != e.Ename+": "+e.Evalue
}

// count is a cell's execution count as In [N] shows it.
func count(e *engine.CellError) string {
	if e.ExecutionCount == nil {
		return " "
	}
	return fmt.Sprint(*e.ExecutionCount)
}

// failure says in one line why a run is no success.
func failure(res *engine.Result) error {
	where := ""
	if res.Error != nil {
		where = fmt.Sprintf("%s (In [%s]): ", notebook.CellName(res.Error.Cell), count(res.Error))
	}
	text := res.Reason
	switch {
	case res.Status == engine.Failed && res.Error != nil && !strings.HasPrefix(text, "check failed"):
		text = res.Error.Error()
	case text == "":
		text = "the run is " + strings.ReplaceAll(string(res.Status), "_", " ")
	}
	if res.Output != "" && res.Output != "-" {
		text += "; see " + shortPath(res.Output)
	}
	return errors.New(where + text)
}

// runStatus is the exit status for how a run ended.
func runStatus(ctx context.Context, status engine.Status) int {
	switch status {
	case engine.KernelDied:
		return exitKernelDied
	case engine.Interrupted:
		var signal signalCause
		if errors.As(context.Cause(ctx), &signal) {
			return signalStatus(signal.signal)
		}
		return exitInterrupted
	}
	if status.OK() {
		return exitDone
	}
	return exitFailed
}

// report prints the result as one JSON object, also when there is none because
// the run could not be done.
func (j runJob) report(ctx context.Context, res *engine.Result, err error) error {
	report := runReport{ExitCode: exitStatus(ctx, err), Result: *res}
	if err != nil {
		report.Message = printable(err.Error())
	}
	if report.Status == "" {
		report.Status = engine.Failed
		report.Input, report.Output, report.Parameters = publicPath(j.paths.input), publicPath(j.paths.output), j.given
		report.Started, report.Finished = j.at.UTC(), j.process.now().UTC()
	}
	if report.Records == nil {
		report.Records = []engine.Record{}
	}
	return printJSON(j.process.Stdout, report)
}

// lastRecords returns the records in the order of their first appearance, each
// with the value recorded last.
func lastRecords(records []engine.Record) []engine.Record {
	at := map[string]int{}
	var last []engine.Record
	for _, r := range records {
		if i, ok := at[r.Name]; ok {
			last[i] = r
			continue
		}
		at[r.Name] = len(last)
		last = append(last, r)
	}
	return last
}

// first returns the first error that is not nil.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// shortPath is a path for a message, relative to here when it lies below, as
// papermill shows it.
func shortPath(path string) string {
	wd, err := os.Getwd()
	if err != nil || isURL(path) {
		return publicPath(path)
	}
	if rest, ok := strings.CutPrefix(path, wd+string(os.PathSeparator)); ok {
		return rest
	}
	return path
}

// formatPaths puts parameters into the paths.
func (j runJob) formatPaths() (input, output string, err error) {
	pm := builtins(j.at)
	if input, err = parameter.Format(j.paths.input, j.given, pm); err != nil {
		return "", "", err
	}
	output, err = parameter.Format(j.paths.output, j.given, pm)
	return input, output, err
}
