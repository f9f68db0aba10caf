package auth

import (
	"fmt"
	"slices"
	"strings"

	"quire/internal/problem"
)

// A Service makes a user a service identity: nobody signs in as it, what runs by
// itself runs as it. It may do what is named here and nothing else.
type Service struct {
	Description string `json:"description,omitempty"`
	// Users, and who is in one of Groups, may let schedules run as it, and change
	// those; administrators may too.
	Users  []string `json:"users,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Run are the folders and notebooks that it may read and run, Write those that
	// it may write too. Its own workspace is both. "templates/NAME" is a template,
	// "templates" all of them.
	Run   []string `json:"run,omitempty"`
	Write []string `json:"write,omitempty"`
	// Connections are those of the data gateway that it may use.
	Connections []string `json:"connections,omitempty"`
}

// maxServiceList is how many entries each list of a service identity has at most.
const maxServiceList = 500

// Validate says what is wrong with a service identity, all of it.
func (s *Service) Validate() (wrong []string) {
	for _, list := range []struct {
		name string
		all  []string
	}{{"run", s.Run}, {"write", s.Write}} {
		if len(list.all) > maxServiceList {
			wrong = append(wrong, fmt.Sprintf("%s: at most %d entries", list.name, maxServiceList))
		}
		for _, place := range list.all {
			top, _, _ := strings.Cut(place, "/")
			known := slices.Contains([]string{"shared", "users", "mounts"}, top) || top == "templates" && list.name == "run"
			if !known || place == "users" || !cleanPlace(place) {
				wrong = append(wrong, fmt.Sprintf("%s: %q: want a folder or notebook such as shared/reports, users/ann/etl or, to run, templates/NAME", list.name, place))
			}
		}
	}
	if len(s.Run) == 0 {
		wrong = append(wrong, "run: want the folders whose notebooks it may run, such as [shared/reports]")
	}
	for _, name := range s.Users {
		if !ValidName(name) {
			wrong = append(wrong, fmt.Sprintf("users: %q is no user's name", name))
		}
	}
	if len(s.Users) > maxServiceList || len(s.Connections) > maxServiceList {
		wrong = append(wrong, fmt.Sprintf("users, connections: at most %d entries", maxServiceList))
	}
	if !plain(s.Description, 500) {
		wrong = append(wrong, "description: want at most 500 characters in one line")
	}
	return wrong
}

// cleanPlace reports whether a path is written as paths on the volume are.
func cleanPlace(place string) bool {
	if len(place) > 1024 || !plain(place, 1024) || strings.Contains(place, "\\") {
		return false
	}
	for part := range strings.SplitSeq(place, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// May says in words what it may do: the same rights give the same words.
func (s *Service) May() string {
	listed := func(all []string) string {
		all = slices.Clone(all)
		slices.Sort(all)
		return strings.Join(slices.Compact(all), ", ")
	}
	words := "runs " + listed(s.Run)
	if len(s.Write) > 0 {
		words += "; writes " + listed(s.Write)
	}
	if len(s.Connections) > 0 {
		words += "; uses " + listed(s.Connections)
	}
	return words
}

// Change says what of a right was and is, where they differ: both as May says
// them.
func Change(was, is string) string {
	if was == is {
		return ""
	}
	return fmt.Sprintf("it was: %s; it is: %s", was, is)
}

// UsedBy reports whether somebody may let schedules run as a service identity, and
// change those. in are the groups that they are in.
func (s *Service) UsedBy(u User, in []string) bool {
	return s != nil && u.Name != "" && u.Service == nil &&
		(u.Admin || slices.Contains(s.Users, u.Name) || slices.ContainsFunc(s.Groups, func(g string) bool { return slices.Contains(in, g) }))
}

// allowed is what a service identity may do: nothing that is not named.
func (s *Service) allowed(verb Verb, o Object, own bool) bool {
	switch o.Kind {
	case File:
		if verb == Manage {
			return false
		}
		return o.Path == "users/"+o.Owner && own && verb != Write || own && strings.HasPrefix(o.Path, "users/"+o.Owner+"/") ||
			within(s.Write, o.Path) || verb != Write && within(s.Run, o.Path)
	case RunKind, JobKind:
		return own
	}
	return false
}

// within reports whether a path is one of the places, or lies in one.
func within(places []string, path string) bool {
	return slices.ContainsFunc(places, func(place string) bool {
		rest, ok := strings.CutPrefix(path, place)
		return ok && (rest == "" || rest[0] == '/')
	})
}

// refuseService is the error for what people do and service identities do not.
func refuseService(u User) error {
	if u.Service == nil {
		return nil
	}
	return problem.New(problem.Denied, "%s is a service identity: schedules run as it, nobody signs in as it", u.Name)
}
