// Package auth knows who a caller is and what they may do: users, access
// tokens, browser sessions, and Allow, the one function that decides.
//
// Everything is denied that Allow does not name.
package auth

import (
	"context"
	"regexp"
	"strings"

	"quire/internal/problem"
)

// A User is somebody who may sign in.
type User struct {
	Name        string // lower-case, as in users/<name>/; see ValidName
	DisplayName string // for people to read; Name when empty
	Admin       bool   // may write everywhere and manage the platform
	Email       string // to tell people apart who sign in elsewhere; may be empty
	Disabled    bool   // may not sign in, and no token of theirs is taken
	// Service makes it an identity that schedules run as, and nobody's; nil is a
	// person.
	Service *Service
	// Pass says that it is not the person who asks, but what runs in their name with
	// a pass: a run or a notebook server, without an administrator's rights. It is of a
	// request and kept with no user.
	Pass bool
}

// Label returns the name to show to people.
func (u User) Label() string {
	if u.DisplayName != "" {
		return u.DisplayName
	}
	return u.Name
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// ValidName reports whether name may be a user's: 1 to 63 lower-case letters,
// digits, "-" and "_", beginning with a letter or digit. Such a name is safe as
// a path segment, in a URL and in a log.
func ValidName(name string) bool { return namePattern.MatchString(name) }

// A Verb is what somebody wants to do with an object.
type Verb string

// The verbs, from the weakest right to the strongest.
const (
	Read   Verb = "read"
	Run    Verb = "run"
	Write  Verb = "write"
	Manage Verb = "manage"
)

// A Kind is a kind of object that rights are about.
type Kind string

// The kinds of object.
const (
	File     Kind = "file"     // Path is a slash path from the volume's root
	RunKind  Kind = "run"      // Owner is who asked for it
	JobKind  Kind = "job"      // Owner is who asked for it; its environment may say what is theirs alone
	Platform Kind = "platform" // the server itself
)

// An Object is what a right is about.
type Object struct {
	Kind  Kind
	Owner string // user name; for files it follows from Path
	Path  string // files only: "users/ann/a.ipynb", "shared/x", "mounts/lake/y"
}

// FileAt returns the object for the file at path.
func FileAt(path string) Object {
	return Object{Kind: File, Path: path, Owner: pathOwner(path)}
}

func pathOwner(path string) string {
	segments := strings.SplitN(path, "/", 3)
	if len(segments) >= 2 && segments[0] == "users" {
		return segments[1]
	}
	return ""
}

// Allow reports, as an error of kind Denied, why u may not do verb to o; nil
// means they may. Segments of a path are compared whole, so that "ann" has no
// right to what is of "anna".
//
// Everybody who is signed in reads every file and run and may run every
// notebook they can read. A file under users/<name>/ is written by its owner,
// one under shared/ by everybody, anything else by nobody; an administrator
// writes what an owner does. The root and mounts are written by nobody. A service
// identity does what is named for it and nothing else.
func Allow(u User, verb Verb, o Object) error {
	if u.Name == "" {
		return problem.New(problem.Denied, "sign in first")
	}
	if allowed(u, verb, o) {
		return nil
	}
	if u.Service != nil && o.Kind == File {
		return problem.New(problem.Denied, "%s, a service identity, may not %s %s: it %s", u.Name, verb, o.Path, u.Service.May())
	}
	if o.Owner != "" {
		return problem.New(problem.Denied, "%s may not %s this: it belongs to %s", u.Name, verb, o.Owner)
	}
	return problem.New(problem.Denied, "%s may not %s this", u.Name, verb)
}

func allowed(u User, verb Verb, o Object) bool {
	own := u.Admin || (o.Owner != "" && o.Owner == u.Name)
	if u.Service != nil {
		return u.Service.allowed(verb, o, o.Owner == u.Name)
	}
	switch o.Kind {
	case File:
		if verb == Read || verb == Run {
			return true
		}
		return verb == Write && writable(o, own)
	case RunKind:
		return verb == Read || own
	case JobKind:
		return own
	case Platform:
		return u.Admin
	}
	return false
}

func writable(o Object, own bool) bool {
	top, rest, _ := strings.Cut(o.Path, "/")
	switch top {
	case "shared":
		return true
	case "users":
		return own && rest != ""
	}
	return false
}

// RefusePass is the error for what only a person does, and nothing that runs in their
// name: a notebook of somebody else's may be what asks.
func RefusePass(u User, what string) error {
	if !u.Pass {
		return nil
	}
	return problem.New(problem.Denied, "%s with the pass of a run or a notebook server, which whatever notebook runs there has: do it in the browser, or with an access token of your own", what)
}

type userKey struct{}

// WithUser returns ctx carrying who is asking.
func WithUser(ctx context.Context, u User) context.Context {
	return context.WithValue(ctx, userKey{}, u)
}

// UserFrom returns who is asking; ok is false when nobody is signed in.
func UserFrom(ctx context.Context) (u User, ok bool) {
	u, ok = ctx.Value(userKey{}).(User)
	return u, ok && u.Name != ""
}
