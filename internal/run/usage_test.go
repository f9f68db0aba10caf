package run

import (
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/job"
)

func TestSuggestedSize(t *testing.T) {
	t.Parallel()
	limits := compute.LaunchProfile().Limits
	at := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	measured := func(limitGB, peakMB int64, cpu, took time.Duration, reason string) Run {
		return Run{
			Container: &compute.Resources{MemoryBytes: limitGB * compute.GiB}, Reason: reason, Started: at, Finished: at.Add(took),
			Used: &job.Usage{PeakMemoryBytes: peakMB * compute.MiB, CPU: cpu},
		}
	}
	for _, tt := range []struct {
		name        string
		runs        []Run
		cpus, memGB int64
		n           int
	}{
		{"never measured", []Run{{}, {Container: &compute.Resources{}}}, 0, 0, 0},
		{"little gives the least there is", []Run{measured(4, 100, time.Second, time.Minute, "")}, 1, 4, 1},
		{"a quarter more than the most", []Run{measured(16, 8000, time.Minute, time.Minute, ""), measured(16, 300, 0, time.Minute, "")}, 1, 10, 2},
		{"as many processors as were busy", []Run{measured(4, 100, 150*time.Second, time.Minute, "")}, 3, 4, 1},
		{"twice what was not enough", []Run{measured(8, 8192, 0, time.Minute, "out of memory: limit 8 GiB, peak 8 GiB")}, 1, 16, 1},
		{"not more than allowed", []Run{measured(256, 256<<10, 0, time.Minute, "out of memory: ...")}, 1, 256, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := suggest(tt.runs, limits)
			want := compute.Resources{CPUMilli: tt.cpus * 1000, MemoryBytes: tt.memGB * compute.GiB}
			if got.Runs != tt.n || got.Resources != want || (got.Why == "") != (tt.n == 0) {
				t.Errorf("got %+v, want %+v of %d runs", got, want, tt.n)
			}
		})
	}
}
