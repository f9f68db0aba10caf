package contents

import (
	"context"

	"quire/internal/auth"
	"quire/internal/problem"
)

// maxCheckpoints is how many checkpoints of a file are listed, the newest ones.
const maxCheckpoints = 100

// Checkpoints returns the versions of a file that Jupyter's clients made
// checkpoints, newest first.
func (v *Volume) Checkpoints(ctx context.Context, u auth.User, path string) ([]Version, error) {
	if err := v.checkpointed(ctx, u, path); err != nil {
		return nil, err
	}
	var all []Version
	before := int64(0)
	for len(all) < maxCheckpoints {
		const limit = 1000
		some, err := v.Versions(ctx, u, path, before, limit)
		if err != nil {
			return nil, err
		}
		for _, version := range some {
			if version.Cause == Checkpoint {
				all = append(all, version)
			}
		}
		if len(some) < limit {
			break
		}
		before = some[len(some)-1].Number
	}
	return all[:min(len(all), maxCheckpoints)], nil
}

// checkpointed fails for what has no checkpoints: what is not there, and
// directories.
func (v *Volume) checkpointed(ctx context.Context, u auth.User, path string) error {
	e, err := v.Stat(ctx, u, path)
	if err != nil {
		return err
	}
	if e.Type == Directory {
		return problem.New(problem.Invalid, "%s is a directory: it has no checkpoints", path)
	}
	return nil
}

// AddCheckpoint keeps the file as it is now as a version that a Jupyter client
// can name. A newest checkpoint with the same bytes is taken instead of a new
// one.
func (v *Volume) AddCheckpoint(ctx context.Context, u auth.User, path string) (Version, error) {
	path, err := v.checkWrite(u, path)
	if err != nil {
		return Version{}, err
	}
	if err := v.checkpointed(ctx, u, path); err != nil {
		return Version{}, err
	}
	head, err := v.current(ctx, path)
	if err != nil {
		return Version{}, err
	}
	if head.Version.Number == 0 {
		return Version{}, problem.New(problem.TooLarge, "%s is larger than %d MiB: no versions are kept of it", path, versioned>>20)
	}
	have, err := v.Checkpoints(ctx, u, path)
	if err != nil {
		return Version{}, err
	}
	if len(have) > 0 && have[0].Hash == head.Version.Hash && have[0].Number > head.Version.Number {
		return have[0], nil
	}
	version := head.Version
	version.Author, version.Cause, version.Time = u.Name, Checkpoint, v.now()
	version.Base = head.Version.Number
	return v.cfg.Versions.AppendVersion(ctx, Append{Version: version, Side: true})
}

// RestoreCheckpoint makes the file what it was at a checkpoint, as
// RestoreVersion does. A version that is no checkpoint is an error of kind
// NotFound.
func (v *Volume) RestoreCheckpoint(ctx context.Context, u auth.User, path string, number int64) (Version, error) {
	clean, err := v.checkWrite(u, path)
	if err != nil {
		return Version{}, err
	}
	version, err := v.cfg.Versions.Version(ctx, clean, number)
	if err != nil {
		return Version{}, err
	}
	if version.Cause != Checkpoint {
		return Version{}, problem.New(problem.NotFound, "%s has no checkpoint %d", clean, number)
	}
	return v.RestoreVersion(ctx, u, path, number)
}

// DropCheckpoint takes a checkpoint away from Jupyter's clients. Its version
// stays: versions are never lost by a client that knows none.
func (v *Volume) DropCheckpoint(ctx context.Context, u auth.User, path string, number int64) error {
	path, err := v.checkWrite(u, path)
	if err != nil {
		return err
	}
	return v.cfg.Versions.DropCheckpoint(ctx, path, number)
}
