package nbtemplate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// A Config is what Templates need.
type Config struct {
	Store  Store
	Blobs  *contents.Blobs // keeps the sources
	Volume *contents.Volume
	// Dates tells what a default that is an expression gives; nil takes all.
	Dates func(raw json.RawMessage, at time.Time) (json.RawMessage, error)
	Now   func() time.Time // time.Now when nil
}

// Templates publish notebooks and give them to whoever runs them. They are safe
// for concurrent use.
type Templates struct{ cfg Config }

// New returns Templates.
func New(cfg Config) *Templates {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Templates{cfg}
}

func (s *Templates) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

var errUnchanged = errors.New("nothing is new")

// Publish makes a version of a notebook that u may write. The name is the
// publisher's from its first version on. Publishing what is the newest version
// already changes nothing; created says whether there is a new one.
func (s *Templates) Publish(ctx context.Context, u auth.User, p Publication) (t Template, created bool, err error) {
	p = p.tidy()
	if err := p.validate(); err != nil {
		return Template{}, false, err
	}
	clean, err := contents.CleanPath(p.Notebook)
	if err != nil {
		return Template{}, false, err
	}
	if err := auth.Allow(u, auth.Write, auth.FileAt(clean)); err != nil {
		return Template{}, false, problem.Wrap(err, "publishing %s", clean)
	}
	p.Notebook = clean
	source, version, err := s.read(ctx, u, clean, p.NotebookVersion)
	if err != nil {
		return Template{}, false, err
	}
	p.NotebookVersion = version
	return s.publish(ctx, u, p, source)
}

// Builtin is the owner of the templates that come with Quire.
const Builtin = "quire"

// PublishBuiltin publishes a notebook that comes with Quire, unless somebody
// else has the name or it was retired.
func (s *Templates) PublishBuiltin(ctx context.Context, p Publication, source []byte) (created bool, err error) {
	p = p.tidy()
	if err := p.validate(); err != nil {
		return false, err
	}
	old, err := s.cfg.Store.Template(ctx, p.Name)
	if err == nil && (old.Owner != Builtin || !old.Retired.IsZero()) {
		return false, nil
	}
	if err != nil && !problem.Is(err, problem.NotFound) {
		return false, err
	}
	_, created, err = s.publish(ctx, auth.User{Name: Builtin}, p, source)
	return created, err
}

