package pages

import (
	"context"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"quire/internal/api"
	"quire/internal/compute"
	"quire/internal/contents"
	"quire/internal/nbtemplate"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/viewer"
)

// registerTemplates adds the pages of templates.
func (s *site) registerTemplates(rt *api.Router) {
	page := api.Policy{Access: api.SignedIn, Page: true}
	rt.Handle("GET /templates", page, s.templates)
	rt.Handle("GET /templates/{name}", page, s.template)
	rt.Handle("POST /templates/{name}", page, s.templateAction)
	rt.Handle("GET /templates/{name}/cover/{run}", page, s.cover)
	rt.Handle("GET /publish/{path...}", page, s.publishForm)
	rt.Handle("POST /publish/{path...}", page, s.publish)
	rt.Handle("GET /sweep/{path...}", page, s.sweepForm)
	rt.Handle("POST /sweep/{path...}", api.Policy{Access: api.SignedIn, Page: true, MaxBody: 2 << 20}, s.startSweep)
}

// templateName is the template that a path stands for; see nbtemplate.Path.
func (s *site) templateName(p string) (string, bool) {
	name, ok := strings.CutPrefix(p, "templates/")
	name, ipynb := strings.CutSuffix(name, ".ipynb")
	if s.cfg.Templates == nil || !ok || !ipynb || !nbtemplate.ValidName(name) {
		return "", false
	}
	return name, true
}

// A templateCard is a template with the proof that it works.
type templateCard struct {
	nbtemplate.Template
	Use       nbtemplate.Use
	Schedules []string // names of those that use it
	CoverURL  string   // of a picture; "" is none
	CoverText string   // where there is no picture
}

// covers keeps the covers of runs, which do not change.
type covers struct {
	mu    sync.Mutex
	byRun map[string]*nbtemplate.Cover // nil for a run that has none
}

// maxCovers is how many covers are kept in memory.
const maxCovers = 256

// coverOf returns the cover that a run of a template gives, nil when it gives
// none.
func (s *site) coverOf(r *http.Request, id string, cell int) *nbtemplate.Cover {
	key := id + "#" + strconv.Itoa(cell)
	s.covers.mu.Lock()
	known, ok := s.covers.byRun[key]
	s.covers.mu.Unlock()
	if ok {
		return known
	}
	nb, err := s.cfg.Runs.Output(r.Context(), user(r), id)
	if err != nil {
		return nil // removed, or the store does not answer now
	}
	var found *nbtemplate.Cover
	if c, ok := nbtemplate.CoverOf(nb, cell); ok {
		found = &c
	}
	s.covers.mu.Lock()
	defer s.covers.mu.Unlock()
	if len(s.covers.byRun) >= maxCovers || s.covers.byRun == nil {
		s.covers.byRun = map[string]*nbtemplate.Cover{}
	}
	s.covers.byRun[key] = found
	return found
}

func (s *site) card(r *http.Request, t nbtemplate.Template, use nbtemplate.Use, used map[string][]string) templateCard {
	c := templateCard{Template: t, Use: use, Schedules: used[t.Name]}
	if use.Good == "" {
		return c
	}
	switch cover := s.coverOf(r, use.Good, t.Version.Cover); {
	case cover == nil:
	case cover.Type == "text/plain":
		c.CoverText = string(cover.Data)
	default:
		c.CoverURL = "/templates/" + t.Name + "/cover/" + use.Good + "?cell=" + strconv.Itoa(t.Version.Cover)
	}
	return c
}

// usedBy are the schedules that have a step of each template.
func (s *site) usedBy(ctx context.Context, r *http.Request) (map[string][]string, error) {
	used := map[string][]string{}
	if s.cfg.Schedules == nil {
		return used, nil
	}
	all, err := s.cfg.Schedules.List(ctx, user(r))
	for _, one := range all {
		for _, step := range one.Definition.Steps {
			if step.Template != "" && !slices.Contains(used[step.Template], one.Name) {
				used[step.Template] = append(used[step.Template], one.Name)
			}
		}
	}
	return used, err
}

// A gallery is the page of all templates.
type gallery struct {
	Filter   nbtemplate.Filter
	Roles    []string
	Cards    []templateCard
	Next     string
	Filtered bool
}

