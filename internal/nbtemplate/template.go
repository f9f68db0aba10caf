package nbtemplate

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"quire/internal/compute"
	"quire/internal/contents"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// Roles are the data roles that templates are made for.
var Roles = []string{
	"business analyst", "data analyst", "quantitative analyst", "algorithm engineer", "analytics engineer",
	"data engineer", "data scientist", "machine learning scientist", "research scientist",
}

// Limits of a publication.
const (
	MaxTitle       = 120 // bytes
	MaxDescription = 4000
	MaxNote        = 500
	MaxTags        = 20
	maxTag         = 64
	maxName        = 63
	maxSource      = 64 << 20
)

// A Template is a name under which versions are published.
type Template struct {
	Name    string    `json:"name"`
	Owner   string    `json:"owner"`   // who may publish further versions
	Version Version   `json:"version"` // the newest
	Created time.Time `json:"created"`
	// Retired templates are not shown among the others and start no new runs;
	// what is there of them stays.
	Retired   time.Time `json:"retired,omitzero"`
	RetiredBy string    `json:"retiredBy,omitempty"`
	Reason    string    `json:"reason,omitempty"` // why it was retired
}

// A Version is one publication. It never changes.
type Version struct {
	Template    string   `json:"template"`
	Number      int      `json:"number"` // from 1
	Title       string   `json:"title"`
	Description string   `json:"description"` // Markdown
	Roles       []string `json:"roles"`
	Tags        []string `json:"tags"`
	Note        string   `json:"note,omitempty"` // what is new in it

	Notebook        string        `json:"notebook,omitempty"` // path that it was published from; "" for one that comes with Quire
	NotebookVersion int64         `json:"notebookVersion,omitempty"`
	Source          contents.Hash `json:"source"` // hex SHA-256 of the notebook's bytes
	Size            int64         `json:"size"`   // of the source, in bytes
	Kernel          string        `json:"kernel"`
	Language        string        `json:"language"`
	// Schema is what the parameters cell declares.
	Schema parameter.Schema `json:"schema"`
	// Cover is the number of the cell, from 1, whose output stands for the
	// template; 0 is the last one with a picture.
	Cover int `json:"cover,omitempty"`
	// Container is the size that a run gets when it asks for none; nil is none.
	Container *compute.Resources `json:"container,omitempty"`
	// Output is where the output of a run goes that does not say so itself; see Place.
	// "" is nowhere but the page of the run.
	Output string `json:"output,omitempty"`

	By        string    `json:"by"`
	Published time.Time `json:"published"`
}

// Path is how the runs of a template name their notebook: it is no path on the
// volume.
func Path(name string) string { return "templates/" + name + ".ipynb" }

// A Publication asks to publish a notebook.
type Publication struct {
	Name            string             `json:"name"`
	Title           string             `json:"title"` // the notebook's first heading when empty
	Description     string             `json:"description"`
	Roles           []string           `json:"roles"`
	Tags            []string           `json:"tags"`
	Note            string             `json:"note"`
	Notebook        string             `json:"notebook"`        // path on the volume
	NotebookVersion int64              `json:"notebookVersion"` // 0 is the newest
	Cover           int                `json:"cover"`
	Container       *compute.Resources `json:"container,omitempty"`
	// Output is where the output of a run goes that does not say so itself: a path
	// that ends in .ipynb, or a folder that ends in "/", with placeholders such as
	// {country}, {ds}, {user} and {run}.
	Output string `json:"output,omitempty"`
	// IdempotencyKey makes the same publication one version, however often it is
	// sent.
	IdempotencyKey string `json:"-"`
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// ValidName reports whether name may be a template's: 1 to 63 lower-case
// letters, digits and "-".
func ValidName(name string) bool { return len(name) <= maxName && namePattern.MatchString(name) }

// NameFor makes a name of a notebook's path.
func NameFor(path string) string {
	base := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".ipynb")
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(base))
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	name = strings.Trim(name, "-")
	return strings.Trim(name[:min(len(name), maxName)], "-")
}

