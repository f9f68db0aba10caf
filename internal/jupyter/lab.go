package jupyter

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/problem"
)

// labCSP is the policy of JupyterLab's page, as Jupyter's server has it: the
// app compiles and styles at run time, and shows what notebooks' authors made.
const labCSP = "frame-ancestors 'self'; object-src 'none'; base-uri 'self'"

// labPages are the addresses at which JupyterLab opens.
func (s *Server) labPages() []route {
	if s.cfg.Lab == "" {
		return nil
	}
	var all []route
	for _, pattern := range []string{
		"GET /lab", "GET /lab/{$}", "GET /lab/tree/{path...}", "GET /lab/workspaces/{rest...}", "GET /doc", "GET /doc/tree/{path...}", "GET /doc/workspaces/{rest...}",
	} {
		all = append(all, route{pattern: pattern, handler: s.labPage})
	}
	return all
}

// labRoutes are what JupyterLab's page asks of its server besides Jupyter's API.
func (s *Server) labRoutes() []route {
	if s.cfg.Lab == "" {
		return nil
	}
	return []route{
		{pattern: "GET /static/lab/{path...}", handler: s.labFile("static"), quiet: true},
		{pattern: "GET /static/favicons/{name}", handler: func(w http.ResponseWriter, _ *http.Request) error { return noContent(w) }, quiet: true},
		{pattern: "GET /lab/api/themes/{path...}", handler: s.labFile("themes"), quiet: true},
		{pattern: "GET /lab/extensions/{path...}", handler: s.labFile("../labextensions"), quiet: true},
		{pattern: "GET /lab/api/settings", handler: s.labSchemas, quiet: true},
		{pattern: "GET /lab/api/settings/{id...}", handler: s.labSchema, quiet: true},
		{pattern: "PUT /lab/api/settings/{id...}", handler: s.putLabSetting},
		{pattern: "GET /lab/api/workspaces", handler: s.labWorkspaces, quiet: true},
		{pattern: "GET /lab/api/workspaces/{id...}", handler: s.labWorkspace, quiet: true},
		{pattern: "PUT /lab/api/workspaces/{id...}", handler: s.putLabWorkspace, quiet: true},
		{pattern: "DELETE /lab/api/workspaces/{id...}", handler: s.dropLabWorkspace, quiet: true},
		{pattern: "GET /lab/api/translations", handler: noTranslations, quiet: true},
		{pattern: "GET /lab/api/translations/{locale...}", handler: noTranslations, quiet: true},
		{pattern: "GET /lab/api/listings/{name...}", handler: noListings, quiet: true},
	}
}

func noTranslations(w http.ResponseWriter, _ *http.Request) error {
	return api.WriteJSON(w, http.StatusOK, map[string]any{"data": map[string]any{}, "message": ""})
}

func noListings(w http.ResponseWriter, _ *http.Request) error {
	empty := []string{}
	return api.WriteJSON(w, http.StatusOK, map[string]any{
		"blocked_extensions_uris": empty, "allowed_extensions_uris": empty, "blocked_extensions": empty, "allowed_extensions": empty,
	})
}

func userOf(r *http.Request) (auth.User, bool) { return auth.UserFrom(r.Context()) }

// labFile serves a directory of the built JupyterLab.
func (s *Server) labFile(dir string) api.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		missing := problem.New(problem.NotFound, "JupyterLab has no file %s", clip(r.PathValue("path"), 200))
		root, err := os.OpenRoot(filepath.Join(s.cfg.Lab, dir))
		if err != nil {
			return missing
		}
		defer root.Close()
		file, err := root.Open(filepath.FromSlash(r.PathValue("path")))
		if err != nil {
			return missing
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return missing
		}
		kind := mime.TypeByExtension(path.Ext(info.Name()))
		if kind == "" {
			kind = "application/octet-stream"
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "private, max-age=3600")
		http.ServeContent(w, r, "", info.ModTime(), file)
		return nil
	}
}

