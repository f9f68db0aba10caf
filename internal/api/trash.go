package api

import (
	"net/http"
	"time"

	"quire/internal/auth"
	"quire/internal/contents"
)

// A trashPage is what GET /api/trash answers.
type trashPage struct {
	Deleted []deletedModel `json:"deleted"`
}

// A deletedModel is a thing in the trash.
type deletedModel struct {
	ID      string    `json:"id"`
	Path    string    `json:"path"` // where it was
	Time    time.Time `json:"time"`
	Expires time.Time `json:"expires"`
}

// A discardedModel says how many things went for good.
type discardedModel struct {
	Discarded int `json:"discarded"`
}

// registerTrash adds the trash of a workspace under /api/trash/<workspace>.
func registerTrash(rt *Router, volume *contents.Volume) {
	rt.Handle("GET /api/trash/{path...}", Policy{Access: SignedIn, Doc: Doc{
		Summary: "What was deleted in a workspace, newest first", Response: trashPage{},
	}}, func(w http.ResponseWriter, r *http.Request) error {
		u, _ := auth.UserFrom(r.Context())
		all, err := volume.Trash(r.Context(), u, r.PathValue("path"))
		if err != nil {
			return err
		}
		page := trashPage{Deleted: make([]deletedModel, 0, len(all))}
		for _, d := range all {
			page.Deleted = append(page.Deleted, deletedModel(d))
		}
		return WriteJSON(w, http.StatusOK, page)
	})
	rt.Handle("DELETE /api/trash/{path...}", Policy{Access: SignedIn, Doc: Doc{
		Summary: "Remove what is in a workspace's trash for good", Response: discardedModel{},
		Query: map[string]string{"id": "only the thing of this id; without it, everything"},
	}}, func(w http.ResponseWriter, r *http.Request) error {
		u, _ := auth.UserFrom(r.Context())
		n, err := volume.Discard(r.Context(), u, r.PathValue("path"), r.URL.Query().Get("id"))
		if err != nil {
			return err
		}
		return WriteJSON(w, http.StatusOK, discardedModel{n})
	})
}
