package contents

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"quire/internal/problem"
)

// Limits of a path from the volume's root.
const (
	MaxPathBytes = 1024
	MaxNameBytes = 255
)

// BesideHome is what the shared folder is called where paths begin in a person's
// workspace, as those of their notebook server do.
const BesideHome = ".shared"

// CleanPath returns the one spelling of a slash path from the volume's root, ""
// for the root itself. Slashes at its ends are dropped. It fails with kind
// Invalid for what is no path here: "..", ".", empty names, backslashes,
// control characters, bytes that are not UTF-8; and with kind NotFound for
// names that begin with a dot, which are hidden.
func CleanPath(path string) (string, error) {
	path = strings.Trim(path, "/")
	if path == "" {
		return "", nil
	}
	if len(path) > MaxPathBytes {
		return "", problem.New(problem.Invalid, "the path has %d bytes, at most %d are allowed", len(path), MaxPathBytes)
	}
	for name := range strings.SplitSeq(path, "/") {
		if err := checkName(name); err != nil {
			return "", err
		}
	}
	return path, nil
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return problem.New(problem.Invalid, "the path has a name %q, which is not allowed", name)
	case len(name) > MaxNameBytes:
		return problem.New(problem.Invalid, "the name %.40q... has %d bytes, at most %d are allowed", name, len(name), MaxNameBytes)
	case !utf8.ValidString(name):
		return problem.New(problem.Invalid, "the name %q is not UTF-8", name)
	case strings.ContainsFunc(name, forbidden):
		return problem.New(problem.Invalid, "the name %q has a backslash or a control character", name)
	case strings.HasPrefix(name, "."):
		return problem.New(problem.NotFound, "%q: names that begin with a dot are hidden", name)
	}
	return nil
}

// forbidden reports runes that may be in no name: separators elsewhere, what a
// terminal or a page would act on, and marks that turn text around.
func forbidden(r rune) bool {
	return r == '\\' || unicode.IsControl(r) || r == utf8.RuneError ||
		(r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069)
}

// place splits a clean path into the workspace it lies in, "users/ann" or
// "shared", and the rest below it. The workspace is "" above all of them.
func place(path string) (workspace, rest string) {
	first, below, _ := strings.Cut(path, "/")
	switch first {
	case "shared":
		return first, below
	case "users":
		if below == "" {
			return "", path
		}
		user, rest, _ := strings.Cut(below, "/")
		return "users/" + user, rest
	}
	return "", path
}

// join is path.Join for clean paths.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}
