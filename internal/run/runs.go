package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/contents"
	"quire/internal/engine"
	"quire/internal/fault"
	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/storage"
)

// A Config is what Runs needs.
type Config struct {
	Store    Store
	Spool    string        // directory of the attempts' spools
	Objects  storage.Store // keeps "<id>/source.ipynb" and "<id>/output.ipynb" for good
	Volume   *contents.Volume
	Files    string // the volume's directory, for the kernels' working directories
	Launcher Launcher
	// Containers executes runs that ask for a size; nil refuses them.
	Containers *Containers
	// Permits is how many attempts may live at once; 0 is 4.
	Permits int
	// Keep is how long ended runs are kept; 0 is for ever.
	Keep    time.Duration
	Version string           // of Quire
	Now     func() time.Time // time.Now when nil
	Log     *slog.Logger     // may be nil
	// Tracer makes a span of each attempt; nil makes none.
	Tracer trace.Tracer
}

// Runs takes requests, sees to it that they are executed, and tells about them.
// It is safe for concurrent use.
type Runs struct {
	cfg  Config
	wake chan struct{}
	stop context.CancelFunc
	done sync.WaitGroup

	unread string // run whose source the store did not give; of dispatch only

	mu       sync.Mutex
	watching map[string]bool // spools somebody watches
}

// New returns Runs that execute nothing before Start.
func New(cfg Config) *Runs {
	if cfg.Permits == 0 {
		cfg.Permits = 4
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Runs{cfg: cfg, wake: make(chan struct{}, 1), watching: map[string]bool{}}
}

// A Request asks for a run.
type Request struct {
	Notebook       string          `json:"notebook"` // path on the volume
	Version        int64           `json:"version"`  // 0 is the newest
	Parameters     json.RawMessage `json:"parameters"`
	Strict         bool            `json:"strict"` // refuse parameters that the notebook does not declare
	Kernel         string          `json:"kernel"`
	Tags           []string        `json:"tags"`
	Priority       int             `json:"priority"`
	TimeoutSeconds int64           `json:"timeoutSeconds"`
	Retries        int             `json:"retries"`
	// Container asks for a container of this size; what is 0 is the default. Nil
	// is none.
	Container *compute.Resources `json:"container,omitempty"`
	// IdempotencyKey makes the same request of the same user one run, however
	// often it is sent.
	IdempotencyKey string `json:"-"`
}

const maxSource = 512 << 20

// Submit takes a copy of the notebook as it is now, checks the parameters
// against it and queues the run. When it returns the run is on the disk.
func (s *Runs) Submit(ctx context.Context, u auth.User, req Request) (Run, error) {
	ctx, span := trace.SpanFromContext(ctx).TracerProvider().Tracer("quire").Start(ctx, "submit run")
	defer span.End()
	r, err := s.submit(ctx, u, req)
	span.SetAttributes(attribute.String("quire.run_id", r.ID))
	if err != nil {
		span.SetStatus(codes.Error, problem.KindOf(err).String())
	}
	return r, err
}

func (s *Runs) submit(ctx context.Context, u auth.User, req Request) (Run, error) {
	now := s.now()
	r := Run{
		ID: NewID(now), Owner: u.Name, Kernel: req.Kernel, Tags: req.Tags, Priority: req.Priority,
		TimeoutSeconds: req.TimeoutSeconds, Retries: req.Retries, State: Queued, Created: now, NotBefore: now,
	}
	clean, err := contents.CleanPath(req.Notebook)
	if err != nil {
		return Run{}, err
	}
	r.Notebook = clean
	if err := auth.Allow(u, auth.Run, auth.FileAt(clean)); err != nil {
		return Run{}, err
	}
	source, version, err := s.source(ctx, u, clean, req.Version)
	if err != nil {
		return Run{}, err
	}
	r.Version = version
	if r.Parameters, err = checkParameters(source, req); err != nil {
		return Run{}, problem.Wrap(err, "running %s", clean)
	}
	if err := r.validate(); err != nil {
		return Run{}, err
	}
	if req.Container != nil {
		if s.cfg.Containers == nil {
			return Run{}, problem.New(problem.Invalid, "running %s: there are no containers on this server (compute: none): leave the size out", clean)
		}
		if r.Container, err = s.cfg.Containers.check(ctx, u, clean, *req.Container); err != nil {
			return Run{}, err
		}
	}
	sum := sha256.Sum256(source)
	r.Source = hex.EncodeToString(sum[:])
	r.IdempotencyHash = idempotencyHash(req, r)
	created, err := s.create(ctx, r, source)
	if err != nil {
		return created, err
	}
	// Who runs a notebook knows it. The run is on its way whatever comes of this.
	if err := s.cfg.Volume.Trust(ctx, u, clean, contents.Hash(r.Source)); err != nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a notebook that is run is not noted as trusted", slog.String("run_id", created.ID), slog.String("error", err.Error()))
	}
	return created, nil
}

