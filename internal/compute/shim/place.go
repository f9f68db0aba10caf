//go:build unix

package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"quire/internal/compute"
	"quire/internal/problem"
)

// Isolation is what a driver adds to a Place: what is around the container's
// processes.
type Isolation interface {
	// Plan checks what a spec needs of this machine and returns notes that all
	// later calls for the container get. It makes nothing.
	Plan(spec compute.Spec) (json.RawMessage, error)
	// Launch makes what the container needs and says how to start its shim.
	Launch(spec compute.Spec, notes json.RawMessage, dir string) (*Launch, error)
	// Measure fills in what can be measured from the outside; before the end
	// the shim has been asked already.
	Measure(spec compute.Spec, notes json.RawMessage, dir string, stats *compute.Stats)
	// Release takes away all that Launch made. It is called again after a
	// failure, and for containers that were never started.
	Release(spec compute.Spec, notes json.RawMessage, dir string) error
}

// Place is a folder of containers, each kept by its shim. It is the part of
// compute.Driver that all drivers with shims share. Its methods are those of
// compute.Driver.
type Place struct {
	name      string
	dir       string // absolute
	root      *os.Root
	program   *os.File
	logMax    int64
	isolation Isolation

	mu      sync.Mutex
	locks   map[string]*idLock
	changed chan struct{} // closed when a container was started or stopped by this process

	shims  sync.WaitGroup // goroutines that reap shims; they end with their containers
	closed chan struct{}
	once   sync.Once
}

// idLock is taken while a container is created, started or removed.
type idLock struct {
	sync.Mutex
	users int
}

// Options are what a Place needs. Dir and Name are required.
type Options struct {
	Name     string   // of the driver
	Dir      string   // made when it is not there, with mode 0700
	Program  *os.File // what is started beside a container, as with program.Shim; nil is the running binary
	LogBytes int64    // how much of a container's log is kept; 0 is DefaultLogBytes
}

// DefaultLogBytes is how much of a container's log is kept.
const DefaultLogBytes = 16 << 20

// record is spec.json.
type record struct {
	Spec      compute.Spec    `json:"spec"`
	Notes     json.RawMessage `json:"notes,omitempty"`
	CreatedAt time.Time       `json:"createdAt"`
}

// shimRecord is proc.json.
type shimRecord struct {
	PID       int       `json:"pid"`
	Start     string    `json:"start"`
	Boot      string    `json:"boot"`
	StartedAt time.Time `json:"startedAt"`
}

// Open opens a place. The caller closes it.
func Open(opt Options, isolation Isolation) (*Place, error) {
	dir, err := filepath.Abs(opt.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(dir)
	}
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "opening the folder of containers")
	}
	if opt.LogBytes == 0 {
		opt.LogBytes = DefaultLogBytes
	}
	return &Place{
		name: opt.Name, dir: dir, root: root, program: opt.Program, logMax: opt.LogBytes, isolation: isolation,
		locks: make(map[string]*idLock), changed: make(chan struct{}), closed: make(chan struct{}),
	}, nil
}

// Close lets go of the folder; containers go on. Goroutines that reap shims
// started by this process end with those.
func (p *Place) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.root.Close()
	})
	return nil
}

func (p *Place) isClosed() error {
	select {
	case <-p.closed:
		return problem.New(problem.Canceled, "the %s driver is closed", p.name)
	default:
		return nil
	}
}

// lock excludes others in this process from one container.
func (p *Place) lock(id string) (unlock func()) {
	p.mu.Lock()
	l := p.locks[id]
	if l == nil {
		l = new(idLock)
		p.locks[id] = l
	}
	l.users++
	p.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		p.mu.Lock()
		defer p.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(p.locks, id)
		}
	}
}

