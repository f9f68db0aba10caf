package nbtemplate

import (
	"strings"
	"time"

	"quire/internal/contents"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// Limits of a place: what it is filled with may be long.
const (
	MaxPlace   = 500 // bytes
	maxHolders = 20
)

// A Place is where the output notebook of a run goes: a path of the workspaces that
// ends in .ipynb, or a folder that ends in "/", with placeholders.
type Place struct {
	Pattern string
	User    string // who runs
	Name    string // of the template or the notebook
	Run     string // its id
	At      time.Time
	Schema  parameter.Schema
	Set     parameter.Set // what the run is given
}

// Path fills the placeholders: {user}, {name}, {run} and {ds}, the parameters, which
// hide those, and what Papermill calls pm. A folder gets a name that no other run has.
func (p Place) Path() (string, error) {
	if err := checkPattern(p.Pattern); err != nil {
		return "", err
	}
	set := parameter.SetOf(
		parameter.Field{Key: parameter.String("user"), Value: parameter.String(p.User)},
		parameter.Field{Key: parameter.String("name"), Value: parameter.String(p.Name)},
		parameter.Field{Key: parameter.String("run"), Value: parameter.String(p.Run)},
		parameter.Field{Key: parameter.String("ds"), Value: parameter.String(p.At.Format(time.DateOnly))},
	)
	for _, one := range p.Schema.Parameters {
		if v, given := p.Set.Get(one.Name); given {
			set.Put(one.Name, v)
		} else if one.Default != nil {
			set.Put(one.Name, *one.Default)
		}
		if one.Secret {
			set.Delete(one.Name) // everybody reads a path
		}
	}
	path, err := parameter.Format(p.Pattern, set, parameter.Builtins{RunUUID: p.Run, Local: p.At, UTC: p.At.UTC()})
	if err != nil {
		return "", problem.Wrap(err, "output")
	}
	if strings.HasSuffix(path, "/") {
		path += p.Name + "-" + p.Run + ".ipynb"
	}
	clean, err := contents.CleanPath(path)
	if err != nil {
		return "", problem.WrapAs(problem.Invalid, err, "output %.200q", path)
	}
	if top, _, _ := strings.Cut(clean, "/"); top != "users" && top != "shared" || strings.HasSuffix(clean, "/.ipynb") {
		return "", problem.New(problem.Invalid, "output %.200q: want a place below users/ or shared/, such as users/{user}/results/ or shared/reports/{ds}.ipynb", clean)
	}
	return clean, nil
}

func checkPattern(pattern string) error {
	switch {
	case len(pattern) > MaxPlace:
		return problem.New(problem.Invalid, "output: %d bytes, at most %d", len(pattern), MaxPlace)
	case strings.Count(pattern, "{") > maxHolders:
		return problem.New(problem.Invalid, "output: at most %d placeholders", maxHolders)
	case !strings.HasSuffix(pattern, "/") && !strings.HasSuffix(pattern, ".ipynb"):
		return problem.New(problem.Invalid, "output %q: want a path that ends in .ipynb, or a folder that ends in \"/\"", pattern)
	}
	return nil
}

// checkPlace says what is wrong with the output of a version: it is filled with
// what a run might be given.
func (v Version) checkPlace() error {
	if v.Output == "" {
		return nil
	}
	var set parameter.Set
	for _, p := range v.Schema.Parameters {
		set.Put(p.Name, sample(p))
	}
	const anybody = "ann"
	_, err := Place{
		Pattern: v.Output, User: anybody, Name: v.Template, Run: strings.Repeat("0", 26), At: v.Published, Schema: v.Schema, Set: set, //nolint:mnd // as long as the id of a run
	}.Path()
	return err
}

// sample is a value that a parameter may have.
func sample(p parameter.Parameter) parameter.Value {
	switch {
	case len(p.Choices) > 0:
		return p.Choices[0]
	case p.Type == parameter.TypeDate, p.Type == parameter.TypeDatetime:
		return parameter.String(time.DateOnly)
	case p.Default != nil && !p.Default.IsNull():
		if text, ok := p.Default.AsString(); !ok || text != "" {
			return *p.Default
		}
	case p.Type == parameter.TypeInt:
		return parameter.Int(1)
	case p.Type == parameter.TypeFloat:
		return parameter.Float(1)
	case p.Type == parameter.TypeBool:
		return parameter.Bool(true)
	}
	return parameter.String("x")
}
