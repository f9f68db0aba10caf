package run

import (
	"context"

	"quire/internal/auth"
	"quire/internal/problem"
)

// Check reports whether Submit would take the request now, and which version of
// the notebook it would run; 0 where the notebook has none. Nothing is queued.
// Parameters that are nil are not looked at.
func (s *Runs) Check(ctx context.Context, u auth.User, req Request) (version int64, err error) {
	r, err := s.check(ctx, u, req)
	return checked(r), err
}

// checked is the version that a run that was checked would be of.
func checked(r Run) int64 {
	if r.Template != "" {
		return int64(r.TemplateVersion)
	}
	return r.Version
}

func (s *Runs) check(ctx context.Context, u auth.User, req Request) (Run, error) {
	r := Run{ID: NewID(s.now()), Priority: req.Priority, Retries: req.Retries, TimeoutSeconds: req.TimeoutSeconds, Tags: req.Tags}
	source, err := s.wanted(ctx, u, &req, &r)
	if err != nil {
		return Run{}, err
	}
	if err := s.bind(ctx, u, req.Secrets); err != nil {
		return Run{}, problem.Wrap(err, "running %s", r.Notebook)
	}
	if req.Parameters != nil {
		if r.Parameters, r.Output, err = s.given(ctx, u, r, source, req); err != nil {
			return Run{}, problem.Wrap(err, "running %s", r.Notebook)
		}
	}
	return r, r.validate()
}
