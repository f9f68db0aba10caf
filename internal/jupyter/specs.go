package jupyter

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"quire/internal/api"
	"quire/internal/kernel"
	"quire/internal/problem"
)

// maxResource is the largest logo or script of a kernelspec, in bytes.
const maxResource = 8 << 20

// A specModel is Jupyter's description of an installed kernel.
type specModel struct {
	Name      string            `json:"name"`
	Spec      specBody          `json:"spec"`
	Resources map[string]string `json:"resources"`
}

type specBody struct {
	Argv          []string          `json:"argv"`
	Env           map[string]string `json:"env"`
	DisplayName   string            `json:"display_name"`
	Language      string            `json:"language"`
	InterruptMode string            `json:"interrupt_mode"`
	Metadata      map[string]any    `json:"metadata"`
}

// defaultKernel returns the name of the kernel for who names none.
func (s *Server) defaultKernel() string {
	if s.cfg.DefaultKernel != "" {
		return s.cfg.DefaultKernel
	}
	const usual = "python3"
	if _, err := s.cfg.Kernels.Find(usual); err == nil {
		return usual
	}
	if all, _ := s.cfg.Kernels.List(); len(all) > 0 {
		return all[0].Name
	}
	return usual
}

func (s *Server) specModel(spec kernel.Spec) specModel {
	m := specModel{Name: spec.Name, Resources: map[string]string{}, Spec: specBody{
		Argv: spec.Argv, Env: spec.Env, DisplayName: spec.DisplayName, Language: spec.Language,
		InterruptMode: spec.InterruptMode, Metadata: spec.Metadata,
	}}
	if m.Spec.Env == nil {
		m.Spec.Env = map[string]string{}
	}
	if m.Spec.Metadata == nil {
		m.Spec.Metadata = map[string]any{}
	}
	if m.Spec.InterruptMode == "" {
		m.Spec.InterruptMode = "signal"
	}
	entries, err := os.ReadDir(spec.Dir)
	if err != nil {
		return m
	}
	for _, e := range entries {
		name := e.Name()
		key := name
		switch {
		case strings.HasPrefix(name, "logo-"):
			key = strings.TrimSuffix(name, filepath.Ext(name))
		case name != "kernel.js" && name != "kernel.css":
			continue
		}
		m.Resources[key] = s.cfg.Base + "/kernelspecs/" + url.PathEscape(spec.Name) + "/" + url.PathEscape(name)
	}
	return m
}

func (s *Server) listSpecs(w http.ResponseWriter, _ *http.Request) error {
	specs, _ := s.cfg.Kernels.List() // what cannot be used is not offered
	all := map[string]specModel{}
	for _, spec := range specs {
		all[spec.Name] = s.specModel(spec)
	}
	return api.WriteJSON(w, http.StatusOK, map[string]any{"default": s.defaultKernel(), "kernelspecs": all})
}

func (s *Server) getSpec(w http.ResponseWriter, r *http.Request) error {
	spec, err := s.cfg.Kernels.Find(r.PathValue("name"))
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, s.specModel(spec))
}

// specFile answers with a logo, or another file beside a kernel.json.
func (s *Server) specFile(w http.ResponseWriter, r *http.Request) error {
	spec, err := s.cfg.Kernels.Find(r.PathValue("name"))
	if err != nil {
		return err
	}
	missing := problem.New(problem.NotFound, "kernel %s has no file %s", spec.Name, clip(r.PathValue("file"), 80))
	root, err := os.OpenRoot(spec.Dir)
	if err != nil {
		return missing
	}
	defer root.Close()
	file, err := root.Open(r.PathValue("file"))
	if err != nil {
		return missing
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxResource {
		return missing
	}
	kind := mime.TypeByExtension(filepath.Ext(info.Name()))
	if kind == "" {
		kind = "application/octet-stream"
	}
	w.Header().Set("Content-Type", kind)
	http.ServeContent(w, r, "", info.ModTime(), io.NewSectionReader(file, 0, info.Size()))
	return nil
}