var (
	labMain    = regexp.MustCompile(`main\.[0-9a-f]+\.js(\?v=[0-9a-f]+)?`)
	pluginName = regexp.MustCompile(`^(@[\w.-]+/)?[\w.-]+:[\w.-]+$`)
)

// labPage is JupyterLab's page with its configuration.
func (s *Server) labPage(w http.ResponseWriter, r *http.Request) error {
	index, err := os.ReadFile(filepath.Join(s.cfg.Lab, "static", "index.html"))
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "reading JupyterLab's page: is it installed whole?")
	}
	main := labMain.FindString(string(index))
	if main == "" {
		return problem.New(problem.Unavailable, "JupyterLab's page names no main script: this version is not known here")
	}
	config := s.pageConfig(r)
	data, err := json.Marshal(config) // escapes "<", so that it can stand in a script element
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", labCSP)
	h.Set("Cache-Control", "no-store")
	_, err = fmt.Fprintf(w, `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>JupyterLab</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><script id="jupyter-config-data" type="application/json">%s</script>
<link rel="icon" class="idle favicon" href="data:,"><link rel="" class="busy favicon" href="data:,"><script defer src="%s"></script></head><body class="jp-ThemedContainer"></body></html>
`, data, html.EscapeString(s.cfg.Base+"/static/lab/"+main))
	return err
}

// pageConfig is what JupyterLab reads from its page. The token is not in it:
// the page has its cookie.
func (s *Server) pageConfig(r *http.Request) map[string]any {
	base := s.cfg.Base
	mode := "multiple-document"
	if strings.HasPrefix(strings.TrimPrefix(r.URL.Path, base), "/doc") {
		mode = "single-document"
	}
	workspace := "default"
	treePath := r.PathValue("path")
	if rest := r.PathValue("rest"); rest != "" {
		workspace, treePath, _ = strings.Cut(rest, "/tree/")
	}
	version := s.labVersion()
	root, virtual := s.languageRoots()
	return map[string]any{
		"appName": "JupyterLab", "appNamespace": "lab", "appVersion": version, "notebookVersion": "[2,21,0]",
		"baseUrl": base + "/", "appUrl": "/lab", "fullAppUrl": base + "/lab", "docUrl": "/doc",
		"settingsUrl": "/lab/api/settings", "fullSettingsUrl": base + "/lab/api/settings",
		"workspacesApiUrl": "/lab/api/workspaces", "fullWorkspacesApiUrl": base + "/lab/api/workspaces",
		"translationsApiUrl": "/lab/api/translations", "fullTranslationsApiUrl": base + "/lab/api/translations",
		"listingsUrl": "/lab/api/listings", "fullListingsUrl": base + "/lab/api/listings",
		"themesUrl": "/lab/api/themes", "fullThemesUrl": base + "/lab/api/themes",
		"labextensionsUrl": "/lab/extensions", "fullLabextensionsUrl": base + "/lab/extensions",
		"staticUrl": "/static/lab", "fullStaticUrl": base + "/static/lab",
		"treeUrl": base + "/lab/tree", "workspacesUrl": base + "/lab/workspaces",
		"mode": mode, "workspace": workspace, "treePath": treePath, "preferredPath": "/", "serverRoot": "",
		"rootUri": root, "virtualDocumentsUri": virtual,
		"terminalsAvailable": !s.cfg.NoTerminals, "quitButton": s.cfg.Stop != nil, "token": "", "devMode": false,
		"buildAvailable": false, "buildCheck": false, "exposeAppInBrowser": true, "cacheFiles": true, "store_id": 0,
		"news": map[string]bool{"disabled": true}, "ignorePlugins": []string{}, "disabledExtensions": []string{
			"@jupyterlab/extensionmanager-extension", "@jupyterlab/apputils-extension:announcements",
		}, "lockedExtensions": []string{}, "federated_extensions": s.federated(), "allow_hidden_files": false, "delete_to_trash": true,
	}
}

