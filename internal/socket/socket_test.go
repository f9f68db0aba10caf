package socket_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"quire/internal/socket"
)

func TestLongPathAndLeftovers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	for range 2 { // the second finds the first one's socket there
		l, err := socket.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := socket.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = l.Close()
	}
	if !socket.There(path) {
		t.Error("the socket is not seen")
	}
}

func TestLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // where nobody hostile shares the folder
	}
	dir := t.TempDir()
	real, link := filepath.Join(dir, "socket"), filepath.Join(dir, "link")
	l, err := socket.Listen(real)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if conn, err := socket.Dial(t.Context(), link); err == nil {
		_ = conn.Close()
		t.Error("a link was followed")
	}
	if socket.There(link) {
		t.Error("a link counts as a socket")
	}
}
