package api

import (
	"net/http"
	"strconv"

	"quire/internal/nbtemplate"
	"quire/internal/problem"
)

// RegisterTemplates adds the routes of templates under /api/templates.
func RegisterTemplates(rt *Router, templates *nbtemplate.Templates) {
	h := templateRoutes{rt, templates}
	doc := func(d Doc) Policy { return Policy{Access: SignedIn, Doc: d} }
	version := map[string]string{"version": "number of the version; the newest when left out"}
	rt.Handle("GET /api/templates", doc(Doc{Summary: "Templates, by name", Response: templatePage{}, Query: map[string]string{
		"role": "only for this role", "tag": "only with this tag", "q": "words of the name, title, description or tags", "owner": "only of this user",
		"retired": "true: the retired ones too", "limit": "1 to 500, default 100", "cursor": "next of the page before",
	}}), h.list)
	rt.Handle("POST /api/templates", doc(Doc{
		Summary: "Publish a notebook as the next version of a template. What is the newest version already changes nothing. Idempotency-Key makes a repeated request one version",
		Request: nbtemplate.Publication{}, Response: nbtemplate.Template{}, Status: http.StatusCreated,
	}), h.publish)
	rt.Handle("GET /api/templates/{name}", doc(Doc{Summary: "A template with its newest version and what became of its runs", Response: TemplateUse{}}), h.get)
	rt.Handle("GET /api/templates/{name}/versions", doc(Doc{Summary: "The versions of a template, newest first", Response: versionList{}}), h.versions)
	rt.Handle("GET /api/templates/{name}/versions/{number}", doc(Doc{Summary: "A version of a template", Response: nbtemplate.Version{}}), h.version)
	rt.Handle("GET /api/templates/{name}/source", doc(Doc{Summary: "The notebook of a version", Query: version}), h.source)
	rt.Handle("GET /api/templates/{name}/schema", doc(Doc{Summary: "The parameters of a version as a JSON Schema", Query: version}), h.schema)
	rt.Handle("POST /api/templates/{name}/clone", doc(Doc{Summary: "Save the notebook of a version in a workspace", Request: cloneRequest{}, Response: cloneAnswer{}, Status: http.StatusCreated}), h.clone)
	rt.Handle("POST /api/templates/{name}/retire", doc(Doc{Summary: "Take a template out of the gallery: it starts no new runs", Request: pauseRequest{}, Response: nbtemplate.Template{}}), h.retire)
	rt.Handle("POST /api/templates/{name}/restore", doc(Doc{Summary: "Bring a retired template back", Response: nbtemplate.Template{}}), h.restore)
}

type templateRoutes struct {
	rt        *Router
	templates *nbtemplate.Templates
}

// A TemplateUse is a template and what became of its runs.
type TemplateUse struct {
	nbtemplate.Template
	Use nbtemplate.Use `json:"use"`
}

type (
	templatePage struct {
		Templates []TemplateUse `json:"templates"`
		Next      string        `json:"next,omitempty"`
	}
	versionList struct {
		Versions []nbtemplate.Version `json:"versions"`
	}
	cloneRequest struct {
		Version int    `json:"version"` // 0 is the newest
		Folder  string `json:"folder"`  // "" is the workspace of who asks
	}
	cloneAnswer struct {
		Path string `json:"path"`
	}
)

const templatesPage = 100

func (h templateRoutes) list(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := nbtemplate.Filter{
		Role: q.Get("role"), Tag: q.Get("tag"), Words: q.Get("q"), Owner: q.Get("owner"), Retired: q.Get("retired") == "true",
		Limit: templatesPage, After: q.Get("cursor"),
	}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 500 {
			return problem.New(problem.Invalid, "limit: want 1 to 500")
		}
		f.Limit = n
	}
	all, err := h.templates.List(r.Context(), user(r), f)
	if err != nil {
		return err
	}
	uses, err := h.templates.Uses(r.Context())
	if err != nil {
		return err
	}
	page := templatePage{Templates: []TemplateUse{}}
	for _, t := range all {
		page.Templates = append(page.Templates, TemplateUse{t, uses[t.Name]})
	}
	if len(all) == f.Limit {
		page.Next = all[len(all)-1].Name
	}
	return writeTagged(w, r, page)
}

func (h templateRoutes) publish(w http.ResponseWriter, r *http.Request) error {
	var p nbtemplate.Publication
	if err := ReadJSON(r, &p); err != nil {
		return err
	}
	p.IdempotencyKey = r.Header.Get("Idempotency-Key")
	t, created, err := h.templates.Publish(r.Context(), user(r), p)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	w.Header().Set("Location", h.rt.URL("/api/templates/"+t.Name+"/versions/"+strconv.Itoa(t.Version.Number)))
	return WriteJSON(w, status, t)
}

func (h templateRoutes) get(w http.ResponseWriter, r *http.Request) error {
	t, err := h.templates.Get(r.Context(), user(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	use, err := h.templates.Use(r.Context(), t.Name)
	if err != nil {
		return err
	}
	return writeTagged(w, r, TemplateUse{t, use})
}

func (h templateRoutes) versions(w http.ResponseWriter, r *http.Request) error {
	all, err := h.templates.Versions(r.Context(), user(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeTagged(w, r, versionList{listOf(all)})
}

func (h templateRoutes) version(w http.ResponseWriter, r *http.Request) error {
	n, err := versionNumber(r.PathValue("number"))
	if err != nil {
		return err
	}
	v, err := h.templates.Version(r.Context(), user(r), r.PathValue("name"), n)
	if err != nil {
		return err
	}
	return writeTagged(w, r, v)
}

// versionNumber reads the number of a version; "" is 0, the newest.
func versionNumber(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, problem.New(problem.Invalid, "version: %q: want a number from 1", clip(text, 20))
	}
	return n, nil
}

func (h templateRoutes) source(w http.ResponseWriter, r *http.Request) error {
	n, err := versionNumber(r.URL.Query().Get("version"))
	if err != nil {
		return err
	}
	_, source, err := h.templates.Source(r.Context(), user(r), r.PathValue("name"), n)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ipynb+json")
	_, err = w.Write(source)
	return err
}

func (h templateRoutes) schema(w http.ResponseWriter, r *http.Request) error {
	n, err := versionNumber(r.URL.Query().Get("version"))
	if err != nil {
		return err
	}
	v, err := h.templates.Version(r.Context(), user(r), r.PathValue("name"), n)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/schema+json")
	_, err = w.Write(v.Schema.JSONSchema())
	return err
}

func (h templateRoutes) clone(w http.ResponseWriter, r *http.Request) error {
	var body cloneRequest
	if r.ContentLength != 0 {
		if err := ReadJSON(r, &body); err != nil {
			return err
		}
	}
	path, err := h.templates.Clone(r.Context(), user(r), r.PathValue("name"), body.Version, body.Folder)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusCreated, cloneAnswer{path})
}

func (h templateRoutes) retire(w http.ResponseWriter, r *http.Request) error {
	var body pauseRequest
	if r.ContentLength != 0 {
		if err := ReadJSON(r, &body); err != nil {
			return err
		}
	}
	t, err := h.templates.Retire(r.Context(), user(r), r.PathValue("name"), body.Reason)
	return answerWith(w, t, err)
}

func (h templateRoutes) restore(w http.ResponseWriter, r *http.Request) error {
	t, err := h.templates.Restore(r.Context(), user(r), r.PathValue("name"))
	return answerWith(w, t, err)
}
