package job

import (
	"time"

	"quire/internal/compute"
)

// Limits of retries.
const (
	maxSystemTries   = 5  // of one index, after failures of the platform
	maxEvictionTries = 20 // of one index
	healthyAfter     = time.Minute
	flappingDelay    = time.Second // before a service's task that follows one that ended at once
	systemDelay      = time.Second // doubled with each failure of the platform
	maxSystemDelay   = time.Minute
)

// batchRetry decides whether a finished task of a batch job is tried again, and
// after what time, and counts the try in t by whose fault it was.
func batchRetry(b Batch, t *Task) (wait time.Duration, again bool) {
	switch code := t.Status.ReasonCode; {
	case code == Normal || code == InvalidRequest || code == StuckInKillingState:
		return 0, false
	case SystemFailure(code):
		wait = min(systemDelay<<min(t.Tries.System, 10), maxSystemDelay)
		t.Tries.System++
		return wait, t.Tries.System <= maxSystemTries
	case code == Evicted:
		t.Tries.Eviction++
		return 0, t.Tries.Eviction <= maxEvictionTries
	case code == RuntimeLimitExceeded && !b.RetryOnRuntimeLimit:
		return 0, false
	}
	wait = b.RetryPolicy.delay(t.Tries.Streak)
	t.Tries.User++
	t.Tries.Streak++
	return wait, t.Tries.User <= b.RetryPolicy.retries()
}

// serviceDelay returns how long a service waits before it replaces a task, and
// counts the try in t. Retries have no end: only the delay is shaped.
func serviceDelay(p *RetryPolicy, t *Task) time.Duration {
	started, ran := t.Since(Started)
	lived := t.Status.At().Sub(started)
	switch code := t.Status.ReasonCode; {
	case SystemFailure(code):
		t.Tries.System++
		return min(systemDelay<<min(t.Tries.System-1, 10), maxSystemDelay)
	case code == Evicted:
		t.Tries.Eviction++
		return 0
	case code == Killed || code == ScaledDown:
		t.Tries.User++
		t.Tries.Streak = 0
		return 0
	}
	if ran && lived >= healthyAfter {
		t.Tries.Streak = 0
	}
	wait := p.delay(t.Tries.Streak)
	if t.Tries.Streak > 0 {
		wait = max(wait, flappingDelay)
	}
	t.Tries.User++
	t.Tries.Streak++
	return wait
}

// retries returns how often the policy tries again; nil never does.
func (r *RetryPolicy) retries() int {
	switch {
	case r == nil:
		return 0
	case r.Immediate != nil:
		return int(r.Immediate.Retries)
	case r.Delayed != nil:
		return int(r.Delayed.Retries)
	case r.ExponentialBackOff != nil:
		return int(r.ExponentialBackOff.Retries)
	}
	return 0
}

// delay returns the time before the retry number n, from 0.
func (r *RetryPolicy) delay(n int) time.Duration {
	switch {
	case r == nil:
		return 0
	case r.Delayed != nil:
		if n == 0 && r.Delayed.InitialDelayMs > 0 {
			return millis(r.Delayed.InitialDelayMs)
		}
		return millis(r.Delayed.DelayMs)
	case r.ExponentialBackOff != nil:
		e := r.ExponentialBackOff
		wait := millis(e.InitialDelayMs)
		most := millis(e.MaxDelayIntervalMs)
		if most == 0 {
			most = millis(MaxDelay)
		}
		for range min(n, 64) {
			if wait >= most {
				break
			}
			wait *= 2
		}
		return min(wait, most)
	}
	return 0
}

func millis(n Long) time.Duration { return time.Duration(min(n, MaxDelay)) * time.Millisecond }

// endingOf says what the end of a container means for its task.
func endingOf(id string, e compute.Exit) Ended {
	out := Ended{Task: id, Message: e.Reason, Exit: &e}
	switch e.Cause {
	case compute.CauseExited:
		out.Code = Failed
		if e.Code == 0 && e.Signal == "" {
			out.Code = Normal
		}
	case compute.CauseOOM:
		out.Code = Failed
	case compute.CauseRejected:
		out.Code = InvalidRequest
	case compute.CauseStopped:
		out.Code = TransientSystemError
		out.Message = "its container was stopped from outside: " + e.Reason
	case compute.CauseSystem:
		out.Code = LostTask
	default:
		out.Code = UnknownSystemError
	}
	return out
}