// announce wakes who waits for a container to start.
func (p *Place) announce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Create writes a container down.
func (p *Place) Create(ctx context.Context, spec compute.Spec) (compute.Handle, error) {
	if err := errors.Join(p.isClosed(), ctx.Err()); err != nil {
		return compute.Handle{}, problem.Wrap(err, "creating a container")
	}
	if err := spec.Validate().Err("creating container %q", spec.ID); err != nil {
		return compute.Handle{}, err
	}
	defer p.lock(spec.ID)()
	if old, err := p.read(spec.ID); err == nil {
		if !sameSpec(old.Spec, spec) {
			return compute.Handle{}, problem.New(problem.Exists, "container %s exists already, with another spec", spec.ID)
		}
		return p.handle(spec.ID), nil
	}
	for _, m := range spec.Mounts {
		if _, err := os.Stat(m.Source); err != nil {
			return compute.Handle{}, problem.WrapAs(problem.NotFound, err, "creating container %s: mount %s", spec.ID, m.Target)
		}
	}
	notes, err := p.isolation.Plan(spec)
	if err != nil {
		return compute.Handle{}, problem.Wrap(err, "creating container %s", spec.ID)
	}
	if err := p.root.Mkdir(spec.ID, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return compute.Handle{}, problem.WrapAs(problem.Unavailable, err, "creating container %s", spec.ID)
	}
	data, err := json.Marshal(record{Spec: spec, Notes: notes, CreatedAt: time.Now()})
	if err == nil {
		err = p.replace(spec.ID, "spec.json", data)
	}
	if err != nil {
		p.root.RemoveAll(spec.ID) //nolint:errcheck // the first error says more
		return compute.Handle{}, problem.WrapAs(problem.Unavailable, err, "creating container %s", spec.ID)
	}
	return p.handle(spec.ID), nil
}

func (p *Place) handle(id string) compute.Handle { return compute.Handle{ID: id, Driver: p.name} }

// sameSpec compares specs as they are written down.
func sameSpec(a, b compute.Spec) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && (bytes.Equal(x, y) || reflect.DeepEqual(a, b))
}

// written counts the files that replace wrote, for their names.
var written atomic.Int64

// replace writes a file of a container in one piece. Two at once, also of two
// processes, do not write into each other's.
func (p *Place) replace(id, name string, data []byte) error {
	temporary := filepath.Join(id, name+"."+strconv.Itoa(os.Getpid())+"-"+strconv.FormatInt(written.Add(1), 10)+".new")
	f, err := p.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return p.root.Rename(temporary, filepath.Join(id, name))
}

// read returns what was written at Create.
func (p *Place) read(id string) (record, error) {
	var r record
	if err := p.isClosed(); err != nil {
		return r, err
	}
	if !filepath.IsLocal(id) || filepath.Base(id) != id {
		return r, problem.New(problem.NotFound, "there is no container %q", id)
	}
	err := p.readJSON(id, "spec.json", &r)
	if errors.Is(err, fs.ErrNotExist) {
		return r, problem.New(problem.NotFound, "there is no container %s", id)
	}
	return r, p.unreadable(id, err)
}

// unreadable says that a container could not be read: where the place was closed
// meanwhile, that.
func (p *Place) unreadable(id string, err error) error {
	if closed := p.isClosed(); closed != nil && errors.Is(err, fs.ErrClosed) {
		return closed
	}
	return problem.Wrap(err, "reading container %s", id)
}

// readJSON reads a file of a container that was written in one piece. A file
// that is not complete is as if it were not there.
func (p *Place) readJSON(id, name string, value any) error {
	data, err := p.root.ReadFile(filepath.Join(id, name))
	if err != nil {
		return err
	}
	if !bytes.HasSuffix(data, []byte{'\n'}) {
		return fs.ErrNotExist
	}
	return json.Unmarshal(data, value)
}

// Status reads where a container is.
func (p *Place) Status(ctx context.Context, id string) (compute.Status, error) {
	if err := ctx.Err(); err != nil {
		return compute.Status{}, problem.Wrap(err, "looking at container %s", id)
	}
	r, err := p.read(id)
	if err != nil {
		return compute.Status{}, err
	}
	status, _, err := p.status(r)
	return status, err
}

func (p *Place) status(r record) (compute.Status, result, error) {
	id := r.Spec.ID
	s := compute.Status{
		Handle: p.handle(id), State: compute.Created, Labels: r.Spec.Labels,
		Resources: r.Spec.Resources, CreatedAt: r.CreatedAt,
	}
	var res result
	var shim shimRecord
	if err := p.readJSON(id, "proc.json", &shim); err == nil {
		s.StartedAt = shim.StartedAt
		s.State = compute.Running
	} else if !errors.Is(err, fs.ErrNotExist) {
		return s, res, p.unreadable(id, err)
	}
	err := p.readJSON(id, "exit.json", &res)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return s, res, p.unreadable(id, err)
	case s.State == compute.Created:
		return s, res, nil
	case p.alive(id):
		if !p.told(id) {
			s.State, s.Stage = compute.Starting, compute.Stage{Name: compute.StageStarting, Text: "starting its first process"}
		}
		return s, res, nil
	case !p.told(id) && shim.Boot == bootID(): // its starter was killed before it had orders
		s.State, s.StartedAt = compute.Created, time.Time{}
		return s, res, nil
	default: // the shim is gone; it may have written its result a moment ago
		if err := p.readJSON(id, "exit.json", &res); err != nil {
			res = p.lost(r, shim)
		}
	}
	s.State, s.Exit, s.FinishedAt = compute.Exited, &res.Exit, res.FinishedAt
	return s, res, nil
}

