package contents

import (
	"slices"
	"sync"
)

// Limits of what is remembered of readers.
const (
	maxSeenPaths    = 4096
	maxSeenVersions = 16
)

// A seenVersions remembers which versions of which files clients were given.
type seenVersions struct {
	mu    sync.Mutex
	paths map[string][]int64 // newest sight first
}

// Saw notes that a client that knows no versions has read or written a version
// of the file at path: its next save is likely made from that. It is remembered
// while the server runs, for some thousand files.
func (v *Volume) Saw(path string, version int64) {
	path, err := CleanPath(path)
	if err != nil || version == 0 {
		return
	}
	s := &v.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paths == nil {
		s.paths = map[string][]int64{}
	}
	if len(s.paths) >= maxSeenPaths && s.paths[path] == nil {
		for other := range s.paths {
			delete(s.paths, other)
			break
		}
	}
	versions := slices.DeleteFunc(s.paths[path], func(n int64) bool { return n == version })
	versions = slices.Insert(versions, 0, version)
	s.paths[path] = versions[:min(len(versions), maxSeenVersions)]
}

// Seen returns the versions of the file at path that clients were given, the one
// that was given last first.
func (v *Volume) Seen(path string) []int64 {
	s := &v.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.paths[path])
}
