package run

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"quire/internal/parameter"
	"quire/internal/problem"
)

// What a run of a template is given may say {{ ds - 1d }} in place of a date, and
// so may the defaults of the notebook: the dates are those of when the run is
// asked for. The notebooks of a workspace get what is written.

// HasExpression reports whether a text may have an expression in it.
func HasExpression(text string) bool { return strings.Contains(text, "{{") }

// Dated puts what the expressions in a value of a parameter say at the time in place
// of them. Text that is not ours, such as a template of SQL, stays as it is; not
// where a date is wanted, nor where all that was typed is one expression.
func (s *Runs) Dated(p parameter.Parameter, v parameter.Value, at time.Time) (parameter.Value, error) {
	if s.cfg.Dates == nil {
		return v, nil
	}
	raw, err := v.MarshalJSON()
	if err != nil || !bytes.Contains(raw, []byte("{{")) {
		return v, err
	}
	filled, err := s.cfg.Dates(raw, at)
	if err == nil {
		return parameter.ParseJSON(filled)
	}
	text, _ := v.AsString()
	text = strings.TrimSpace(text)
	whole := strings.HasPrefix(text, "{{") && strings.HasSuffix(text, "}}") && (p.Default == nil || !v.Equal(*p.Default))
	if whole || p.Type == parameter.TypeDate || p.Type == parameter.TypeDatetime {
		return v, err
	}
	return v, nil
}

// at is the time that the dates of a request are of: in the zone of whoever set it,
// else in the server's.
func (s *Runs) at(req Request) time.Time {
	if !req.At.IsZero() {
		return req.At
	}
	return s.cfg.Now()
}

// dated returns the set of a run of a template with dates in place of expressions,
// and the defaults that have some.
func (s *Runs) dated(schema parameter.Schema, set parameter.Set, req Request) (parameter.Set, error) {
	out, at := set.Clone(), s.at(req)
	if !req.Literal {
		if data, err := set.MarshalJSON(); err != nil || bytes.Count(data, []byte("{{")) > maxExpressions {
			return set, problem.New(problem.Invalid, "the parameters have more than %d expressions {{ }}", maxExpressions)
		}
		size := 0
		for name, v := range set.All() {
			p, _ := schema.Lookup(name)
			filled, err := s.Dated(p, v, at)
			if err != nil {
				return set, problem.Wrap(err, "%s", name)
			}
			text, _ := filled.AsString()
			if size += len(text); size > MaxParamBytes {
				return set, problem.New(problem.Invalid, "parameters: at most %d MiB with what the expressions give", MaxParamBytes>>20)
			}
			out.Put(name, filled)
		}
	}
	for _, p := range schema.Parameters {
		if _, given := set.Get(p.Name); given || p.Secret || p.Default == nil {
			continue
		}
		text, ok := p.Default.AsString()
		if !ok || !HasExpression(text) {
			continue
		}
		filled, err := s.Dated(p, *p.Default, at)
		if err != nil {
			return set, problem.Wrap(err, "the default of %s", p.Name)
		}
		if !filled.Equal(*p.Default) {
			out.Put(p.Name, filled)
		}
	}
	return out, nil
}

// maxExpressions is how many a request may have.
const maxExpressions = 500

// asked is what makes two requests of one key the same: what was asked for, not the
// dates that it came to.
func (r Request) asked(parameters json.RawMessage) string {
	text := string(parameters)
	if bytes.Contains(r.Parameters, []byte("{{")) {
		text = string(r.Parameters)
	}
	if r.Output != "" {
		text += "\x00" + r.Output
	}
	return text + askedSecrets(r.Secrets)
}