func (s *Runs) create(ctx context.Context, r Run, source []byte) (Run, error) {
	if err := s.cfg.Volume.Room(); err != nil {
		return Run{}, problem.Wrap(err, "running %s", r.Notebook)
	}
	_, err := s.cfg.Objects.Put(ctx, r.ID+"/"+sourceFile, bytes.NewReader(source), storage.PutOptions{IfNotExist: true})
	if err != nil {
		return Run{}, problem.Wrap(err, "taking a copy of %s", r.Notebook)
	}
	created, err := s.cfg.Store.CreateRun(ctx, r)
	if err != nil || created.ID != r.ID {
		s.dropSource(context.WithoutCancel(ctx), r.ID)
	}
	s.poke()
	return created, err
}

// dropSource removes the copy of a run that was not added. A failure to add may
// have come after the adding: then the run is there and needs its source.
func (s *Runs) dropSource(ctx context.Context, id string) {
	if _, err := s.cfg.Store.Run(ctx, id); problem.Is(err, problem.NotFound) {
		_ = s.cfg.Objects.Delete(ctx, id+"/"+sourceFile)
	}
}

// source reads the notebook to run and the number of its version.
func (s *Runs) source(ctx context.Context, u auth.User, path string, version int64) ([]byte, int64, error) {
	var r io.ReadCloser
	if version > 0 {
		_, body, err := s.cfg.Volume.OpenVersion(ctx, u, path, version)
		if err != nil {
			return nil, 0, err
		}
		r = body
	} else {
		e, body, err := s.cfg.Volume.Read(ctx, u, path)
		if err != nil {
			return nil, 0, err
		}
		r, version = body, e.Version
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	if err == nil && len(data) > maxSource {
		err = problem.New(problem.TooLarge, "%s is larger than %d MiB", path, maxSource>>20)
	}
	return data, version, err
}

// checkParameters finds every parameter that the notebook would not take, and
// returns the parameters as they are kept.
func checkParameters(source []byte, req Request) (json.RawMessage, error) {
	nb, err := notebook.Parse(source)
	if err != nil {
		return nil, err
	}
	raw := req.Parameters
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	set, err := parameter.FromJSON("the parameters", raw)
	if err != nil {
		return nil, err
	}
	applied, err := checkAgainst(nb, set, req.Strict)
	if err != nil {
		return nil, err
	}
	return json.Marshal(applied)
}

func idempotencyHash(req Request, r Run) string {
	if req.IdempotencyKey == "" || fault.On(fault.IgnoreKey) {
		return ""
	}
	sum := sha256.Sum256([]byte(req.IdempotencyKey + "\x00" + r.Notebook + "\x00" + string(r.Parameters)))
	return hex.EncodeToString(sum[:])
}

// Get returns a run.
func (s *Runs) Get(ctx context.Context, u auth.User, id string) (Run, error) {
	if !ValidID(id) {
		return Run{}, problem.New(problem.NotFound, "no run %q", id)
	}
	r, err := s.cfg.Store.Run(ctx, id)
	if err != nil {
		return Run{}, err
	}
	return r, auth.Allow(u, auth.Read, object(r))
}

func object(r Run) auth.Object { return auth.Object{Kind: auth.RunKind, Owner: r.Owner} }

// List returns runs, newest first.
func (s *Runs) List(ctx context.Context, u auth.User, f Filter) ([]Run, error) {
	if f.Limit <= 0 || f.Limit > 500 {
		f.Limit = 50
	}
	all, err := s.cfg.Store.Runs(ctx, f)
	return slices.DeleteFunc(all, func(r Run) bool { return auth.Allow(u, auth.Read, object(r)) != nil }), err
}

// Waiting counts the runs that have not ended, by state.
func (s *Runs) Waiting(ctx context.Context) (map[State]int, error) { return s.cfg.Store.CountRuns(ctx) }

// Last returns the newest run of each notebook of the paths that has one, by
// path.
func (s *Runs) Last(ctx context.Context, u auth.User, notebooks []string) (map[string]Run, error) {
	all, err := s.cfg.Store.LastRuns(ctx, notebooks)
	maps.DeleteFunc(all, func(_ string, r Run) bool { return auth.Allow(u, auth.Read, object(r)) != nil })
	return all, err
}

// Attempts returns the attempts of a run, oldest first.
func (s *Runs) Attempts(ctx context.Context, u auth.User, id string) ([]Attempt, error) {
	if _, err := s.Get(ctx, u, id); err != nil {
		return nil, err
	}
	return s.cfg.Store.Attempts(ctx, id)
}

// Cancel asks a run to stop. It is over at once when it waits; else its attempt
// interrupts the cell, writes the output and ends. A run that has ended stays
// as it is: kind Conflict.
func (s *Runs) Cancel(ctx context.Context, u auth.User, id string) (Run, error) {
	r, err := s.Get(ctx, u, id)
	if err != nil {
		return Run{}, err
	}
	if err := auth.Allow(u, auth.Write, object(r)); err != nil {
		return Run{}, err
	}
	if fault.On(fault.LoseCancel) && !r.State.Ended() {
		return cancel(r, u.Name, s.now()), nil
	}
	r, err = s.cfg.Store.ChangeRun(ctx, id, func(r Run) (Run, error) {
		if r.State.Ended() {
			return r, problem.New(problem.Conflict, "run %s is over already: it is %s", id, r.State)
		}
		return cancel(r, u.Name, s.now()), nil
	})
	if err == nil && !r.State.Ended() {
		s.askToStop(ctx, r, r.Attempt)
	}
	return r, err
}

// askToStop tells an attempt of a cancelled run. The record is what counts: an
// attempt that cannot be told now is told by whoever follows it.
func (s *Runs) askToStop(ctx context.Context, r Run, attempt int) (told bool) {
	id := r.ID
	err := spoolOf(s.cfg.Spool, id, attempt).askToStop(r.Container == nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "an attempt is not told to stop yet",
			slog.String("run_id", id), slog.Int("attempt", attempt), slog.String("error", err.Error()))
	}
	return err == nil
}

