package storage

import (
	"strings"
	"unicode/utf8"

	"quire/internal/problem"
)

// Limits of a path.
const (
	// MaxPathBytes is the longest path, as in S3.
	MaxPathBytes = 1024
	// MaxNameBytes is the longest name between two slashes, as on Linux.
	MaxNameBytes = 255
)

// ValidatePath returns an error of kind Invalid unless path is one or more names
// joined by single slashes, all valid UTF-8, at most MaxPathBytes long. A name is
// 1 to MaxNameBytes long, is not "." or "..", and holds no backslash and no
// control character. So a path is relative, has one spelling, and cannot leave
// its root.
func ValidatePath(path string) error {
	if path == "" {
		return problem.New(problem.Invalid, "the path is empty")
	}
	return validate(path, path)
}

// ValidatePrefix is ValidatePath for the prefix of a listing, which may also be
// empty, end with a slash, or end in the middle of a name.
func ValidatePrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	rest := strings.TrimSuffix(prefix, "/")
	if rest == "" {
		return problem.New(problem.Invalid, "prefix %s: want no slash at the start", quoted(prefix))
	}
	// A last name of dots may still be the beginning of a longer one ("..a").
	if i := strings.LastIndexByte(rest, '/'); rest == prefix && strings.Trim(rest[i+1:], ".") == "" {
		rest += "x"
	}
	return validate(prefix, rest)
}

func validate(shown, path string) error {
	switch {
	case len(path) > MaxPathBytes:
		return problem.New(problem.Invalid, "path %s: %d bytes long: want at most %d", quoted(shown), len(path), MaxPathBytes)
	case !utf8.ValidString(path):
		return problem.New(problem.Invalid, "path %s: not valid UTF-8", quoted(shown))
	case strings.HasPrefix(path, "/"):
		return problem.New(problem.Invalid, "path %s: want no slash at the start", quoted(shown))
	}
	for name := range strings.SplitSeq(path, "/") {
		if why := badName(name); why != "" {
			return problem.New(problem.Invalid, "path %s: %s", quoted(shown), why)
		}
	}
	return nil
}

func badName(name string) string {
	switch {
	case name == "":
		return "a name between slashes is empty"
	case name == "." || name == "..":
		return `names "." and ".." are not allowed`
	case len(name) > MaxNameBytes:
		return "a name is longer than 255 bytes"
	}
	for _, r := range name {
		if r == '\\' {
			return "a backslash is not allowed"
		}
		if r < 0x20 || r == 0x7f {
			return "control characters are not allowed"
		}
	}
	return ""
}

// quoted is a path for a message: escaped, and short enough to read.
func quoted(path string) string {
	const most = 120
	short := path
	if len(short) > most {
		short = short[:most] + "..."
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(short, "\ufffd") {
		switch {
		case r < 0x20 || r == 0x7f:
			const hex = "0123456789abcdef"
			b.WriteString(`\x`)
			b.WriteByte(hex[r>>4&15])
			b.WriteByte(hex[r&15])
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
