package run

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/engine"
	"quire/internal/job"
	"quire/internal/notebook"
	"quire/internal/problem"
)

// maxResult is the largest file of a contained attempt that is read into the
// memory, in bytes.
const maxResult = 64 << 20

// outOfMemory begins the reason of a run whose container's memory was not
// enough.
const outOfMemory = "out of memory"

// Containers executes attempts of runs that asked for a size in containers: a
// batch job of one task whose container executes the attempt. The container
// goes on without the server, and the job finds it again.
//
// What is in the spool of such an attempt was written by the notebook, which
// may be hostile: the server follows no link in it, reads regular files only
// and sends no signal to a process that it names.
type Containers struct {
	Jobs    *job.Jobs
	Command []string        // this binary and its hidden subcommand, as for Processes
	Files   string          // the volume's directory
	Env     []string        // the variables of this process that every attempt gets, by name
	Mounts  []compute.Mount // what every attempt needs besides
	// Keep is how long the container of a run that failed is kept after it was
	// last used; 0 keeps none.
	Keep time.Duration
	Kept int    // how many are kept at once
	Base string // path that the server answers under
	// Apart says that containers do not reach the server: they are given no secrets.
	Apart bool
	// User finds whose a run is: a service identity sees only what it may; nil takes
	// everybody for a person.
	User func(ctx context.Context, name string) (auth.User, error)
	// InUse reports whether somebody uses the kept kernel whose server has its
	// folder at dir, or asked for more time; nil is nobody.
	InUse func(ctx context.Context, dir, base string) bool
}

// platform is who asks for what the server does itself.
func platform() auth.User { return auth.User{Name: "quire", Admin: true} }

// descriptor is the job of a run.
func (c *Containers) descriptor(name string, size compute.Resources, argv []string) job.Descriptor {
	return job.Descriptor{
		ApplicationName: name,
		Container: job.Container{EntryPoint: argv, Resources: job.ContainerResources{
			CPU: job.Double(size.CPUMilli) / 1000, MemoryMB: count(size.MemoryBytes / compute.MiB), DiskMB: count(size.DiskBytes / compute.MiB),
			GPU: count(size.GPUs), NetworkMbps: count(size.NetworkMbps),
		}},
		Batch: &job.Batch{Size: 1, RuntimeLimitSec: job.MaxRuntimeLimit},
	}
}

func count(n int64) job.Count {
	const most = 1<<32 - 1
	return job.Count(min(max(n, 0), most))
}

// check returns the size with what it leaves out filled in, or everything that
// is wrong with it.
func (c *Containers) check(ctx context.Context, u auth.User, name string, size compute.Resources) (*compute.Resources, error) {
	d, wrong, err := c.Jobs.Check(ctx, u, job.Order{Descriptor: c.descriptor("run", size, c.Command)})
	if err == nil {
		err = wrong.Err("running %s", name)
	}
	full := d.Container.Resources.Size()
	return &full, err
}

// id is the id of the job of an attempt: always the same.
func (c *Containers) id(run string, attempt int) string {
	b := sha256.Sum256(fmt.Appendf(nil, "%s/%d", run, attempt))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// launch makes the job of an attempt. Again with the same attempt it does
// nothing.
func (c *Containers) launch(ctx context.Context, r Run, attempt int, dir string) error {
	exe, err := filepath.EvalSymlinks(c.Command[0])
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "finding this program for a container")
	}
	argv := append(append([]string{exe}, c.Command[1:]...), dir)
	d := c.descriptor(r.Name(), *r.Container, argv)
	d.Container.Env = map[string]string{}
	for _, name := range c.Env {
		if value := os.Getenv(name); value != "" {
			d.Container.Env[name] = value
		}
	}
	extras := job.Extras{Once: true, Purpose: "run " + r.ID, Dir: dir, Mounts: []compute.Mount{
		{Source: exe, Target: exe, ReadOnly: true}, {Source: dir, Target: dir},
	}}
	extras.Mounts = append(extras.Mounts, c.Mounts...)
	owner, err := c.owner(ctx, r)
	if err != nil {
		return problem.Wrap(err, "looking up whose run %s is", r.ID)
	}
	extras.Mounts = append(extras.Mounts, c.folders(owner, r)...)
	id := c.id(r.ID, attempt)
	_, err = c.Jobs.Create(ctx, auth.User{Name: r.Owner}, job.Order{ID: id, Descriptor: d, IdempotencyKey: "run/" + id, Extras: extras, Engine: true})
	return problem.Wrap(err, "launching the container of run %s", r.ID)
}

