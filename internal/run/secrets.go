package run

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/engine"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// MaxSecrets is how many secrets a run is given at most.
const MaxSecrets = 50

// Secrets are those of people: runs keep their names, and an attempt is given their
// values while it lives. Bindings are names of secrets by parameter.
type Secrets interface {
	// Check fails with kind NotFound when u does not have what is bound.
	Check(ctx context.Context, u auth.User, bound map[string]string) error
	// Give returns the values, by parameter.
	Give(ctx context.Context, u auth.User, bound map[string]string) (map[string]string, error)
}

// bind checks the secrets that a request binds to parameters: they are those of the
// person who asks, and of nobody else.
func (s *Runs) bind(ctx context.Context, u auth.User, bound map[string]string) error {
	if len(bound) == 0 {
		return nil
	}
	if err := auth.RefusePass(u, "no secret is bound to a run"); err != nil {
		return err
	}
	if s.cfg.Secrets == nil {
		return problem.New(problem.Invalid, "there are no secrets of people on this server")
	}
	if len(bound) > MaxSecrets {
		return problem.New(problem.TooLarge, "%d secrets: a run is given at most %d", len(bound), MaxSecrets)
	}
	for parameter := range bound {
		if !engine.ValidSecret(parameter) {
			return problem.New(problem.Invalid, "secret %.150q: want the name of a parameter: letters, digits, _, . and -, not beginning with a digit", parameter)
		}
	}
	err := s.cfg.Secrets.Check(ctx, u, bound)
	if problem.Is(err, problem.NotFound) { // what is wrong is the request
		err = problem.New(problem.Invalid, "%s", err.Error())
	}
	return err
}

// wrongSecrets says what of the secrets does not go with what a notebook declares.
func wrongSecrets(schema parameter.Schema, set parameter.Set, bound map[string]string, strict bool) (wrong []string) {
	for _, name := range set.Names() {
		p, ok := schema.Lookup(name)
		_, twice := bound[name]
		switch {
		case twice:
			wrong = append(wrong, name+": it is given as a parameter and as a secret: want one of them")
		case ok && p.Secret: // parameters are kept with the run, for everybody to read
			wrong = append(wrong, name+": it is a secret, and the parameters of a run are kept: keep it with quire secret set NAME and bind it with --secret "+name+"=NAME")
		}
	}
	for _, p := range schema.Parameters {
		if _, given := bound[p.Name]; p.Secret && p.Required && !given && !set.Has(p.Name) {
			wrong = append(wrong, p.Name+": it is a secret that the notebook needs: bind one of yours with --secret "+p.Name+"=NAME (quire secret ls lists them, quire secret set NAME keeps one)")
		}
	}
	if strict {
		for _, name := range slices.Sorted(maps.Keys(bound)) {
			if _, ok := schema.Lookup(name); !ok {
				wrong = append(wrong, name+": no such parameter is declared, so no secret is bound to it")
			}
		}
	}
	return wrong
}

// boundNames are the parameters of a run that are given secrets, in order.
func boundNames(bound map[string]string) []string { return slices.Sorted(maps.Keys(bound)) }

// BoundWords say which secrets a run is given: "token from api_token".
func BoundWords(bound map[string]string) string {
	words := make([]string, 0, len(bound))
	for _, name := range boundNames(bound) {
		words = append(words, name+" from "+bound[name])
	}
	return strings.Join(words, ", ")
}

// SecretsFor gives an attempt the values of the secrets that are bound to its run, by
// parameter. Only what was started as the attempt knows its fence and has its owner's
// pass, and only while it lives.
func (s *Runs) SecretsFor(ctx context.Context, u auth.User, id string, attempt int, fence string) (map[string]string, error) {
	denied := problem.New(problem.Denied, "the secrets of a run are given to its attempts, while they live, and to nobody else")
	if !u.Pass || !ValidID(id) {
		return nil, denied
	}
	r, err := s.cfg.Store.Run(ctx, id)
	if err != nil && !problem.Is(err, problem.NotFound) {
		return nil, err
	}
	if err != nil || r.Owner != u.Name || r.Attempt != attempt || len(r.Secrets) == 0 {
		return nil, denied
	}
	all, err := s.cfg.Store.Attempts(ctx, id)
	if err != nil {
		return nil, err
	}
	live := slices.ContainsFunc(all, func(a Attempt) bool {
		return a.Number == attempt && !a.State.Ended() && subtle.ConstantTimeCompare([]byte(a.Fence), []byte(fence)) == 1
	})
	if !live {
		return nil, denied
	}
	u.Pass = false
	values, err := s.cfg.Secrets.Give(ctx, u, r.Secrets)
	if err != nil {
		return nil, problem.Wrap(err, "run")
	}
	s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "secrets were given to an attempt", slog.String("run_id", id), slog.Int("attempt", attempt),
		slog.String("secrets", BoundWords(r.Secrets)))
	return values, nil
}

// Times of asking for secrets: a server that does not answer is being started again.
const (
	secretsWithin = 2 * time.Minute
	secretsPause  = 200 * time.Millisecond
	secretsLonger = 5 * time.Second
)

// secretsOf asks the server for the secrets of an attempt. final says that asking
// again, or trying the run again, is of no use.
func secretsOf(ctx context.Context, dir string, spec Spec, opt AttemptOptions) (values map[string]string, final bool, err error) {
	if opt.Secrets == nil {
		return nil, true, problem.New(problem.Internal, "this process cannot ask for secrets")
	}
	within, end := context.WithTimeout(ctx, secretsWithin)
	defer end()
	for pause := secretsPause; ; pause = min(2*pause, secretsLonger) {
		pass, err := auth.ReadPass(dir)
		if err == nil {
			values, err = opt.Secrets(within, pass, spec)
		}
		switch {
		case err == nil:
			for _, name := range spec.Secrets {
				if _, ok := values[name]; !ok {
					return nil, true, problem.New(problem.Internal, "run: secret %s: the server did not give it", name)
				}
			}
			return values, false, nil
		case problem.Is(err, problem.NotFound), problem.Is(err, problem.Denied), problem.Is(err, problem.Invalid):
			return nil, true, err
		}
		select {
		case <-within.Done():
			return nil, false, problem.Wrap(err, "asking for the secrets of run %s", spec.Run)
		case <-time.After(pause):
		}
	}
}

// askedSecrets is what a request says of secrets, to tell requests apart.
func askedSecrets(bound map[string]string) string {
	if len(bound) == 0 {
		return ""
	}
	text, _ := json.Marshal(bound) // keys in order
	return "\x00secrets " + string(text)
}
