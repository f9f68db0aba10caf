package pages

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/schedule"
)

// An againPart is the form that runs a fire again with other values.
type againPart struct {
	Fire   *schedule.Fire
	Steps  []schedule.Step // of the definition that it runs by
	From   schedule.Restart
	Groups []againGroup
}

// An againGroup is the inputs of a definition, or the parameters of a step.
type againGroup struct {
	Step   string // "" for inputs
	What   string // that the step runs
	Fields []againField
}

// An againField is one value that may be changed.
type againField struct {
	field
	Input string // its name in the form
	Was   string // what the fire had, as a person would write it; "" where that was not one value
}

// againSchemas is how many notebooks are read for what they say of their parameters.
const againSchemas = 20

// fireAgain shows the form that runs a fire again with other values.
func (s *site) fireAgain(w http.ResponseWriter, r *http.Request) error {
	p, _, err := s.againPage(r)
	if err != nil {
		return err
	}
	return s.showSchedule(w, r, http.StatusOK, p)
}

func (s *site) againPage(r *http.Request) (*schedulePage, *againPart, error) {
	p, err := s.scheduleHead(r, "again")
	if err != nil {
		return nil, nil, err
	}
	f, err := s.cfg.Schedules.Fire(r.Context(), user(r), p.Name, r.PathValue("id"))
	if err != nil {
		return nil, nil, err
	}
	d := p.Definition
	if f.Definition == nil { // it never began
		f.Pinned = p.Pinned
	} else {
		d = *f.Definition
	}
	part := &againPart{Fire: &f, Steps: d.Steps, From: schedule.FromFailed}
	if f.State == schedule.Succeeded || f.Tasks == nil {
		part.From = schedule.FromBeginning
	}
	if takes := d.Takes(); len(takes) > 0 {
		part.Groups = []againGroup{{Fields: inputFields(f, takes)}}
	} else {
		for i, step := range d.Steps {
			if step.Branch == nil {
				part.Groups = append(part.Groups, s.stepFields(r, f, step, i))
			}
		}
	}
	p.Part = part
	return p, part, nil
}

// inputFields are the inputs of a definition with what a fire had for them.
func inputFields(f schedule.Fire, takes []schedule.Input) (all []againField) {
	var had map[string]json.RawMessage
	if f.Inputs != nil && json.Unmarshal(f.Inputs, &had) != nil {
		had = nil
	}
	for i, in := range takes {
		one := againField{Input: "in." + in.Name, Was: asWritten(had[in.Name])}
		one.ID, one.Name, one.Widget = "in"+strconv.Itoa(i), in.Name, "text"
		if one.Was == "" {
			one.Was = in.Default
		}
		all = append(all, one)
	}
	return all
}

// stepFields are the parameters of a step: those that the definition gives it, and
// those that its notebook declares.
func (s *site) stepFields(r *http.Request, f schedule.Fire, step schedule.Step, n int) againGroup {
	g := againGroup{Step: step.Name, What: step.What()}
	var given map[string]json.RawMessage
	if step.Parameters != nil && json.Unmarshal(step.Parameters, &given) != nil {
		given = nil
	}
	names := slices.Sorted(maps.Keys(given))
	var schema parameter.Schema
	if step.Notebook != "" && step.Source != schedule.Git && step.SQL == "" && step.Command == "" && n < againSchemas {
		version := ""
		if v := f.Pinned[step.Name]; v > 0 {
			version = strconv.FormatInt(v, 10)
		}
		if nb, number, err := s.loadVersion(r, step.Notebook, version); err == nil { // else the names of the definition do
			schema = formOf(step.Notebook, number, nb).schema
		}
	}
	for _, p := range schema.Parameters {
		if !slices.Contains(names, p.Name) && !p.Secret {
			names = append(names, p.Name)
		}
	}
	for i, name := range names {
		p, declared := schema.Lookup(name)
		one := againField{Input: "p." + step.Name + "." + name, Was: asWritten(f.Parameter(step.Name, name))}
		one.Name, one.Widget = name, "text"
		if declared {
			one.field = fieldOf(i, p)
		}
		if one.ID = fmt.Sprintf("p%d-%d", n, i); p.Type == parameter.TypeBool {
			one.Widget, one.Choices = "select", []string{"true", "false"}
		}
		if one.Was == "" {
			one.Was = asWritten(given[name])
		}
		if one.Was == "" && p.Default != nil {
			one.Was = one.show(*p.Default)
		}
		one.Value = ""
		g.Fields = append(g.Fields, one)
	}
	return g
}

// asWritten is a value as a person would write it.
func asWritten(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

// take reads what a person has typed, and returns what is not empty.
func (part *againPart) take(form url.Values) (values schedule.Values) {
	part.From = schedule.Restart(form.Get("from"))
	for _, g := range part.Groups {
		all := map[string]json.RawMessage{}
		for i := range g.Fields {
			one := &g.Fields[i]
			if one.Value = strings.ReplaceAll(form.Get(one.Input), "\r\n", "\n"); one.Value != "" {
				all[one.Name] = one.json()
			}
		}
		switch {
		case len(all) == 0:
		case g.Step == "":
			values.Inputs = all
		default:
			if values.Parameters == nil {
				values.Parameters = map[string]map[string]json.RawMessage{}
			}
			values.Parameters[g.Step] = all
		}
	}
	return values
}

// json is what stands in the field, with the type that the notebook declares; "" in
// quotes is an empty text.
func (f againField) json() json.RawMessage {
	for i, c := range f.Parameter.Choices {
		if display(c) == f.Value {
			if data, err := f.Parameter.Choices[i].MarshalJSON(); err == nil {
				return data
			}
		}
	}
	switch f.Type {
	case parameter.TypeStr, parameter.TypeDate, parameter.TypeDatetime:
		if f.Value != `""` {
			if data, err := json.Marshal(f.Value); err == nil {
				return data
			}
		}
	}
	return schedule.Typed(map[string]string{"": f.Value})[""]
}

// runAgain runs a fire again, with what the form says. What is wrong with that is
// said on the form; then there is a page.
func (s *site) runAgain(r *http.Request) (*schedulePage, error) {
	name, id, form := r.PathValue("name"), r.PathValue("id"), r.PostForm
	from := schedule.Restart(form.Get("from"))
	if from == "" {
		from = schedule.FromFailed
	}
	if !form.Has("values") {
		_, err := s.cfg.Schedules.Restart(r.Context(), user(r), name, id, from, schedule.Values{})
		return nil, err
	}
	p, part, err := s.againPage(r)
	if err != nil {
		return nil, err
	}
	_, err = s.cfg.Schedules.Restart(r.Context(), user(r), name, id, from, part.take(form))
	if problem.Is(err, problem.Invalid) || problem.Is(err, problem.TooLarge) {
		p.Error = text(err)
		return p, nil
	}
	return nil, err
}
