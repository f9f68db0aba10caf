package api

import (
	"net/http"

	"quire/internal/search"
)

type searchPage struct {
	Hits []search.Hit `json:"hits"`
}

// RegisterSearch adds /api/search.
func RegisterSearch(rt *Router, index *search.Index) {
	policy := Policy{Access: SignedIn, Doc: Doc{
		Summary: "Notebooks and cells that hold all words, best first", Response: searchPage{},
		Query: map[string]string{"q": "words; the last may be a beginning"},
	}}
	rt.Handle("GET /api/search", policy, func(w http.ResponseWriter, r *http.Request) error {
		hits, err := index.Search(r.Context(), user(r), r.URL.Query().Get("q"), 0)
		if err != nil {
			return err
		}
		if hits == nil {
			hits = []search.Hit{}
		}
		return writeTagged(w, r, searchPage{hits})
	})
}
