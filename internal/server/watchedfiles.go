package server

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/problem"
	"quire/internal/schedule"
	"quire/internal/storage"
)

// watchedFiles find the files that schedules wait for: on the volume, and in the
// object stores under mounts/, which are asked themselves, since what is kept of
// their folders may be an hour old.
type watchedFiles struct {
	volume *contents.Volume
	mounts map[string]storage.Store
	now    func() time.Time
}

// Find implements schedule.Files.
func (w watchedFiles) Find(ctx context.Context, u auth.User, folder, pattern string) ([]schedule.File, error) {
	if err := auth.Allow(u, auth.Read, auth.FileAt(folder)); err != nil {
		return nil, err
	}
	var found []schedule.File
	add := func(name string, size int64, modified time.Time) error {
		if fits, err := path.Match(pattern, name); err != nil || !fits || w.now().Sub(modified) < schedule.Settled {
			return err
		}
		if len(found) == schedule.MaxArrivals {
			return problem.New(problem.TooLarge, "more than %d files in %s fit %s: want a folder, or a pattern, of fewer", schedule.MaxArrivals, folder, pattern)
		}
		found = append(found, schedule.File{Path: folder + "/" + name, Version: fmt.Sprintf("%d-%d", modified.UnixNano(), size), Size: size, Modified: modified})
		return nil
	}
	if below, ok := strings.CutPrefix(folder+"/", "mounts/"); ok {
		name, prefix, _ := strings.Cut(below, "/")
		store := w.mounts[name]
		if store == nil {
			return nil, problem.New(problem.NotFound, "there is no mount %s", name)
		}
		literal, _, _ := strings.Cut(pattern, "*") // what every name begins with
		if i := strings.IndexAny(literal, `?[\`); i >= 0 {
			literal = literal[:i]
		}
		for token := ""; ; {
			page, err := store.List(ctx, storage.ListOptions{Prefix: prefix + literal, Limit: storage.MaxPageSize, Token: token})
			if err != nil {
				return nil, err
			}
			for _, e := range page.Entries {
				if e.Dir {
					continue
				}
				if err := add(path.Base(e.Path), e.Size, e.ModTime); err != nil {
					return nil, err
				}
			}
			if token = page.Next; token == "" {
				return found, nil
			}
		}
	}
	page, err := w.volume.List(ctx, u, folder, contents.ListOptions{})
	if problem.Is(err, problem.NotFound) {
		return nil, nil // it may come
	}
	if err != nil {
		return nil, err
	}
	for _, e := range page.Entries {
		if e.Type == contents.Directory {
			continue
		}
		if err := add(e.Name, e.Size, e.Modified); err != nil {
			return nil, err
		}
	}
	return found, nil
}
