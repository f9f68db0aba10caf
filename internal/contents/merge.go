package contents

import (
	"bytes"
	"context"
	"io"

	"quire/internal/problem"
)

// maxMerge is the largest file that is merged, in bytes.
const maxMerge = 256 << 20

// savePlain makes what a client that knows no versions saves the newest version,
// merged into what was saved since the client was given the file. The caller
// holds the lock of its path.
func (v *Volume) savePlain(ctx context.Context, staged, newest Version, opt SaveOptions) (Version, error) {
	seen := v.LastSeen(staged.Path, opt.Client)
	if opt.Merge == nil || seen == 0 || seen == newest.Number {
		return v.commitPlain(ctx, staged, opt)
	}
	base, err := v.cfg.Versions.Version(ctx, staged.Path, seen)
	switch {
	case problem.Is(err, problem.NotFound): // the file is another one by now
		return v.commitPlain(ctx, staged, opt)
	case err != nil:
		return Version{}, problem.Wrap(err, "saving %s", staged.Path)
	case base.Hash == newest.Hash || staged.Hash == newest.Hash:
		return v.commitPlain(ctx, staged, opt)
	case staged.Hash == base.Hash: // the client changed nothing
		return newest, nil
	}
	return v.merge(ctx, staged, base, newest, opt)
}

func (v *Volume) commitPlain(ctx context.Context, staged Version, opt SaveOptions) (Version, error) {
	saved, err := v.commit(ctx, staged)
	if err == nil {
		v.Saw(staged.Path, opt.Client, saved.Number)
	}
	return saved, err
}

// merge saves the newest version with what the client changed since base.
func (v *Volume) merge(ctx context.Context, staged, base, newest Version, opt SaveOptions) (Version, error) {
	var bodies [3][]byte
	for i, one := range []Version{base, newest, staged} {
		body, err := v.bytesOf(ctx, one)
		if err != nil {
			return Version{}, problem.Wrap(err, "saving %s", staged.Path)
		}
		bodies[i] = body
	}
	staged.Base = base.Number
	merged, conflicts, err := opt.Merge(bodies[0], bodies[1], bodies[2])
	if err != nil {
		conflicts = []string{"the whole file, which cannot be merged: " + err.Error()}
	}
	if len(conflicts) > 0 {
		return Version{}, v.refuse(ctx, staged, newest, conflicts...)
	}
	whole, err := v.stage(ctx, staged.Path, bytes.NewReader(merged))
	if err != nil {
		return Version{}, err
	}
	staged.Cause = Merged
	kept, err := v.cfg.Versions.AppendVersion(ctx, Append{Version: staged, Side: true})
	if err != nil {
		return Version{}, problem.Wrap(err, "keeping what was saved of %s", staged.Path)
	}
	if whole.Hash != newest.Hash {
		whole.Author, whole.Cause, whole.Base = staged.Author, Saved, newest.Number
		if newest, err = v.commit(ctx, whole); err != nil {
			return Version{}, err
		}
	}
	v.Saw(staged.Path, opt.Client, kept.Number) // what the client has, not what became of it
	return newest, nil
}

// bytesOf reads a version.
func (v *Volume) bytesOf(ctx context.Context, one Version) ([]byte, error) {
	if one.Size > maxMerge {
		return nil, problem.New(problem.TooLarge, "somebody saved it meanwhile, and it has %d bytes; at most %d are merged", one.Size, maxMerge)
	}
	body, err := v.cfg.Blobs.Open(ctx, one.Hash)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, maxMerge))
}
