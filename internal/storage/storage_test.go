package storage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"quire/internal/problem"
)

func TestValidatePath(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", MaxNameBytes)
	for _, path := range []string{"a", "a/b", ".a", "..a", "a..", "...", "a b", "ü/日本", "a:b", "-", long, long + "/" + long, "C:/x", "%2e%2e/x"} {
		if err := ValidatePath(path); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
	for path, want := range map[string]string{
		"":                        "empty",
		"/a":                      "no slash at the start",
		"a/":                      "empty",
		"a//b":                    "empty",
		".":                       `"." and ".."`,
		"a/..":                    `"." and ".."`,
		"../../etc/passwd":        `"." and ".."`,
		`a\b`:                     "backslash",
		"a\x00":                   "control",
		"a\x1b[31m":               "control",
		"\xc0\xae\xc0\xae/a":      "UTF-8",
		"\xed\xa0\x80":            "UTF-8",
		long + "n":                "longer than 255",
		strings.Repeat("d/", 513): "1026 bytes long",
	} {
		err := ValidatePath(path)
		if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want Invalid with %q", path, err, want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x00\x1b\n") {
			t.Errorf("%q: the message passes control characters on", path)
		}
	}
}

func TestValidatePrefix(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/.", "a/..", ".", ".."} {
		if err := ValidatePrefix(prefix); err != nil {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	for _, prefix := range []string{"/", "/a", "a//", "./", "../", "a/../", "a/../b", `\`, "\x00", "\xff"} {
		if err := ValidatePrefix(prefix); !problem.Is(err, problem.Invalid) {
			t.Errorf("%q: got %v, want Invalid", prefix, err)
		}
	}
}

// Whatever ValidatePath lets through is a path of io/fs too, which os.Root and
// path.Join leave as it is.
func FuzzValidatePath(f *testing.F) {
	for _, seed := range []string{"a", "a/b", "../a", "a//b", "a/", "/", "\\", "\x00", "\xff", "ü"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		err := ValidatePath(path)
		if err == nil && (!fs.ValidPath(path) || path == "." || strings.ContainsAny(path, "\\\x00\r\n") || len(path) > MaxPathBytes) {
			t.Errorf("%q was let through", path)
		}
		if err == nil && ValidatePrefix(path) != nil {
			t.Errorf("%q is a path and no prefix", path)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x00\x1b\r\n") {
			t.Errorf("%q: the message passes control characters on: %q", path, err)
		}
	})
}

func TestBounded(t *testing.T) {
	t.Parallel()
	data := strings.Repeat("x", 100)
	for _, tt := range []struct {
		max  int64
		kind problem.Kind
		ok   bool
	}{{0, 0, true}, {100, 0, true}, {101, 0, true}, {99, problem.TooLarge, false}, {1, problem.TooLarge, false}} {
		b := Bounded(t.Context(), strings.NewReader(data), tt.max)
		got, err := io.ReadAll(b)
		if tt.ok && (err != nil || string(got) != data || b.Count() != 100 || b.Err() != nil) {
			t.Errorf("limit %d: %d bytes, %v", tt.max, len(got), err)
		}
		if !tt.ok && (!problem.Is(err, tt.kind) || !errors.Is(b.Err(), err)) {
			t.Errorf("limit %d: got %v and %v, want %v", tt.max, err, b.Err(), tt.kind)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	b := Bounded(ctx, bytes.NewReader(nil), 0)
	cancel()
	if _, err := b.Read(make([]byte, 1)); !problem.Is(err, problem.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}
