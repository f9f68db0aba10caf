package contents

import (
	"slices"
	"strings"
	"sync"
)

// Limits of what is remembered of readers.
const (
	maxSeenPaths = 4096
	maxSights    = 64 // of one file
)

// A sight is a version that a client was given.
type sight struct {
	client  uint64
	version int64
}

// A seenVersions remembers which versions of which files clients were given.
type seenVersions struct {
	mu    sync.Mutex
	paths map[string][]sight // newest first
}

// Saw notes that a client that knows no versions has read or written a version
// of the file at path: its next save is made from that. It is remembered while
// the server runs, for some thousand files. client tells clients apart; 0 is one
// that is not known.
func (v *Volume) Saw(path string, client uint64, version int64) {
	path, err := CleanPath(path)
	if err != nil || version == 0 {
		return
	}
	s := &v.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paths == nil {
		s.paths = map[string][]sight{}
	}
	if len(s.paths) >= maxSeenPaths && s.paths[path] == nil {
		for other := range s.paths {
			delete(s.paths, other)
			break
		}
	}
	one := sight{client, version}
	all := slices.DeleteFunc(s.paths[path], func(old sight) bool { return old == one })
	all = slices.Insert(all, 0, one)
	s.paths[path] = all[:min(len(all), maxSights)]
}

// Seen returns the versions of the file at path that clients were given, the one
// that was given last first.
func (v *Volume) Seen(path string) (versions []int64) {
	s := &v.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.paths[path] {
		if !slices.Contains(versions, one.version) {
			versions = append(versions, one.version)
		}
	}
	return versions
}

// LastSeen returns the version of the file at path that a client was given last,
// 0 when that is not known.
func (v *Volume) LastSeen(path string, client uint64) int64 {
	path, err := CleanPath(path)
	if err != nil || client == 0 {
		return 0
	}
	s := &v.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.paths[path] {
		if one.client == client {
			return one.version
		}
	}
	return 0
}

// move follows a renamed file, or all files of a renamed directory.
func (s *seenVersions) move(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path := range s.paths {
		if path == to || strings.HasPrefix(path, to+"/") {
			delete(s.paths, path)
		}
	}
	moved := map[string][]sight{}
	for path, all := range s.paths {
		if rest, below := strings.CutPrefix(path, from); below && (rest == "" || rest[0] == '/') {
			moved[to+rest] = all
			delete(s.paths, path)
		}
	}
	for path, all := range moved {
		s.paths[path] = all
	}
}
