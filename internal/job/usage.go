package job

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
)

// Bounds of what is kept of a task's measurements.
const (
	MaxSamples   = 500 // of one task
	calmestLook  = 10 * time.Second
	saveEvery    = time.Minute
	maxUsageFile = 1 << 20
)

// A Sample is what a task used at one time. Counters are since its start.
type Sample struct {
	At          int64 `json:"at"` // milliseconds since 1970
	CPUMs       int64 `json:"cpuMs"`
	ThrottledMs int64 `json:"throttledMs,omitempty"` // that its limit made it wait
	MemoryBytes int64 `json:"memoryBytes"`
	DiskBytes   int64 `json:"diskBytes,omitempty"`
	RxBytes     int64 `json:"rxBytes,omitempty"`
	TxBytes     int64 `json:"txBytes,omitempty"`
	Processes   int64 `json:"processes,omitempty"`
}

// A Series is what a task used over its life: at most MaxSamples, so that the
// longer it goes on the further they are apart.
type Series struct {
	Task         string            `json:"task,omitempty"`
	EverySeconds int64             `json:"everySeconds"` // that samples are apart, at least
	Limits       compute.Resources `json:"limits"`
	Peak         Usage             `json:"usage"` // the last measurement, with the largest memory
	Samples      []Sample          `json:"samples"`
}

// CPUMilli is how much of a processor was in use at the end, in thousandths,
// over the last two samples; 0 where there are none.
func (s Series) CPUMilli() int64 {
	n := len(s.Samples)
	if n < 2 {
		return 0
	}
	a, b := s.Samples[n-2], s.Samples[n-1]
	if b.At <= a.At {
		return 0
	}
	return max(0, (b.CPUMs-a.CPUMs)*1000/(b.At-a.At))
}

// A series is a Series as it grows. Whoever has the keeper's lock has it.
type series struct {
	every   time.Duration
	samples []Sample
	saved   time.Time
	fresh   Sample // the newest measurement, kept or not
}

func newSeries() *series { return &series{every: sampleEvery} }

// add keeps a sample when its time has come, and thins them out when there are
// too many.
func (s *series) add(one Sample) {
	s.fresh = one
	if n := len(s.samples); n > 0 && time.Duration(one.At-s.samples[n-1].At)*time.Millisecond < s.every*9/10 {
		return
	}
	s.samples = append(s.samples, one)
	if len(s.samples) < MaxSamples {
		return
	}
	kept := s.samples[:0]
	for i, one := range s.samples {
		if i%2 == 0 {
			kept = append(kept, one)
		}
	}
	s.samples, s.every = kept, 2*s.every
}

func (s *series) clone() *series {
	return &series{every: s.every, samples: append([]Sample{}, s.samples...), fresh: s.fresh}
}

// all returns the samples with the newest one at the end.
func (s *series) all() []Sample {
	all := append([]Sample{}, s.samples...)
	if n := len(all); n > 0 && s.fresh.At > all[n-1].At {
		all = append(all, s.fresh)
	}
	return all
}

func sampleOf(st compute.Stats) Sample {
	return Sample{
		At: st.At.UnixMilli(), CPUMs: st.CPU.Milliseconds(), ThrottledMs: st.Throttled.Milliseconds(), MemoryBytes: st.MemoryBytes,
		DiskBytes: st.DiskBytes, RxBytes: st.RxBytes, TxBytes: st.TxBytes, Processes: st.Processes,
	}
}

// savedSeries is a series on the disk.
type savedSeries struct {
	EveryMs int64    `json:"everyMs"`
	Samples []Sample `json:"samples"`
}

func (s *Jobs) usageFile(id string) string { return filepath.Join(s.cfg.Logs, id+".usage.json") }