// galleryPage is how many templates a page of the gallery shows.
const galleryPage = 60

func (s *site) templates(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	g := gallery{Roles: nbtemplate.Roles, Filter: nbtemplate.Filter{
		Role: q.Get("role"), Tag: q.Get("tag"), Words: strings.TrimSpace(q.Get("q")), Retired: q.Has("retired"), Limit: galleryPage, After: q.Get("cursor"),
	}}
	g.Filtered = g.Filter.Role+g.Filter.Tag+g.Filter.Words != "" || g.Filter.Retired
	all, err := s.cfg.Templates.List(r.Context(), user(r), g.Filter)
	if err != nil {
		return err
	}
	uses, err := s.cfg.Templates.Uses(r.Context())
	if err != nil {
		return err
	}
	used, err := s.usedBy(r.Context(), r)
	if err != nil {
		return err
	}
	for _, t := range all {
		g.Cards = append(g.Cards, s.card(r, t, uses[t.Name], used))
	}
	if len(all) == galleryPage {
		q.Set("cursor", all[len(all)-1].Name)
		g.Next = s.to("/templates?") + q.Encode()
	}
	return s.show(w, r, http.StatusOK, "templates", view{Title: "Templates", Section: "templates", Data: g})
}

// cover sends the picture of a run of a template. A picture is shown and never
// run: the policy lets nothing in it load or do anything.
func (s *site) cover(w http.ResponseWriter, r *http.Request) error {
	found, err := s.cfg.Runs.Get(r.Context(), user(r), r.PathValue("run"))
	if err != nil {
		return err
	}
	cell, err := strconv.Atoi(r.URL.Query().Get("cell"))
	if err != nil || cell < 0 || found.Template != r.PathValue("name") || !found.State.Ended() {
		return problem.New(problem.NotFound, "no such cover")
	}
	c := s.coverOf(r, found.ID, cell)
	if c == nil || c.Type == "text/plain" {
		return problem.New(problem.NotFound, "the run has no picture")
	}
	h := w.Header()
	h.Set("Content-Type", c.Type)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	h.Set("Cache-Control", "private, max-age=86400, immutable")
	_, err = w.Write(c.Data)
	return err
}

// A templatePage is what the page of one template shows.
type templatePage struct {
	templateCard
	Shown       nbtemplate.Version // the version that is looked at
	Newest      bool
	Description template.HTML
	Fields      []field
	Versions    []nbtemplate.Version
	Runs        []runRow
	Mine        bool
	Error       string
}

func (s *site) template(w http.ResponseWriter, r *http.Request) error {
	p, err := s.templatePage(r)
	if err != nil {
		return err
	}
	return s.showTemplate(w, r, http.StatusOK, p)
}

func (s *site) showTemplate(w http.ResponseWriter, r *http.Request, status int, p *templatePage) error {
	return s.show(w, r, status, "template", view{Title: p.Shown.Title, Section: "templates", Crumbs: s.crumbs(nbtemplate.Path(p.Name)), Data: p})
}

func (s *site) templatePage(r *http.Request) (*templatePage, error) {
	ctx, u, name := r.Context(), user(r), r.PathValue("name")
	t, err := s.cfg.Templates.Get(ctx, u, name)
	if err != nil {
		return nil, err
	}
	use, err := s.cfg.Templates.Use(ctx, name)
	if err != nil {
		return nil, err
	}
	used, err := s.usedBy(ctx, r)
	if err != nil {
		return nil, err
	}
	p := &templatePage{templateCard: s.card(r, t, use, used), Shown: t.Version, Newest: true, Mine: u.Admin || u.Name == t.Owner}
	if text := r.URL.Query().Get("version"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, problem.New(problem.Invalid, "version: want a number")
		}
		if p.Shown, err = s.cfg.Templates.Version(ctx, u, name, n); err != nil {
			return nil, err
		}
		p.Newest = n == t.Version.Number
	}
	html, _ := viewer.RenderMarkdown(p.Shown.Description, viewer.Options{})
	p.Description = template.HTML(html) //nolint:gosec // sanitized by viewer
	for n, one := range p.Shown.Schema.Parameters {
		p.Fields = append(p.Fields, fieldOf(n, one))
	}
	if p.Versions, err = s.cfg.Templates.Versions(ctx, u, name); err != nil {
		return nil, err
	}
	const most = 10
	runs, err := s.cfg.Runs.List(ctx, u, run.Filter{Template: name, Limit: most})
	for _, one := range runs {
		p.Runs = append(p.Runs, rowOf(one))
	}
	return p, err
}