// labVersion is the version of the JupyterLab that is served.
func (s *Server) labVersion() string {
	var p struct {
		Version    string `json:"version"`
		JupyterLab struct {
			Version string `json:"version"`
		} `json:"jupyterlab"`
	}
	data, err := os.ReadFile(filepath.Join(s.cfg.Lab, "static", "package.json"))
	if err != nil || json.Unmarshal(data, &p) != nil {
		return ""
	}
	if p.JupyterLab.Version != "" {
		return p.JupyterLab.Version
	}
	return p.Version
}

// federated lists the extensions that are installed beside JupyterLab, such as
// the one that shows widgets.
func (s *Server) federated() []map[string]any {
	root := filepath.Join(filepath.Dir(s.cfg.Lab), "labextensions")
	all := []map[string]any{}
	for _, pattern := range []string{"*/package.json", "@*/*/package.json"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			continue
		}
		for _, file := range files {
			var p struct {
				Name       string `json:"name"`
				JupyterLab struct {
					Build map[string]any `json:"_build"`
				} `json:"jupyterlab"`
			}
			data, err := os.ReadFile(file)
			if err != nil || json.Unmarshal(data, &p) != nil || p.JupyterLab.Build == nil {
				continue
			}
			entry := p.JupyterLab.Build
			entry["name"] = p.Name
			all = append(all, entry)
		}
	}
	return all
}

// A labSetting is a plugin's schema with what the person has set.
type labSetting struct {
	ID       string          `json:"id"`
	Schema   json.RawMessage `json:"schema,omitempty"`
	Version  string          `json:"version,omitempty"`
	Raw      string          `json:"raw"`
	Settings json.RawMessage `json:"settings"`
	Warning  *string         `json:"warning"`
	Created  *string         `json:"created"`
	Modified *string         `json:"last_modified"`
}

// schemaFiles maps plugins' ids to the files of their schemas.
func (s *Server) schemaFiles() map[string]string {
	files := map[string]string{}
	for _, dir := range append([]string{filepath.Join(s.cfg.Lab, "schemas")}, s.extensionSchemas()...) {
		for _, pattern := range []string{"*/*.json", "@*/*/*.json"} {
			found, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				continue
			}
			for _, file := range found {
				rel, err := filepath.Rel(dir, file)
				if err == nil {
					files[filepath.ToSlash(filepath.Dir(rel))+":"+strings.TrimSuffix(filepath.Base(rel), ".json")] = file
				}
			}
		}
	}
	return files
}

func (s *Server) extensionSchemas() []string {
	root := filepath.Join(filepath.Dir(s.cfg.Lab), "labextensions")
	var dirs []string
	for _, pattern := range []string{"*/schemas", "@*/*/schemas"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err == nil {
			dirs = append(dirs, found...)
		}
	}
	return dirs
}

func (s *Server) labSetting(id, file string) (labSetting, error) {
	one := labSetting{ID: id, Raw: "{}", Settings: json.RawMessage("{}"), Version: s.labVersion()}
	schema, err := os.ReadFile(file)
	if err != nil || !json.Valid(schema) {
		return one, problem.New(problem.NotFound, "the schema of %s cannot be read", id)
	}
	one.Schema = schema
	raw, err := s.readLab(settingFile(id))
	if err != nil {
		if problem.Is(err, problem.NotFound) {
			return one, nil
		}
		return one, err
	}
	one.Raw = string(raw)
	if json.Valid(raw) { // a person may write comments: JupyterLab reads Raw itself
		one.Settings = raw
	}
	return one, nil
}

func settingFile(id string) string {
	return "lab-" + strings.NewReplacer("/", "~", ":", "~~").Replace(id) + ".json5"
}

func (s *Server) labSchemas(w http.ResponseWriter, r *http.Request) error {
	files := s.schemaFiles()
	ids := make([]string, 0, len(files))
	for id := range files {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	idsOnly := r.URL.Query().Get("ids_only") == "true"
	all := []any{}
	for _, id := range ids {
		if idsOnly {
			all = append(all, map[string]string{"id": id})
			continue
		}
		one, err := s.labSetting(id, files[id])
		if err == nil { // one schema that cannot be read hides no other
			all = append(all, one)
		}
	}
	return api.WriteJSON(w, http.StatusOK, map[string]any{"settings": all})
}

func (s *Server) labSchema(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if id == "" {
		return s.labSchemas(w, r)
	}
	file := s.schemaFiles()[id]
	if file == "" {
		return problem.New(problem.NotFound, "no settings of %s", clip(id, 200))
	}
	one, err := s.labSetting(id, file)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, one)
}

