package api

import (
	"net/http"
	"strings"

	"quire/internal/contents"
)

// RegisterWorkspace adds the Jupyter contents API, /files and versions for one
// user's workspace at the root, as a notebook server of that person has them.
func RegisterWorkspace(rt *Router, volume *contents.Volume, live Live, name string) {
	h := contentsRoutes{volume: volume, live: live, made: &answers{}}
	read := Policy{Access: SignedIn, QueryToken: true}
	write := read
	write.MaxBody = maxSaveBody
	own := func(next contentsHandler) Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			return next(w, r, target{base: "users/" + name, path: strings.Trim(r.PathValue("path"), "/")})
		}
	}
	for _, pattern := range []string{"/api/contents", "/api/contents/{path...}"} {
		rt.Handle("GET "+pattern, read, own(h.get))
		rt.Handle("PUT "+pattern, write, own(h.put))
		rt.Handle("POST "+pattern, write, own(h.post))
		rt.Handle("PATCH "+pattern, write, own(h.patch))
		rt.Handle("DELETE "+pattern, write, own(h.remove))
	}
	rt.Handle("GET /files/{path...}", read, own(h.file))
	rt.Handle("GET /api/versions/{path...}", read, own(h.versions))
	rt.Handle("POST /api/versions/{path...}", write, own(h.restore))
}
