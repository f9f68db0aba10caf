package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"quire/internal/kernel"
	"quire/internal/kernel/wire"
	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// A run is one call of Run. Its goroutine is the only one that changes the
// notebook; mu is for the cell that runs, which the autosave reads.
type run struct {
	req       Request
	id        string
	nb        *notebook.Notebook
	params    parameter.Set // with the types that the notebook declares
	spec      kernel.Spec
	mask      *masker
	maxOutput int64
	result    *Result
	start     time.Time

	k       *kernel.Kernel
	kept    bool // k is another's now
	dirs    *runDirs
	begun   bool // the output holds the pending notebook
	lastErr error

	kernelOut *maskWriter // nil unless what the kernel's process writes is masked

	mu          sync.Mutex
	current     string // msg_id of the running execution
	cur         *cellState
	parents     map[string]*cellState
	late        map[int]*cellState // finished cells with changes to store
	displays    map[string][]*display
	widgets     widgets
	recordBytes int

	stop     *stopper
	changes  []Change
	numbers  []int    // of each cell, as in notebook.Numbers
	identity []string // of each cell: the hash of what leads to its end
	plan     resumePlan
	expected *cellState
}

// Run runs a notebook and returns how it went. The error is nil whenever the
// notebook was run to an end that the Result tells, a failing cell included;
// otherwise it says why the run could not be done (bad parameters, no such
// kernel, an output that cannot be written), and the Result holds what is
// known. When ctx ends, the kernel is interrupted, the output is left as a valid
// notebook that says "interrupted", and Result.Status is Interrupted.
//
// Run may be called from several goroutines at once, with an Output for each.
func Run(ctx context.Context, req Request) (*Result, error) {
	r := newRun(req)
	if err := req.validate(); err != nil {
		return r.result, err
	}
	r.stop = newStopper(ctx, r)
	defer r.stop.close()
	err := r.prepare()
	if err == nil && req.PrepareOnly {
		r.result.Status = Prepared
		err = r.finishOutput(ctx)
	} else if err == nil {
		err = r.execute(ctx)
	}
	if r.req.Output != nil {
		if cerr := r.req.Output.Close(); err == nil {
			err = cerr
		}
	}
	r.result.Notebook = r.nb
	r.report(err)
	return r.result, err
}

func newRun(req Request) *run {
	if req.Now == nil {
		req.Now = time.Now
	}
	if req.Version == "" {
		req.Version = "dev"
	}
	r := &run{
		req: req, id: uuid.NewString(), params: req.Parameters, mask: newMasker(req.Secrets, req.Hidden...), maxOutput: req.MaxOutput,
		parents: map[string]*cellState{}, late: map[int]*cellState{}, displays: map[string][]*display{},
	}
	if r.maxOutput == 0 {
		r.maxOutput = DefaultMaxOutput
	}
	r.start = req.Now()
	r.result = &Result{
		Status: Failed, Run: r.id, Input: req.InputPath, Output: req.OutputPath, Started: r.start.UTC(),
		Parameters: req.Parameters, Records: []Record{},
	}
	return r
}

func (r *run) now() time.Time { return r.req.Now() }

// prepare brings the notebook into the form in which it is run: upgraded,
// parameters injected, error markers of an earlier run removed.
func (r *run) prepare() error {
	r.nb = r.req.Source.Clone()
	r.nb.Upgrade(nil)
	initMetadata(r.nb, r.req.Version)
	if spec, err := r.req.Kernels.Find(r.kernelName()); err == nil {
		r.spec = spec
	} else if !r.req.PrepareOnly {
		if r.kernelName() == "" {
			return problem.New(problem.Invalid, "No kernel name found in notebook and no override provided: give one with --kernel")
		}
		return err
	}
	if err := r.parameterize(); err != nil {
		return err
	}
	initMetadata(r.nb, r.req.Version)
	if r.req.ReportMode {
		hideSources(r.nb)
	}
	pm := object(r.nb.Metadata, "papermill")
	pm["input_path"], pm["output_path"] = nilIfEmpty(r.req.InputPath), nilIfEmpty(r.req.OutputPath)
	removeMarkers(r.nb)
	r.result.Cells.Total = len(r.nb.Cells)
	r.numbers = r.nb.Numbers()
	return nil
}

func nilIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// execute runs the prepared notebook on a kernel.
func (r *run) execute(ctx context.Context) error {
	pendingCells(r.nb)
	pm := object(r.nb.Metadata, "papermill")
	pm["start_time"], pm["end_time"], pm["duration"], pm["exception"] = isoTime(r.start), nil, nil, nil
	r.nb.Metadata["quire"] = notebook.Object{
		"version": r.req.Version, "run": r.id, "status": cellRunning, "environment": notebook.Object{},
	}
	r.result.Kernel = r.spec.Name
	r.emit(Event{
		Type: EventRunStarted, Cells: len(r.nb.Cells), Input: r.req.InputPath, Output: r.req.OutputPath, Dir: r.req.Dir,
	})
	if err := r.planResume(); err != nil {
		return err
	}
	dirs, err := newRunDirs(&r.req, r.spec)
	if err != nil {
		return err
	}
	r.dirs = dirs
	defer func() {
		if !r.kept {
			dirs.remove()
		}
	}()

	env := startEnvironment(r)
	starting, cancel := context.WithCancel(r.stop.ctx)
	defer cancel()
	started := r.startKernel(starting)
	if err = r.begin(); err != nil {
		cancel() // nobody needs this kernel
	}
	k, kerr := started.wait()
	r.k = k
	if k != nil {
		r.stop.setKernel(k)
		defer func() {
			if !r.kept {
				_ = k.Close()
			}
			r.kernelOut.flush()
		}()
	}
	if err != nil {
		return err
	}
	if kerr != nil {
		return r.kernelNotStarted(ctx, kerr, env)
	}
	r.ready(env)
	r.runCells()
	return r.finish(ctx, env)
}

// begin stores the pending notebook.
func (r *run) begin() error {
	if r.req.Output == nil || r.req.SaveAtEnd {
		return nil
	}
	if err := r.req.Output.Begin(r.stop.ctx, r.nb); err != nil {
		return err
	}
	r.begun = true
	return nil
}

// A starting kernel.
type starting struct {
	done chan struct{}
	k    *kernel.Kernel
	err  error
}

func (s *starting) wait() (*kernel.Kernel, error) {
	<-s.done
	return s.k, s.err
}

// startKernel starts the kernel while the output is being stored.
func (r *run) startKernel(ctx context.Context) *starting {
	s := &starting{done: make(chan struct{})}
	r.emit(Event{Type: EventKernelStarting, Kernel: r.spec.Name})
	cfg := kernel.Config{
		Spec: r.spec, Dir: r.req.Dir, Env: r.dirs.env(), StartTimeout: r.req.StartTimeout,
		Output: r.req.KernelOutput, Log: r.req.Log,
	}
	if cfg.Output != nil && r.mask != nil {
		r.kernelOut = &maskWriter{w: cfg.Output, s: streamMask{m: r.mask}}
		cfg.Output = r.kernelOut
	}
	start := r.req.StartKernel
	if start == nil {
		start = kernel.Start
	}
	go func() {
		defer close(s.done)
		s.k, s.err = start(ctx, cfg)
	}()
	return s
}

// kernelNotStarted leaves an output that says so: no cell has run.
func (r *run) kernelNotStarted(ctx context.Context, cause error, env *environment) error {
	if ctx.Err() != nil {
		r.result.Status, r.result.Reason = Interrupted, "interrupted while the kernel was starting"
		return r.finish(ctx, env)
	}
	r.result.Status, r.result.Reason = Failed, r.mask.text(cause.Error())
	if err := r.finish(ctx, env); err != nil {
		return err
	}
	return problem.Wrap(maskError(r.mask, cause), "starting kernel %s", r.spec.Name)
}

// maskError returns err, or a copy of its text when that holds a secret.
func maskError(m *masker, err error) error {
	if text := err.Error(); m.text(text) != text {
		return problem.New(problem.KindOf(err), "%s", m.text(text))
	}
	return err
}