// owner is whose run it is, without an administrator's rights.
func (c *Containers) owner(ctx context.Context, r Run) (auth.User, error) {
	owner := auth.User{Name: r.Owner}
	if c.User == nil {
		return owner, nil
	}
	u, err := c.User(ctx, r.Owner)
	owner.Service = u.Service
	if problem.Is(err, problem.NotFound) {
		err = nil
	}
	return owner, err
}

// placesOf are the parts of the volume that a service identity sees: what it may
// read or write, where that is on the disk and no link leads elsewhere.
func (c *Containers) placesOf(owner auth.User) []compute.Mount {
	files, err := filepath.EvalSymlinks(c.Files)
	if err != nil {
		return nil
	}
	places := slices.Concat([]string{"users/" + owner.Name}, owner.Service.Run, owner.Service.Write)
	slices.Sort(places) // a folder before what is in it
	var mounts []compute.Mount
	for _, place := range slices.Compact(places) {
		below := filepath.FromSlash(place)
		real, err := filepath.EvalSymlinks(filepath.Join(files, below))
		if err != nil || real != filepath.Join(files, below) {
			continue
		}
		at := filepath.Join(c.Files, below)
		write := auth.FileAt(place)
		if info, err := os.Stat(real); err == nil && info.IsDir() {
			write = auth.FileAt(place + "/x")
		}
		mounts = append(mounts, compute.Mount{Source: at, Target: at, ReadOnly: auth.Allow(owner, auth.Write, write) != nil})
	}
	return mounts
}

// folders are the parts of the volume that a run sees, where they are outside:
// the workspace of its notebook and what everybody shares, to be written where
// its owner may. A service identity sees what it may, and nothing else.
func (c *Containers) folders(owner auth.User, r Run) []compute.Mount {
	if owner.Service != nil {
		return c.placesOf(owner)
	}
	var mounts []compute.Mount
	for _, folder := range []string{workspaceOf(placeOf(r)), "shared"} {
		at := filepath.Join(c.Files, filepath.FromSlash(folder))
		if info, err := os.Stat(at); folder == "" || err != nil || !info.IsDir() || folder == "shared" && len(mounts) > 0 && mounts[0].Source == at {
			continue
		}
		mounts = append(mounts, compute.Mount{Source: at, Target: at, ReadOnly: auth.Allow(owner, auth.Write, auth.FileAt(folder+"/x")) != nil})
	}
	return mounts
}

// workspaceOf returns the workspace of a notebook: "users/<name>" or "shared".
func workspaceOf(path string) string {
	parts := strings.SplitN(path, "/", 3)
	switch {
	case len(parts) > 2 && parts[0] == "users":
		return parts[0] + "/" + parts[1]
	case parts[0] == "shared":
		return "shared"
	}
	return ""
}

// A fate is where the container of an attempt is.
type fate struct {
	ended  bool
	reason string // how it ended, or what it waits for
	never  bool   // it can never start as it was asked for
	oom    bool   // it ran out of memory
	limit  int64  // of its memory, in bytes
	usage  job.Usage
}

// told adds what the engine says that the kernel used, where the driver does not
// know what the container used. The container wrote it: it is believed as far as
// it can be.
func (f *fate) told(engine json.RawMessage) {
	var r struct {
		Usage struct {
			CPUSeconds float64 `json:"cpuSeconds"`
			PeakBytes  int64   `json:"peakBytes"`
		} `json:"usage"`
	}
	if json.Unmarshal(engine, &r) != nil {
		return
	}
	if cpu := r.Usage.CPUSeconds; f.usage.CPU == 0 && cpu > 0 && cpu < maxCPUSeconds {
		f.usage.CPU = time.Duration(cpu * float64(time.Second))
	}
	if peak := r.Usage.PeakBytes; f.usage.PeakMemoryBytes == 0 && peak > 0 && (f.limit == 0 || peak <= f.limit) {
		f.usage.PeakMemoryBytes = peak
	}
}

