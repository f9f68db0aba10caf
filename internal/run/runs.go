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
	"os"
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
	"quire/internal/nbtemplate"
	"quire/internal/notebook"
	"quire/internal/notify"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/storage"
)

// A Config is what Runs needs.
type Config struct {
	Store   Store
	Spool   string        // directory of the attempts' spools
	Objects storage.Store // keeps "<id>/source.ipynb" and "<id>/output.ipynb" for good
	Volume  *contents.Volume
	// Templates are what requests may name instead of a notebook; nil is none.
	Templates *nbtemplate.Templates
	Files     string // the volume's directory, for the kernels' working directories
	Launcher  Launcher
	// Several says that other servers may use the same Store, Spool and Objects.
	Several bool
	// Containers executes runs that ask for a size; nil refuses them.
	Containers *Containers
	// Permits is how many attempts may live at once; 0 is 4.
	Permits int
	// Keep is how long ended runs are kept; 0 is for ever.
	Keep time.Duration
	// Pass gives the attempt in a spool a pass of its owner's (auth.Pass); nil
	// gives none. Revoke takes it back.
	Pass   func(ctx context.Context, owner, dir string, contained bool, timeout time.Duration) error
	Revoke func(ctx context.Context, dir string)
	// Tells says what is wrong with a rule about whom to tell; nil takes all.
	Tells func(notify.Rule) error
	// Notices returns the newest notices of a name; nil has none.
	Notices func(ctx context.Context, about string, limit int) ([]notify.Notice, error)
	// Dates puts the dates of a time in place of the expressions in a JSON value;
	// nil leaves them.
	Dates func(raw json.RawMessage, at time.Time) (json.RawMessage, error)
	// User returns a user with what they may do, for what is written when they are
	// not there to ask; nil is one without further rights.
	User func(ctx context.Context, name string) (auth.User, error)
	// Secrets are those of people; nil has none, and refuses runs that bind some.
	Secrets Secrets
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
	Notebook string `json:"notebook"` // path on the volume
	Version  int64  `json:"version"`  // 0 is the newest
	// Template runs a template in place of a notebook on the volume, in the folder
	// of whoever asks.
	Template        string `json:"template,omitempty"`
	TemplateVersion int    `json:"templateVersion,omitempty"` // 0 is the newest
	// Ref takes the notebook from the git repository that it lies in, at a branch, a
	// tag or a commit, instead of as it is in the folder.
	Ref string `json:"ref,omitempty"`
	// Commit is what Ref was resolved to before; Tested goes to the run.
	Commit     string          `json:"-"`
	Tested     string          `json:"-"`
	Parameters json.RawMessage `json:"parameters"`
	// Secrets binds secrets of whoever asks to parameters: names of secrets by
	// parameter, never values. The run gets those and no others.
	Secrets map[string]string `json:"secrets,omitempty"`
	Strict  bool              `json:"strict"` // refuse parameters that the notebook does not declare
	// Undeclared are names that Strict lets pass, and Partial lets required parameters
	// be missing: Check is asked before they are known.
	Undeclared     []string `json:"-"`
	Partial        bool     `json:"-"`
	Kernel         string   `json:"kernel"`
	Tags           []string `json:"tags"`
	Priority       int      `json:"priority"`
	TimeoutSeconds int64    `json:"timeoutSeconds"`
	Retries        int      `json:"retries"`
	// Container asks for a container of this size; what is 0 is the default. Nil
	// is none.
	Container *compute.Resources `json:"container,omitempty"`
	// Notify says who is told what became of the run; without On, both its failure
	// and its success.
	Notify []notify.Rule `json:"notify,omitempty"`
	// Output is where in the workspaces the output notebook of a run that succeeds is
	// put: a path that ends in .ipynb, or a folder that ends in "/", with placeholders
	// such as {country}, {ds}, {user} and {run}. "" is where the template says, else
	// nowhere; NoOutput is nowhere. The page of the run has it in any case.
	Output string `json:"output,omitempty"`
	// At is the time that dates are of, in the zone that they are in; now when it is
	// zero. Literal takes the parameters as they are, {{ and all.
	At      time.Time `json:"-"`
	Literal bool      `json:"-"`
	// IdempotencyKey makes the same request of the same user one run, however
	// often it is sent.
	IdempotencyKey string `json:"-"`
}