// templateAction does what a button of the page asks for.
func (s *site) templateAction(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	ctx, u, name, form := r.Context(), user(r), r.PathValue("name"), r.PostForm
	var err error
	switch form.Get("do") {
	case "clone":
		number, _ := strconv.Atoi(form.Get("version"))
		path, err := s.cfg.Templates.Clone(ctx, u, name, number, "")
		if err != nil {
			return err
		}
		return s.toFile(w, r, path)
	case "retire":
		_, err = s.cfg.Templates.Retire(ctx, u, name, form.Get("reason"))
	case "restore":
		_, err = s.cfg.Templates.Restore(ctx, u, name)
	default:
		err = problem.New(problem.Invalid, "%q is no action", form.Get("do"))
	}
	if err != nil {
		return err
	}
	return s.redirect(w, r, s.to("/templates/")+name)
}

// openTemplate opens the notebook of a template's version; "" is the newest.
func (s *site) openTemplate(r *http.Request, name, version string) (contents.Entry, []byte, int, error) {
	number := 0
	if version != "" {
		var err error
		if number, err = strconv.Atoi(version); err != nil || number < 1 {
			return contents.Entry{}, nil, 0, problem.New(problem.Invalid, "version: want a number")
		}
	}
	v, source, err := s.cfg.Templates.Source(r.Context(), user(r), name, number)
	return contents.Entry{Path: nbtemplate.Path(name), Name: name + ".ipynb", Type: contents.Notebook, Modified: v.Published, Size: v.Size}, source, v.Number, err
}

// viewTemplate shows the notebook of a version, as it was published.
func (s *site) viewTemplate(w http.ResponseWriter, r *http.Request, name string) error {
	e, source, number, err := s.openTemplate(r, name, r.URL.Query().Get("version"))
	if err != nil {
		return err
	}
	nb, err := notebook.Parse(source)
	if err != nil {
		return problem.Wrap(err, "reading template %s", name)
	}
	if as := r.URL.Query().Get("as"); as != "" {
		return export(w, nb, name, as)
	}
	opts := s.options(e.Path, int64(number))
	opts.HideCode = r.URL.Query().Get("code") == "0"
	opts.Byline = []string{"template " + name, "version " + strconv.Itoa(number)}
	pinned := "?version=" + strconv.Itoa(number)
	opts.Actions = []viewer.Action{
		{Label: "Run with parameters", URL: s.to("/run/") + e.Path + pinned, Primary: true},
		{Label: "About the template", URL: s.to("/templates/") + name + pinned},
		downloads(s.to("/view/")+e.Path, pinned),
	}
	return s.stream(w, r, view{Title: e.Name, Section: "templates", Crumbs: s.crumbs(e.Path)}, nb, opts)
}

// A publishPage is the form that publishes a notebook.
type publishPage struct {
	Path        string
	Version     int64
	Name, Title string
	Description string
	Roles       []roleBox
	Tags        string
	Note        string
	Cover       string
	Output      string
	CPUs        string
	Memory      string
	Cells       []coverCell
	Fields      []field
	Existing    *nbtemplate.Template // that the name belongs to already
	Bare        bool                 // the notebook has no parameters cell
	Error       string
	Nonce       string
}

type roleBox struct {
	Name    string
	Checked bool
}

type coverCell struct {
	Number int
	Text   string
}

func (s *site) publishPage(r *http.Request) (*publishPage, error) {
	path := pathOf(r)
	nb, version, err := s.load(r, path)
	if err != nil {
		return nil, err
	}
	p := &publishPage{Path: path, Version: version, Name: nbtemplate.NameFor(path), Fields: formOf(path, version, nb).Fields, Bare: nb.ParametersCell() < 0}
	for i, c := range nb.Cells {
		if c.Type != notebook.Code {
			continue
		}
		first, _, _ := strings.Cut(strings.TrimSpace(c.Source), "\n")
		p.Cells = append(p.Cells, coverCell{i + 1, short(first)})
	}
	for _, name := range nbtemplate.Roles {
		p.Roles = append(p.Roles, roleBox{Name: name})
	}
	return p, nil
}