// maxCPUSeconds is what 256 processors do in a year.
const maxCPUSeconds = 256 * 366 * 24 * 3600

// memory says that it ran out of memory, with limit and peak.
func (f *fate) memory() string {
	peak := "not known"
	if f.usage.PeakMemoryBytes > 0 {
		peak = compute.FormatBytes(f.usage.PeakMemoryBytes)
	}
	return outOfMemory + ": limit " + compute.FormatBytes(f.limit) + ", peak " + peak
}

// look says where the container of an attempt is.
func (c *Containers) look(ctx context.Context, run string, attempt int) (fate, error) {
	w, err := c.Jobs.Job(ctx, platform(), c.id(run, attempt))
	if problem.Is(err, problem.NotFound) {
		return fate{ended: true, reason: "its container was never made"}, nil
	}
	if err != nil || len(w.Tasks) == 0 {
		return fate{}, err
	}
	t := w.Tasks[0]
	f := fate{ended: w.Job.Status.State == job.Finished, reason: t.Status.ReasonMessage, usage: t.Usage}
	f.never = t.Status.ReasonCode == job.InvalidRequest
	if f.ended && f.reason == "" {
		f.reason = w.Job.Status.ReasonCode
	}
	f.oom = t.Exit != nil && t.Exit.OOMKilled || t.Usage.OOMKills > 0
	f.limit = w.Job.Descriptor.Container.Resources.Size().MemoryBytes
	return f, nil
}

// startEvery is how often the start of a run's container is looked at while
// somebody watches it.
const startEvery = 500 * time.Millisecond

// ContainerStart says how the start of the container of a run's newest attempt went or
// goes. It is empty for a run that has none, or whose job is no longer kept.
func (s *Runs) ContainerStart(ctx context.Context, u auth.User, id string) ([]job.Phase, error) {
	r, err := s.Get(ctx, u, id)
	if err != nil || r.Container == nil || r.Attempt == 0 || s.cfg.Containers == nil {
		return nil, err
	}
	w, err := s.cfg.Containers.Jobs.Job(ctx, platform(), s.cfg.Containers.id(id, r.Attempt))
	if problem.Is(err, problem.NotFound) || err == nil && len(w.Tasks) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return w.Tasks[0].Start(), nil
}

