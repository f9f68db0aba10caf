package run

import (
	"context"
	"encoding/json"

	"quire/internal/auth"
)

// Lock is the lock hash of the environment that a run ran in: the same for the
// same packages in the same versions. "" is not known: it has not ended, or its
// kernel does not say what it has.
func (r Run) Lock() string {
	var result struct {
		Lock string `json:"lock"`
	}
	const length = 64
	if len(r.Result) == 0 || json.Unmarshal(r.Result, &result) != nil || len(result.Lock) != length {
		return ""
	}
	return result.Lock
}

// OtherEnvironment reports whether a run's environment is another than the one that
// its notebook was tested with.
func (r Run) OtherEnvironment() bool {
	lock := r.Lock()
	return lock != "" && r.Tested != "" && lock != r.Tested
}

// TestedWith returns the environment of the newest run of a notebook that succeeded,
// and that run; "" where there is none that says so.
func (s *Runs) TestedWith(ctx context.Context, u auth.User, notebook string) (lock, run string, err error) {
	const looked = 20
	all, err := s.cfg.Store.Runs(ctx, Filter{Notebook: notebook, State: Succeeded, Limit: looked})
	if err != nil {
		return "", "", err
	}
	for _, r := range all {
		if lock = r.Lock(); lock != "" && auth.Allow(u, auth.Read, object(r)) == nil {
			return lock, r.ID, nil
		}
	}
	return "", "", nil
}