// NoOutput as the output of a request puts it nowhere, whatever the template says.
const NoOutput = "-"

const (
	maxSource = 512 << 20
	maxKey    = 1024
)

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
	r, err := s.Prepare(ctx, u, req)
	if err != nil {
		return r, err
	}
	return s.queue(ctx, r)
}

// queue adds a prepared run to the records.
func (s *Runs) queue(ctx context.Context, r Run) (Run, error) {
	created, err := s.cfg.Store.CreateRun(ctx, r)
	s.Settle(context.WithoutCancel(ctx), r, err == nil && created.ID == r.ID)
	return created, err
}

// Prepare does all that Submit does but adding the run to the records. Whoever
// adds it, or does not, says so to Settle.
func (s *Runs) Prepare(ctx context.Context, u auth.User, req Request) (Run, error) {
	now := s.now()
	r := Run{
		ID: NewID(now), Owner: u.Name, Kernel: req.Kernel, Tags: req.Tags, Priority: req.Priority,
		TimeoutSeconds: req.TimeoutSeconds, Retries: req.Retries, State: Queued, Created: now, NotBefore: now, Tested: req.Tested,
	}
	if len(req.IdempotencyKey) > maxKey {
		return Run{}, problem.New(problem.Invalid, "the idempotency key: at most %d bytes", maxKey)
	}
	source, err := s.wanted(ctx, u, &req, &r)
	if err != nil {
		return Run{}, err
	}
	clean := r.Notebook
	if err := s.bind(ctx, u, req.Secrets); err != nil {
		return Run{}, problem.Wrap(err, "running %s", clean)
	}
	r.Secrets = req.Secrets
	if r.Parameters, r.Output, err = s.given(ctx, u, r, source, req); err != nil {
		return Run{}, problem.Wrap(err, "running %s", clean)
	}
	if err := r.validate(); err != nil {
		return Run{}, err
	}
	if r.Notify, err = s.checkNotify(req.Notify); err != nil {
		return Run{}, problem.Wrap(err, "running %s", clean)
	}
	if req.Container != nil {
		if s.cfg.Containers == nil {
			return Run{}, problem.New(problem.Invalid, "running %s: there are no containers on this server (compute: none): leave the size out", clean)
		}
		if len(req.Secrets) > 0 && s.cfg.Containers.Apart {
			return Run{}, problem.New(problem.Invalid, "running %s: containers do not reach this server here, which gives secrets: leave the size out, or the secrets", clean)
		}
		if r.Container, err = s.cfg.Containers.check(ctx, u, clean, *req.Container); err != nil {
			return Run{}, err
		}
	}
	sum := sha256.Sum256(source)
	r.Source = hex.EncodeToString(sum[:])
	r.IdempotencyHash = idempotencyHash(req, r)
	if err := s.keep(ctx, r, source); err != nil {
		return Run{}, err
	}
	if r.Template == "" && r.Git == nil {
		s.trust(ctx, u, r)
	}
	return r, nil
}

// keep takes a copy of what a run is to execute.
func (s *Runs) keep(ctx context.Context, r Run, source []byte) error {
	if err := s.cfg.Volume.Room(); err != nil {
		return problem.Wrap(err, "running %s", r.Notebook)
	}
	_, err := s.cfg.Objects.Put(ctx, r.ID+"/"+sourceFile, bytes.NewReader(source), storage.PutOptions{IfNotExist: true})
	return problem.Wrap(err, "taking a copy of %s", r.Notebook)
}

