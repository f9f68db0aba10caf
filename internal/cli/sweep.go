package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"quire/internal/engine"
	"quire/internal/kernel"
	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/server"
	"quire/internal/storage"
)

// maxGrid is the largest file of --sweep, in bytes.
const maxGrid = 16 << 20

// sweep runs the notebook once for each combination of the grid.
func (j runJob) sweep(ctx context.Context) error {
	defer j.announceSignal(ctx)()
	if j.config.stdoutFile != "" || j.config.stderrFile != "" {
		return usageError{errors.New("--stdout-file and --stderr-file are for one run: leave --sweep out")}
	}
	res, err := j.runSweep(ctx)
	if err != nil {
		return err
	}
	if j.config.asJSON {
		report := struct {
			ExitCode int `json:"exitCode"`
			*engine.SweepResult
		}{exitStatus(ctx, j.sweepVerdict(ctx, res)), res}
		err = printJSON(j.process.Stdout, report)
	} else {
		err = writeTable(j.process.Stdout, j.console, sweepRows(res), false)
	}
	return first(err, j.sweepVerdict(ctx, res))
}

// runSweep does the runs and keeps their results beside them.
func (j runJob) runSweep(ctx context.Context) (*engine.SweepResult, error) {
	data, err := readPath(ctx, j.config.sweep, maxGrid)
	if err != nil {
		return nil, problem.Wrap(err, "reading the grid %s", publicPath(j.config.sweep))
	}
	sets, err := engine.ParseGrid(publicPath(j.config.sweep), data)
	if err != nil {
		return nil, err
	}
	plan, err := j.planSweep(sets)
	if err != nil {
		return nil, err
	}
	j.paths.input = plan.input
	base, err := j.request(ctx, plan.input, plan.output)
	if err != nil {
		return nil, err
	}
	watch, err := j.config.watcher(j.process, j.console, j.log, j.paths.output)
	if err != nil {
		return nil, err
	}
	forks, stop := j.forkserver(ctx, base)
	defer stop()
	base.StartKernel = forks
	show := j.sweepProgress(len(sets))
	runs := &sweepRuns{job: j, plan: plan, events: watch}
	sweep := engine.Sweep{
		Base: *base, Sets: sets, Jobs: j.config.jobs, StopOnFailure: j.config.failFast,
		Prepare: func(i int, req *engine.Request) error { return runs.prepare(ctx, i, req) }, Progress: func(run engine.SweepRun) { show(run); runs.close(run.Index) },
	}
	res, err := sweep.Run(ctx)
	show(engine.SweepRun{Index: -1})
	if err := first(err, watch.Close(), runs.err); err != nil {
		return nil, err
	}
	return res, first(err, j.keepResults(ctx, plan.folder, res))
}

// A sweepPlan says where each run of a sweep goes.
type sweepPlan struct {
	input   string
	output  string   // for messages: the folder, or the path with {name} in it
	outputs []string // of each run
	folder  string   // of results.json
}

// planSweep names the output of every run. Two runs with one output would
// destroy each other's.
func (j runJob) planSweep(sets []parameter.Set) (sweepPlan, error) {
	plan := sweepPlan{output: j.paths.output}
	var err error
	if plan.input, err = parameter.Format(j.paths.input, j.given, builtins(j.at)); err != nil {
		return plan, err
	}
	template := j.paths.output
	if !strings.Contains(template, "{") {
		plan.folder = strings.TrimSuffix(template, "/")
		if strings.HasSuffix(plan.folder, ".ipynb") {
			return plan, usageError{fmt.Errorf("--sweep writes many notebooks: want a folder or a path with {name} in it, not %s", publicPath(template))}
		}
	} else {
		before, _, _ := strings.Cut(template, "{")
		plan.folder = strings.TrimSuffix(before[:strings.LastIndexByte(before, '/')+1], "/")
	}
	seen := map[string]int{}
	width := len(fmt.Sprint(len(sets)))
	for i, set := range sets {
		output := fmt.Sprintf("%s/run-%0*d.ipynb", plan.folder, max(3, width), i+1)
		if strings.Contains(template, "{") {
			merged := j.given.Clone()
			merged.Merge(set)
			if output, err = parameter.Format(template, merged, builtins(j.at)); err != nil {
				return plan, err
			}
		}
		if other, twice := seen[output]; twice {
			return plan, problem.New(problem.Invalid, "runs %d and %d of the sweep would both write %s", other+1, i+1, publicPath(output))
		}
		seen[output] = i
		plan.outputs = append(plan.outputs, output)
	}
	return plan, makeFolders(plan.outputs)
}

