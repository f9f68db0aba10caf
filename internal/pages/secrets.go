package pages

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"quire/internal/parameter"
	"quire/internal/problem"
)

// offerSecrets gives the fields of secrets the names of one's own to choose from.
func (s *site) offerSecrets(r *http.Request, fields []field) error {
	if !slices.ContainsFunc(fields, func(d field) bool { return d.Widget == "secret" }) || s.cfg.Secrets == nil {
		return nil
	}
	all, err := s.cfg.Secrets.List(r.Context(), user(r), "")
	if err != nil && !problem.Is(err, problem.Denied) { // who may see to none has none to choose
		return err
	}
	for i := range fields {
		if d := &fields[i]; d.Widget == "secret" {
			d.Hint = ""
			for _, one := range all {
				d.Choices = append(d.Choices, one.Name)
			}
		}
	}
	return nil
}

// takeSecrets reads which secrets a person has chosen.
func takeSecrets(fields []field, values url.Values) {
	for i := range fields {
		if d := &fields[i]; d.Widget == "secret" {
			d.Value = values.Get("s." + d.Name)
		}
	}
}

// bindAgain chooses what an earlier run of one's own was given, where it is there.
func bindAgain(fields []field, bound map[string]string) {
	for i := range fields {
		if d := &fields[i]; d.Widget == "secret" && slices.Contains(d.Choices, bound[d.Name]) {
			d.Value = bound[d.Name]
		}
	}
}

// boundSecrets are the secrets that were chosen, by parameter. What is wrong is noted
// at its field.
func boundSecrets(fields []field) map[string]string {
	bound := map[string]string{}
	for i := range fields {
		d := &fields[i]
		switch {
		case d.Widget != "secret":
		case d.Value == "" && d.Required:
			d.Problem = "this notebook needs a secret: choose one of yours"
		case d.Value == "":
		case !slices.Contains(d.Choices, d.Value):
			d.Problem = "you have no secret of that name: choose one of yours"
			d.Value = ""
		default:
			bound[d.Name] = d.Value
		}
	}
	return bound
}

// withoutSecrets takes what is no parameter's value out of a set that was typed, and
// says so.
func withoutSecrets(schema parameter.Schema, set parameter.Set) (clean parameter.Set, wrong string) {
	clean = set.Clone()
	for _, name := range set.Names() {
		if p, ok := schema.Lookup(name); ok && p.Secret {
			wrong = name + " is a secret: choose one of yours at its field; parameters are kept with the run"
			clean.Delete(name)
		}
	}
	return clean, wrong
}

// changeSecrets sets or removes one of one's own secrets. A value is in no answer.
func (s *site) changeSecrets(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	if s.cfg.Secrets == nil {
		return problem.New(problem.NotFound, "there are no secrets of people on this server")
	}
	var err error
	name := strings.TrimSpace(r.PostForm.Get("name"))
	if gone := r.PostForm.Get("remove"); gone != "" {
		if err = s.cfg.Secrets.Remove(r.Context(), user(r), "", gone); problem.Is(err, problem.NotFound) {
			err = nil // pressed twice
		}
	} else {
		err = s.cfg.Secrets.Set(r.Context(), user(r), "", name, r.PostForm.Get("value"))
	}
	if problem.Is(err, problem.Invalid) || problem.Is(err, problem.TooLarge) {
		return s.showAccount(w, r, http.StatusUnprocessableEntity, map[string]any{"SecretError": text(err), "SecretName": name})
	}
	if err != nil {
		return err
	}
	return s.redirect(w, r, s.to("/account#secrets"))
}