// lost makes and writes the result of a container whose shim left none.
func (p *Place) lost(r record, shim shimRecord) result {
	res := result{FinishedAt: time.Now()}
	res.Exit = compute.Exit{Code: 137, Signal: "SIGKILL", Cause: compute.CauseSystem, Reason: "killed from outside; nothing is known of why"}
	var stop stopRecord
	switch {
	case shim.Boot != bootID():
		res.Exit.Reason = "the machine was started again while the container ran"
	default:
		p.isolation.Measure(r.Spec, r.Notes, filepath.Join(p.dir, r.Spec.ID), &res.Usage)
		res.Exit.PeakMemoryBytes = res.Usage.PeakBytes
		if p.readJSON(r.Spec.ID, "stop.json", &stop) == nil {
			res.Exit.Cause, res.Exit.Reason = compute.CauseStopped, "killed"
		} else if res.Usage.OOMKills > 0 {
			res.Exit = OutOfMemory(res.Exit, r.Spec.Resources.MemoryBytes)
		}
	}
	if data, err := json.Marshal(res); err == nil {
		p.replace(r.Spec.ID, "exit.json", data) //nolint:errcheck // the next look makes it again
	}
	return res
}

// stopRecord is stop.json: somebody wants the container to end.
type stopRecord struct {
	At time.Time `json:"at"`
}

// alive tells whether a container's shim lives: whether its lock is held.
func (p *Place) alive(id string) bool {
	f, err := p.root.OpenFile(filepath.Join(id, "lock"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return !tryLock(f, false)
}

// told tells whether a container's shim had its orders.
func (p *Place) told(id string) bool {
	data, err := p.root.ReadFile(filepath.Join(id, "lock"))
	return err == nil && string(data) == told
}

// List reads all containers.
func (p *Place) List(ctx context.Context, labels map[string]string) ([]compute.Status, error) {
	if err := errors.Join(p.isClosed(), ctx.Err()); err != nil {
		return nil, problem.Wrap(err, "listing containers")
	}
	entries, err := fs.ReadDir(p.root.FS(), ".")
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "listing containers")
	}
	var found []compute.Status
	for _, e := range entries {
		r, err := p.read(e.Name())
		if problem.Is(err, problem.NotFound) {
			continue // it is being made or removed
		}
		if err != nil {
			return nil, err
		}
		if !carries(r.Spec.Labels, labels) {
			continue
		}
		s, _, err := p.status(r)
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	slices.SortFunc(found, func(a, b compute.Status) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) })
	return found, nil
}

func carries(has, wanted map[string]string) bool {
	for name, value := range wanted {
		if got, ok := has[name]; !ok || got != value {
			return false
		}
	}
	return true
}

// Remove takes a container away.
func (p *Place) Remove(ctx context.Context, id string) error {
	r, err := p.read(id)
	if problem.Is(err, problem.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := p.Stop(ctx, id, 0); err != nil && !problem.Is(err, problem.NotFound) {
		return problem.Wrap(err, "removing container %s", id)
	}
	defer p.lock(id)()
	dir := filepath.Join(p.dir, id)
	if err := p.isolation.Release(r.Spec, r.Notes, dir); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "removing container %s", id)
	}
	// The record goes last: what is half removed is still found.
	entries, err := fs.ReadDir(p.root.FS(), id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return problem.WrapAs(problem.Unavailable, err, "removing container %s", id)
	}
	for _, e := range entries {
		if e.Name() != "spec.json" {
			err = errors.Join(err, p.root.RemoveAll(filepath.Join(id, e.Name())))
		}
	}
	if err == nil {
		err = p.root.RemoveAll(id)
	}
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "removing container %s", id)
	}
	p.announce()
	return nil
}
