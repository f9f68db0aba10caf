package pages

import (
	"html/template"
	"net/http"
	"path"
	"strings"

	"quire/internal/contents"
	"quire/internal/search"
	"quire/internal/viewer"
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

// cover returns the address of the picture that a notebook describes itself by,
// "" when it has none that may be shown: a picture in the metadata, or a file
// beside the notebook. What lies on another host is not loaded.
func cover(d search.Document) template.URL {
	if at := viewer.ImageData(d.Image); at != "" {
		return template.URL(at) //nolint:gosec // its type is a picture's, and the rest is base64
	}
	target, _, ok := resolve(d.Path, d.Image)
	dir := path.Dir(d.Path)
	if !ok || !strings.HasPrefix(target, dir+"/") || !strings.HasPrefix(contents.MimeOf(target), "image/") {
		return ""
	}
	return template.URL("/files/" + escapePath(target)) //nolint:gosec // a path of ours, escaped
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
