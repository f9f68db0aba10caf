package pages

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"quire/internal/contents"
	"quire/internal/problem"
	"quire/internal/viewer"
	"quire/web"
)

// editorEntry is the app's script for the page of the editor.
const editorEntry = "src/main.tsx"

// appURL is the address of a script of the app, "" where the app was not built.
func appURL(base, name string) string {
	entry, ok := web.Page(name)
	if !ok {
		return ""
	}
	return base + "/static/app/" + entry.Script
}

// editConfig is what the app is told; web/src/config.ts has the same.
type editConfig struct {
	Base       string   `json:"base"`
	Path       string   `json:"path"`
	Own        string   `json:"own"`
	Server     string   `json:"server"`
	User       editUser `json:"user"`
	Nonce      string   `json:"nonce"`
	Lab        bool     `json:"lab"`
	Containers bool     `json:"containers"`
}

type editUser struct {
	Name  string `json:"name"`
	Label string `json:"label"`
}

// editPolicy is the policy of the editor's page. The nonce is for the style
// elements of its text editors; there is no inline script.
func editPolicy(nonce string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" + nonce + "'; img-src 'self' data: blob:; " +
		"connect-src 'self'; frame-src 'self'; media-src 'self' data: blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// edit is the editor of a notebook that the person may write, of their own or of the
// shared folder. Whatever else is at the path is shown instead.
func (s *site) edit(w http.ResponseWriter, r *http.Request) error {
	e, err := s.cfg.Volume.Stat(r.Context(), user(r), pathOf(r))
	if err != nil {
		return err
	}
	own, known := s.served(r, e.Path)
	if e.Type != contents.Notebook || !known || !e.Writable {
		http.Redirect(w, r, s.to("/view/")+escapePath(e.Path), http.StatusSeeOther)
		return nil
	}
	entry, built := web.Page(editorEntry)
	if !built || !s.cfg.Notebooks {
		if lab := s.labURL(r, e.Path); lab != "" {
			http.Redirect(w, r, lab, http.StatusSeeOther)
			return nil
		}
		return problem.New(problem.Unavailable, "this program was built without the notebook editor (Node.js was missing when it was built), and JupyterLab is not installed either")
	}
	u := user(r)
	nonce := rand.Text()
	config, err := json.Marshal(editConfig{
		Base: s.to(""), Path: e.Path, Own: own, Server: s.to("/user/") + url.PathEscape(u.Name),
		User: editUser{u.Name, u.Label()}, Nonce: nonce, Lab: s.labURL(r, e.Path) != "", Containers: s.cfg.Jobs != nil,
	})
	if err != nil {
		return problem.WrapAs(problem.Internal, err, "describing the editor's page")
	}
	return s.show(w, r, http.StatusOK, "edit", view{Title: e.Name, Policy: editPolicy(nonce), Data: map[string]any{
		"Config": string(config), "Entry": entry, "App": s.to("/static/app/"), "Path": e.Path, "Lab": s.labURL(r, e.Path),
	}})
}

// own returns the path of one of the person's own files below their workspace.
func (s *site) own(r *http.Request, p string) (string, bool) {
	return strings.CutPrefix(p, "users/"+user(r).Name+"/")
}

// served returns the path of a file as the person's notebook server has it: of one of
// their own files, or of one in the shared folder.
func (s *site) served(r *http.Request, p string) (string, bool) {
	if own, mine := s.own(r, p); mine {
		return own, true
	}
	rest, shared := strings.CutPrefix(p, "shared/")
	return contents.BesideHome + "/" + rest, shared
}

func (s *site) hasLab() bool { return s.cfg.Lab != nil && s.cfg.Lab() }

// labURL is where the file at p opens in JupyterLab of whoever asks, "" when it
// is not their own or there is no JupyterLab.
func (s *site) labURL(r *http.Request, p string) string {
	own, mine := s.own(r, p)
	if !mine || !s.hasLab() {
		return ""
	}
	return s.to("/user/") + user(r).Name + "/lab/tree/" + escapePath(own)
}

// editorURL is where the notebook at p opens in the editor of whoever asks, ""
// when it is somebody else's or there is no editor.
func (s *site) editorURL(r *http.Request, p string) string {
	if _, known := s.served(r, p); !known || !s.cfg.Notebooks || !web.Built() {
		return ""
	}
	return s.to("/edit/") + escapePath(p)
}

// editors puts the ways to edit the notebook at p among the actions of its page:
// none for an older version.
func (s *site) editors(r *http.Request, p, pinned string, actions []viewer.Action) []viewer.Action {
	if pinned != "" {
		return actions
	}
	if lab := s.labURL(r, p); lab != "" {
		actions = slices.Insert(actions, 1, viewer.Action{Label: "Open in JupyterLab", URL: lab})
	}
	if editor := s.editorURL(r, p); editor != "" {
		actions = slices.Insert(actions, 1, viewer.Action{Label: "Open in editor", URL: editor})
	}
	return actions
}

// app sends a file of the app. Its name changes with its content.
func (s *site) app(w http.ResponseWriter, r *http.Request) error {
	f, err := web.Open(r.PathValue("path"))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", f.Type)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := f.Plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.Packed
	}
	_, err = w.Write(body)
	return problem.Wrap(err, "sending a file of the app")
}
