package pages

import (
	"net/http"

	"quire/internal/viewer"
)

// writeDiff shows a comparison as a page.
func (s *site) writeDiff(w http.ResponseWriter, r *http.Request, d *viewer.Diff) error {
	v := view{Title: "Comparison", Section: "files", Now: s.cfg.Now(), User: user(r)}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", csp)
	h.Set("Cache-Control", "no-store")
	if err := templates["file"].ExecuteTemplate(w, "before", v); err != nil {
		return err
	}
	if err := viewer.RenderDiff(w, d, viewer.Options{Fragment: true, Cache: s.cache}); err != nil {
		return err
	}
	return templates["file"].ExecuteTemplate(w, "after", v)
}