// validate says everything that is wrong with what a person may choose.
func (p Publication) validate() error {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if !ValidName(p.Name) {
		say("name: %q: want 1 to %d lower-case letters, digits and \"-\"", p.Name, maxName)
	}
	for _, t := range []struct {
		what, text string
		most       int
	}{{"title", p.Title, MaxTitle}, {"description", p.Description, MaxDescription}, {"note", p.Note, MaxNote}} {
		if len(t.text) > t.most {
			say("%s: %d bytes, at most %d", t.what, len(t.text), t.most)
		}
	}
	if strings.ContainsAny(p.Title, "\r\n") {
		say("title: want one line")
	}
	for _, r := range p.Roles {
		if !slices.Contains(Roles, r) {
			say("roles: %q: want some of %s", r, strings.Join(Roles, ", "))
		}
	}
	if len(p.Tags) > MaxTags {
		say("tags: at most %d", MaxTags)
	}
	for _, t := range p.Tags {
		if t == "" || len(t) > maxTag || strings.ContainsAny(t, ",\r\n") {
			say("tags: %.80q: want 1 to %d bytes without a comma", t, maxTag)
		}
	}
	if p.Cover < 0 {
		say("cover: want the number of a cell, from 1, or 0")
	}
	if len(p.IdempotencyKey) > 256 {
		say("the idempotency key: at most 256 bytes")
	}
	if len(wrong) > 0 {
		return problem.New(problem.Invalid, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

// A Use is what became of a template's runs.
type Use struct {
	Runs      int       `json:"runs"`           // all that there are
	Recent    int       `json:"recent"`         // that ended in the last 30 days by themselves
	Succeeded int       `json:"succeeded"`      // of those
	People    int       `json:"people"`         // who have run it
	Good      string    `json:"good,omitempty"` // the newest run that succeeded
	Last      time.Time `json:"last,omitzero"`  // when the newest run was asked for
}

// Rate is the share of recent runs that succeeded, in percent; -1 when there
// were none.
func (u Use) Rate() int {
	if u.Recent == 0 {
		return -1
	}
	return u.Succeeded * 100 / u.Recent
}

// A Filter chooses templates; zero fields do not.
type Filter struct {
	Role    string
	Tag     string
	Words   string // that the name, title, description or tags have
	Owner   string
	Retired bool   // the retired ones too
	Limit   int    // 0 is 100; at most 500
	After   string // name: only later ones
}

// fits reports whether a filter takes a template.
func (f Filter) fits(t Template) bool {
	v := t.Version
	switch {
	case !f.Retired && !t.Retired.IsZero(), f.Role != "" && !slices.Contains(v.Roles, f.Role),
		f.Tag != "" && !slices.Contains(v.Tags, f.Tag), f.Owner != "" && f.Owner != t.Owner, f.After != "" && t.Name <= f.After:
		return false
	}
	text := strings.ToLower(strings.Join([]string{t.Name, v.Title, v.Description, strings.Join(v.Roles, " "), strings.Join(v.Tags, " ")}, " "))
	for word := range strings.FieldsSeq(strings.ToLower(f.Words)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// A Store keeps templates. It is safe for concurrent use. Each call is one
// transaction and on the disk when it returns. What is missing is an error of
// kind NotFound.
type Store interface {
	// ChangeTemplate calls change with the template of a name, nil when there is
	// none, and keeps what it returns; add, when it is not nil, is a new version,
	// under an idempotency key or "".
	ChangeTemplate(ctx context.Context, name string, change func(old *Template) (t Template, add *Version, key string, err error)) error
	// Template returns a template with its newest version.
	Template(ctx context.Context, name string) (Template, error)
	// Templates returns all, by name.
	Templates(ctx context.Context) ([]Template, error)
	// TemplateVersions returns the versions of a template, newest first.
	TemplateVersions(ctx context.Context, name string) ([]Version, error)
	// TemplateVersion returns one version.
	TemplateVersion(ctx context.Context, name string, number int) (Version, error)
	// KeyedVersion returns the version that was published under a key.
	KeyedVersion(ctx context.Context, name, key string) (Version, error)
	// TemplateUses returns what became of runs, by name of the template: of all
	// templates, or of the one with the name. since bounds the recent ones.
	TemplateUses(ctx context.Context, name string, since time.Time) (map[string]Use, error)
}
