package query

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/problem"
)

// A Connection is an engine under a name, with who may use it and how much.
type Connection struct {
	Name        string
	Description string
	ReadOnly    bool // nothing that changes anything is run
	Default     bool // is meant where no connection is named
	// Users and Groups are who may use it; both empty, or Everybody as a user, is
	// everybody but service identities, which name connections themselves.
	// Administrators may.
	Users []string
	// Groups have rights of their own instead of ReadOnly and Limits. Who is in
	// several, or is a user besides, has the most of each.
	Groups map[string]GroupRights
	Limits Limits
	Source Source
}

// DefaultParallel is how many statements of a connection run at once.
const DefaultParallel = 4

// Everybody stands for all users.
const Everybody = "*"

// GroupRights are what a group has on a connection. What is nil or zero is the
// connection's.
type GroupRights struct {
	ReadOnly *bool
	// Limits are those of each member, but Parallel, which is of the group together,
	// and Queue, which is the connection's.
	Limits Limits
}

// Limits are those of one connection. The zero value of each is its default.
type Limits struct {
	MaxRows  int64         // of a result; 0 is no limit
	MaxBytes int64         // of a result as an Arrow stream; default 4 GiB
	Timeout  time.Duration // of a statement; default 1 h
	Parallel int           // statements at once; default DefaultParallel
	Queue    int           // statements that wait; default 100
}

func (l Limits) withDefaults() Limits {
	return l.over(Limits{MaxBytes: 4 << 30, Timeout: time.Hour, Parallel: DefaultParallel, Queue: 100})
}

// over is what is said here, and the rest from there.
func (l Limits) over(rest Limits) Limits {
	if l.MaxRows == 0 {
		l.MaxRows = rest.MaxRows
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = rest.MaxBytes
	}
	if l.Timeout == 0 {
		l.Timeout = rest.Timeout
	}
	if l.Parallel == 0 {
		l.Parallel = rest.Parallel
	}
	if l.Queue == 0 {
		l.Queue = rest.Queue
	}
	return l
}

// A right is what one person may do on a connection.
type right struct {
	readOnly bool
	limits   Limits
	turns    string   // the group whose turns are counted; "" is none
	groups   []string // by which they have it
}

// rightOf is what somebody who is in some groups may do; an error says why
// nothing.
func (c *Connection) rightOf(u auth.User, in []string) (right, error) {
	if u.Name == "" {
		return right{}, problem.New(problem.Denied, "sign in first")
	}
	var all []right
	own := u.Admin || c.open()
	if u.Service != nil {
		own = slices.Contains(u.Service.Connections, c.Name)
	}
	if own || slices.Contains(c.Users, u.Name) {
		all = append(all, right{readOnly: c.ReadOnly, limits: c.Limits})
	}
	for _, name := range in {
		given, ok := c.Groups[name]
		if !ok {
			continue
		}
		r := right{readOnly: c.ReadOnly, limits: given.Limits.over(c.Limits), groups: []string{name}}
		if given.ReadOnly != nil {
			r.readOnly = *given.ReadOnly
		}
		if given.Limits.Parallel > 0 {
			r.turns = name
		}
		all = append(all, r)
	}
	if len(all) == 0 && u.Service != nil {
		return right{}, problem.New(problem.Denied, "%s, a service identity, may not use connection %s: it %s", u.Name, c.Name, u.Service.May())
	}
	if len(all) == 0 {
		return right{}, problem.New(problem.Denied, "%s may not use connection %s: it is for %s; ask an administrator", u.Name, c.Name, c.forWhom())
	}
	most := all[0]
	for _, r := range all[1:] {
		most = most.or(r)
	}
	return most, nil
}

func (c *Connection) open() bool {
	return len(c.Users) == 0 && len(c.Groups) == 0 || slices.Contains(c.Users, Everybody)
}

// forWhom says who may use it, without the names of people.
func (c *Connection) forWhom() string {
	groups := slices.Sorted(maps.Keys(c.Groups))
	switch {
	case len(groups) == 0:
		return "some people"
	case len(c.Users) > 0:
		return "some people and the groups " + strings.Join(groups, ", ")
	case len(groups) == 1:
		return "the group " + groups[0]
	}
	return "the groups " + strings.Join(groups, ", ")
}

// or is the most of both.
func (r right) or(other right) right {
	r.readOnly = r.readOnly && other.readOnly
	r.groups = append(slices.Clip(r.groups), other.groups...)
	l, o := &r.limits, other.limits
	if l.MaxRows > 0 && (o.MaxRows == 0 || o.MaxRows > l.MaxRows) {
		l.MaxRows = o.MaxRows
	}
	l.MaxBytes, l.Timeout = max(l.MaxBytes, o.MaxBytes), max(l.Timeout, o.Timeout)
	if r.turns != "" && (other.turns == "" || o.Parallel > l.Parallel) {
		r.turns, l.Parallel = other.turns, o.Parallel
	}
	return r
}

