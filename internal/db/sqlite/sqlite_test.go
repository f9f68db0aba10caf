package sqlite

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/db"
	"quire/internal/problem"
)

func setup(t *testing.T) *db.DB {
	t.Helper()
	d, err := Open(context.Background(), filepath.Join(t.TempDir(), "a dir with spaces & ?.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestOpenTwiceKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	ctx, file := context.Background(), filepath.Join(t.TempDir(), "quire.db")
	for range 2 {
		d, err := Open(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.PutUser(ctx, auth.User{Name: "ann", Admin: true}); err != nil {
			t.Fatal(err)
		}
		users, err := d.Users(ctx)
		if err != nil || len(users) != 1 || !users[0].Admin {
			t.Fatalf("users %v, %v", users, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPragmasHold(t *testing.T) {
	t.Parallel()
	handle, err := open(filepath.Join(t.TempDir(), "p.db"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
		var got string
		if err := handle.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, want %q (%v)", pragma, got, want, err)
		}
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	for _, newer := range []string{
		`PRAGMA user_version = 999`,
		`CREATE TABLE migrations (name TEXT PRIMARY KEY); INSERT INTO migrations VALUES ('9999_later')`,
	} {
		file := filepath.Join(t.TempDir(), "new.db")
		execute(t, file, newer)
		if _, err := Open(context.Background(), file); err == nil {
			t.Errorf("a database of a newer Quire was opened, after %s", newer)
		}
	}
}

// TestNumberedDatabaseGoesOn opens a database of the time when migrations were
// counted, as it was after the first nine of them.
func TestNumberedDatabaseGoesOn(t *testing.T) {
	t.Parallel()
	ctx, file := context.Background(), filepath.Join(t.TempDir(), "quire.db")
	d, err := Open(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.PutUser(ctx, auth.User{Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	execute(t, file, `DELETE FROM migrations WHERE name < '0010'; PRAGMA user_version = 9`)
	d, err = Open(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if users, err := d.Users(ctx); err != nil || len(users) != 1 {
		t.Errorf("users %v, %v", users, err)
	}
}

func execute(t *testing.T, file, statements string) {
	t.Helper()
	handle, err := open(file, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	if _, err := handle.Exec(statements); err != nil {
		t.Fatal(err)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	ctx, d := context.Background(), setup(t)
	now := time.Date(2018, 5, 8, 0, 0, 0, 0, time.UTC)
	s := &auth.Sessions{Store: d, Now: func() time.Time { return now }}
	token := auth.NewSecret()
	ann := auth.User{Name: "ann", DisplayName: "Ann"}
	if err := s.SetToken(ctx, token, ann); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a token of somebody unknown was kept: %v", err)
	}
	if err := d.PutUser(ctx, ann); err != nil {
		t.Fatal(err)
	}
	if err := s.SetToken(ctx, token, ann); err != nil {
		t.Fatal(err)
	}
	cookie, u, err := s.SignIn(ctx, token)
	if err != nil || u != ann {
		t.Fatalf("signing in: %v %v", u, err)
	}
	if u, err := s.Session(ctx, cookie); err != nil || u != ann {
		t.Errorf("session: %v %v", u, err)
	}
	if err := d.DeleteExpired(ctx, now.Add(auth.SessionLife)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Session(ctx, cookie); !problem.Is(err, problem.Denied) {
		t.Errorf("an expired session is still there: %v", err)
	}
	if _, err := s.Token(ctx, token); err != nil {
		t.Errorf("the token went with the session: %v", err)
	}
}