func (p Publication) tidy() Publication {
	p.Name, p.Title, p.Description, p.Note = strings.TrimSpace(p.Name), strings.TrimSpace(p.Title), strings.TrimSpace(p.Description), strings.TrimSpace(p.Note)
	p.Output = strings.TrimSpace(p.Output)
	tidy := func(list []string) []string {
		all := []string{}
		for _, one := range list {
			if one = strings.TrimSpace(one); one != "" && !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
		return all
	}
	p.Roles, p.Tags = tidy(p.Roles), tidy(p.Tags)
	return p
}

func (s *Templates) publish(ctx context.Context, u auth.User, p Publication, source []byte) (t Template, created bool, err error) {
	v, err := versionOf(p, source)
	if err == nil {
		err = s.checkDates(v)
	}
	if err != nil {
		return Template{}, false, problem.Wrap(err, "publishing %s", p.Notebook)
	}
	if p.IdempotencyKey != "" {
		if done, found, err := s.published(ctx, u, p); found || err != nil {
			return done, false, err
		}
	}
	if v.Source, v.Size, err = s.cfg.Blobs.Put(ctx, bytes.NewReader(source)); err != nil {
		return Template{}, false, problem.Wrap(err, "keeping the source of template %s", p.Name)
	}
	v.By, v.Published = u.Name, s.now()
	err = s.cfg.Store.ChangeTemplate(ctx, p.Name, func(old *Template) (Template, *Version, string, error) {
		if old == nil {
			v.Number = 1
			t = Template{Name: p.Name, Owner: u.Name, Version: v, Created: v.Published}
			return t, &v, p.IdempotencyKey, nil
		}
		if err := owns(u, *old); err != nil {
			return t, nil, "", problem.Wrap(err, "publishing %s as template %s", p.Notebook, p.Name)
		}
		t = *old
		if same(old.Version, v) && old.Retired.IsZero() {
			return t, nil, "", errUnchanged
		}
		v.Number = old.Version.Number + 1
		t.Version, t.Retired, t.RetiredBy, t.Reason = v, time.Time{}, "", ""
		return t, &v, p.IdempotencyKey, nil
	})
	if errors.Is(err, errUnchanged) {
		return t, false, nil
	}
	return t, err == nil, err
}

// published looks for what was published under the key before.
func (s *Templates) published(ctx context.Context, u auth.User, p Publication) (t Template, found bool, err error) {
	v, err := s.cfg.Store.KeyedVersion(ctx, p.Name, p.IdempotencyKey)
	if problem.Is(err, problem.NotFound) {
		return t, false, nil
	}
	if err == nil {
		t, err = s.cfg.Store.Template(ctx, p.Name)
	}
	if err == nil {
		err = owns(u, t)
	}
	t.Version = v
	return t, true, err
}

// same reports whether a publication would change nothing.
func same(a, b Version) bool {
	b.Number, b.By, b.Published, b.Note, b.NotebookVersion = a.Number, a.By, a.Published, a.Note, a.NotebookVersion
	a.Schema, b.Schema = parameter.Schema{}, parameter.Schema{} // it follows from the source
	return reflect.DeepEqual(a, b)
}

// versionOf reads what a version says of its notebook.
func versionOf(p Publication, source []byte) (Version, error) {
	nb, err := notebook.Parse(source)
	if err != nil {
		return Version{}, err
	}
	i := nb.ParametersCell()
	if i < 0 {
		return Version{}, problem.New(problem.Invalid, "the notebook has no parameters cell: tag one \"parameters\", so that others can give it values")
	}
	if p.Cover > len(nb.Cells) {
		return Version{}, problem.New(problem.Invalid, "cover: there is no cell %d, the notebook has %d", p.Cover, len(nb.Cells))
	}
	if p.Container != nil {
		if err := p.Container.Validate(compute.EngineLimits()).Err("container"); err != nil {
			return Version{}, err
		}
	}
	definitions, _ := parameter.Inspect(nb.Language(), nb.Cells[i].Source)
	v := Version{
		Template: p.Name, Title: p.Title, Description: p.Description, Roles: p.Roles, Tags: p.Tags, Note: p.Note,
		Notebook: p.Notebook, NotebookVersion: p.NotebookVersion, Kernel: nb.KernelName(), Language: nb.Language(),
		Schema: parameter.SchemaOf(definitions), Cover: p.Cover, Container: p.Container, Output: p.Output,
	}
	if v.Title == "" {
		v.Title = heading(nb)
	}
	if v.Title == "" {
		v.Title = p.Name
	}
	return v, v.checkPlace()
}

// checkDates says which default of a date is an expression that gives none.
func (s *Templates) checkDates(v Version) error {
	for _, p := range v.Schema.Parameters {
		if p.Type != parameter.TypeDate && p.Type != parameter.TypeDatetime || p.Default == nil || s.cfg.Dates == nil {
			continue
		}
		text, _ := p.Default.AsString()
		if !strings.Contains(text, "{{") {
			continue
		}
		raw, err := p.Default.MarshalJSON()
		if err == nil {
			raw, err = s.cfg.Dates(raw, s.now())
		}
		if err != nil {
			return problem.Wrap(err, "the default of %s", p.Name)
		}
		filled, err := parameter.ParseJSON(raw)
		if err != nil {
			return problem.Wrap(err, "the default of %s", p.Name)
		}
		if wrong := (parameter.Schema{Parameters: []parameter.Parameter{p}}).Check(parameter.SetOf(parameter.Field{Key: parameter.String(p.Name), Value: filled}), false); len(wrong) > 0 {
			return problem.New(problem.Invalid, "the default of %s", wrong[0])
		}
	}
	return nil
}

// heading is the first heading of a notebook.
func heading(nb *notebook.Notebook) string {
	for _, c := range nb.Cells {
		if c.Type != notebook.Markdown {
			continue
		}
		for line := range strings.Lines(c.Source) {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "# "); ok {
				text = strings.TrimSpace(text)
				return text[:min(len(text), MaxTitle)]
			}
		}
	}
	return ""
}

