package job

import (
	"strings"
	"testing"
	"time"

	"quire/internal/compute"
)

// phases writes a start in short: "queued done 5, pulling now 3/10".
func phases(all []Phase) string {
	var parts []string
	for _, p := range all {
		text := p.Name + " " + string(p.State)
		if p.Millis > 0 {
			text += " " + p.Took().String()
		}
		if p.TotalBytes > 0 {
			text += " " + compute.FormatBytes(p.DoneBytes) + "/" + compute.FormatBytes(p.TotalBytes)
		}
		if p.Message != "" {
			text += ": " + p.Message
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// TestStart plays the start of a task, with an image that has to be brought, and
// looks at how it is told after each event.
func TestStart(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := Open(Job{ID: NewID(), User: "ann", Descriptor: batchOf(1, nil)}, b.world())
	id := w.Tasks[0].ID
	began := b.now
	pulling := func(done, total int64) Event {
		return Waits{Task: id, Why: "pulling", Stage: compute.Stage{Name: compute.StagePulling, Text: "pulling", DoneBytes: done, TotalBytes: total}}
	}
	for _, tt := range []struct {
		after int // seconds
		do    Event
		want  string
	}{
		{1, Waits{Task: id, Why: "for room"}, "queued now: for room, creating ahead, starting ahead, running ahead"},
		{2, Advanced{Task: id, To: Launched}, "queued done 2s, creating now, starting ahead, running ahead"},
		{3, pulling(0, 0), "queued done 2s, pulling now: pulling, creating ahead, starting ahead, running ahead"},
		{5, pulling(1024, 4096), "queued done 2s, pulling now 1 KiB/4 KiB: pulling, creating ahead, starting ahead, running ahead"},
		{7, Advanced{Task: id, To: StartInitiated}, "queued done 2s, pulling done 4s 4 KiB/4 KiB, creating done 1s, starting now, running ahead"},
		{8, Waits{Task: id, Why: "first process", Stage: compute.Stage{Name: compute.StageStarting, Text: "first process"}}, "queued done 2s, pulling done 4s 4 KiB/4 KiB, creating done 1s, starting now: first process, running ahead"},
		{9, Advanced{Task: id, To: Started}, "queued done 2s, pulling done 4s 4 KiB/4 KiB, creating done 1s, starting done 2s, running done"},
		{10, Advanced{Task: id, To: Disconnected}, "queued done 2s, pulling done 4s 4 KiB/4 KiB, creating done 1s, starting done 2s, running done"},
		{12, Ended{Task: id, Code: Normal}, "queued done 2s, pulling done 4s 4 KiB/4 KiB, creating done 1s, starting done 2s, running done"},
	} {
		b.now = began.Add(time.Duration(tt.after) * time.Second)
		next, _, err := Step(w, tt.do, b.world())
		if err != nil {
			t.Fatal(err)
		}
		w = next
		if got := phases(w.Tasks[0].Start()); got != tt.want {
			t.Errorf("after %T at %d s:\ngot  %s\nwant %s", tt.do, tt.after, got, tt.want)
		}
	}
}

// TestStartThatEnds: what was never come to is left out.
func TestStartThatEnds(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := Open(Job{ID: NewID(), User: "ann", Descriptor: batchOf(1, nil)}, b.world())
	id := w.Tasks[0].ID
	for i, e := range []Event{
		Advanced{Task: id, To: Launched},
		Waits{Task: id, Why: "pulling", Stage: compute.Stage{Name: compute.StagePulling, DoneBytes: 1, TotalBytes: 4}},
		Ended{Task: id, Code: InvalidRequest, Message: "there is no such image"},
	} {
		b.now = b.now.Add(time.Duration(i+1) * time.Second)
		next, _, err := Step(w, e, b.world())
		if err != nil {
			t.Fatal(err)
		}
		w = next
	}
	if got, want := phases(w.Tasks[0].Start()), "queued done 1s, pulling ended 5s 1 B/4 B"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
