//go:build unix

package docker

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"quire/internal/compute"
	"quire/internal/compute/shim"
	"quire/internal/problem"
)

// Name is the driver's name.
const Name = "docker"

// Config is what the driver needs.
type Config struct {
	Dir        string   // what the driver keeps about its containers; required; no container sees it
	Place      string   // tells the containers of this installation from others on the same Docker host; required
	Host       string   // as DOCKER_HOST has it; "" is DOCKER_HOST, else unix:///var/run/docker.sock
	Executable string   // a quire binary for Linux, as the Docker host sees it; "" is the running one
	Image      string   // of containers whose spec names none; "" refuses those
	Network    string   // the Docker network of containers with a private network; "" refuses those
	LogBytes   int64    // how much of a log is kept; 0 is shim.DefaultLogBytes
	HostPaths  []string // shown read-only, where they are, in containers whose spec names no image
}

// Driver runs containers on a Docker host.
type Driver struct {
	cfg    Config
	dir    string // absolute
	docker *client.Client

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup // goroutines that outlive the call that started them; they end with life

	mu      sync.Mutex
	locks   map[string]*idLock
	changed chan struct{}     // closed when a container was started, stopped or removed by this process
	ends    map[string]ending // how containers ended, by id: it takes reading their logs
	pulls   map[string]*pull  // images on their way, by reference
	stages  map[string]*pull  // containers that wait for one, by id
	owners  map[int]*os.File  // user namespaces that show our files as a user's
}

var _ compute.Driver = (*Driver)(nil)

// idLock is taken while a container is created, started or removed.
type idLock struct {
	sync.Mutex
	users int
}

// Labels of every container.
const (
	labelPlace = "quire.place"
	labelID    = "quire.id"
	labelSpec  = "quire.spec"
	labelOwn   = "quire.label." // and a label of the spec
)

// Open opens the driver; Docker need not answer yet. The caller closes it.
func Open(cfg Config) (*Driver, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "opening the folder of the docker driver")
	}
	if cfg.Executable == "" {
		if cfg.Executable, err = os.Executable(); err == nil {
			cfg.Executable, err = filepath.EvalSymlinks(cfg.Executable)
		}
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "finding this program for containers")
		}
	}
	if cfg.LogBytes == 0 {
		cfg.LogBytes = shim.DefaultLogBytes
	}
	options := []client.Opt{client.FromEnv}
	if cfg.Host != "" {
		options = append(options, client.WithHost(cfg.Host))
	}
	docker, err := client.New(options...)
	if err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "finding the Docker host")
	}
	life, end := context.WithCancel(context.Background())
	return &Driver{
		cfg: cfg, dir: dir, docker: docker, life: life, end: end,
		locks: make(map[string]*idLock), changed: make(chan struct{}), ends: make(map[string]ending),
		pulls: make(map[string]*pull), stages: make(map[string]*pull), owners: make(map[int]*os.File),
	}, nil
}

// Close lets go of what the driver holds; containers go on.
func (d *Driver) Close() error {
	d.end()
	d.work.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for uid, ns := range d.owners {
		ns.Close()
		delete(d.owners, uid)
	}
	return d.docker.Close()
}

// within returns a context that ends with the driver too.
func (d *Driver) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(d.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// fault gives an answer of Docker its kind.
func (d *Driver) fault(ctx context.Context, err error, format string, args ...any) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return problem.Wrap(ctx.Err(), format, args...)
	case d.life.Err() != nil:
		return problem.New(problem.Canceled, "the docker driver is closed")
	case cerrdefs.IsNotFound(err):
		return problem.WrapAs(problem.NotFound, err, format, args...)
	case cerrdefs.IsInvalidArgument(err):
		return problem.WrapAs(problem.Invalid, err, format, args...)
	case cerrdefs.IsConflict(err):
		return problem.WrapAs(problem.Conflict, err, format, args...)
	}
	return problem.WrapAs(problem.Unavailable, err, format, args...)
}

// idForm is what an id may be: everything else is not asked for.
var idForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`) })

// native is what Docker calls a container.
func (d *Driver) native(id string) string { return "quire-" + d.cfg.Place + "-" + id }

func (d *Driver) handle(id string) compute.Handle {
	return compute.Handle{ID: id, Driver: Name, Native: d.native(id)}
}

// lock excludes others in this process from one container.
func (d *Driver) lock(id string) (unlock func()) {
	d.mu.Lock()
	l := d.locks[id]
	if l == nil {
		l = new(idLock)
		d.locks[id] = l
	}
	l.users++
	d.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		d.mu.Lock()
		defer d.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(d.locks, id)
		}
	}
}

// announce wakes who waits for a container to start.
func (d *Driver) announce() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.changed)
	d.changed = make(chan struct{})
}

// found is a container as Docker knows it.
type found struct {
	container.InspectResponse
	spec compute.Spec
}

// find asks Docker for a container.
func (d *Driver) find(ctx context.Context, id string) (found, error) {
	var f found
	if d.life.Err() != nil {
		return f, problem.New(problem.Canceled, "the docker driver is closed")
	}
	if !idForm().MatchString(id) {
		return f, problem.New(problem.NotFound, "there is no container %q", id)
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	answer, err := d.docker.ContainerInspect(bound, d.native(id), client.ContainerInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return f, problem.New(problem.NotFound, "there is no container %s", id)
	}
	if err != nil {
		return f, d.fault(ctx, err, "looking at container %s", id)
	}
	f.InspectResponse = answer.Container
	if f.Config == nil || f.State == nil || f.Config.Labels[labelPlace] != d.cfg.Place {
		return f, problem.New(problem.NotFound, "container %s is not of this installation", d.native(id))
	}
	err = json.Unmarshal([]byte(f.Config.Labels[labelSpec]), &f.spec)
	return f, problem.WrapAs(problem.Internal, err, "reading the labels of container %s", id)
}