// owns says whether u may change a template: its owner and administrators may.
func owns(u auth.User, t Template) error {
	return auth.Allow(u, auth.Write, auth.Object{Kind: auth.RunKind, Owner: t.Owner})
}

func (s *Templates) read(ctx context.Context, u auth.User, p string, version int64) ([]byte, int64, error) {
	var r io.ReadCloser
	if version > 0 {
		_, body, err := s.cfg.Volume.OpenVersion(ctx, u, p, version)
		if err != nil {
			return nil, 0, err
		}
		r = body
	} else {
		e, body, err := s.cfg.Volume.Read(ctx, u, p)
		if err != nil {
			return nil, 0, err
		}
		r, version = body, e.Version
	}
	defer r.Close()
	data, err := readAll(r, p)
	return data, version, err
}

func readAll(r io.Reader, what string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	if err == nil && len(data) > maxSource {
		err = problem.New(problem.TooLarge, "%s is larger than %d MiB: clear its outputs before it is published", what, maxSource>>20)
	}
	return data, err
}

func signedIn(u auth.User) error {
	if u.Name == "" {
		return problem.New(problem.Denied, "sign in first")
	}
	return nil
}

// Get returns a template with its newest version.
func (s *Templates) Get(ctx context.Context, u auth.User, name string) (Template, error) {
	if err := signedIn(u); err != nil {
		return Template{}, err
	}
	if !ValidName(name) {
		return Template{}, problem.New(problem.NotFound, "no template %q", name)
	}
	return s.cfg.Store.Template(ctx, name)
}

// List returns templates, by name.
func (s *Templates) List(ctx context.Context, u auth.User, f Filter) ([]Template, error) {
	if err := signedIn(u); err != nil {
		return nil, err
	}
	all, err := s.cfg.Store.Templates(ctx)
	all = slices.DeleteFunc(all, func(t Template) bool { return !f.fits(t) })
	if f.Limit <= 0 || f.Limit > 500 {
		f.Limit = 100
	}
	return all[:min(len(all), f.Limit)], err
}

// Versions returns the versions of a template, newest first.
func (s *Templates) Versions(ctx context.Context, u auth.User, name string) ([]Version, error) {
	if _, err := s.Get(ctx, u, name); err != nil {
		return nil, err
	}
	return s.cfg.Store.TemplateVersions(ctx, name)
}

// Version returns a version; number 0 is the newest.
func (s *Templates) Version(ctx context.Context, u auth.User, name string, number int) (Version, error) {
	t, err := s.Get(ctx, u, name)
	if err != nil || number == 0 || number == t.Version.Number {
		return t.Version, err
	}
	return s.cfg.Store.TemplateVersion(ctx, name, number)
}

// Source returns a version and the bytes of its notebook; number 0 is the
// newest.
func (s *Templates) Source(ctx context.Context, u auth.User, name string, number int) (Version, []byte, error) {
	v, err := s.Version(ctx, u, name, number)
	if err != nil {
		return v, nil, err
	}
	r, err := s.cfg.Blobs.Open(ctx, v.Source)
	if err != nil {
		return v, nil, problem.Wrap(err, "opening the source of template %s", name)
	}
	defer r.Close()
	data, err := readAll(r, name)
	return v, data, err
}