// A ConnectionView is what people see of a connection that they may use.
type ConnectionView struct {
	Name        string     `json:"name"`
	Engine      string     `json:"engine"`
	Description string     `json:"description"`
	ReadOnly    bool       `json:"readOnly"` // for you
	Default     bool       `json:"default"`
	Limits      LimitsView `json:"limits"`           // yours
	Users       []string   `json:"users,omitempty"`  // who may use it, with groups; neither is everybody
	Groups      []string   `json:"groups,omitempty"` // who may use it
	Yours       []string   `json:"yours,omitempty"`  // of these, those that you are in
}

// LimitsView are limits as people see them.
type LimitsView struct {
	MaxRows        int64 `json:"maxRows,omitempty"` // of one result; left out is no limit
	MaxBytes       int64 `json:"maxBytes"`          // of one result
	TimeoutSeconds int64 `json:"timeoutSeconds"`    // of one statement
	Parallel       int   `json:"parallel"`          // statements at once, of everybody or of the group together
}

// Rights says in words what the limits are and whom they are for.
func (v ConnectionView) Rights() string {
	text := "for everybody"
	var groups []string
	if len(v.Groups) > 0 {
		groups = []string{"group " + strings.Join(v.Groups, ", group ")}
	}
	if who := slices.Concat(v.Users, groups); len(who) > 0 {
		text = "for " + strings.Join(who, ", ")
	}
	if len(v.Yours) > 0 {
		text += "; you are in " + strings.Join(v.Yours, ", ")
	}
	rows := "any number of rows"
	if v.Limits.MaxRows > 0 {
		rows = fmt.Sprintf("%d rows", v.Limits.MaxRows)
	}
	return fmt.Sprintf("%s; up to %s, %s and %s a statement, %d at once", text, rows, compute.FormatBytes(v.Limits.MaxBytes), shortTime(v.Limits.TimeoutSeconds), v.Limits.Parallel)
}

// shortTime is a time without the parts that are nothing: 1h, 1m30s.
func shortTime(seconds int64) string {
	text := (time.Duration(seconds) * time.Second).String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

// Connections returns those that somebody may use, by name, the default first.
func (g *Gateway) Connections(ctx context.Context, u auth.User) ([]ConnectionView, error) {
	in, err := g.groupsOf(ctx, u)
	if err != nil {
		return nil, err
	}
	all := []ConnectionView{}
	for _, c := range g.connections {
		r, err := c.rightOf(u, in)
		if err != nil {
			continue
		}
		v := ConnectionView{
			Name: c.Name, Engine: c.Source.Engine(), Description: c.Description, ReadOnly: r.readOnly, Default: c.Default, Yours: r.groups,
			Limits: LimitsView{r.limits.MaxRows, r.limits.MaxBytes, int64(r.limits.Timeout / time.Second), r.limits.Parallel},
		}
		if !c.open() {
			v.Users, v.Groups = c.Users, slices.Sorted(maps.Keys(c.Groups))
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b ConnectionView) int {
		switch {
		case a.Default != b.Default && a.Default:
			return -1
		case a.Default != b.Default:
			return 1
		case a.Name < b.Name:
			return -1
		}
		return 1
	})
	return all, nil
}

// groupsOf are the groups of somebody that connections name.
func (g *Gateway) groupsOf(ctx context.Context, u auth.User) ([]string, error) {
	if g.cfg.Groups == nil || !slices.ContainsFunc(g.connections, func(c *Connection) bool { return len(c.Groups) > 0 }) {
		return nil, nil
	}
	return g.cfg.Groups(ctx, u.Name)
}

// connection returns the one of a name that somebody may use, and what they may
// do there.
func (g *Gateway) connection(ctx context.Context, u auth.User, name string) (*Connection, right, error) {
	for _, c := range g.connections {
		if c.Name != name && (name != "" || !c.Default) {
			continue
		}
		in, err := g.groupsOf(ctx, u)
		if err != nil {
			return nil, right{}, err
		}
		r, err := c.rightOf(u, in)
		return c, r, err
	}
	if name == "" {
		return nil, right{}, problem.New(problem.Invalid, "name a connection: there is no default one")
	}
	return nil, right{}, problem.New(problem.NotFound, "there is no connection %s: quire connection ls shows those that there are", short(name))
}

// turn waits until a statement may run: for its group's turn, then for its
// connection's. The function that it returns ends the turn.
func (g *Gateway) turn(ctx context.Context, c *Connection, r right) (end func(), err error) {
	var taken []chan struct{}
	end = func() {
		for _, turns := range taken {
			<-turns
		}
	}
	for _, name := range []string{turnsOf(c.Name, r.turns), c.Name} {
		turns := g.turns[name]
		select {
		case turns <- struct{}{}:
			taken = append(taken, turns)
		case <-ctx.Done():
			end()
			return nil, ctx.Err()
		}
		if r.turns == "" {
			break
		}
	}
	return end, nil
}

// turnsOf names the turns of a group on a connection, or of the connection.
func turnsOf(connection, group string) string {
	if group == "" {
		return connection
	}
	return connection + "/" + group
}
