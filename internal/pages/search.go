package pages

import (
	"html/template"
	"net/http"
	"strings"

	"quire/internal/search"
)

// search shows what was found, each hit with the words marked and a link to
// its cell.
func (s *site) search(w http.ResponseWriter, r *http.Request) error {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	hits, err := s.cfg.Search.Search(r.Context(), user(r), q, 0)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "search", view{Title: "Search", Section: "search", Data: map[string]any{"Query": q, "Hits": hits}})
}

// discover lists the notebooks that describe themselves.
func (s *site) discover(w http.ResponseWriter, r *http.Request) error {
	all, err := s.cfg.Search.Described(r.Context(), user(r))
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "discover", view{Title: "Discover", Section: "discover", Data: map[string]any{"Documents": all}})
}

// hitPath leads to the cell, or the run, of a hit.
func hitPath(h search.Hit) string {
	if h.Run != "" {
		return "/runs/" + h.Run
	}
	at := "/view/" + escapePath(h.Path)
	if h.Anchor != "" {
		return at + "#cell-" + h.Anchor
	}
	return at
}

// marked is a snippet with what matched in mark elements.
func marked(snippet string) template.HTML {
	text := template.HTMLEscapeString(snippet)
	text = strings.NewReplacer("\x02", "<mark>", "\x03", "</mark>").Replace(text)
	return template.HTML(text) //nolint:gosec // escaped above; only our own marks are put in
}
