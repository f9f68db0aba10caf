package server_test

import (
	"net/http"
	"testing"
	"time"
)

// A fireRecord is what the server says of a fire.
type fireRecord struct {
	ID     string    `json:"id"`
	Slot   time.Time `json:"slot"`
	State  string    `json:"state"`
	Reason string    `json:"reason"`
	Count  int       `json:"count"`
	Tasks  []struct {
		Run     string   `json:"run"`
		Earlier []string `json:"earlier"`
	} `json:"tasks"`
}

func (v *victim) fires() []fireRecord {
	v.t.Helper()
	var page struct{ Fires []fireRecord }
	status, _, text := v.ask(v.t.Context(), http.MethodGet, "/api/schedules/tick/fires?limit=1000", nil, nil, &page)
	if status != http.StatusOK {
		v.t.Fatalf("listing fires: %d %s", status, text)
	}
	return page.Fires
}

const everySecond = `schedule: 1
name: tick
triggers: [{every: 1s}]
notebook: users/ann/good.ipynb
strategy: parallel
parallel: 20
catchUp: all
`

// TestSchedulesSurviveKills: the server is killed again and again while a
// schedule fires every second. Every second is recorded once and ran once.
func TestSchedulesSurviveKills(t *testing.T) {
	v := newVictim(t)
	v.start()
	v.addRunNotebooks()
	status, _, text := v.ask(t.Context(), http.MethodPost, "/api/schedules", nil, map[string]string{"text": everySecond}, nil)
	if status != http.StatusCreated {
		t.Fatalf("applying: %d %s", status, text)
	}
	begin := time.Now()
	kills := max(rounds(t)/10, 4)
	for n := range kills {
		// At another part of the second each time, and once for longer.
		<-time.After(time.Duration(700+n*170%1000) * time.Millisecond)
		v.kill()
		if n == 1 {
			<-time.After(2500 * time.Millisecond)
		}
		v.start()
	}
	<-time.After(1200 * time.Millisecond)
	end := time.Now() // before it is asked for: the answer may take a second
	status, _, text = v.ask(t.Context(), http.MethodPost, "/api/schedules/tick/pause", nil, map[string]string{"reason": "the end"}, nil)
	if status != http.StatusOK {
		t.Fatalf("pausing: %d %s", status, text)
	}
	fires := v.settleFires(3 * time.Minute)
	v.judgeFires(fires, begin, end)
	t.Logf("%d kills, %d fires", kills, len(fires))
}

// settleFires waits until every fire is over.
func (v *victim) settleFires(limit time.Duration) []fireRecord {
	v.t.Helper()
	for deadline := time.Now().Add(limit); ; {
		fires, waits := v.fires(), 0
		for _, f := range fires {
			if f.State == "due" || f.State == "running" {
				waits++
			}
		}
		if waits == 0 {
			return fires
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("after %v %d fires are not over", limit, waits)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// judgeFires asks whether every second between begin and end has one record, and
// whether its run ran the notebook from one end to the other.
func (v *victim) judgeFires(fires []fireRecord, begin, end time.Time) {
	v.t.Helper()
	slots, runs := map[int64]int{}, map[string]int{}
	for _, f := range fires {
		slots[f.Slot.Unix()]++
		if f.State == "skipped" { // paused in the moment in which it was recorded
			if f.Reason == "" {
				v.t.Errorf("slot %v is skipped without a reason", f.Slot)
			}
			continue
		}
		if f.State != "succeeded" || len(f.Tasks) != 1 || len(f.Tasks[0].Earlier) != 0 {
			v.t.Errorf("slot %v is %s: %s, %+v", f.Slot, f.State, f.Reason, f.Tasks)
			continue
		}
		runs[f.Tasks[0].Run]++
	}
	missing := 0
	for at := begin.Unix() + 1; at < end.Unix(); at++ {
		if slots[at] != 1 {
			missing++
			v.t.Errorf("second %d is recorded %d times", at-begin.Unix(), slots[at])
		}
	}
	var page struct{ Runs []runRecord }
	if status, _ := v.call(v.t.Context(), http.MethodGet, "/api/runs?tag=schedule:tick&limit=500", nil, &page); status != http.StatusOK {
		v.t.Fatalf("listing runs: %d", status)
	}
	if len(page.Runs) != len(runs) && len(page.Runs) < 500 {
		v.t.Errorf("%d runs were made for %d fires", len(page.Runs), len(runs))
	}
	finished := map[string]int{}
	for _, n := range v.readWitness() {
		if n.end && n.cell == cellsOf-1 {
			finished[n.run]++
		}
	}
	for id, n := range runs {
		if n != 1 || finished[id] != 1 {
			v.t.Errorf("run %s belongs to %d fires and came to its end %d times", id, n, finished[id])
		}
	}
	if len(runs) < 4 {
		v.t.Errorf("only %d fires ran: the test tests nothing", len(runs))
	}
}
