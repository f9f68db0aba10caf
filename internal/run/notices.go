package run

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"quire/internal/auth"
	"quire/internal/notify"
	"quire/internal/problem"
)

// maxNotify is how many rules a run may have.
const maxNotify = 5

// checkNotify says what is wrong with the rules of a request, and completes them.
func (s *Runs) checkNotify(rules []notify.Rule) ([]notify.Rule, error) {
	if len(rules) > maxNotify {
		return nil, problem.New(problem.Invalid, "notify: at most %d", maxNotify)
	}
	rules = slices.Clone(rules)
	for i := range rules {
		r := &rules[i]
		switch {
		case (r.Channel == "") == (len(r.Email) == 0):
			return nil, problem.New(problem.Invalid, "notify: want a channel, or email addresses")
		case len(r.Email) > notify.MaxAddresses:
			return nil, problem.New(problem.Invalid, "notify: at most %d addresses", notify.MaxAddresses)
		case r.DigestSeconds < 0 || r.DigestSeconds > notify.MaxDigest:
			return nil, problem.New(problem.Invalid, "notify: digestSeconds: want 0 to %d", int64(notify.MaxDigest))
		}
		for j, one := range r.Email {
			address, err := notify.Address(one)
			if err != nil {
				return nil, problem.Wrap(err, "notify")
			}
			r.Email[j] = address
		}
		if len(r.On) == 0 {
			r.On = []notify.Event{notify.Failure, notify.Success}
		}
		for _, e := range r.On {
			if e != notify.Failure && e != notify.Success {
				return nil, problem.New(problem.Invalid, "notify: on: %q: a run has failure and success", string(e))
			}
		}
		if s.cfg.Tells != nil {
			if err := s.cfg.Tells(*r); err != nil {
				return nil, err
			}
		}
	}
	return rules, nil
}

// Notices are what is to be told of a run that is over: nothing while it is not,
// nor when somebody stopped it.
func (r Run) Notices() []notify.Notice {
	event := notify.Failure
	switch r.State {
	case Succeeded:
		event = notify.Success
	case Failed, TimedOut:
	default:
		return nil
	}
	if len(r.Notify) == 0 {
		return nil
	}
	part := notify.Part{Name: r.Name(), State: string(r.State), Run: r.ID, Parameters: r.Parameters}
	part.Cell, part.Message = r.Failure()
	fact := notify.Fact{
		Event: event, Run: r.ID, State: string(r.State), Reason: r.Reason, Owner: r.Owner, Parts: []notify.Part{part}, Path: "/runs/" + r.ID, At: r.Finished,
	}
	return notify.Notices(r.Notify, "run/"+r.ID, fact)
}

// maxFailure is how much of what a failed cell said is told, in bytes.
const maxFailure = 1000

// Failure is the number of the cell that failed, as the notebook's author counts
// (notebook.Numbers), and what it said; 0 when no cell did.
func (r Run) Failure() (cell int, message string) {
	var result struct {
		Error *struct {
			Cell   int    `json:"cell"`
			Ename  string `json:"ename"`
			Evalue string `json:"evalue"`
		} `json:"error"`
	}
	if len(r.Result) == 0 || json.Unmarshal(r.Result, &result) != nil || result.Error == nil {
		return 0, ""
	}
	message = fmt.Sprintf("%s: %s", result.Error.Ename, result.Error.Evalue)
	return result.Error.Cell, strings.ToValidUTF8(message[:min(len(message), maxFailure)], "")
}

// Told returns who was told, or is to be, what became of a run, newest first.
func (s *Runs) Told(ctx context.Context, u auth.User, id string) ([]notify.Notice, error) {
	r, err := s.Get(ctx, u, id)
	if err != nil || len(r.Notify) == 0 || s.cfg.Notices == nil {
		return nil, err
	}
	return s.cfg.Notices(ctx, "run/"+r.ID, 2*maxNotify)
}
