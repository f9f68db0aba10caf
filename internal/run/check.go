package run

import (
	"context"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/problem"
)

// Check reports whether Submit would take the request now, and which version of
// the notebook it would run; 0 where the notebook has none. Nothing is queued.
// Parameters that are nil are not looked at.
func (s *Runs) Check(ctx context.Context, u auth.User, req Request) (version int64, err error) {
	clean, err := contents.CleanPath(req.Notebook)
	if err != nil {
		return 0, err
	}
	if err := auth.Allow(u, auth.Run, auth.FileAt(clean)); err != nil {
		return 0, err
	}
	source, version, err := s.source(ctx, u, clean, req.Version)
	if err != nil {
		return 0, err
	}
	r := Run{Priority: req.Priority, Retries: req.Retries, TimeoutSeconds: req.TimeoutSeconds, Tags: req.Tags}
	if req.Parameters != nil {
		if r.Parameters, err = checkParameters(source, req); err != nil {
			return 0, problem.Wrap(err, "running %s", clean)
		}
	}
	return version, r.validate()
}
