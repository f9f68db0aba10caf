package session

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"time"

	"quire/internal/contents"
	"quire/internal/problem"
)

// maxFile is the largest file that becomes a live document, in bytes.
const maxFile = 256 << 20

// candidates is how many older versions are looked at to find out what somebody
// else's save was made from.
const candidates = 12

// newest returns the newest version of a file, and older ones behind it, without
// those that are beside the line. A file that is not there is an error of kind
// NotFound.
func newest(ctx context.Context, cfg *Config, path string, older int) ([]contents.Version, error) {
	if _, err := cfg.Volume.Stat(ctx, cfg.User, path); err != nil {
		return nil, err
	}
	var versions []contents.Version
	for before := int64(0); len(versions) <= older; {
		page, err := cfg.Volume.Versions(ctx, cfg.User, path, before, 1+older)
		if err != nil {
			return nil, err
		}
		for _, v := range page {
			if before = v.Number; !v.Cause.Aside() {
				versions = append(versions, v)
			}
		}
		if len(page) <= older {
			break
		}
	}
	if len(versions) == 0 {
		return nil, problem.New(problem.TooLarge, "%s is too large to be edited by several people at once", path)
	}
	return versions, nil
}

// readVersion returns the bytes of a version.
func readVersion(ctx context.Context, cfg *Config, path string, number int64) ([]byte, error) {
	v, body, err := cfg.Volume.OpenVersion(ctx, cfg.User, path, number)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if v.Size > maxFile {
		return nil, problem.New(problem.TooLarge, "%s has %d bytes; at most %d can be edited live", path, v.Size, maxFile)
	}
	return io.ReadAll(io.LimitReader(body, maxFile))
}

// saveFile writes a file that is still at the version that we know.
func saveFile(ctx context.Context, cfg *Config, path string, version int64, hash string, p paper) saveResult {
	data, err := p.bytes()
	if err != nil {
		return saveResult{err: err}
	}
	versions, err := newest(ctx, cfg, path, 0)
	if err != nil {
		return saveResult{err: err}
	}
	if versions[0].Number != version {
		return saveResult{changed: true}
	}
	sum := hashOf(data)
	if sum == hash {
		return saveResult{paper: p, version: version, hash: hash, skipped: true}
	}
	v, err := cfg.Volume.Save(ctx, cfg.User, path, bytes.NewReader(data), contents.SaveOptions{Base: version})
	if problem.Is(err, problem.Conflict) {
		return saveResult{changed: true}
	}
	return saveResult{paper: p, version: v.Number, hash: sum, err: err}
}

// A sighting is a file that somebody else changed.
type sighting struct {
	theirs     paper
	version    contents.Version
	candidates []paper // what theirs may have been made from, the likeliest first
	given      bool    // candidates are what clients were given, as far as it is known
	hash       string
	err        error
}

// check looks whether somebody else changed the file, and merges what they did.
func (r *Room) check() {
	r.atDisk = true
	path, version, base, cfg := r.path, r.version, r.paper, r.cfg
	sure := r.from != "" && r.from == r.hash
	r.from = ""
	r.disk.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		seen, err := sight(ctx, cfg, path, version, base, sure)
		r.postAlways(func() {
			r.atDisk = false
			r.seen(seen, path, err)
			r.atTheDisk(r.cfg.Now())
		})
	})
}

// sight returns what somebody else saved, nil when nobody did. sure says that it
// was made from base.
func sight(ctx context.Context, cfg *Config, path string, version int64, base paper, sure bool) (*sighting, error) {
	versions, err := newest(ctx, cfg, path, candidates)
	if err != nil || versions[0].Number == version {
		return nil, err
	}
	data, err := readVersion(ctx, cfg, path, versions[0].Number)
	if err != nil {
		return nil, err
	}
	s := &sighting{version: versions[0], hash: hashOf(data)}
	if s.theirs, err = base.parse(data); err != nil {
		s.err = err
		return s, nil //nolint:nilerr // it is told in the room
	}
	if sure {
		s.candidates, s.given = []paper{base}, true
		return s, nil
	}
	given := slices.DeleteFunc(cfg.Volume.Seen(path), func(n int64) bool { return n >= versions[0].Number })
	s.given = versions[0].Cause == contents.Saved && len(given) > 0
	var from []int64
	if s.given {
		from = given
	} else {
		for _, v := range versions[1:] {
			if v.Number <= version {
				from = append(from, v.Number)
			}
		}
	}
	for _, n := range from[:min(len(from), candidates)] {
		if n == version {
			s.candidates = append(s.candidates, base)
			continue
		}
		older, err := readVersion(ctx, cfg, path, n)
		if err != nil {
			continue // it was thrown away
		}
		if p, err := base.parse(older); err == nil {
			s.candidates = append(s.candidates, p)
		}
	}
	if len(s.candidates) == 0 {
		s.candidates = []paper{base}
	}
	return s, nil
}

// seen takes in what check found.
func (r *Room) seen(s *sighting, path string, err error) {
	missing := problem.Is(err, problem.NotFound)
	if !missing {
		r.missing = time.Time{}
	}
	switch {
	case missing && !r.gone(path):
	case missing:
		r.err = &Refusal{Code: codeNotFound, Reason: "the file was deleted", Err: err}
	case err != nil:
		r.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "the file of a live document cannot be looked at",
			slog.String("path", r.path), slog.String("err", err.Error()))
	case s == nil || s.version.Number <= r.version:
	case s.err != nil:
		// What is there is no notebook. It stays among the versions, and the
		// document replaces it.
		r.version, r.hash = s.version.Number, s.hash
		r.tellMerge(s.version, []string{"the whole file, which is no notebook any more: " + s.err.Error()})
		r.touch()
	default:
		r.mergeSeen(s)
	}
}

// missingGrace is how long a file must be missing before it counts as deleted: a
// room may hear of a new name a moment after the file has it.
const missingGrace = time.Second

// gone reports whether the file that was not found at path is deleted, as far as
// can be told now. The next look tells more.
func (r *Room) gone(path string) bool {
	now := r.cfg.Now()
	if path != r.path {
		r.missing = time.Time{}
		return false
	}
	if r.missing.IsZero() {
		r.missing = now
	}
	return now.Sub(r.missing) >= missingGrace
}

// mergeSeen merges what somebody else saved.
func (r *Room) mergeSeen(s *sighting) {
	wasDirty := r.dirty
	conflicts := r.paper.merge(r.doc, s.theirs, s.candidates, s.given)
	r.paper, r.version, r.hash = s.theirs, s.version.Number, s.hash
	r.log.put(recordSaved, mustJSON(logSaved{r.version}))
	r.dirty = wasDirty
	if data, err := r.paper.snapshot(r.doc).bytes(); err != nil || hashOf(data) != r.hash {
		r.touch()
	}
	r.tellMerge(s.version, conflicts)
}

// tellMerge tells everybody in the room that somebody else's save came in, and
// what of it did not because the same was changed here. Their save is among the
// file's versions, whole.
func (r *Room) tellMerge(v contents.Version, conflicts []string) {
	list := make([]any, 0, len(conflicts))
	for _, c := range conflicts[:min(len(conflicts), 50)] {
		list = append(list, c)
	}
	r.doc.Map(rootState).Set("merged", map[string]any{
		"version": v.Number, "author": v.Author, "cause": string(v.Cause), "conflicts": list,
	})
	r.cfg.Log.LogAttrs(context.Background(), slog.LevelInfo, "an outside change was merged into a live document",
		slog.String("path", r.path), slog.Int64("version", v.Number), slog.Int("conflicts", len(conflicts)))
}