// loadSeries reads what was kept of a task's measurements; what cannot be read
// begins anew.
func (s *Jobs) loadSeries(id string) *series {
	one := newSeries()
	info, err := os.Stat(s.usageFile(id))
	if err != nil || info.Size() > maxUsageFile {
		return one
	}
	data, err := os.ReadFile(s.usageFile(id))
	var saved savedSeries
	if err != nil || json.Unmarshal(data, &saved) != nil || len(saved.Samples) > MaxSamples+1 {
		return one
	}
	one.samples, one.every = saved.Samples, max(sampleEvery, time.Duration(saved.EveryMs)*time.Millisecond)
	if n := len(saved.Samples); n > 0 {
		one.fresh = saved.Samples[n-1]
	}
	return one
}

// saveSeries writes what was measured of a task, so that it is there after its
// end. A server that is killed loses the last minute.
func (s *Jobs) saveSeries(id string, one *series) {
	data, err := json.Marshal(savedSeries{EveryMs: one.every.Milliseconds(), Samples: one.all()})
	if err == nil {
		name := s.usageFile(id)
		if err = os.WriteFile(name+".tmp", data, 0o600); err == nil {
			err = os.Rename(name+".tmp", name)
		}
	}
	if err != nil {
		s.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "what a task used is not kept", slog.String("task_id", id), slog.String("error", err.Error()))
	}
}

// record adds a measurement to a task's series and returns the series when it
// is to be saved. k.mu is held.
func (s *Jobs) record(k *keeper, id string, stats compute.Stats, now time.Time) (save *series) {
	one := k.series[id]
	if one == nil {
		one = s.loadSeries(id)
		k.series[id] = one
		one.saved = now
	}
	one.add(sampleOf(stats))
	if now.Sub(one.saved) < saveEvery {
		return nil
	}
	one.saved = now
	return one.clone()
}

// due reports whether a task is to be measured: the longer it goes on, the less
// often, up to calmestLook. k.mu is not held.
func (k *keeper) due(id string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	one := k.series[id]
	return one == nil || now.Sub(time.UnixMilli(one.fresh.At)) >= min(one.every, calmestLook)*9/10
}

// saveAll writes down what was measured of every live task, when the server
// ends.
func (s *Jobs) saveAll() {
	s.mu.Lock()
	ids := make([]string, 0, len(s.homes))
	for id := range s.homes {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	for _, id := range ids {
		s.saveNow(id)
	}
}

// saveNow writes down what was measured of one live task.
func (s *Jobs) saveNow(id string) {
	if one := s.liveSeries(id); one != nil {
		s.saveSeries(id, one)
	}
}

// Series returns what a task of somebody's used over its life.
func (s *Jobs) Series(ctx context.Context, u auth.User, id string) (Series, error) {
	t, j, err := s.Task(ctx, u, id)
	if err != nil {
		return Series{}, err
	}
	one := s.liveSeries(id)
	if (one == nil || len(one.samples) == 0) && t.hasContainer() { // it is younger than the first look
		_ = s.measure(ctx, id) // where it has ended meanwhile, its end was measured
		one = s.liveSeries(id)
		if t, _, err = s.Task(ctx, u, id); err != nil {
			return Series{}, err
		}
	}
	if one == nil {
		one = s.loadSeries(id)
	}
	out := Series{Task: id, Limits: j.Descriptor.Container.Resources.Size(), Peak: t.Usage, Samples: []Sample{}}
	out.EverySeconds = int64(one.every / time.Second)
	out.Samples = append(out.Samples, one.all()...)
	return out, nil
}

// liveSeries returns what is in memory of a task that runs, or nil.
func (s *Jobs) liveSeries(id string) *series {
	k := s.home(id)
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if live := k.series[id]; live != nil {
		return live.clone()
	}
	return nil
}

// forget removes what is kept of a task beside the records.
func (s *Jobs) forget(id string) (err error) {
	for _, name := range []string{filepath.Join(s.cfg.Logs, id+".log"), s.usageFile(id)} {
		if removed := os.Remove(name); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}
