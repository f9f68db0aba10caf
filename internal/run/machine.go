package run

import (
	"fmt"
	"time"

	"quire/internal/job"
)

// An outcome is how an attempt ended, before it is decided what that means for
// its run.
type outcome struct {
	state  State // Succeeded, Failed, Cancelled, TimedOut or Lost
	reason string
	result []byte // engine.Result as JSON; nil when lost
	at     time.Time
	start  time.Time  // of its first cell; zero when it had none
	usage  *job.Usage // of its container; nil when it had none
	final  bool       // to try again is of no use
}

// conclude is the whole of the decision: the run after its newest attempt ended
// with o. It is a pure function, so that the simulation can drive it.
//
//   - A success, a cancellation or a timeout ends the run. Whoever was told that
//     a run is asked to stop does not see it succeed afterwards.
//   - A failure of the notebook is tried again while there are Retries. One that was
//     not the notebook's, and is not over by itself, is not: a secret is missing.
//   - A lost attempt is the platform's fault: it is tried again up to maxLost
//     times, whatever Retries says, unless somebody asked to stop.
func conclude(r Run, o outcome) Run {
	r.Reason, r.Result = o.reason, o.result
	if o.usage != nil {
		r.Used = o.usage
	}
	if !o.start.IsZero() {
		r.Started = o.start
	}
	switch o.state {
	case Lost:
		r.Lost++
		switch {
		case r.CancelledBy != "":
			return end(r, Cancelled, cancelReason(r), o.at)
		case r.Lost >= maxLost:
			return end(r, Failed, fmt.Sprintf("%d attempts were lost, the last one: %s", r.Lost, o.reason), o.at)
		}
		return again(r, o, fmt.Sprintf("attempt %d was lost (%s); it is tried again", r.Attempt, o.reason))
	case Failed:
		if r.CancelledBy != "" {
			return end(r, Cancelled, cancelReason(r), o.at)
		}
		if failures := r.Attempt - r.Lost; failures <= r.Retries && !o.final {
			return again(r, o, fmt.Sprintf("attempt %d failed (%s); it is tried again", r.Attempt, o.reason))
		}
	case Cancelled:
		return end(r, Cancelled, cancelReason(r), o.at)
	case Succeeded:
		if r.CancelledBy != "" {
			return end(r, Cancelled, cancelReason(r)+"; by then every cell had run", o.at)
		}
	}
	return end(r, o.state, o.reason, o.at)
}

func end(r Run, s State, reason string, at time.Time) Run {
	r.State, r.Reason, r.Finished = s, reason, at
	return r
}

// again queues the run once more, later after each try: 1 s, 2 s, 4 s ... up to
// a minute.
func again(r Run, o outcome, reason string) Run {
	wait := min(time.Second<<min(r.Attempt-1, 6), time.Minute)
	r.State, r.Reason, r.NotBefore, r.Started, r.Finished = Queued, reason, o.at.Add(wait), time.Time{}, time.Time{}
	return r
}

func cancelReason(r Run) string {
	if r.CancelledBy == "" {
		return "it was asked to stop"
	}
	return r.CancelledBy + " asked to stop"
}

// cancel is the run after somebody asked to stop it: at once when it waits,
// else when its attempt has stopped.
func cancel(r Run, by string, at time.Time) Run {
	r.CancelledBy = by
	if r.State == Queued {
		return end(r, Cancelled, cancelReason(r), at)
	}
	return r
}