// ready takes the kernel's own description into the notebook.
func (r *run) ready(env *environment) {
	info := r.k.Info()
	if len(info.RawLanguageInfo) > 0 {
		r.nb.Metadata["language_info"] = notebook.Raw(info.RawLanguageInfo)
	}
	env.kernel(r.spec, info)
	r.emit(Event{
		Type: EventKernelReady, Kernel: r.spec.Name, Language: r.spec.Language, PID: r.k.PID(),
		Implementation: strings.TrimSpace(info.Implementation + " " + info.ImplementationVersion),
		DurationMS:     millis(r.now().Sub(r.start)),
	})
	r.changes = append(r.changes, Change{Index: -1, Metadata: copyObject(r.nb.Metadata)})
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// flush stores the pending changes. A failure does not end the run: what has
// run stays in memory, and the next flush tries again.
func (r *run) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.late {
		c.dirty = false
		c.cell.Outputs = c.snapshot()
		r.changes = append(r.changes, Change{Index: i, Cell: snapshotCell(c.cell, c.cell.Outputs)})
		delete(r.late, i)
	}
	if !r.begun || len(r.changes) == 0 {
		r.changes = r.changes[:0]
		return
	}
	if err := r.req.Output.Update(r.changes); err != nil {
		if r.lastErr == nil || r.lastErr.Error() != err.Error() {
			r.warn("saving what has run: " + err.Error())
		}
		r.lastErr = err
	} else {
		r.lastErr = nil
	}
	r.changes = r.changes[:0]
}

// finish ends the kernel and stores the finished notebook, both at once.
func (r *run) finish(ctx context.Context, env *environment) error {
	var stopped sync.WaitGroup
	keep := false
	if r.k != nil {
		r.drain()
		usage := r.k.Usage()
		r.result.Usage = Usage{CPUSeconds: usage.CPU.Seconds(), PeakBytes: usage.PeakBytes}
		if keep = r.keeps(ctx); !keep {
			stopped.Go(func() { _ = r.k.Shutdown(context.WithoutCancel(ctx), 0) })
		}
	}
	r.conclude(env)
	err := r.finishOutput(ctx)
	stopped.Wait()
	if keep && err == nil {
		r.kept = true
		r.req.Keep(r.k)
	}
	return err
}

// keeps reports whether the kernel is to be given to who wants it: it lives, and
// a cell failed in it.
func (r *run) keeps(ctx context.Context) bool {
	return r.req.Keep != nil && r.result.Status == Failed && r.result.Error != nil && ctx.Err() == nil && r.k.Death() == nil
}

// drain takes in what the kernel sent after its last cell had ended.
func (r *run) drain() {
	_ = r.k.Drain(context.Background(), 0, func(m *wire.Message) error {
		r.handle(nil, m)
		return nil
	})
	r.flush()
}

// finishOutput stores the notebook for good, even when the run was interrupted.
func (r *run) finishOutput(ctx context.Context) error {
	if r.req.Output == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
	defer cancel()
	start := time.Now()
	if err := r.req.Output.Finish(ctx, r.nb); err != nil {
		return r.rescue(ctx, err)
	}
	r.emit(Event{Type: EventSaved, Output: r.req.Output.Location(), DurationMS: millis(time.Since(start))})
	return nil
}

// rescue puts the notebook of a run that cannot be stored where it belongs into
// a temporary folder: hours of work must not end with a full disk.
func (r *run) rescue(ctx context.Context, cause error) error {
	if r.k == nil {
		return cause // nothing has run
	}
	dir, err := os.MkdirTemp("", "quire-rescue-")
	if err != nil {
		return cause
	}
	path := filepath.Join(dir, "output.ipynb")
	if _, err := (&fileTarget{path: path}).put(ctx, r.nb); err != nil {
		_ = os.RemoveAll(dir)
		return cause
	}
	r.warn("the output could not be stored; it is kept in " + path)
	return problem.Wrap(cause, "the output is kept in %s instead", path)
}

// report completes the result and tells the listener.
func (r *run) report(err error) {
	end := r.now()
	r.result.Finished = end.UTC()
	r.result.Seconds = seconds(end.Sub(r.start))
	if err != nil {
		if r.result.Status.OK() {
			r.result.Status = Failed
		}
		if r.result.Reason == "" {
			r.result.Reason = r.mask.text(err.Error())
		}
	}
	r.emit(Event{
		Type: EventRunFinished, Status: string(r.result.Status), Reason: r.result.Reason, Output: r.req.OutputPath,
		Error: r.result.Error, DurationMS: millis(end.Sub(r.start)),
	})
}

// number reads a JSON number of metadata.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case notebook.Number:
		f, err := json.Number(v).Float64()
		return f, err == nil
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case notebook.Raw:
		f, err := json.Number(v).Float64()
		return f, err == nil
	}
	return 0, false
}

// label names the cell with an index as people do.
func (r *run) label(i int) string { return notebook.CellName(r.numbers[i]) }
