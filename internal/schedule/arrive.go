package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// A trigger may wait for a file. The servers look at the folders that schedules
// name: what is there is compared, in one transaction, with what was there before,
// so that each version of a file is one signal, whoever looks.

const (
	fileSource  = "file/"
	tableSource = "table/"

	// lookAtFiles is how often folders are looked at.
	lookAtFiles = 10 * time.Second
	// Settled is how long a file must not have changed to count: one that is being
	// written is left for the next look.
	Settled = 5 * time.Second
	// MaxArrivals is how many files of one pattern are looked at.
	MaxArrivals = 10_000
	maxTable    = 300
	maxFilePath = 1000
)

// TableSource is the source of the signals that a table was written.
func TableSource(name string) string { return tableSource + strings.ToLower(name) }

// A File is what is there of a file.
type File struct {
	Path     string
	Version  string // another one after each change
	Size     int64
	Modified time.Time // zero where it is not known
}

// Files find the files that triggers wait for.
type Files interface {
	// Find returns the files in a folder that u may see and whose names fit a pattern,
	// at most MaxArrivals: more are an error. Files that are perhaps still being
	// written are left out. A folder that is not there has none.
	Find(ctx context.Context, u auth.User, folder, pattern string) ([]File, error)
}

// A Watch is a pattern of files that a schedule waits for.
type Watch struct {
	Schedule string // id
	Name     string
	Owner    string
	Source   string
}

// Pattern is the path that the watch is for.
func (w Watch) Pattern() string { return strings.TrimPrefix(w.Source, fileSource) }

// FileSource reports whether a source is of files.
func FileSource(source string) bool { return strings.HasPrefix(source, fileSource) }

// checkFile says what is wrong with a path to wait for.
func checkFile(file string) string {
	dir, last := path.Split(file)
	_, err := path.Match(last, "")
	switch {
	case len(file) > maxFilePath || path.Clean(file) != file || strings.ContainsFunc(file, func(c rune) bool { return c < 0x20 }):
		return fmt.Sprintf("want a path such as users/ann/in/*.csv, not %.80q", file)
	case !strings.HasPrefix(file, "users/") && !strings.HasPrefix(file, "shared/") && !strings.HasPrefix(file, "mounts/"):
		return fmt.Sprintf("want a path that begins with users/, shared/ or mounts/, not %.80q", file)
	case strings.ContainsAny(dir, "*?["):
		return fmt.Sprintf("a pattern such as *.csv stands in the last part of the path only: not %.80q", file)
	case err != nil:
		return fmt.Sprintf("%.80q: want a pattern such as *.csv or plays-[0-9]*", last)
	}
	return ""
}

// watchFiles looks for files until the context ends.
func (s *Schedules) watchFiles(ctx context.Context) {
	tick := time.NewTicker(lookAtFiles)
	defer tick.Stop()
	for {
		if err := s.lookForFiles(ctx, ""); err != nil && ctx.Err() == nil {
			s.cfg.Log.LogAttrs(ctx, slog.LevelError, "looking for files that schedules wait for", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// beginToWait notes the files that are there when a schedule begins to wait for
// such: they do not fire. Should it fail, the next look tells by their time.
func (s *Schedules) beginToWait(ctx context.Context, one Schedule) {
	if slices.ContainsFunc(one.Definition.Sources(), FileSource) {
		if err := s.lookForFiles(ctx, one.ID); err != nil {
			s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "looking for files that a schedule waits for", slog.String("schedule", one.Name), slog.String("error", err.Error()))
		}
	}
}

// lookForFiles looks at what the schedule of an id waits for, or all for "".
func (s *Schedules) lookForFiles(ctx context.Context, id string) error {
	watches, err := s.cfg.Store.Watches(ctx)
	if err != nil {
		return err
	}
	arrived := 0
	for _, w := range watches {
		if id != "" && w.Schedule != id {
			continue
		}
		n, err := s.lookForFile(ctx, w)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // the others are not to suffer
			s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "looking for a file that a schedule waits for",
				slog.String("schedule", w.Name), slog.String("file", w.Pattern()), slog.String("error", err.Error()))
		}
		arrived += n
	}
	if arrived > 0 {
		s.poke()
	}
	return nil
}

func (s *Schedules) lookForFile(ctx context.Context, w Watch) (arrived int, err error) {
	u, err := s.cfg.User(ctx, w.Owner)
	if err != nil {
		return 0, problem.Wrap(err, "looking up the owner of the schedule")
	}
	folder, pattern := path.Split(w.Pattern())
	files, err := s.cfg.Files.Find(ctx, u, strings.TrimSuffix(folder, "/"), pattern)
	if err != nil {
		return 0, err
	}
	return s.cfg.Store.Arrive(ctx, w, files, s.now())
}

// Signal is what tells that a file has arrived.
func (f File) Signal(source string, now time.Time) (Signal, error) {
	values := map[string]json.RawMessage{}
	texts := map[string]any{"path": f.Path, "name": path.Base(f.Path), "version": f.Version, "size": f.Size}
	if !f.Modified.IsZero() {
		texts["modified"] = f.Modified.UTC().Format(time.RFC3339)
	}
	for name, v := range texts {
		data, err := json.Marshal(v)
		if err != nil {
			return Signal{}, err
		}
		values[name] = data
	}
	return Signal{ID: f.Path + "@" + f.Version, Source: source, At: now, Values: values}, nil
}