// Retry queues a new run of the same source and parameters as one that has
// ended.
func (s *Runs) Retry(ctx context.Context, u auth.User, id string) (Run, error) {
	old, err := s.Get(ctx, u, id)
	if err != nil {
		return Run{}, err
	}
	if err := auth.Allow(u, auth.Write, object(old)); err != nil {
		return Run{}, err
	}
	if !old.State.Ended() {
		return Run{}, problem.New(problem.Conflict, "run %s is not over yet: it is %s", id, old.State)
	}
	source, err := s.object(ctx, id+"/"+sourceFile)
	if err != nil {
		return Run{}, problem.Wrap(err, "opening the source of run %s", id)
	}
	now := s.now()
	return s.create(ctx, Run{
		ID: NewID(now), Owner: u.Name, Notebook: old.Notebook, Version: old.Version, Source: old.Source,
		Parameters: old.Parameters, Kernel: old.Kernel, Tags: old.Tags, Priority: old.Priority,
		TimeoutSeconds: old.TimeoutSeconds, Retries: old.Retries, RetryOf: id, Container: old.Container,
		State: Queued, Created: now, NotBefore: now,
	}, source)
}

func (s *Runs) object(ctx context.Context, path string) ([]byte, error) {
	r, _, err := s.cfg.Objects.Get(ctx, path, storage.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Source returns the notebook as it was when the run was asked for.
func (s *Runs) Source(ctx context.Context, u auth.User, id string) (*notebook.Notebook, error) {
	if _, err := s.Get(ctx, u, id); err != nil {
		return nil, err
	}
	data, err := s.object(ctx, id+"/"+sourceFile)
	if err != nil {
		return nil, err
	}
	return notebook.Parse(data)
}

// Output returns the output notebook as far as it has come: every finished cell
// is in it, also while the run goes on. Before its first cell it is the source.
func (s *Runs) Output(ctx context.Context, u auth.User, id string) (*notebook.Notebook, error) {
	r, err := s.Get(ctx, u, id)
	if err != nil {
		return nil, err
	}
	if r.Published {
		data, err := s.object(ctx, id+"/"+outputFile)
		if err != nil {
			return nil, problem.Wrap(err, "opening the output of run %s", id)
		}
		return notebook.Parse(data)
	}
	for n := r.Attempt; n > 0; n-- {
		nb, err := s.liveOutput(r, n)
		if err == nil {
			return nb, nil
		}
		if !problem.Is(err, problem.NotFound) {
			return nil, problem.Wrap(err, "opening the output of run %s", id)
		}
	}
	return s.Source(ctx, u, id)
}

func (s *Runs) liveOutput(r Run, attempt int) (*notebook.Notebook, error) {
	sp := spoolOf(s.cfg.Spool, r.ID, attempt)
	if r.Container != nil {
		return sp.containedOutput(r.Reason, false)
	}
	nb, _, err := engine.ReadFile(sp.path(outputFile))
	return nb, err
}

func (s *Runs) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// poke makes the dispatcher look at the queue.
func (s *Runs) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// dirOf is where the kernel of a run works: the folder of its notebook.
func (s *Runs) dirOf(notebookPath string) string {
	dir, _ := filepath.Split(filepath.FromSlash(notebookPath))
	if strings.HasPrefix(notebookPath, "mounts/") {
		return ""
	}
	return filepath.Join(s.cfg.Files, dir)
}

var errNoResult = errors.New("the process of the attempt went away without a result")

// checkAgainst returns the parameters as the notebook's declarations want them,
// or everything that it would not take.
func checkAgainst(nb *notebook.Notebook, set parameter.Set, strict bool) (parameter.Set, error) {
	i := nb.ParametersCell()
	if i < 0 {
		return set, nil
	}
	definitions, _ := parameter.Inspect(nb.Language(), nb.Cells[i].Source)
	schema := parameter.SchemaOf(definitions)
	for _, name := range set.Names() {
		// Parameters are kept with the run, for everybody to read.
		if p, ok := schema.Lookup(name); ok && p.Secret {
			return set, problem.New(problem.Invalid, "%s is a secret, and the parameters of a run are kept: give it to quire run with --secret", name)
		}
	}
	applied, violations := schema.Apply(set, strict)
	if len(violations) == 0 {
		return applied, nil
	}
	lines := make([]string, len(violations))
	for i, v := range violations {
		lines[i] = v.String()
	}
	return set, problem.New(problem.Invalid, "%s", strings.Join(lines, "; "))
}
