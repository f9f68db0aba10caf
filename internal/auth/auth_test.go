package auth

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"quire/internal/problem"
)

func TestAllow(t *testing.T) {
	t.Parallel()
	ann, anna, root := User{Name: "ann"}, User{Name: "anna"}, User{Name: "root", Admin: true}
	etl := User{Name: "etl", Service: &Service{Run: []string{"shared/etl", "users/ann/a.ipynb", "templates/t"}, Write: []string{"shared/out"}}}
	for _, tt := range []struct {
		name string
		user User
		verb Verb
		obj  Object
		want bool
	}{
		{"own file", ann, Write, FileAt("users/ann/a.ipynb"), true},
		{"a name that is a prefix", ann, Write, FileAt("users/anna/a.ipynb"), false},
		{"the other way round", anna, Write, FileAt("users/ann/a.ipynb"), false},
		{"reading another's", ann, Read, FileAt("users/anna/a.ipynb"), true},
		{"running another's", ann, Run, FileAt("users/anna/a.ipynb"), true},
		{"shared", ann, Write, FileAt("shared/x.ipynb"), true},
		{"shared look-alike", ann, Write, FileAt("sharedx/x.ipynb"), false},
		{"root", ann, Write, FileAt("x.ipynb"), false},
		{"root by admin", root, Write, FileAt("x.ipynb"), false},
		{"users itself by admin", root, Write, FileAt("users"), false},
		{"another's by admin", root, Write, FileAt("users/ann/a.ipynb"), true},
		{"mount", root, Write, FileAt("mounts/lake/a.ipynb"), false},
		{"managing a file", ann, Manage, FileAt("users/ann/a.ipynb"), false},
		{"identity in its folder", etl, Run, FileAt("shared/etl/a.ipynb"), true},
		{"identity beside its folder", etl, Run, FileAt("shared/etlx/a.ipynb"), false},
		{"identity writes where it may run", etl, Write, FileAt("shared/etl/a.ipynb"), false},
		{"identity writes where it may", etl, Write, FileAt("shared/out/a.csv"), true},
		{"identity reads where it writes", etl, Read, FileAt("shared/out/a.csv"), true},
		{"identity elsewhere in shared", etl, Read, FileAt("shared/x"), false},
		{"identity and a person's notebook", etl, Run, FileAt("users/ann/a.ipynb"), true},
		{"identity and the one beside", etl, Run, FileAt("users/ann/b.ipynb"), false},
		{"identity at home", etl, Write, FileAt("users/etl/a.ipynb"), true},
		{"identity and another's home", etl, Read, FileAt("users/etlx/a.ipynb"), false},
		{"identity and its template", etl, Run, FileAt("templates/t"), true},
		{"identity and another template", etl, Run, FileAt("templates/tt"), false},
		{"identity and its run", etl, Write, Object{Kind: RunKind, Owner: "etl"}, true},
		{"identity and another's run", etl, Read, Object{Kind: RunKind, Owner: "ann"}, false},
		{"identity and the platform", etl, Manage, Object{Kind: Platform}, false},
		{"own run", ann, Write, Object{Kind: RunKind, Owner: "ann"}, true},
		{"another's run", anna, Write, Object{Kind: RunKind, Owner: "ann"}, false},
		{"reading a run", anna, Read, Object{Kind: RunKind, Owner: "ann"}, true},
		{"own job", ann, Read, Object{Kind: JobKind, Owner: "ann"}, true},
		{"reading another's job", anna, Read, Object{Kind: JobKind, Owner: "ann"}, false},
		{"another's job by admin", root, Write, Object{Kind: JobKind, Owner: "ann"}, true},
		{"platform", ann, Read, Object{Kind: Platform}, false},
		{"platform by admin", root, Manage, Object{Kind: Platform}, true},
		{"unknown kind", root, Read, Object{Kind: "other"}, false},
		{"nobody", User{}, Read, FileAt("users/ann/a.ipynb"), false},
		{"nobody owns the ownerless", User{}, Write, Object{Kind: RunKind}, false},
		{"the ownerless is of nobody", ann, Write, Object{Kind: RunKind}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := Allow(tt.user, tt.verb, tt.obj)
			if (err == nil) != tt.want {
				t.Errorf("allowed %v, want %v (%v)", err == nil, tt.want, err)
			}
			if err != nil && !problem.Is(err, problem.Denied) {
				t.Errorf("kind %v, want denied", problem.KindOf(err))
			}
		})
	}
}

func TestValidName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ann", "a-b", "a_b", "0x", "a--b"} {
		if !ValidName(name) {
			t.Errorf("%q should be valid", name)
		}
	}
	for _, name := range []string{"", "Ann", "-a", "_a", ".", "..", "a/b", "a b", "ann\n", "ä", string(make([]byte, 64))} {
		if ValidName(name) {
			t.Errorf("%q should not be valid", name)
		}
	}
}

