package server

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/problem"
	"quire/internal/storage"
)

func TestOpenPathRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		kind problem.Kind
		want string
	}{
		{"", problem.Invalid, "empty"},
		{dir, problem.Invalid, "folder"},
		{filepath.Join(dir, "x") + "/", problem.Invalid, "folder"},
		{filepath.Join(dir, "no", "x.ipynb"), problem.NotFound, filepath.Join(dir, "no") + " doesn't exist"},
		{"a\x00b", problem.Invalid, "NUL"},
		{`a\b.ipynb`, problem.Invalid, "backslash"},
		{"hdfs://host/x", problem.Invalid, "hdfs:// is not supported"},
		{"adl://host/x", problem.Invalid, "adl:// is not supported"},
		{"ftp://user:hunter2@host/x", problem.Invalid, "ftp:// is not known"},
		{"file://other/x", problem.Invalid, "file:///"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := OpenPath(context.Background(), tt.name)
			if err == nil || problem.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v (%v), want %v with %q", err, problem.KindOf(err), tt.kind, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in the message: %v", err)
			}
		})
	}
}

func TestOpenPathLocal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a.ipynb")
	ctx := context.Background()
	for _, as := range []string{name, "file://" + name} {
		s, p, err := OpenPath(ctx, as)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := storage.PutBytes(ctx, s, p, []byte(as), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if s.Location(p) != name {
			t.Errorf("location %s, want %s", s.Location(p), name)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != as {
			t.Errorf("file holds %q (%v), want %q", got, err, as)
		}
	}
}

func TestOpenPathFollowsTheNamedLink(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	link, target := filepath.Join(dir, "link"), filepath.Join(other, "target")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	s, p, err := OpenPath(context.Background(), link)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := storage.PutBytes(context.Background(), s, p, []byte("x"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "x" {
		t.Errorf("target holds %q (%v)", got, err)
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v %v", fi, err)
	}
}

func TestOpenPathDevice(t *testing.T) {
	t.Parallel()
	s, p, err := OpenPath(context.Background(), os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := storage.PutBytes(context.Background(), s, p, []byte("abc"), storage.PutOptions{}); err != nil || info.Size != 3 {
		t.Errorf("got %+v, %v", info, err)
	}
	if data, _, err := storage.ReadAll(context.Background(), s, p, 10); err != nil || len(data) != 0 {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := storage.PutBytes(context.Background(), s, p, nil, storage.PutOptions{IfNotExist: true}); !problem.Is(err, problem.Invalid) {
		t.Errorf("write once to a device: got %v, want Invalid", err)
	}
}