// makeFolders makes the folders of the outputs. Only a sweep does that: its
// folders are named by parameters.
func makeFolders(outputs []string) error {
	for _, output := range outputs {
		if isURL(output) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(output), 0o777); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "making the folder of %s", output)
		}
	}
	return nil
}

// sweepRuns completes the requests of a sweep's runs.
type sweepRuns struct {
	job    runJob
	plan   sweepPlan
	events *watcher

	mu      sync.Mutex
	closers map[int]func() error
	err     error // of the first output that could not be closed
}

// prepare gives run i its output and its listener. It is safe for concurrent
// use.
func (s *sweepRuns) prepare(ctx context.Context, i int, req *engine.Request) error {
	name := fmt.Sprintf("run %d: ", i+1)
	log := slog.New(&consoleHandler{console: s.job.console, level: max(slog.LevelWarn, s.job.config.level("")), prefix: name})
	if on(s.job.config.logOutput, false) {
		log = slog.New(&consoleHandler{console: s.job.console, level: s.job.config.level(""), prefix: name})
	}
	watch := &watcher{log: log, logOutput: on(s.job.config.logOutput, false)}
	if s.events.events != nil {
		watch.events = &runLines{to: s.events, run: i}
	}
	req.Events = watch.Event
	req.OutputPath, req.Checkpoints = publicPath(s.plan.outputs[i]), checkpointsOf(s.plan.outputs[i])
	out, closeOut, err := s.job.output(ctx, s.plan.outputs[i], watch)
	if err != nil {
		return err
	}
	req.Output = out
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closers == nil {
		s.closers = map[int]func() error{}
	}
	s.closers[i] = closeOut
	return nil
}

// close puts away what prepare opened for run i.
func (s *sweepRuns) close(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.closers[i]; c != nil {
		delete(s.closers, i)
		s.err = first(s.err, c())
	}
}

// runLines writes the JSON lines of one run of a sweep, each with its number.
type runLines struct {
	to  *watcher
	run int
}

// Write adds the number of the run to a line of JSON.
func (l *runLines) Write(line []byte) (int, error) {
	l.to.mu.Lock()
	defer l.to.mu.Unlock()
	numbered := append(fmt.Appendf(nil, `{"run":%d,`, l.run), bytes.TrimPrefix(line, []byte("{"))...)
	_, err := l.to.events.Write(numbered)
	return len(line), err
}

// forkserver returns what starts the kernels of a sweep: each a process of its
// own, forked from one that has imported what all need, where that is possible.
func (j runJob) forkserver(ctx context.Context, base *engine.Request) (func(context.Context, kernel.Config) (*kernel.Kernel, error), func()) {
	name := base.Kernel
	if name == "" {
		name = base.Source.KernelName()
	}
	spec, err := base.Kernels.Find(name)
	if err != nil || base.PrepareOnly {
		return j.startKernel, func() {} // the runs say what is wrong
	}
	forks, err := kernel.NewForkserver(ctx, kernel.Config{Spec: spec, Dir: base.Dir, StartTimeout: base.StartTimeout, Log: base.Log})
	if err != nil {
		return j.startKernel, func() {}
	}
	start := func(ctx context.Context, cfg kernel.Config) (*kernel.Kernel, error) {
		return j.guard(forks.Start(ctx, cfg))
	}
	return start, func() { _ = forks.Close() } // it holds nothing that could be lost
}

// sweepProgress shows how many runs are done; a run with a negative index ends
// it.
func (j runJob) sweepProgress(total int) func(engine.SweepRun) {
	if !on(j.config.progressBar, !on(j.config.logOutput, false)) {
		return func(engine.SweepRun) {}
	}
	bar := newProgress(j.console, "run", total, j.process.now)
	done := 0
	return func(run engine.SweepRun) {
		if run.Index < 0 {
			bar.Close()
			return
		}
		done++
		if !run.Status.OK() {
			j.log.Warn(fmt.Sprintf("run %d: %s: %s", run.Index+1, run.Status, field(run.Reason, 200)))
		}
		bar.Finish(done)
	}
}