// memStore is a Store in memory; db's passes the same tests.
type memStore struct {
	mu          sync.Mutex
	users       map[string]User
	credentials map[Hash]Credential
	identities  map[[2]string]string
	claims      map[string][]string
}

func newMemStore() *memStore {
	return &memStore{users: map[string]User{}, credentials: map[Hash]Credential{}, identities: map[[2]string]string{}, claims: map[string][]string{}}
}

func (m *memStore) PutUser(_ context.Context, u User) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users[u.Name] = u
	return nil
}

func (m *memStore) User(_ context.Context, name string) (User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.users[name]
	if !ok {
		return User{}, problem.New(problem.NotFound, "no user %q", name)
	}
	return u, nil
}

func (m *memStore) Users(context.Context) (all []User, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.users)) {
		all = append(all, m.users[name])
	}
	return all, nil
}

func (m *memStore) Credentials(_ context.Context, user string) (all []Credential, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.credentials {
		if c.User.Name == user {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Credential) int { return b.Created.Compare(a.Created) })
	return all, nil
}

func (m *memStore) DeleteCredentials(_ context.Context, user, id string) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for hash, c := range m.credentials {
		if c.User.Name == user && (id == "" || id == c.ID) {
			delete(m.credentials, hash)
			n++
		}
	}
	return n, nil
}

func (m *memStore) Identity(ctx context.Context, issuer, subject string) (User, error) {
	m.mu.Lock()
	name, ok := m.identities[[2]string{issuer, subject}]
	m.mu.Unlock()
	if !ok {
		return User{}, problem.New(problem.NotFound, "no identity")
	}
	return m.User(ctx, name)
}

func (m *memStore) PutService(ctx context.Context, u User) error { return m.PutUser(ctx, u) }

func (m *memStore) PutIdentity(_ context.Context, issuer, subject, user string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.identities[[2]string{issuer, subject}] = user
	return nil
}

func (m *memStore) PutClaims(_ context.Context, user string, groups []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims[user] = groups
	return nil
}

func (m *memStore) Claims(_ context.Context, user string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.claims[user], nil
}

func (m *memStore) PutCredential(_ context.Context, c Credential) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.credentials[c.Hash] = c
	return nil
}

func (m *memStore) Credential(_ context.Context, h Hash) (Credential, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.credentials[h]
	if !ok {
		return Credential{}, problem.New(problem.NotFound, "no credential")
	}
	return c, nil
}

func (m *memStore) DeleteCredential(_ context.Context, h Hash) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.credentials, h)
	return nil
}

func (m *memStore) DeleteExpired(context.Context, time.Time) error { return nil }

func TestSessions(t *testing.T) {
	t.Parallel()
	ctx, now := context.Background(), time.Date(2018, 5, 8, 0, 0, 0, 0, time.UTC)
	store := newMemStore()
	s := &Sessions{Store: store, Now: func() time.Time { return now }}
	token := NewSecret()
	if err := s.SetToken(ctx, token, User{Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	cookie, u, err := s.SignIn(ctx, token)
	if err != nil || u.Name != "ann" {
		t.Fatalf("signing in: %v %v", u, err)
	}
	if _, err := s.Session(ctx, cookie); err != nil {
		t.Errorf("the session is not known: %v", err)
	}
	if _, err := s.Session(ctx, token); !problem.Is(err, problem.Denied) {
		t.Errorf("a token must not be good as a session: %v", err)
	}
	if _, err := s.Token(ctx, cookie); !problem.Is(err, problem.Denied) {
		t.Errorf("a session must not be good as a token: %v", err)
	}
	for hash := range store.credentials {
		if string(hash) == token || string(hash) == cookie {
			t.Error("a secret is kept in the clear")
		}
	}
	now = now.Add(SessionLife)
	if _, err := s.Session(ctx, cookie); !problem.Is(err, problem.Denied) {
		t.Errorf("an expired session is still good: %v", err)
	}
	if _, err := s.Token(ctx, token); err != nil {
		t.Errorf("the token does not expire: %v", err)
	}
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := &Sessions{Store: newMemStore()}
	token := NewSecret()
	if err := s.SetToken(ctx, token, User{Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	cookie, _, err := s.SignIn(ctx, token)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SignOut(ctx, cookie); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Session(ctx, cookie); !problem.Is(err, problem.Denied) {
		t.Errorf("a session outlived signing out: %v", err)
	}
	if err := s.SignOut(ctx, cookie); err != nil {
		t.Errorf("signing out twice: %v", err)
	}
	if err := s.SetToken(ctx, "short", User{Name: "ann"}); !problem.Is(err, problem.Invalid) {
		t.Errorf("a short token was taken: %v", err)
	}
}
