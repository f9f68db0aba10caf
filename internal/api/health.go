package api

import (
	"context"
	"io"
	"net/http"
)

// RegisterHealth adds the probes: /healthz says that the process answers,
// /readyz that it can work.
func RegisterHealth(rt *Router, ready func(context.Context) error) {
	ok := func(w http.ResponseWriter) error {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, err := io.WriteString(w, "ok\n")
		return err
	}
	rt.Handle("GET /healthz", Policy{Access: Public, Doc: Doc{Summary: "Whether the process answers"}}, func(w http.ResponseWriter, _ *http.Request) error { return ok(w) })
	rt.Handle("GET /readyz", Policy{Access: Public, Doc: Doc{Summary: "Whether the server can do its work"}}, func(w http.ResponseWriter, r *http.Request) error {
		if err := ready(r.Context()); err != nil {
			return err
		}
		return ok(w)
	})
}