// trust notes that who runs a notebook knows it. The run is on its way whatever
// comes of this.
func (s *Runs) trust(ctx context.Context, u auth.User, r Run) {
	hash := contents.Hash(r.Source)
	known, err := s.cfg.Volume.Trusted(ctx, u, r.Notebook, hash)
	if err == nil && !known {
		err = s.cfg.Volume.Trust(ctx, u, r.Notebook, hash)
	}
	if err != nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a notebook that is run is not noted as trusted", slog.String("run_id", r.ID), slog.String("error", err.Error()))
	}
}

// Settle is told whether a prepared run was added to the records.
func (s *Runs) Settle(ctx context.Context, prepared Run, queued bool) {
	if queued {
		s.poke()
		return
	}
	s.dropSource(ctx, prepared.ID)
}

// dropSource removes the copy of a run that was not added. A failure to add may
// have come after the adding: then the run is there and needs its source.
func (s *Runs) dropSource(ctx context.Context, id string) {
	if _, err := s.cfg.Store.Run(ctx, id); problem.Is(err, problem.NotFound) {
		_ = s.cfg.Objects.Delete(ctx, id+"/"+sourceFile)
	}
}

// wanted reads the notebook that a request is about, from the volume or the
// templates, and notes in r which it is. What the request leaves to the template
// is filled in.
func (s *Runs) wanted(ctx context.Context, u auth.User, req *Request, r *Run) ([]byte, error) {
	if req.Template != "" {
		return s.fromTemplate(ctx, u, req, r)
	}
	clean, err := contents.CleanPath(req.Notebook)
	if err != nil {
		return nil, err
	}
	r.Notebook = clean
	if err := auth.Allow(u, auth.Run, auth.FileAt(clean)); err != nil {
		return nil, err
	}
	if req.Ref != "" {
		return s.fromGit(ctx, *req, r)
	}
	source, version, err := s.source(ctx, u, clean, req.Version)
	r.Version = version
	return source, err
}

