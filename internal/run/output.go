package run

import (
	"context"
	"path"
	"strings"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/nbtemplate"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/storage"
)

// outputOf is where the output of a run is put, which u has to be allowed to write;
// "" is nowhere.
func (s *Runs) outputOf(ctx context.Context, u auth.User, r Run, schema parameter.Schema, set parameter.Set, req Request) (string, error) {
	if req.Output == "" || req.Output == NoOutput {
		return "", nil
	}
	file, err := nbtemplate.Place{Pattern: req.Output, User: u.Name, Name: r.Name(), Run: r.ID, At: s.at(req), Schema: schema, Set: set}.Path()
	if err != nil {
		return "", err
	}
	if file == r.Notebook {
		return "", problem.New(problem.Invalid, "output %s: it is the notebook that is run: want another place", file)
	}
	err = auth.Allow(u, auth.Write, auth.FileAt(file))
	if owner := auth.FileAt(file).Owner; err == nil && owner != "" {
		_, err = s.cfg.Volume.Stat(ctx, u, "users/"+owner)
	}
	return file, problem.Wrap(err, "output %s", file)
}

// OutputOf says where a request's output would be put now, without asking for the run.
func (s *Runs) OutputOf(ctx context.Context, u auth.User, req Request) (string, error) {
	r, err := s.check(ctx, u, req)
	return r.Output, err
}

// deliver puts the output of a run that succeeded where it is to be, as its owner,
// whose rights may be others than when they asked. What cannot be done for good is
// said in the run; an error is to be tried again.
func (s *Runs) deliver(ctx context.Context, r Run) (wrong string, err error) {
	if r.Output == "" || r.State != Succeeded {
		return "", nil
	}
	if err = s.put(ctx, r); err == nil || problem.Is(err, problem.Unavailable) || ctx.Err() != nil {
		return "", err
	}
	return strings.ToValidUTF8(err.Error()[:min(len(err.Error()), maxFailure)], ""), nil
}

// put saves the output of a run where it is to be.
func (s *Runs) put(ctx context.Context, r Run) (err error) {
	u := auth.User{Name: r.Owner}
	if s.cfg.User != nil {
		if u, err = s.cfg.User(ctx, r.Owner); err != nil {
			return err
		}
	}
	if u.Disabled {
		return problem.New(problem.Denied, "%s may not sign in any more", u.Name)
	}
	if err := s.cfg.Volume.MakeFolders(ctx, u, path.Dir(r.Output)); err != nil {
		return err
	}
	body, _, err := s.cfg.Objects.Get(ctx, r.ID+"/"+outputFile, storage.GetOptions{})
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = s.cfg.Volume.Save(ctx, u, r.Output, body, contents.SaveOptions{Plain: true})
	return err
}
