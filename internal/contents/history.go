package contents

import (
	"context"
	"io"

	"quire/internal/auth"
)

// Versions returns the versions of a file below the number before (0: all),
// newest first, at most limit (0: 100).
func (v *Volume) Versions(ctx context.Context, u auth.User, path string, before int64, limit int) ([]Version, error) {
	path, err := v.check(u, auth.Read, path)
	if err != nil {
		return nil, err
	}
	if limit <= 0 || limit > 1000 {
		limit = 100
	}
	if _, err := v.current(ctx, path); err != nil {
		return nil, err
	}
	return v.cfg.Versions.ListVersions(ctx, path, before, limit)
}

// Version returns one version of a file.
func (v *Volume) Version(ctx context.Context, u auth.User, path string, number int64) (Version, error) {
	path, err := v.check(u, auth.Read, path)
	if err != nil {
		return Version{}, err
	}
	return v.cfg.Versions.Version(ctx, path, number)
}

// OpenVersion opens one version of a file. The caller closes the reader.
func (v *Volume) OpenVersion(ctx context.Context, u auth.User, path string, number int64) (Version, io.ReadCloser, error) {
	path, err := v.check(u, auth.Read, path)
	if err != nil {
		return Version{}, nil, err
	}
	version, err := v.cfg.Versions.Version(ctx, path, number)
	if err != nil {
		return Version{}, nil, err
	}
	body, err := v.cfg.Blobs.Open(ctx, version.Hash)
	return version, body, err
}

// RestoreVersion makes the bytes of an older version the newest one. That is a
// save like any other and can be undone by restoring what was newest before.
func (v *Volume) RestoreVersion(ctx context.Context, u auth.User, path string, number int64) (Version, error) {
	path, err := v.checkWrite(u, path)
	if err != nil {
		return Version{}, err
	}
	unlock := v.locks.lock(path)
	defer unlock()
	old, err := v.cfg.Versions.Version(ctx, path, number)
	if err != nil {
		return Version{}, err
	}
	head, err := v.notice(ctx, path)
	if err != nil {
		return Version{}, err
	}
	return v.commit(ctx, Version{
		Path: path, Hash: old.Hash, Size: old.Size, Author: u.Name,
		Time: v.now(), Cause: Restored, Base: head.Version.Number,
	})
}
