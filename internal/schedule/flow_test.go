package schedule_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"quire/internal/run"
	"quire/internal/schedule"
)

var update = flag.Bool("update", false, "write what the scripts print into testdata/flow")

// TestFlow plays the scripts of testdata/flow: schedules, what happens to their
// steps, and what became of them.
//
//	fire NAME [{JSON}]      somebody runs the schedule, with inputs
//	call HOOK {JSON}        a webhook is called
//	end SCHEDULE STEP HOW [NAME=JSON]...
//	                        the oldest run of a step that is alive ends; STEP#1 is
//	                        the second element or round; HOW is ok, fail, timeout or lost
//	tick 10s                time passes
//	stop NAME               the fire that is alive is stopped
//	again NAME FROM [{JSON}]
//	                        the newest fire runs again: from @failed, @beginning, or a
//	                        step, with other inputs or parameters
//	did NAME                what somebody did to the schedule last, in words
//	pause NAME
//	runs NAME STEP          what the newest fire gave the runs of a step
//	reasons NAME            why its steps are as they are
//	outputs NAME            what the newest fire gives
//
// After each line stands what is new: the states of the steps of each fire.
func TestFlow(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/flow/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := player{world: newWorld(t, 1)}
			archive := txtar.Parse(text)
			want := -1
			for i, part := range archive.Files {
				switch {
				case part.Name == "want":
					want = i
				case part.Name == "script":
					for line := range strings.Lines(string(part.Data)) {
						if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
							p.play(line)
						}
					}
				default:
					p.apply(part.Name, part.Data)
				}
			}
			switch {
			case want < 0:
				t.Fatal("it wants nothing: add a part \"want\"")
			case *update:
				archive.Files[want].Data = []byte(p.out.String())
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			case string(archive.Files[want].Data) != p.out.String():
				t.Errorf("it came to\n%s\nwant\n%s", p.out.String(), archive.Files[want].Data)
			}
		})
	}
}

// A player plays a script.
type player struct {
	*world
	names []string
	last  map[string]string // what was printed of each fire
	out   strings.Builder
	keys  int
}

// apply makes a schedule of a part; what is wrong with it is printed.
func (p *player) apply(name string, text []byte) {
	p.t.Helper()
	_, _, err := p.servers[0].Apply(p.t.Context(), ann, append([]byte("schedule: 1\nname: "+name+"\n"), text...))
	if err != nil {
		fmt.Fprintf(&p.out, "%s: %v\n", name, err)
		return
	}
	if !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
}

