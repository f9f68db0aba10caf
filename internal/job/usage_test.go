package job

import (
	"log/slog"
	"testing"
	"time"
)

// TestSeriesStaysSmall measures once a second for a day: the samples are few,
// spread over the whole day, and the newest is there.
func TestSeriesStaysSmall(t *testing.T) {
	t.Parallel()
	s := newSeries()
	begin := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	const day = 24 * 60 * 60
	for i := range day {
		s.add(Sample{At: begin.Add(time.Duration(i) * time.Second).UnixMilli(), CPUMs: int64(i) * 500})
		if len(s.samples) >= MaxSamples {
			t.Fatalf("%d samples after %d s", len(s.samples), i)
		}
	}
	all := s.all()
	if len(all) < MaxSamples/2-1 {
		t.Errorf("only %d samples of a day", len(all))
	}
	if all[0].At != begin.UnixMilli() || all[len(all)-1].At != begin.Add((day-1)*time.Second).UnixMilli() {
		t.Errorf("the samples go from %v to %v", all[0].At, all[len(all)-1].At)
	}
	for i := 2; i < len(all)-1; i++ {
		if gap := all[i].At - all[i-1].At; gap < s.every.Milliseconds()*9/10 || gap > s.every.Milliseconds()*11/10 {
			t.Fatalf("sample %d comes %d ms after the one before, not about %v", i, gap, s.every)
		}
	}
	if got := (Series{Samples: all}).CPUMilli(); got != 500 {
		t.Errorf("half a processor is %d", got)
	}
}

// TestSeriesIsKept writes a series down and reads it again, and survives what is
// no series.
func TestSeriesIsKept(t *testing.T) {
	t.Parallel()
	jobs := New(Config{Logs: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	s := newSeries()
	for i := range 3 {
		s.add(Sample{At: int64(i) * 1000, MemoryBytes: int64(i)})
	}
	jobs.saveSeries("x", s)
	again := jobs.loadSeries("x")
	if len(again.samples) != 3 || again.samples[2] != s.samples[2] || again.every != s.every {
		t.Errorf("got %+v, want %+v", again, s)
	}
	if empty := jobs.loadSeries("y"); len(empty.samples) != 0 || empty.every != sampleEvery {
		t.Errorf("got %+v of nothing", empty)
	}
	if err := jobs.forget("x"); err != nil || len(jobs.loadSeries("x").samples) != 0 {
		t.Errorf("it is there still: %v", err)
	}
}