// keepResults writes results.json and results.csv beside the outputs.
func (j runJob) keepResults(ctx context.Context, folder string, res *engine.SweepResult) error {
	ctx = context.WithoutCancel(ctx) // an interrupted sweep has results too
	for name, write := range map[string]func(*bytes.Buffer) error{
		"results.json": func(b *bytes.Buffer) error { return res.WriteJSON(b) },
		"results.csv":  func(b *bytes.Buffer) error { return res.WriteCSV(b) },
	} {
		var data bytes.Buffer
		if err := write(&data); err != nil {
			return err
		}
		path := name
		if folder != "" {
			path = folder + "/" + name
		}
		store, at, err := server.OpenPath(ctx, path)
		if err != nil {
			return problem.Wrap(err, "writing %s", publicPath(path))
		}
		_, err = storage.PutBytes(ctx, store, at, data.Bytes(), storage.PutOptions{})
		if err := first(err, store.Close()); err != nil {
			return problem.Wrap(err, "writing %s", publicPath(path))
		}
		if name == "results.json" {
			j.log.Info("Results: " + shortPath(path))
		}
	}
	return nil
}

// sweepVerdict is the error of a sweep in which not every run succeeded.
func (j runJob) sweepVerdict(ctx context.Context, res *engine.SweepResult) error {
	if res.Status == engine.Interrupted {
		return statusError{status: runStatus(ctx, engine.Interrupted), err: errors.New("the sweep is interrupted")}
	}
	if res.Status.OK() {
		return nil
	}
	return statusError{status: exitFailed, err: fmt.Errorf("%d of %d runs failed", res.Failures, len(res.Runs))}
}

// sweepRows are the runs of a sweep as a table of results.
func sweepRows(res *engine.SweepResult) []resultRow {
	rows := make([]resultRow, len(res.Runs))
	for i, run := range res.Runs {
		row := resultRow{Output: run.Output, Status: string(run.Status), Parameters: orderedObject{}, Records: orderedObject{}}
		if run.Seconds > 0 {
			row.Seconds = &run.Seconds
		}
		for name, value := range run.Parameters.All() {
			if text, err := value.MarshalJSON(); err == nil {
				row.Parameters = append(row.Parameters, orderedField{name, text})
			}
		}
		for _, r := range lastRecords(run.Records) {
			row.Records = append(row.Records, orderedField{r.Name, r.Value})
		}
		switch {
		case run.Status.OK() || run.Status == engine.NotStarted:
		case run.Error != nil && run.Status == engine.Failed:
			row.Error = notebook.CellName(run.Error.Cell) + ": " + run.Error.Error()
		default:
			row.Error = run.Reason
		}
		if row.Output == "" {
			row.Output = fmt.Sprintf("run %d", run.Index+1)
		}
		rows[i] = row
	}
	return rows
}

// sweepFile reads the results.json of a sweep.
func sweepFile(data []byte) ([]resultRow, error) {
	var file struct {
		Runs []struct {
			Index      int             `json:"index"`
			Parameters orderedObject   `json:"parameters"`
			Status     engine.Status   `json:"status"`
			Reason     string          `json:"reason"`
			Output     string          `json:"output"`
			Seconds    float64         `json:"seconds"`
			Records    []engine.Record `json:"records"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "want the results of a sweep")
	}
	var rows []resultRow
	for _, run := range file.Runs {
		one := sweepRows(&engine.SweepResult{Runs: []engine.SweepRun{{
			Index: run.Index, Status: run.Status, Reason: run.Reason, Output: run.Output, Seconds: run.Seconds, Records: run.Records,
		}}})[0]
		one.Parameters = run.Parameters
		rows = append(rows, one)
	}
	return rows, nil
}

// resume completes the request with what --resume and quire.checkpoint need.
func (j runJob) resume(ctx context.Context, req *engine.Request, output string) error {
	req.Checkpoints = checkpointsOf(output)
	if j.config.resume == "" {
		return nil
	}
	previous, err := loadOutput(ctx, j.config.resume)
	if err != nil {
		return problem.Wrap(err, "resuming")
	}
	if isURL(j.config.resume) || j.config.resume == "-" {
		return problem.New(problem.Invalid, "resuming %s: its checkpoints lie beside it, so that it must be a local file", shown(j.config.resume))
	}
	req.Resume = &engine.Resume{Previous: previous}
	return nil
}

// checkpointsOf returns where the checkpoints of an output lie, "" when there is
// no place for them beside it.
func checkpointsOf(output string) string {
	if output == "-" || isURL(output) || exists(output) && !isFile(output) {
		return ""
	}
	return engine.CheckpointsBeside(output)
}

// exists reports whether there is anything of that name.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
