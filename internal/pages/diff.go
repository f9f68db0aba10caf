package pages

import (
	"net/http"

	"quire/internal/api"
	"quire/internal/viewer"
)

func (s *site) writeDiff(w http.ResponseWriter, _ *http.Request, d *viewer.Diff) error {
	return api.WriteJSON(w, http.StatusOK, d)
}
