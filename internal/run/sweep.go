package run

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"quire/internal/auth"
	"quire/internal/engine"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// MaxSweep is the most runs of one sweep.
const MaxSweep = 500

// A SweepRequest asks for a run of each set of values.
type SweepRequest struct {
	Request
	// Grid is an object of names with lists, whose product is run, the last name
	// changing fastest; or a list of objects. Each is put over the Parameters.
	Grid json.RawMessage `json:"grid"`
	// Preview asks for nothing to be run.
	Preview bool `json:"preview,omitempty"`
}

// A Sweep is several runs that were asked for at once.
type Sweep struct {
	Tag  string            `json:"tag"`  // that all of them have
	Sets []json.RawMessage `json:"sets"` // the parameters of each
	Runs []Run             `json:"runs"` // in that order; none for a preview
}

// Sweep checks every set of values and then asks for the runs, all with one
// tag. The same idempotency key again is the same runs: what was cut off goes
// on.
func (s *Runs) Sweep(ctx context.Context, u auth.User, req SweepRequest) (Sweep, error) {
	sets, err := sweepSets(req)
	if err != nil {
		return Sweep{}, err
	}
	if req.Output == "" {
		req.Output = NoOutput // the template's would be one place for all of them
	}
	key := req.IdempotencyKey
	if key == "" {
		key = auth.NewSecret()
	}
	found := Sweep{Tag: "sweep:" + sweepID(u, key), Sets: sets, Runs: []Run{}}
	var wrong []string
	places := map[string]int{} // where outputs go, and which run's is there
	for i, set := range sets {
		one := req.Request
		one.Parameters = set
		r, err := s.check(ctx, u, one)
		if other, twice := places[r.Output]; twice && r.Output != "" {
			err = problem.New(problem.Invalid, "its output is %s, as that of run %d: put a parameter that they differ in into it, or {run}", r.Output, other)
		}
		places[r.Output] = i + 1
		switch version := checked(r); {
		case problem.Is(err, problem.Invalid):
			if wrong = append(wrong, fmt.Sprintf("run %d: %v", i+1, err)); len(wrong) == maxWrong {
				return found, problem.New(problem.Invalid, "%s", strings.Join(wrong, "\n"))
			}
		case err != nil:
			return found, err
		case req.Template != "": // all of them are of the version that the first was
			req.TemplateVersion = int(version)
		default:
			req.Version = version
		}
	}
	if len(wrong) > 0 {
		return found, problem.New(problem.Invalid, "%s", strings.Join(wrong, "\n"))
	}
	if req.Preview {
		return found, nil
	}
	for i, set := range sets {
		one := req.Request
		one.Parameters, one.Tags, one.IdempotencyKey = set, append([]string{found.Tag}, req.Tags...), fmt.Sprintf("sweep/%s/%d", key, i)
		r, err := s.Submit(ctx, u, one)
		if err != nil {
			return found, problem.Wrap(err, "starting run %d of %d of the sweep: send it again with the same key to go on", i+1, len(sets))
		}
		found.Runs = append(found.Runs, r)
	}
	return found, nil
}

// maxWrong is how many sets that are wrong are told.
const maxWrong = 5

// sweepID is the same for the same key of the same person.
func sweepID(u auth.User, key string) string {
	return fmt.Sprintf("%.12s", auth.HashOf(u.Name+"\x00"+key))
}

func sweepSets(req SweepRequest) ([]json.RawMessage, error) {
	base, err := parameter.FromJSON("the parameters", orObject(req.Parameters))
	if err != nil {
		return nil, err
	}
	grid, err := engine.ParseGrid("the grid", orObject(req.Grid))
	if err != nil {
		return nil, err
	}
	if len(grid) > MaxSweep {
		return nil, problem.New(problem.TooLarge, "the sweep has %d runs, at most %d are started at once", len(grid), MaxSweep)
	}
	sets := make([]json.RawMessage, len(grid))
	for i, one := range grid {
		set := base.Clone()
		set.Merge(one)
		if sets[i], err = set.MarshalJSON(); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

func orObject(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}