// FollowStart calls f with the start of a run's container, now and when it has
// changed, until the run ends or its container runs.
func (s *Runs) FollowStart(ctx context.Context, u auth.User, id string, f func([]job.Phase) error) error {
	var last []job.Phase
	tick := time.NewTicker(startEvery)
	defer tick.Stop()
	for {
		r, err := s.Get(ctx, u, id)
		if err != nil {
			return err
		}
		if r.Container == nil || r.State.Ended() {
			return nil
		}
		phases, err := s.ContainerStart(ctx, u, id)
		if err != nil {
			return err
		}
		if len(phases) > 0 && !slices.Equal(phases, last) {
			if err := f(phases); err != nil {
				return err
			}
			last = phases
		}
		if n := len(phases); n > 0 && phases[n-1].State == job.PhaseDone {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// contained reports whether the run of an attempt asked for a container.
func (s *Runs) contained(ctx context.Context, a Attempt) bool {
	if s.cfg.Containers == nil {
		return false
	}
	for ctx.Err() == nil {
		r, err := s.cfg.Store.Run(ctx, a.Run)
		if err == nil || problem.Is(err, problem.NotFound) {
			return r.Container != nil
		}
		_ = s.wait(ctx, spoolOf(s.cfg.Spool, a.Run, a.Number))
	}
	return false
}

// lookContained sees how the container of an attempt ended, after it was seen
// that no process has the attempt or that there is a result. done is true when
// there is nothing more to see.
func (s *Runs) lookContained(ctx context.Context, sp spool, a Attempt, res Result, hasResult bool) (done bool) {
	f, err := s.cfg.Containers.look(ctx, a.Run, a.Number)
	// One that is kept goes on after its result: what it says then is its own
	// failure, and nothing that it could gain by.
	kept := hasResult && res.Kept && res.State == Failed && res.Fence == a.Fence
	if err != nil || !f.ended && !kept {
		return false
	}
	if hasResult {
		f.told(res.Engine)
	}
	o := outcome{state: Lost, reason: f.reason, at: s.now(), usage: &f.usage}
	switch {
	case hasResult && res.Fence == a.Fence:
		o = outcome{state: res.State, reason: res.Reason, result: res.Engine, at: res.At, start: res.Start, usage: &f.usage, final: res.Final}
		if f.oom && res.State == Failed {
			o.reason = f.memory()
			if !strings.Contains(res.Reason, outOfMemory) { // the notebook failed of something else besides
				o.reason += " (" + res.Reason + ")"
			}
		}
	case f.never:
		o.state = Failed
	case f.oom:
		o.state, o.reason = Failed, f.memory()
	}
	if !hasResult {
		if gone, err := sp.revoke(); err != nil || !gone {
			return false
		}
	}
	return s.finish(ctx, a, o)
}

// containedFile opens the output of an attempt in a container, as it stays.
func (s *Runs) containedFile(r Run, attempt int) (*os.File, error) {
	nb, err := spoolOf(s.cfg.Spool, r.ID, attempt).containedOutput(r.Reason, true)
	if err != nil {
		return nil, err
	}
	if used := usageSummary(r); used != nil {
		nb.Metadata.Set("quire", "usage", used)
	}
	data, err := nb.Bytes()
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp("", "quire-output-")
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making room for a copy of an output")
	}
	_ = os.Remove(file.Name()) // it goes when it is closed
	if _, err = file.Write(data); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(problem.WrapAs(problem.Unavailable, err, "making a copy of an output"), file.Close())
	}
	return file, nil
}

// log opens what an attempt's process wrote.
func (c *Containers) log(ctx context.Context, run string, attempt int) (io.ReadCloser, error) {
	w, err := c.Jobs.Job(ctx, platform(), c.id(run, attempt))
	if problem.Is(err, problem.NotFound) || err == nil && len(w.Tasks) == 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	if err != nil {
		return nil, err
	}
	return c.Jobs.Logs(ctx, platform(), w.Tasks[0].ID, compute.LogOptions{})
}

// openPlain opens a file that somebody hostile may have made: it follows no
// link, waits for nobody, and takes regular files only.
func openPlain(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = problem.New(problem.Invalid, "%s is not a regular file", filepath.Base(name))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// containedOutput reads the output of an attempt in a container, with its
// journal, from copies: what is read is then not changed under the reader.
// When final it is as it stays, with why it ended where that is not the
// notebook's own doing.
func (s spool) containedOutput(reason string, final bool) (*notebook.Notebook, error) {
	temp, err := os.MkdirTemp("", "quire-output-")
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making room for a copy of an output")
	}
	defer func() { _ = os.RemoveAll(temp) }()
	for _, name := range []string{outputFile, "." + outputFile + ".quire-journal"} {
		if err := copyPlain(filepath.Join(temp, name), s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, problem.WrapAs(problem.Invalid, err, "reading the output of a run")
		}
	}
	at := filepath.Join(temp, outputFile)
	if final {
		if _, err := engine.Recover(at); err != nil && !problem.Is(err, problem.NotFound) {
			return nil, err
		}
	}
	nb, _, err := engine.ReadFile(at)
	if err == nil && final && strings.HasPrefix(reason, outOfMemory) {
		nb.Metadata.Set("quire", "reason", reason)
		marker := notebook.NewMarkdown("**This run was stopped: " + reason + "**")
		marker.Metadata["tags"] = []any{notebook.MarkerTag}
		nb.Cells = append([]*notebook.Cell{marker}, nb.Cells...)
	}
	return nb, err
}

func copyPlain(to, from string) error {
	in, err := openPlain(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, maxSource))
	return errors.Join(err, out.Close())
}

// readPlain reads a JSON file that somebody hostile may have made.
func readPlain(name string, v any) error {
	file, err := openPlain(name)
	if err != nil {
		return err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxResult+1))
	if err == nil && len(data) > maxResult {
		err = problem.New(problem.TooLarge, "%s is larger than %d MiB", filepath.Base(name), maxResult>>20)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