// publishForm shows the form; what was published from this notebook before, or
// under the name, stands in it.
func (s *site) publishForm(w http.ResponseWriter, r *http.Request) error {
	p, err := s.publishPage(r)
	if err != nil {
		return err
	}
	if name := r.URL.Query().Get("name"); name != "" {
		p.Name = name
	}
	if t, err := s.cfg.Templates.Get(r.Context(), user(r), p.Name); err == nil && (t.Owner == user(r).Name || user(r).Admin) {
		v := t.Version
		p.Existing, p.Title, p.Description, p.Tags, p.Output = &t, v.Title, v.Description, strings.Join(v.Tags, ", "), v.Output
		for i := range p.Roles {
			p.Roles[i].Checked = slices.Contains(v.Roles, p.Roles[i].Name)
		}
		if v.Cover > 0 {
			p.Cover = strconv.Itoa(v.Cover)
		}
		if c := v.Container; c != nil {
			p.CPUs, p.Memory = decimal(c.CPUMilli, 1000), decimal(c.MemoryBytes, compute.GiB)
		}
	}
	return s.showPublish(w, r, http.StatusOK, p)
}

// decimal is n units as a number that a person types; "" for 0.
func decimal(n, unit int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(n)/float64(unit), 'f', -1, 64)
}

func (s *site) showPublish(w http.ResponseWriter, r *http.Request, status int, p *publishPage) error {
	return s.show(w, r, status, "publish", view{Title: "Publish " + p.Path[strings.LastIndexByte(p.Path, '/')+1:], Section: "templates", Crumbs: s.crumbs(p.Path), Data: p})
}

func (s *site) publish(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	p, err := s.publishPage(r)
	if err != nil {
		return err
	}
	form := r.PostForm
	p.Name, p.Title, p.Description = strings.TrimSpace(form.Get("name")), form.Get("title"), strings.ReplaceAll(form.Get("description"), "\r\n", "\n")
	p.Tags, p.Note, p.Cover, p.CPUs, p.Memory = form.Get("tags"), form.Get("note"), form.Get("cover"), strings.TrimSpace(form.Get("cpus")), strings.TrimSpace(form.Get("memory"))
	p.Output = strings.TrimSpace(form.Get("output"))
	for i := range p.Roles {
		p.Roles[i].Checked = slices.Contains(form["role"], p.Roles[i].Name)
	}
	asked, err := p.publication(form)
	if err == nil {
		asked.NotebookVersion = p.Version
		var t nbtemplate.Template
		if t, _, err = s.cfg.Templates.Publish(r.Context(), user(r), asked); err == nil {
			return s.redirect(w, r, s.to("/templates/")+t.Name)
		}
	}
	if problem.Is(err, problem.Invalid) || problem.Is(err, problem.Denied) {
		p.Error = text(err)
		return s.showPublish(w, r, http.StatusBadRequest, p)
	}
	return err
}

func (p *publishPage) publication(form url.Values) (nbtemplate.Publication, error) {
	asked := nbtemplate.Publication{
		Name: p.Name, Title: p.Title, Description: p.Description, Roles: form["role"], Tags: strings.Split(p.Tags, ","), Note: p.Note, Notebook: p.Path, Output: p.Output,
	}
	if p.Cover != "" {
		n, err := strconv.Atoi(p.Cover)
		if err != nil {
			return asked, problem.New(problem.Invalid, "cover: want a cell")
		}
		asked.Cover = n
	}
	if p.CPUs+p.Memory == "" {
		return asked, nil
	}
	size := compute.Resources{}
	for _, one := range []struct {
		what, typed string
		unit        int64
		to          *int64
	}{{"CPUs", p.CPUs, 1000, &size.CPUMilli}, {"memory", p.Memory, compute.GiB, &size.MemoryBytes}} {
		if one.typed == "" {
			continue
		}
		n, err := strconv.ParseFloat(one.typed, 64)
		if err != nil || n <= 0 || n > 1e6 {
			return asked, problem.New(problem.Invalid, "container: %s: want a number above 0", one.what)
		}
		*one.to = int64(n * float64(one.unit))
	}
	asked.Container = &size
	return asked, nil
}
