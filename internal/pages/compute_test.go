package pages

import (
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/job"
)

func TestIdleInWords(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		view *ServerView
		want string
	}{
		{"no notebook server", nil, ""},
		{"not running", &ServerView{}, ""},
		{"busy", &ServerView{Running: true, Busy: "kernel x is busy"}, "in use: kernel x is busy"},
		{"somebody is there", &ServerView{Running: true}, "in use"},
		{"idle", &ServerView{Running: true, IdleSince: now.Add(-5 * time.Minute), StopsAt: now.Add(55 * time.Minute)}, "idle for 5 min, stops in 55 min"},
		{"idle without an end", &ServerView{Running: true, IdleSince: now.Add(-3 * time.Hour)}, "idle for 3 h 0 min"},
		{"about to end", &ServerView{Running: true, IdleSince: now.Add(-time.Hour), StopsAt: now.Add(20 * time.Second)}, "idle for 60 min, stops in less than a minute"},
	} {
		if got := (containerLine{Server: tt.view}).Idle(now); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestSharesOfALimit(t *testing.T) {
	t.Parallel()
	l := containerLine{CPUMilli: 500, Limit: compute.Resources{CPUMilli: 2000, MemoryBytes: 4 * compute.GiB}, Task: job.Task{Usage: job.Usage{MemoryBytes: 5 * compute.GiB}}}
	if l.CPUShare() != 25 || l.MemoryShare() != 100 {
		t.Errorf("got %d and %d", l.CPUShare(), l.MemoryShare())
	}
	if (containerLine{}).CPUShare() != 0 {
		t.Error("a share of no limit")
	}
}
