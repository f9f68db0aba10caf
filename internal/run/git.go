package run

import (
	"context"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/gitrepo"
	"quire/internal/problem"
)

// A GitSource is where a notebook of a git repository comes from.
type GitSource struct {
	Repository string `json:"repository"` // path of its folder on the volume
	Ref        string `json:"ref"`        // as it was asked for
	Commit     string `json:"commit"`     // what that was then
}

// fromGit reads the notebook of a request from the git repository that it lies in.
// Whether it may be run has been asked.
func (s *Runs) fromGit(ctx context.Context, req Request, r *Run) ([]byte, error) {
	if req.Version != 0 || req.Template != "" {
		return nil, problem.New(problem.Invalid, "want a ref or a version, not both")
	}
	repo, file, err := s.repository(r.Notebook)
	if err != nil {
		return nil, err
	}
	r.Git = &GitSource{Repository: repo.Path, Ref: req.Ref, Commit: req.Commit}
	if r.Git.Commit == "" {
		if r.Git.Commit, err = repo.Resolve(ctx, req.Ref); err != nil {
			return nil, err
		}
	}
	return repo.Read(ctx, r.Git.Commit, file, maxSource)
}

func (s *Runs) repository(notebook string) (repo gitrepo.Repository, file string, err error) {
	workspace := workspaceOf(notebook)
	if workspace == "" {
		return repo, "", problem.New(problem.Invalid, "%s: a git repository is in a workspace or in shared", notebook)
	}
	return gitrepo.Find(s.cfg.Files, workspace, notebook)
}

// Commit returns the git repository that a notebook lies in, and the commit that a
// ref of it is now.
func (s *Runs) Commit(ctx context.Context, u auth.User, notebook, ref string) (repository, commit string, err error) {
	clean, err := contents.CleanPath(notebook)
	if err == nil {
		err = auth.Allow(u, auth.Run, auth.FileAt(clean))
	}
	if err != nil {
		return "", "", err
	}
	repo, _, err := s.repository(clean)
	if err != nil {
		return "", "", err
	}
	commit, err = repo.Resolve(ctx, ref)
	return repo.Path, commit, err
}
