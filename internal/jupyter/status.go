package jupyter

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/problem"
)

// ProtocolVersion is the version of Jupyter's server whose API this is.
const ProtocolVersion = "2.21.0"

// settingsDir holds the sections of /api/config, below Config.State.
const settingsDir = "settings"

// maxSettings is the largest section of settings, in bytes.
const maxSettings = 1 << 20

var sectionName = regexp.MustCompile(`^[\w-][\w.-]{0,127}$`)

func (s *Server) serverRoutes() []route {
	return []route{
		{pattern: "GET /api/status", handler: s.status, quiet: true},
		{pattern: "GET /api/me", handler: s.me},
		{pattern: "POST /api/shutdown", handler: s.shutdown},
		{pattern: "POST /api/security/csp-report", handler: s.cspReport, quiet: true},
		{pattern: "GET /api/config/{section}", handler: s.getSettings},
		{pattern: "PUT /api/config/{section}", handler: s.putSettings},
		{pattern: "PATCH /api/config/{section}", handler: s.patchSettings},
		{pattern: "GET /api/events/subscribe", handler: s.subscribe},
		{pattern: "POST /api/events", handler: s.postEvent},
	}
}

// registerOpen adds what is answered without signing in, and what signs in.
func (s *Server) registerOpen(rt *api.Router) {
	open := api.Policy{Access: api.Public, QueryToken: true}
	rt.Handle("GET /api", open, s.version)
	rt.Handle("GET /api/{$}", open, s.version)
	s.registerSignIn(rt)
}

// version is what clients look at to see that this is a Jupyter server.
func (s *Server) version(w http.ResponseWriter, _ *http.Request) error {
	return api.WriteJSON(w, http.StatusOK, map[string]string{"version": ProtocolVersion, "quire": s.cfg.Version})
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) error {
	connections := 0
	kernels := s.allKernels()
	for _, l := range kernels {
		connections += l.model().Connections
	}
	return api.WriteJSON(w, http.StatusOK, map[string]any{
		"started": s.started.UTC().Truncate(time.Microsecond), "last_activity": s.LastActivity(),
		"connections": connections, "kernels": len(kernels),
	})
}

// me says who is asking and which of the permissions asked for they have: the
// person whose folder this is has all.
func (s *Server) me(w http.ResponseWriter, r *http.Request) error {
	permissions := map[string][]string{}
	if asked := r.URL.Query().Get("permissions"); asked != "" {
		if err := json.Unmarshal([]byte(asked), &permissions); err != nil {
			return problem.New(problem.Invalid, `permissions: want JSON such as {"contents":["read","write"]}`)
		}
	}
	u, ok := auth.UserFrom(r.Context())
	if !ok {
		u = s.cfg.User
	}
	label := u.Label()
	return api.WriteJSON(w, http.StatusOK, map[string]any{
		"identity": map[string]any{
			"username": u.Name, "name": label, "display_name": label, "initials": initials(label),
			"avatar_url": nil, "color": nil,
		},
		"permissions": permissions,
	})
}

// initials returns the first letters of the first two words of a name.
func initials(name string) string {
	var b strings.Builder
	for i, word := range strings.Fields(name) {
		if i == 2 {
			break
		}
		for _, r := range word {
			b.WriteRune(unicode.ToUpper(r))
			break
		}
	}
	return b.String()
}

func (s *Server) shutdown(w http.ResponseWriter, _ *http.Request) error {
	if s.cfg.Stop == nil {
		return problem.New(problem.Denied, "this server is stopped where it was started, not by a request")
	}
	w.WriteHeader(http.StatusOK)
	s.cfg.Stop()
	return nil
}

// cspReport takes a browser's report of what a policy has stopped. Reports hold
// addresses, so only that one came is of interest.
func (s *Server) cspReport(w http.ResponseWriter, r *http.Request) error {
	if _, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxSettings)); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) settingsRoot() (*os.Root, error) {
	root, err := os.OpenRoot(filepath.Join(s.cfg.State, settingsDir))
	return root, problem.WrapAs(problem.Unavailable, err, "opening the settings")
}

// readSettings returns a section, empty when it was never written.
func (s *Server) readSettings(name string) (map[string]any, error) {
	if !sectionName.MatchString(name) {
		return nil, problem.New(problem.Invalid, "section %.80q: want letters, digits, -, _ and .", name)
	}
	root, err := s.settingsRoot()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	section := map[string]any{}
	data, err := root.ReadFile(name + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return section, nil
	}
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "reading the settings of %s", name)
	}
	return section, problem.WrapAs(problem.Invalid, json.Unmarshal(data, &section), "reading the settings of %s", name)
}

// writeSettings replaces a section.
func (s *Server) writeSettings(name string, section map[string]any) error {
	data, err := json.MarshalIndent(section, "", "  ")
	if err != nil {
		return err
	}
	if len(data) > maxSettings {
		return problem.New(problem.TooLarge, "the settings of %s have over %d bytes", name, maxSettings)
	}
	root, err := s.settingsRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	if err = root.WriteFile(name+".json.new", append(data, '\n'), 0o600); err == nil {
		err = root.Rename(name+".json.new", name+".json")
	}
	return problem.WrapAs(problem.Unavailable, err, "writing the settings of %s", name)
}

func (s *Server) getSettings(w http.ResponseWriter, r *http.Request) error {
	section, err := s.readSettings(r.PathValue("section"))
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, section)
}

func (s *Server) putSettings(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("section")
	if _, err := s.readSettings(name); problem.Is(err, problem.Invalid) && !sectionName.MatchString(name) {
		return err
	}
	section := map[string]any{}
	if err := readJSON(r, &section); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeSettings(name, section); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) patchSettings(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("section")
	change := map[string]any{}
	if err := readJSON(r, &change); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	section, err := s.readSettings(name)
	if err != nil {
		return err
	}
	merge(section, change)
	if err := s.writeSettings(name, section); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, section)
}

// merge puts change into section: objects are merged, null deletes.
func merge(section, change map[string]any) {
	for key, value := range change {
		inner, isObject := value.(map[string]any)
		old, wasObject := section[key].(map[string]any)
		switch {
		case value == nil:
			delete(section, key)
		case isObject && wasObject:
			merge(old, inner)
		case isObject:
			fresh := map[string]any{}
			merge(fresh, inner)
			section[key] = fresh
		default:
			section[key] = value
		}
	}
}
