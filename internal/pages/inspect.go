package pages

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"quire/internal/api"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// An inspectRequest is the source of a parameters cell, perhaps to be changed.
type inspectRequest struct {
	Source   string `json:"source"`
	Language string `json:"language"`
	// Set gives one parameter another default, in the source.
	Set *inspectSet `json:"set,omitempty"`
}

type inspectSet struct {
	Name  string `json:"name"`
	Value string `json:"value"` // as a person types it
}

type inspectAnswer struct {
	Parameters []inspectedField `json:"parameters"`
	Warnings   []string         `json:"warnings"`
	Source     string           `json:"source"` // with what was set
}

type inspectedField struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Default string   `json:"default"` // as it stands in a form
	Help    string   `json:"help"`
	Widget  string   `json:"widget"`
	Choices []string `json:"choices"`
	Hint    string   `json:"hint"`
	Source  string   `json:"source"` // the default's text in the source, "" when it cannot be changed there
}

func (s *site) registerInspect(rt *api.Router) {
	rt.Handle("POST /api/inspect", api.Policy{Access: api.SignedIn, MaxBody: parameter.MaxSource + 64<<10, Doc: api.Doc{
		Summary: "The parameters that a cell's source declares, and the source with another default", Request: inspectRequest{}, Response: inspectAnswer{},
	}}, s.inspect)
}

// inspect reads a parameters cell that is in no file yet.
func (s *site) inspect(w http.ResponseWriter, r *http.Request) error {
	var req inspectRequest
	if err := api.ReadJSON(r, &req); err != nil {
		return err
	}
	source := req.Source
	if req.Set != nil {
		var err error
		if source, err = setDefault(req.Language, source, req.Set.Name, req.Set.Value); err != nil {
			return err
		}
	}
	definitions, warnings := parameter.Inspect(req.Language, source)
	answer := inspectAnswer{Parameters: []inspectedField{}, Warnings: []string{}, Source: source}
	for i, p := range parameter.SchemaOf(definitions).Parameters {
		f := fieldOf(i, p)
		one := inspectedField{Name: p.Name, Type: string(p.Type), Default: f.Initial, Help: p.Help, Widget: f.Widget, Choices: f.Choices, Hint: f.Hint}
		if f.Widget == "checkbox" {
			one.Default = map[bool]string{true: "true", false: "false"}[f.Checked]
		}
		if one.Choices == nil {
			one.Choices = []string{}
		}
		if d := definitionOf(definitions, p.Name); d != nil {
			if at, _ := defaultAt(source, *d); at >= 0 {
				one.Source = d.Default
			}
		}
		answer.Parameters = append(answer.Parameters, one)
	}
	for _, warning := range warnings {
		answer.Warnings = append(answer.Warnings, warning.Text)
	}
	return api.WriteJSON(w, http.StatusOK, answer)
}

func definitionOf(definitions []parameter.Definition, name string) *parameter.Definition {
	for i := range definitions {
		if definitions[i].Name == name {
			return &definitions[i]
		}
	}
	return nil
}

// defaultAt returns where in the source a definition's default stands, as offsets;
// -1 when it is no literal that stands there on one line as the definition has it.
func defaultAt(source string, d parameter.Definition) (from, to int) {
	if _, literal := d.Value(); !literal || d.Default == "" {
		return -1, -1
	}
	at := 0
	for line := 1; line < d.Line; line++ {
		i := strings.IndexByte(source[at:], '\n')
		if i < 0 {
			return -1, -1
		}
		at += i + 1
	}
	end := len(source)
	if i := strings.IndexByte(source[at:], '\n'); i >= 0 {
		end = at + i
	}
	text := source[at:end]
	for i := strings.Index(text, d.Name) + len(d.Name); i < len(text); i++ {
		if text[i] != '=' && text[i] != '-' { // "=", ":=" and "<-"
			continue
		}
		rest := strings.TrimLeft(text[i+1:], " \t")
		if strings.HasPrefix(rest, d.Default) {
			begin := end - len(rest)
			return begin, begin + len(d.Default)
		}
	}
	return -1, -1
}

// setDefault returns the source with another default of one parameter. What is
// typed is checked as the form of a run checks it, and the result is read again:
// it differs in this one default, or nothing is changed.
func setDefault(language, source, name, typed string) (string, error) {
	definitions, _ := parameter.Inspect(language, source)
	schema := parameter.SchemaOf(definitions)
	n := slices.IndexFunc(schema.Parameters, func(p parameter.Parameter) bool { return p.Name == name })
	d := definitionOf(definitions, name)
	if n < 0 || d == nil {
		return "", problem.New(problem.NotFound, "the cell declares no parameter %.80q", name)
	}
	from, to := defaultAt(source, *d)
	if from < 0 {
		return "", problem.New(problem.Invalid, "%s is computed or takes several lines: change it in the cell", name)
	}
	f := fieldOf(n, schema.Parameters[n])
	f.Value, f.Checked = typed, typed == "true"
	value, given := f.value()
	if !given {
		return source, nil
	}
	if _, err := strconv.ParseFloat(typed, 64); f.Widget == "number" && err != nil {
		return "", problem.New(problem.Invalid, "%s: %.80q: want a number", name, typed)
	}
	applied, violations := schema.Apply(parameter.SetOf(parameter.Field{Key: parameter.String(name), Value: value}), true)
	for _, v := range violations {
		if v.Name == name {
			return "", problem.New(problem.Invalid, "%s", v)
		}
	}
	literal, err := literalOf(language, name, applied)
	if err != nil {
		return "", err
	}
	changed := source[:from] + literal + source[to:]
	after, _ := parameter.Inspect(language, changed)
	if len(after) != len(definitions) {
		return "", problem.New(problem.Invalid, "%s cannot be changed here: change it in the cell", name)
	}
	for i := range after {
		if after[i].Name != definitions[i].Name || after[i].Name != name && after[i].Default != definitions[i].Default {
			return "", problem.New(problem.Invalid, "%s cannot be changed here: change it in the cell", name)
		}
	}
	return changed, nil
}

// literalOf is a value as the language writes it: what stands behind the sign in
// the assignment that a run would be given.
func literalOf(language, name string, set parameter.Set) (string, error) {
	code, err := parameter.Translate(language, language, set, "")
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(code, "\n") {
		definitions, _ := parameter.Inspect(language, line)
		if len(definitions) == 1 && definitions[0].Name == name {
			return definitions[0].Default, nil
		}
	}
	return "", problem.New(problem.Invalid, "%s cannot be written in %.40s on one line: change it in the cell", name, language)
}
