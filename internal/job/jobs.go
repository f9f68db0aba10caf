package job

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/problem"
)

// A Config is what Jobs needs.
type Config struct {
	Store  Store
	Driver compute.Driver
	// Profile is the launch profile of a user; nil is compute.LaunchProfile for
	// everybody.
	Profile func(auth.User) compute.Profile
	Groups  []Group
	Files   string // the volume's directory; "" refuses mounts of workspaces
	Logs    string // directory for the logs of ended tasks
	// Install tells this installation's containers from those of others on the
	// same place. It stays the same for ever.
	Install string
	Network compute.NetworkPolicy // of containers whose job says nothing else
	Starts  int                   // containers that are started at once; 0 is 4
	Keep    time.Duration         // how long ended jobs are kept; 0 is for ever
	Now     func() time.Time      // time.Now when nil
	Log     *slog.Logger          // may be nil
}

// Jobs takes jobs, sees to it that their containers run, and tells about them.
// It is safe for concurrent use.
type Jobs struct {
	cfg    Config
	pool   *pool
	hub    hub
	starts chan struct{}
	last   atomic.Int64 // the newest version
	stop   context.CancelFunc
	ctx    context.Context // of everything that goes on; set by Start
	done   sync.WaitGroup

	mu     sync.Mutex
	active map[string]*keeper // jobs that have not finished
	homes  map[string]*keeper // of each live task
}

// Labels of the containers.
const (
	labelInstall = "quire.install"
	labelJob     = "quire.job"
	labelTask    = "quire.task"
	labelUser    = "quire.user"
)

