package pages

import (
	"html/template"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"quire/internal/contents"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/viewer"
)

// A row is one line of a listing.
type row struct {
	contents.Entry
	URL  string
	Last *run.Run // of the notebook's runs; nil when there is none
}

// Initial is the letter that stands for a person.
func (r row) Initial() string {
	for _, c := range r.Name {
		return strings.ToUpper(string(c))
	}
	return ""
}

const (
	pageSize = 200
	// maxStated is how many entries are looked at for a filter by status.
	maxStated = 20_000
	maxReadme = 256 << 10 // bytes of a text shown under a listing
)

// A listing is what the page of a directory shows.
type listing struct {
	Path     string
	People   bool
	Rows     []row
	Next     string // query of the next page
	Total    int
	Filter   string
	Since    string
	State    string
	Sort     string
	Sorts    []sortLink
	Filtered bool
	Writable bool
	Trash    string // the workspace whose trash this is; "" for none
	Readme   string
	ReadmeAt string
	HTML     template.HTML
	Used     int64
	Quota    int64
	States   []run.State
	Read     time.Time // when a folder of an object store was read; zero: now
}

// A sortLink is a heading of the table that orders it.
type sortLink struct{ Key, Label, URL, Aria, Class string }

// sinces are the choices of the filter by date.
var sinces = map[string]time.Duration{"day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 31 * 24 * time.Hour, "year": 366 * 24 * time.Hour}

// states are those a run can be in, as filters offer them.
var states = []run.State{run.Succeeded, run.Failed, run.Running, run.Starting, run.Queued, run.Cancelled, run.TimedOut}

// workspace lists a directory.
func (s *site) workspace(w http.ResponseWriter, r *http.Request, dir contents.Entry) error {
	p, q := dir.Path, r.URL.Query()
	l := listing{
		Path: p, People: p == "users", Filter: q.Get("filter"), Since: q.Get("since"), State: q.Get("state"), Sort: q.Get("sort"),
		Writable: dir.Writable, Quota: s.cfg.QuotaBytes, States: states,
	}
	l.Filtered = l.Filter != "" || l.Since != "" || l.State != ""
	if l.Sort == "" && l.People {
		l.Sort = string(contents.ByModified)
	}
	opt := contents.ListOptions{Sort: contents.Sort(l.Sort), Filter: l.Filter, Cursor: q.Get("cursor"), Limit: pageSize}
	if d, ok := sinces[l.Since]; ok {
		opt.Since = s.cfg.Now().Add(-d)
	}
	if err := s.fill(r, &l, opt); err != nil {
		return err
	}
	l.Sorts = sortLinks(q, l.Sort)
	if err := s.workspaceFacts(r, &l); err != nil {
		return err
	}
	title := "Workspaces"
	switch {
	case l.People:
		title = "People"
	case p != "":
		title = path.Base(p)
	}
	return s.show(w, r, http.StatusOK, "workspace", view{Title: title, Section: section(r, p), Crumbs: s.crumbs(p), Data: l})
}

// section is the entry of the navigation that a path belongs to.
func section(r *http.Request, p string) string {
	home := "users/" + user(r).Name
	switch {
	case p == home || strings.HasPrefix(p, home+"/"):
		return "files"
	case p == "shared" || strings.HasPrefix(p, "shared/"):
		return "shared"
	}
	return "people"
}

// fill puts the entries of one page and their newest runs into l.
func (s *site) fill(r *http.Request, l *listing, opt contents.ListOptions) error {
	q := r.URL.Query()
	if l.State != "" {
		opt.Limit, opt.Cursor = maxStated, ""
	}
	page, err := s.cfg.Volume.List(r.Context(), user(r), l.Path, opt)
	if err != nil {
		return err
	}
	var notebooks []string
	for _, e := range page.Entries {
		if e.Type == contents.Notebook {
			notebooks = append(notebooks, e.Path)
		}
	}
	last, err := s.cfg.Runs.Last(r.Context(), user(r), notebooks)
	if err != nil {
		return err
	}
	l.Total, l.Read = page.Total, page.Read
	for _, e := range page.Entries {
		one := row{Entry: e, URL: s.to("/view/") + escapePath(e.Path)}
		if found, ok := last[e.Path]; ok {
			one.Last = &found
		}
		if l.State == "" || one.Last != nil && string(one.Last.State) == l.State {
			l.Rows = append(l.Rows, one)
		}
	}
	if l.State != "" {
		return l.cut(q)
	}
	if page.Next != "" {
		q.Set("cursor", page.Next)
		l.Next = "?" + q.Encode()
	}
	return nil
}

// cut makes one page of the rows that a filter by status has left; its cursor
// is a number.
func (l *listing) cut(q url.Values) error {
	l.Total = len(l.Rows)
	from := 0
	if c := q.Get("cursor"); c != "" {
		n, err := strconv.Atoi(c)
		if err != nil || n < 0 {
			return problem.New(problem.Invalid, "cursor: want a number")
		}
		from = n
	}
	l.Rows = l.Rows[min(from, len(l.Rows)):]
	if len(l.Rows) > pageSize {
		l.Rows = l.Rows[:pageSize]
		q.Set("cursor", strconv.Itoa(from+pageSize))
		l.Next = "?" + q.Encode()
	}
	return nil
}

func sortLinks(q url.Values, current string) []sortLink {
	if current == "" {
		current = string(contents.ByName)
	}
	links := []sortLink{
		{Key: "name", Label: "Name"}, {Key: "modified", Label: "Modified"}, {Key: "size", Label: "Size", Class: "s-num"},
	}
	for i := range links {
		l := &links[i]
		next := url.Values{}
		for _, key := range []string{"filter", "since", "state"} {
			if v := q.Get(key); v != "" {
				next.Set(key, v)
			}
		}
		next.Set("sort", l.Key)
		l.URL = "?" + next.Encode()
		if l.Key == current {
			l.Aria = "descending"
			if l.Key == "name" {
				l.Aria = "ascending"
			}
		}
	}
	return links
}

// workspaceFacts adds what stands around the list: the text under it, the
// quota, the trash.
func (s *site) workspaceFacts(r *http.Request, l *listing) error {
	top, rest, _ := strings.Cut(l.Path, "/")
	owner, _, _ := strings.Cut(rest, "/")
	switch {
	case top == "shared":
		l.Trash = "shared"
	case top == "users" && owner != "":
		l.Trash = "users/" + owner
	}
	if !l.Writable {
		l.Trash = ""
	}
	if l.Trash != "" && l.Quota > 0 {
		used, err := s.cfg.Volume.Used(l.Path)
		if err != nil {
			return err
		}
		l.Used = used
	}
	if !l.Filtered && r.URL.Query().Get("cursor") == "" {
		s.readme(r, l)
	}
	return nil
}

// readme renders README.md or the first other text of the directory. One that
// cannot be read is left out: the list is what was asked for.
func (s *site) readme(r *http.Request, l *listing) {
	name := ""
	for _, e := range l.Rows {
		if e.Type != contents.File || viewer.KindOfFile(e.Name) != viewer.FileMarkdown {
			continue
		}
		if strings.EqualFold(e.Name, "readme.md") {
			name = e.Path
			break
		}
		if name == "" {
			name = e.Path
		}
	}
	if name == "" {
		return
	}
	_, body, err := s.cfg.Volume.Read(r.Context(), user(r), name)
	if err != nil {
		return
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxReadme))
	if err != nil {
		return
	}
	html, _ := viewer.RenderMarkdown(strings.ToValidUTF8(string(text), "\uFFFD"), viewer.Options{
		LinkURL: s.linkURL(name), ImageURL: s.imageURL(name), Cache: s.cache,
	})
	html = viewer.Lower(html)
	l.Readme, l.ReadmeAt, l.HTML = path.Base(name), s.to("/view/")+escapePath(name), template.HTML(html) //nolint:gosec // sanitized by viewer
}