func (s *Server) putLabSetting(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if !pluginName.MatchString(id) || len(id) > 200 {
		return problem.New(problem.NotFound, "no settings of %s", clip(id, 200))
	}
	var body struct {
		Raw *string `json:"raw"`
	}
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if body.Raw == nil {
		return problem.New(problem.Invalid, `want {"raw": "..."}`)
	}
	if err := s.writeLab(settingFile(id), []byte(*body.Raw)); err != nil {
		return err
	}
	return noContent(w)
}

// readLab reads a file of JupyterLab's in the state.
func (s *Server) readLab(name string) ([]byte, error) {
	root, err := s.settingsRoot()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New(problem.NotFound, "%s was never saved", name)
	}
	return data, problem.WrapAs(problem.Unavailable, err, "reading JupyterLab's settings")
}

func (s *Server) writeLab(name string, data []byte) error {
	root, err := s.settingsRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err = root.WriteFile(name+".new", data, 0o600); err == nil {
		err = root.Rename(name+".new", name)
	}
	return problem.WrapAs(problem.Unavailable, err, "writing JupyterLab's settings")
}

const workspacePrefix = "workspace-"

var workspaceName = regexp.MustCompile(`^[\w.~-]{1,100}$`)

// workspaceFile returns where the layout of a JupyterLab workspace is kept.
func workspaceFile(id string) (string, error) {
	id = strings.ReplaceAll(strings.Trim(id, "/"), "/", "~")
	if !workspaceName.MatchString(id) {
		return "", problem.New(problem.Invalid, "workspace %.80q: want letters, digits, -, _ and .", id)
	}
	return workspacePrefix + id + ".json", nil
}

func (s *Server) labWorkspace(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if id == "" {
		return s.labWorkspaces(w, r)
	}
	name, err := workspaceFile(id)
	if err != nil {
		return err
	}
	data, err := s.readLab(name)
	if problem.Is(err, problem.NotFound) {
		return api.WriteJSON(w, http.StatusOK, map[string]any{"data": map[string]any{}, "metadata": map[string]any{"id": id}})
	}
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, json.RawMessage(data))
}

func (s *Server) putLabWorkspace(w http.ResponseWriter, r *http.Request) error {
	name, err := workspaceFile(r.PathValue("id"))
	if err != nil {
		return err
	}
	var body map[string]any
	if err := readJSON(r, &body); err != nil {
		return err
	}
	meta, _ := body["metadata"].(map[string]any)
	if meta == nil || meta["id"] == nil {
		return problem.New(problem.Invalid, "a workspace has data and metadata with its id")
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if err := s.writeLab(name, data); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) dropLabWorkspace(w http.ResponseWriter, r *http.Request) error {
	name, err := workspaceFile(r.PathValue("id"))
	if err != nil {
		return err
	}
	root, err := s.settingsRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Remove(name); err != nil {
		return problem.New(problem.NotFound, "no workspace %s", clip(r.PathValue("id"), 100))
	}
	return noContent(w)
}

func (s *Server) labWorkspaces(w http.ResponseWriter, _ *http.Request) error {
	ids, values := []string{}, []json.RawMessage{}
	files, err := filepath.Glob(filepath.Join(s.cfg.State, settingsDir, workspacePrefix+"*.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := s.readLab(filepath.Base(file))
		var head struct {
			Metadata struct {
				ID string `json:"id"`
			} `json:"metadata"`
		}
		if err == nil && json.Unmarshal(data, &head) == nil {
			ids, values = append(ids, head.Metadata.ID), append(values, data)
		}
	}
	return api.WriteJSON(w, http.StatusOK, map[string]any{"workspaces": map[string]any{"ids": ids, "values": values}})
}