func (p *player) play(line string) {
	p.t.Helper()
	fmt.Fprintf(&p.out, "> %s\n", line)
	words := strings.Fields(line)
	s, ctx := p.servers[0], p.t.Context()
	var err error
	switch words[0] {
	case "fire":
		p.keys++
		p.look(time.Second) // its slot
		_, err = s.RunWith(ctx, ann, words[1], fmt.Sprint(p.keys), json.RawMessage(strings.Join(words[2:], " ")))
	case "call":
		p.keys++
		signal := schedule.Signal{ID: fmt.Sprint(p.keys), Source: "webhook/" + words[1], At: p.now}
		if err = json.Unmarshal([]byte(strings.Join(words[2:], " ")), &signal.Values); err == nil {
			_, err = p.records.Signal(ctx, signal)
		}
	case "end":
		p.end(words[1], words[2], words[3], words[4:])
	case "tick":
		var d time.Duration
		if d, err = time.ParseDuration(words[1]); err == nil {
			p.look(d)
		}
	case "stop", "again":
		fires := p.firesOf(words[1])
		if words[0] == "again" {
			var values schedule.Values
			if len(words) > 3 {
				if err = json.Unmarshal([]byte(strings.Join(words[3:], " ")), &values); err != nil {
					p.t.Fatal(err)
				}
			}
			_, err = s.Restart(ctx, ann, words[1], fires[0].ID, schedule.Restart(words[2]), values)
			break
		}
		i := slices.IndexFunc(fires, func(f schedule.Fire) bool { return !f.State.Ended() })
		_, err = s.StopFire(ctx, ann, words[1], fires[i].ID)
	case "pause":
		_, err = s.Pause(ctx, ann, words[1], "")
	case "remove":
		err = s.Delete(ctx, ann, words[1])
		p.names = slices.DeleteFunc(p.names, func(n string) bool { return n == words[1] })
	case "runs":
		for _, t := range p.firesOf(words[1])[0].Tasks {
			if t.Step == words[2] {
				fmt.Fprintf(&p.out, "  %s %s\n", taskName(t), t.Parameters)
			}
		}
	case "reasons":
		for _, t := range p.firesOf(words[1])[0].Tasks {
			if t.Reason != "" {
				fmt.Fprintf(&p.out, "  %s: %s\n", taskName(t), t.Reason)
			}
		}
	case "did":
		all, wrong := s.Activity(ctx, ann, words[1], schedule.ActivityFilter{Limit: 1})
		if err = wrong; err == nil {
			fmt.Fprintf(&p.out, "  %s %s %s\n", all[0].By, all[0].Did, all[0].Detail)
		}
	case "outputs":
		fmt.Fprintf(&p.out, "  %s\n", p.firesOf(words[1])[0].Outputs)
	default:
		p.t.Fatalf("%q is no command", line)
	}
	if err != nil {
		fmt.Fprintf(&p.out, "  %v\n", err)
	}
	for range 4 { // schedules tell each other
		p.look(10 * time.Millisecond)
	}
	p.show()
}

func (p *player) firesOf(name string) []schedule.Fire {
	p.t.Helper()
	fires, err := p.servers[0].History(p.t.Context(), ann, name, schedule.FireFilter{Any: true, Limit: 100})
	if err != nil {
		p.t.Fatal(err)
	}
	slices.SortStableFunc(fires, func(a, b schedule.Fire) int { // ids are made up
		return cmp.Or(b.Slot.Compare(a.Slot), strings.Compare(string(b.Inputs), string(a.Inputs)))
	})
	return fires
}

func taskName(t schedule.Task) string {
	if t.Index >= 0 {
		return fmt.Sprintf("%s#%d", t.Step, t.Index)
	}
	return t.Step
}

// show prints the schedules whose fires are not as they were.
func (p *player) show() {
	for _, name := range p.names {
		for _, f := range slices.Backward(p.firesOf(name)) {
			line := fmt.Sprintf("  %s: %s", name, f.State)
			if f.Reason != "" && f.State != schedule.Succeeded {
				line += " (" + f.Reason + ")"
			}
			for i, t := range f.Tasks {
				line += map[bool]string{true: " | ", false: ", "}[i == 0] + taskName(t) + " " + string(t.State)
			}
			if line != p.last[f.ID] {
				if p.last == nil {
					p.last = map[string]string{}
				}
				p.last[f.ID] = line
				p.out.WriteString(line + "\n")
			}
		}
	}
}

// end ends the oldest run of a step that is alive.
func (p *player) end(name, step, how string, values []string) {
	p.t.Helper()
	records := map[string]any{}
	for _, pair := range values {
		key, value, _ := strings.Cut(pair, "=")
		records[key] = json.RawMessage(value)
	}
	for _, f := range slices.Backward(p.firesOf(name)) {
		for _, t := range f.Tasks {
			if t.State != schedule.Running || t.Run == "" || taskName(t) != step && t.Step != step {
				continue
			}
			switch how {
			case "ok":
				p.finish(t.Run, run.Succeeded, "", records)
			case "fail":
				p.finish(t.Run, run.Failed, "a cell failed", records)
			case "timeout":
				p.finish(t.Run, run.TimedOut, "it took too long", records)
			case "lost":
				p.finish(t.Run, run.Failed, "3 attempts were lost", records)
			default:
				p.t.Fatalf("%q is no end", how)
			}
			return
		}
	}
	p.t.Fatalf("no run of step %s of %s is alive\n%s", step, name, p.out.String())
}
