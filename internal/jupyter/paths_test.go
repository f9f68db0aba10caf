package jupyter

import (
	"testing"

	"quire/internal/auth"
)

// TestPathsOfTheSharedFolder: clients' paths lead into the person's own folder, and
// where they say so into the shared one, and nowhere else.
func TestPathsOfTheSharedFolder(t *testing.T) {
	t.Parallel()
	s := &Server{cfg: Config{User: auth.User{Name: "ann"}, Dir: "/files/users/ann", Shared: "/files/shared"}}
	alone := &Server{cfg: Config{User: auth.User{Name: "ann"}, Dir: "/files/users/ann"}}
	for path, want := range map[string][2]string{
		"a.ipynb":              {"users/ann/a.ipynb", "/files/users/ann/a.ipynb"},
		"shared/a.ipynb":       {"users/ann/shared/a.ipynb", "/files/users/ann/shared/a.ipynb"},
		".shared/team/a.ipynb": {"shared/team/a.ipynb", "/files/shared/team/a.ipynb"},
		"/.shared/":            {"shared", "/files/shared"},
		".sharedother/a.ipynb": {"users/ann/.sharedother/a.ipynb", "/files/users/ann/.sharedother/a.ipynb"},
		"team/.shared/a.ipynb": {"users/ann/team/.shared/a.ipynb", "/files/users/ann/team/.shared/a.ipynb"},
	} {
		if full, disk := s.full(path), s.disk(path); full != want[0] || disk != want[1] {
			t.Errorf("%s is %s, at %s on the disk", path, full, disk)
		}
	}
	if full := alone.full(".shared/a.ipynb"); full != "users/ann/.shared/a.ipynb" {
		t.Errorf("a server without a shared folder leads to %s", full)
	}
}