func (s *Runs) fromTemplate(ctx context.Context, u auth.User, req *Request, r *Run) ([]byte, error) {
	switch {
	case s.cfg.Templates == nil:
		return nil, problem.New(problem.Invalid, "there are no templates on this server")
	case req.Notebook != "" && req.Notebook != nbtemplate.Path(req.Template):
		return nil, problem.New(problem.Invalid, "want a notebook or a template, not both")
	}
	if err := auth.Allow(u, auth.Run, auth.FileAt("templates/"+req.Template)); err != nil {
		return nil, err
	}
	v, source, err := s.cfg.Templates.Runnable(ctx, u, req.Template, req.TemplateVersion)
	if err != nil {
		return nil, err
	}
	req.Strict = true // its schema is what it promises
	if req.Output == "" {
		req.Output = v.Output
	}
	r.Notebook, r.Template, r.TemplateVersion = nbtemplate.Path(v.Template), v.Template, v.Number
	if req.Container == nil && s.cfg.Containers != nil {
		req.Container = v.Container
	}
	return source, nil
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

// given finds every parameter that the notebook would not take, and returns the
// parameters as they are kept and where the output is put.
func (s *Runs) given(ctx context.Context, u auth.User, r Run, source []byte, req Request) (json.RawMessage, string, error) {
	nb, err := notebook.Parse(source)
	if err != nil {
		return nil, "", err
	}
	set, err := parameter.FromJSON("the parameters", orObject(req.Parameters))
	if err != nil {
		return nil, "", err
	}
	schema, declared := schemaOf(nb)
	if req.Template != "" && s.cfg.Dates != nil {
		if set, err = s.dated(schema, set, req); err != nil {
			return nil, "", err
		}
	}
	if declared || len(req.Secrets) > 0 {
		if set, err = checkAgainst(schema, set, req); err != nil {
			return nil, "", err
		}
	}
	if req.Partial {
		req.Output = NoOutput // its place may need what is not there
	}
	output, err := s.outputOf(ctx, u, r, schema, set, req)
	if err != nil {
		return nil, "", err
	}
	raw, err := json.Marshal(set)
	return raw, output, err
}

func idempotencyHash(req Request, r Run) string {
	if req.IdempotencyKey == "" || fault.On(fault.IgnoreKey) {
		return ""
	}
	sum := sha256.Sum256([]byte(req.IdempotencyKey + "\x00" + r.Notebook + "\x00" + req.asked(r.Parameters)))
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
	if len(old.Secrets) > 0 {
		if old.Owner != u.Name {
			return Run{}, problem.New(problem.Denied, "run %s was given secrets of %s's, which are not yours to give: run %s yourself, with your own", id, old.Owner, old.Notebook)
		}
		if err := s.bind(ctx, u, old.Secrets); err != nil {
			return Run{}, problem.Wrap(err, "running %s again", old.Notebook)
		}
	}
	now := s.now()
	r := Run{
		ID: NewID(now), Owner: u.Name, Notebook: old.Notebook, Version: old.Version, Source: old.Source, Git: old.Git,
		Template: old.Template, TemplateVersion: old.TemplateVersion,
		Parameters: old.Parameters, Secrets: old.Secrets, Kernel: old.Kernel, Tags: old.Tags, Priority: old.Priority,
		TimeoutSeconds: old.TimeoutSeconds, Retries: old.Retries, RetryOf: id, Container: old.Container, Notify: old.Notify, Output: old.Output,
		State: Queued, Created: now, NotBefore: now,
	}
	if err := s.keep(ctx, r, source); err != nil {
		return Run{}, err
	}
	return s.queue(ctx, r)
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

// placeOf is where a run stands on the volume: at its notebook; a template's at
// the top of its owner's workspace.
func placeOf(r Run) string {
	if r.Template != "" {
		return "users/" + r.Owner + "/" + r.Template + ".ipynb"
	}
	return r.Notebook
}

// dirOf is where the kernel of a run works: the folder of its notebook.
func (s *Runs) dirOf(r Run) string {
	notebookPath := placeOf(r)
	dir, _ := filepath.Split(filepath.FromSlash(notebookPath))
	if strings.HasPrefix(notebookPath, "mounts/") {
		return ""
	}
	at := filepath.Join(s.cfg.Files, dir)
	if r.Git != nil { // its folder may be of that commit only
		if info, err := os.Stat(at); err != nil || !info.IsDir() {
			return filepath.Join(s.cfg.Files, filepath.FromSlash(r.Git.Repository))
		}
	}
	return at
}

var errNoResult = errors.New("the process of the attempt went away without a result")

// schemaOf is what a notebook declares; ok is false where it has no parameters cell.
func schemaOf(nb *notebook.Notebook) (schema parameter.Schema, ok bool) {
	i := nb.ParametersCell()
	if i < 0 {
		return schema, false
	}
	definitions, _ := parameter.Inspect(nb.Language(), nb.Cells[i].Source)
	return parameter.SchemaOf(definitions), true
}

// checkAgainst returns the parameters as the notebook's declarations want them,
// or everything that it would not take.
func checkAgainst(schema parameter.Schema, set parameter.Set, req Request) (parameter.Set, error) {
	lines := wrongSecrets(schema, set, req.Secrets, req.Strict)
	applied, violations := schema.Apply(set, req.Strict)
	for _, v := range violations {
		p, _ := schema.Lookup(v.Name)
		_, secret := req.Secrets[v.Name]
		switch {
		case secret || p.Secret: // of these it was said above
		case v.Rule == parameter.RuleRequired && req.Partial, v.Rule == parameter.RuleUnknown && slices.Contains(req.Undeclared, v.Name):
		default:
			lines = append(lines, v.String())
		}
	}
	if len(lines) == 0 {
		return applied, nil
	}
	return set, problem.New(problem.Invalid, "%s", strings.Join(lines, "; "))
}
