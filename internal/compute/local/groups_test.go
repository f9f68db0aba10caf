//go:build linux

package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHighestGroup is where groups of version 2 are made: for root, a user's
// terminal, a service that its manager gave its group, in a container, and where
// nothing may be made.
func TestHighestGroup(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	for _, path := range []string{"user.slice/user-7.slice/user@7.service/app.slice/shell.scope", "user.slice/user-7.slice/session-3.scope", "system.slice/quire.service/server"} {
		if err := os.MkdirAll(filepath.Join(mount, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ path, below, want string }{
		{"/system.slice/quire.service", "/", "/"},
		{"/", "/", "/"},
		{"/user.slice/user-7.slice/user@7.service/app.slice/shell.scope", "/user.slice/user-7.slice/user@7.service", "/user.slice/user-7.slice/user@7.service"},
		{"/user.slice/user-7.slice/session-3.scope", "/user.slice/user-7.slice/user@7.service", "/user.slice/user-7.slice/session-3.scope"},
		{"/system.slice/quire.service", "/system.slice/quire.service", "/system.slice/quire.service"},
		{"/system.slice/quire.service/server", "/system.slice/quire.service", "/system.slice/quire.service"}, // it was moved aside
		{"/../../outside", "/", "/"},
	} {
		may := func(group string) bool {
			return strings.HasPrefix(group+"/", strings.TrimSuffix(filepath.Join(mount, c.below), "/")+"/")
		}
		if got := highestGroup(mount, c.path, may); got != filepath.Join(mount, c.want) {
			t.Errorf("at %s, with %s ours: %s", c.path, c.below, strings.TrimPrefix(got, mount))
		}
	}
}