// New returns Jobs that execute nothing before Start.
func New(cfg Config) *Jobs {
	if cfg.Profile == nil {
		cfg.Profile = func(auth.User) compute.Profile { return compute.LaunchProfile() }
	}
	if cfg.Starts == 0 {
		cfg.Starts = 4
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Jobs{
		cfg: cfg, pool: newPool(cfg.Groups), starts: make(chan struct{}, cfg.Starts),
		active: map[string]*keeper{}, homes: map[string]*keeper{},
	}
}

// Start finds the jobs that go on since before and their containers, and keeps
// them until Stop.
func (s *Jobs) Start(ctx context.Context) error {
	if err := os.MkdirAll(s.cfg.Logs, 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making room for the logs of tasks")
	}
	all, err := s.cfg.Store.ActiveJobs(ctx)
	if err != nil {
		return problem.Wrap(err, "looking for jobs that go on")
	}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, w := range all {
		s.raise(w.Job.Version)
		for _, t := range w.Tasks {
			s.raise(t.Version)
		}
	}
	for _, w := range all {
		k := s.keep(w)
		k.mu.Lock()
		s.look(k)
		k.mu.Unlock()
	}
	s.done.Go(func() { s.sweep(s.ctx) })
	s.done.Go(func() { s.sample(s.ctx) })
	return nil
}

// Stop ends the keeping and returns when nothing of it runs any more.
// Containers go on. Stopping twice, or before Start, is no error.
func (s *Jobs) Stop() {
	if s.stop != nil {
		s.stop()
	}
	s.hub.close()
	s.done.Wait()
	s.saveAll()
}

// version returns the next version: larger than all before, and near the time
// in milliseconds.
func (s *Jobs) version() int64 {
	for {
		last := s.last.Load()
		next := max(last+1, s.cfg.Now().UnixMilli())
		if s.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

func (s *Jobs) raise(to int64) {
	for last := s.last.Load(); last < to && !s.last.CompareAndSwap(last, to); last = s.last.Load() {
	}
}

func (s *Jobs) world() World {
	return World{Now: s.cfg.Now(), NewID: NewID, Version: s.version}
}

// An Order asks for a job.
type Order struct {
	// ID is chosen by the platform for its own jobs, with an IdempotencyKey of
	// its own; "" is a new one.
	ID         string
	Descriptor Descriptor
	// IdempotencyKey makes the same order of the same user one job, however
	// often it is sent. With another descriptor it is refused.
	IdempotencyKey string
	// Extras is for the platform itself: whoever fills it in has checked it. A
	// zero Network is the configuration's.
	Extras Extras
	// Engine leaves the launch profile's limits out, for the platform's own jobs.
	Engine bool
}

// Profile returns the launch profile of a user.
func (s *Jobs) Profile(u auth.User) compute.Profile { return s.cfg.Profile(u) }

// Probe says what the driver enforces.
func (s *Jobs) Probe(ctx context.Context) (compute.Probe, error) { return s.cfg.Driver.Probe(ctx) }

// Check returns the descriptor as it would be kept, and everything that is wrong
// with it. It changes nothing.
func (s *Jobs) Check(ctx context.Context, u auth.User, o Order) (Descriptor, compute.Violations, error) {
	profile := s.cfg.Profile(u)
	d := o.Descriptor.WithDefaults(profile)
	limits := profile
	if o.Engine {
		limits.Limits, limits.MaxName = compute.EngineLimits(), maxEngineName
	}
	v := d.Validate(limits)
	size := d.Container.Resources.Size()
	if g, ok := s.pool.group(d.Group()); ok {
		g.validate(size, &v)
	} else {
		v.Add("capacityGroup", "there is no capacity group of this name: ask an administrator for one, or leave it out")
	}
	for i := range d.Container.Resources.EFSMounts {
		s.checkMount(u, &d.Container.Resources.EFSMounts[i], i, &v)
	}
	probe, err := s.cfg.Driver.Probe(ctx)
	switch {
	case err != nil && len(v) == 0:
		return d, nil, problem.Wrap(err, "asking what containers can have here")
	case err == nil && size.GPUs > 0 && slices.Contains(probe.Refuses, compute.GPU):
		v.Add("container.resources.gpu", "there are no GPUs here: %s", probe.Support[compute.GPU].Reason)
	}
	if len(v) > 0 {
		return d, v, nil
	}
	trial := s.spec(Job{ID: NewID(), User: u.Name, Descriptor: d, Extras: o.Extras}, Task{ID: NewID()})
	for _, wrong := range trial.Validate() {
		v.Add("container."+wrong.Field, "%s", wrong.Message)
	}
	return d, v, nil
}

// checkMount fills in whose workspace a mount is and says whether its owner may
// have it.
func (s *Jobs) checkMount(u auth.User, m *Mount, i int, v *compute.Violations) {
	if m.EFSRelativeMountPoint == "" {
		m.EFSRelativeMountPoint = "users/" + u.Name
	}
	if m.MountPerm == "" {
		m.MountPerm = "RW"
	}
	folder, _, ok := m.workspace()
	if !ok {
		return // said already
	}
	field := "container.resources.efsMounts[" + strconv.Itoa(i) + "]"
	verb := auth.Write
	if m.MountPerm == "RO" {
		verb = auth.Read
	}
	if err := auth.Allow(u, verb, auth.FileAt(folder+"/x")); err != nil {
		v.Add(field+".efsRelativeMountPoint", "%s may not %s %s", u.Name, verb, folder)
		return
	}
	if s.cfg.Files == "" {
		v.Add(field, "there is no volume to mount here")
		return
	}
	info, err := os.Lstat(filepath.Join(s.cfg.Files, filepath.FromSlash(folder)))
	if err != nil || !info.IsDir() {
		v.Add(field+".efsRelativeMountPoint", "there is no workspace %s", folder)
	}
}

// maxEngineName is how long the name of one of the platform's own jobs may be.
const maxEngineName = 300

// maxUserTasks is how many live tasks one user may have.
const maxUserTasks = 5000

// Create takes a job. When it returns the job is on the disk.
func (s *Jobs) Create(ctx context.Context, u auth.User, o Order) (Job, error) {
	if u.Name == "" {
		return Job{}, problem.New(problem.Denied, "sign in first")
	}
	d, wrong, err := s.Check(ctx, u, o)
	if err != nil {
		return Job{}, err
	}
	if err := wrong.Err("launching %s", short(d.ApplicationName)); err != nil {
		return Job{}, err
	}
	j := Job{ID: o.ID, User: u.Name, Descriptor: d, Extras: o.Extras}
	if j.ID == "" {
		j.ID = NewID()
	}
	if j.IdempotencyHash, err = idempotencyHash(o.IdempotencyKey, u.Name); err != nil {
		return Job{}, err
	}
	w := Open(j, s.world())
	if n := s.liveTasks(u.Name); n+len(w.Tasks) > maxUserTasks {
		return Job{}, problem.New(problem.TooLarge, "%s has %d tasks, and %d are the most: end some first", u.Name, n, maxUserTasks)
	}
	created, err := s.cfg.Store.CreateJob(ctx, w)
	if err != nil {
		return Job{}, err
	}
	if created.ID != j.ID {
		if !sameDescriptor(created.Descriptor, d) {
			return Job{}, problem.New(problem.Conflict, "this Idempotency-Key was used for another job, %s: use a new one", created.ID)
		}
		return created, nil
	}
	s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "job accepted", slog.String("job_id", j.ID), slog.String("user", u.Name), slog.Int("tasks", len(w.Tasks)))
	k := s.keep(w)
	k.mu.Lock()
	defer k.mu.Unlock()
	s.publish(k.w.Job, k.w.Tasks)
	s.look(k)
	return k.w.Job, nil
}

func (s *Jobs) liveTasks(user string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, k := range s.homes {
		if k.user == user {
			n++
		}
	}
	return n
}

func sameDescriptor(a, b Descriptor) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

func idempotencyHash(key, user string) (string, error) {
	const most = 256
	if key == "" {
		return "", nil
	}
	if len(key) > most {
		return "", problem.New(problem.Invalid, "Idempotency-Key: at most %d bytes", most)
	}
	sum := sha256.Sum256([]byte(key + "\x00" + user))
	return hex.EncodeToString(sum[:]), nil
}

func short(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

func object(j Job) auth.Object { return auth.Object{Kind: auth.JobKind, Owner: j.User} }

// Job returns a job, with the tasks that count.
func (s *Jobs) Job(ctx context.Context, u auth.User, id string) (Whole, error) {
	if !ValidID(id) {
		return Whole{}, problem.New(problem.NotFound, "no job %q", short(id))
	}
	w, ok := s.live(id)
	if !ok {
		j, err := s.cfg.Store.Job(ctx, id)
		if err != nil {
			return Whole{}, err
		}
		w.Job = j
		if w.Tasks, err = s.cfg.Store.Tasks(ctx, id, false); err != nil {
			return Whole{}, err
		}
	}
	if err := auth.Allow(u, auth.Read, object(w.Job)); err != nil {
		return Whole{}, err
	}
	return w, nil
}

// live returns a job that has not finished, from memory.
func (s *Jobs) live(id string) (Whole, bool) {
	s.mu.Lock()
	k := s.active[id]
	s.mu.Unlock()
	if k == nil {
		return Whole{}, false
	}
	return k.snapshot(), true
}

// List returns jobs that the user may see, newest first.
func (s *Jobs) List(ctx context.Context, u auth.User, f Filter) ([]Job, error) {
	if err := auth.Allow(u, auth.Read, auth.Object{Kind: auth.JobKind, Owner: u.Name}); err != nil {
		return nil, err
	}
	if !u.Admin {
		f.User = u.Name
	}
	return s.cfg.Store.Jobs(ctx, f)
}

// Tasks returns tasks of a job: those that count, or all.
func (s *Jobs) Tasks(ctx context.Context, u auth.User, id string, all bool) ([]Task, error) {
	w, err := s.Job(ctx, u, id)
	if err != nil || !all {
		return w.Tasks, err
	}
	tasks, err := s.cfg.Store.Tasks(ctx, id, true)
	for i := range tasks {
		if at := slices.IndexFunc(w.Tasks, func(t Task) bool { return t.ID == tasks[i].ID }); at >= 0 {
			tasks[i] = w.Tasks[at]
		}
	}
	return tasks, err
}

// Task returns a task and its job.
func (s *Jobs) Task(ctx context.Context, u auth.User, id string) (Task, Job, error) {
	if !ValidID(id) {
		return Task{}, Job{}, problem.New(problem.NotFound, "no task %q", short(id))
	}
	t, err := s.cfg.Store.Task(ctx, id)
	if err != nil {
		return Task{}, Job{}, err
	}
	w, err := s.Job(ctx, u, t.JobID)
	if at := slices.IndexFunc(w.Tasks, func(one Task) bool { return one.ID == id }); at >= 0 {
		t = w.Tasks[at]
	}
	return t, w.Job, err
}

// Do applies an event that somebody asked for to a job: one of KillJob,
// Resized, Processes, Enabled, Budget and Attributed.
func (s *Jobs) Do(ctx context.Context, u auth.User, id string, e Event) (Job, error) {
	w, err := s.Job(ctx, u, id)
	if err != nil {
		return Job{}, err
	}
	if err := auth.Allow(u, auth.Write, object(w.Job)); err != nil {
		return Job{}, err
	}
	s.mu.Lock()
	k := s.active[id]
	s.mu.Unlock()
	if k == nil {
		return Job{}, wrongState("job %s has finished already", id)
	}
	if err := s.step(ctx, k, e); err != nil {
		return Job{}, err
	}
	return k.snapshot().Job, nil
}

// Kill asks a job to end.
func (s *Jobs) Kill(ctx context.Context, u auth.User, id string) (Job, error) {
	return s.Do(ctx, u, id, KillJob{Message: u.Name + " asked for it"})
}

// KillTask asks a task to end; see the event of that name.
func (s *Jobs) KillTask(ctx context.Context, u auth.User, id string, shrink, keepMin bool) error {
	t, _, err := s.Task(ctx, u, id)
	if err != nil {
		return err
	}
	_, err = s.Do(ctx, u, t.JobID, KillTask{Task: id, Code: Killed, Message: u.Name + " asked for it", Shrink: shrink, KeepMin: keepMin})
	return err
}

// Watch tells of every change that the user may see, from now on. The caller
// closes it.
func (s *Jobs) Watch() *Watch { return s.hub.watch() }

// Groups returns the capacity groups and what is used of them.
func (s *Jobs) Groups() []GroupUse { return s.pool.uses() }