// Runnable returns what a run executes: as Source, but a template that was
// retired starts no runs.
func (s *Templates) Runnable(ctx context.Context, u auth.User, name string, number int) (Version, []byte, error) {
	t, err := s.Get(ctx, u, name)
	if err != nil {
		return Version{}, nil, err
	}
	if !t.Retired.IsZero() {
		why := ""
		if t.Reason != "" {
			why = ": " + t.Reason
		}
		return Version{}, nil, problem.New(problem.Invalid, "template %s was retired by %s%s", name, t.RetiredBy, why)
	}
	return s.Source(ctx, u, name, number)
}

// Retire takes a template out of the gallery: it starts no new runs, and what
// is there of it stays. Publishing a version brings it back, as Restore does.
func (s *Templates) Retire(ctx context.Context, u auth.User, name, reason string) (Template, error) {
	if len(reason) > MaxNote {
		return Template{}, problem.New(problem.Invalid, "the reason: at most %d bytes", MaxNote)
	}
	return s.change(ctx, u, name, func(t *Template) {
		if t.Retired.IsZero() {
			t.Retired, t.RetiredBy, t.Reason = s.now(), u.Name, strings.TrimSpace(reason)
		}
	})
}

// Restore brings a retired template back.
func (s *Templates) Restore(ctx context.Context, u auth.User, name string) (Template, error) {
	return s.change(ctx, u, name, func(t *Template) { t.Retired, t.RetiredBy, t.Reason = time.Time{}, "", "" })
}

func (s *Templates) change(ctx context.Context, u auth.User, name string, do func(*Template)) (t Template, err error) {
	if _, err := s.Get(ctx, u, name); err != nil {
		return t, err
	}
	err = s.cfg.Store.ChangeTemplate(ctx, name, func(old *Template) (Template, *Version, string, error) {
		if old == nil {
			return t, nil, "", problem.New(problem.NotFound, "no template %q", name)
		}
		if err := owns(u, *old); err != nil {
			return t, nil, "", err
		}
		t = *old
		do(&t)
		return t, nil, "", nil
	})
	return t, err
}

// recentDays is how far back runs count as proof.
const recentDays = 30

// Uses returns what became of the runs of all templates, by name.
func (s *Templates) Uses(ctx context.Context) (map[string]Use, error) {
	return s.cfg.Store.TemplateUses(ctx, "", s.now().AddDate(0, 0, -recentDays))
}

// Use returns what became of the runs of one template.
func (s *Templates) Use(ctx context.Context, name string) (Use, error) {
	all, err := s.cfg.Store.TemplateUses(ctx, name, s.now().AddDate(0, 0, -recentDays))
	return all[name], err
}

// maxCopies is how many names Clone tries.
const maxCopies = 100

// Clone saves the notebook of a version in a folder that u may write, "" being
// their workspace, under a name that is free there. It returns its path.
func (s *Templates) Clone(ctx context.Context, u auth.User, name string, number int, folder string) (string, error) {
	v, source, err := s.Source(ctx, u, name, number)
	if err != nil {
		return "", err
	}
	if folder = strings.Trim(folder, "/"); folder == "" {
		folder = "users/" + u.Name
	}
	for n := range maxCopies {
		target := path.Join(folder, name)
		if n > 0 {
			target += "-" + strconv.Itoa(n+1)
		}
		target += ".ipynb"
		_, err = s.cfg.Volume.Save(ctx, u, target, bytes.NewReader(source), contents.SaveOptions{})
		if err == nil {
			return target, nil
		}
		if !problem.Is(err, problem.Conflict) && !problem.Is(err, problem.Exists) {
			return "", problem.Wrap(err, "cloning template %s, version %d", name, v.Number)
		}
	}
	return "", problem.New(problem.Exists, "%s has %d copies of %s already: choose another folder", folder, maxCopies, name)
}
