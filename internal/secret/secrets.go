package secret

import (
	"context"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"quire/internal/auth"
	"quire/internal/problem"
)

// MaxNames is how many secrets a person has at most.
const MaxNames = 200

var namePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// ValidName reports whether name may be a secret's: as the names of parameters are,
// 1 to 128 letters, digits and "_", not beginning with a digit.
func ValidName(name string) bool { return namePattern.MatchString(name) }

// A Secret is what anybody is told about one: never its value.
type Secret struct {
	Name string    `json:"name"`
	Set  time.Time `json:"set"`           // when it was last set
	By   string    `json:"by,omitempty"`  // who set it, where that is not its owner
	Used time.Time `json:"used,omitzero"` // when a run was last given it; left out: never
}

// Secrets are those of people and of service identities. A person's are set, listed
// and removed by the person alone; those of a service identity by who may use it. No
// method gives a value back to a person: Give hands it to a run of its owner's.
type Secrets struct {
	Box *Box
	// User returns a user with what they may do, to know service identities.
	User func(ctx context.Context, name string) (auth.User, error)
	// Groups returns the groups of people that a user is in; nil is none.
	Groups func(ctx context.Context, user string) ([]string, error)
	Log    *slog.Logger
}

// owner says whose secrets u sees to: its own, or those of the service identity of,
// where u may use it.
func (s *Secrets) owner(ctx context.Context, u auth.User, of string) (string, error) {
	if u.Name == "" {
		return "", problem.New(problem.Denied, "sign in first")
	}
	if err := auth.RefusePass(u, "secrets are not seen to"); err != nil {
		return "", err
	}
	if of == "" || of == u.Name {
		return u.Name, nil
	}
	as, err := s.User(ctx, of)
	if err != nil && !problem.Is(err, problem.NotFound) {
		return "", err
	}
	var in []string
	if s.Groups != nil {
		var unknown error
		if in, unknown = s.Groups(ctx, u.Name); unknown != nil {
			return "", unknown
		}
	}
	if err != nil || as.Disabled || !as.Service.UsedBy(u, in) {
		// The same for who is not there: nobody learns who is.
		return "", problem.New(problem.Denied, "the secrets of %.64q are not yours to see to: a person's are theirs alone, and those of a service identity belong to who may use it", of)
	}
	return as.Name, nil
}

// Set keeps a secret, encrypted, instead of the one before.
func (s *Secrets) Set(ctx context.Context, u auth.User, of, name, value string) error {
	owner, err := s.owner(ctx, u, of)
	switch {
	case err != nil:
		return err
	case !ValidName(name):
		return problem.New(problem.Invalid, "a secret cannot be called %.150q: want 1 to 128 letters, digits and _, not beginning with a digit", name)
	case value == "":
		return problem.New(problem.Invalid, "secret %s: there is no value", name)
	case len(value) > MaxBytes:
		return problem.New(problem.TooLarge, "secret %s has %d bytes: at most %d", name, len(value), MaxBytes)
	case !utf8.ValidString(value) || strings.Contains(value, "\x00"):
		return problem.New(problem.Invalid, "secret %s: want text in UTF-8: write what is none as base64", name)
	}
	if err := s.Box.Put(ctx, Sealed{Owner: owner, Name: name, By: u.Name}, value, MaxNames); err != nil {
		return err
	}
	s.told(ctx, "a secret was set", u, owner, name)
	return nil
}

// List returns what there is, by name.
func (s *Secrets) List(ctx context.Context, u auth.User, of string) ([]Secret, error) {
	owner, err := s.owner(ctx, u, of)
	if err != nil {
		return nil, err
	}
	all, err := s.Box.Store.SealedOf(ctx, owner)
	list := make([]Secret, len(all))
	for i, one := range all {
		list[i] = Secret{Name: one.Name, Set: one.Changed, Used: one.Used}
		if one.By != owner {
			list[i].By = one.By
		}
	}
	return list, err
}

// Remove forgets a secret.
func (s *Secrets) Remove(ctx context.Context, u auth.User, of, name string) error {
	owner, err := s.owner(ctx, u, of)
	if err != nil {
		return err
	}
	found, err := s.Box.Store.DeleteSealed(ctx, owner, name)
	if err == nil && !found {
		err = problem.New(problem.NotFound, "there is no secret named %.150q: quire secret ls lists them", name)
	}
	if err == nil {
		s.told(ctx, "a secret was removed", u, owner, name)
	}
	return err
}

func (s *Secrets) told(ctx context.Context, what string, u auth.User, owner, name string) {
	if s.Log != nil {
		s.Log.LogAttrs(ctx, slog.LevelInfo, what, slog.String("user", u.Name), slog.String("owner", owner), slog.String("secret", name))
	}
}

// Check says which of the secrets that are bound, names by parameter, u does not have.
func (s *Secrets) Check(ctx context.Context, u auth.User, bound map[string]string) error {
	all, err := s.Box.Store.SealedOf(ctx, u.Name)
	if err != nil {
		return err
	}
	var wrong []string
	for _, parameter := range slices.Sorted(maps.Keys(bound)) {
		name := bound[parameter]
		if !slices.ContainsFunc(all, func(one Sealed) bool { return one.Name == name }) {
			wrong = append(wrong, missing(u, parameter, name))
		}
	}
	if len(wrong) > 0 {
		return problem.New(problem.NotFound, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

func missing(u auth.User, parameter, name string) string {
	who, set := "you have", "quire secret set "
	if u.Service != nil {
		who, set = u.Name+" has", "quire secret set --of "+u.Name+" "
	}
	if !ValidName(name) { // nothing that can be typed as it stands
		return "secret " + parameter + ": " + who + " no secret of that name: want 1 to 128 letters, digits and _"
	}
	return "secret " + parameter + ": " + who + " no secret named " + name + "; set it with " + set + name
}

// Give returns the values of the secrets that are bound to a run of u's, by
// parameter, and notes that they were used. It is for the server itself.
func (s *Secrets) Give(ctx context.Context, u auth.User, bound map[string]string) (map[string]string, error) {
	values, names := make(map[string]string, len(bound)), make([]string, 0, len(bound))
	for parameter, name := range bound {
		value, err := s.Box.Get(ctx, u.Name, name)
		if problem.Is(err, problem.NotFound) {
			err = problem.New(problem.NotFound, "%s", missing(u, parameter, name))
		}
		if err != nil {
			return nil, err
		}
		values[parameter] = value
		names = append(names, name)
	}
	return values, s.Box.Store.UseSealed(ctx, u.Name, names, s.Box.now())
}
