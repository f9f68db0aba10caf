package engine

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"quire/internal/parameter"
	"quire/internal/problem"
)

// The bounds of a sweep.
const (
	MaxSweepRuns = 100_000
	MaxSweepJobs = 1024
)

// A Sweep runs one notebook with many sets of parameters, each on a kernel of
// its own. Base is the request of every run; its Parameters come first and each
// set is put over them.
type Sweep struct {
	Base Request
	// Sets are the parameters of the runs; see ParseGrid. At least one.
	Sets []parameter.Set
	// Jobs is how many runs go on at once; zero is 1.
	Jobs int
	// Prepare completes the request of one run: its output, its paths. It is called
	// from several goroutines.
	Prepare func(i int, req *Request) error
	// StopOnFailure starts no further run once one has failed. Those that run go
	// on to their end.
	StopOnFailure bool
	// Progress, when not nil, is called when a run has ended, from one goroutine at
	// a time.
	Progress func(run SweepRun)
}

// A SweepRun is one row of the results.
type SweepRun struct {
	Index      int           `json:"index"` // from 0, in the order of the grid
	Parameters parameter.Set `json:"parameters"`
	Status     Status        `json:"status"` // "" when it was not started
	Reason     string        `json:"reason,omitempty"`
	Error      *CellError    `json:"error,omitempty"`
	Output     string        `json:"output"`
	Seconds    float64       `json:"seconds"`
	Records    []Record      `json:"records"`
	Usage      Usage         `json:"usage"`

	// Err is why the run could not be done; nil for a run that a cell failed.
	Err error `json:"-"`
}

// NotStarted is the status of a run that was never begun.
const NotStarted Status = "not_started"

// SweepResult is the table of a sweep.
type SweepResult struct {
	Status   Status     `json:"status"` // succeeded, failed or interrupted
	Input    string     `json:"input"`
	Started  time.Time  `json:"started"`
	Seconds  float64    `json:"seconds"`
	Jobs     int        `json:"jobs"`
	Runs     []SweepRun `json:"runs"`
	Failures int        `json:"failures"` // of runs that were started
}

// Run does the sweep. The error says why it could not be begun; failures of
// single runs are in the result. When ctx ends, the runs that go on are
// interrupted, as Run does it, and no other is started.
func (s *Sweep) Run(ctx context.Context) (*SweepResult, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	jobs := min(max(s.Jobs, 1), len(s.Sets))
	now := s.Base.Now
	if now == nil {
		now = time.Now
	}
	start := now()
	res := &SweepResult{Status: Succeeded, Input: s.Base.InputPath, Started: start.UTC(), Jobs: jobs, Runs: make([]SweepRun, len(s.Sets))}
	for i, set := range s.Sets {
		res.Runs[i] = SweepRun{Index: i, Parameters: s.parameters(set), Status: NotStarted, Records: []Record{}}
	}
	w := &sweeping{Sweep: s, res: res}
	var wg sync.WaitGroup
	for range jobs {
		wg.Go(func() { w.work(ctx) })
	}
	wg.Wait()
	res.Seconds = seconds(now().Sub(start))
	switch {
	case ctx.Err() != nil:
		res.Status = Interrupted
	case res.Failures > 0:
		res.Status = Failed
	}
	return res, nil
}

func (s *Sweep) validate() error {
	switch {
	case len(s.Sets) == 0:
		return problem.New(problem.Invalid, "a sweep without parameters: want at least one set")
	case len(s.Sets) > MaxSweepRuns:
		return problem.New(problem.TooLarge, "a sweep of %d runs: at most %d", len(s.Sets), MaxSweepRuns)
	case s.Jobs < 0 || s.Jobs > MaxSweepJobs:
		return problem.New(problem.Invalid, "%d jobs: want 1 to %d", s.Jobs, MaxSweepJobs)
	case s.Base.Resume != nil:
		return problem.New(problem.Invalid, "a sweep cannot be resumed: resume the one run")
	}
	return nil
}

func (s *Sweep) parameters(set parameter.Set) parameter.Set {
	merged := s.Base.Parameters.Clone()
	merged.Merge(set)
	return merged
}

// sweeping is a sweep on its way.
type sweeping struct {
	*Sweep
	res *SweepResult

	mu   sync.Mutex
	next int
	halt bool
}

func (w *sweeping) work(ctx context.Context) {
	for {
		w.mu.Lock()
		i := w.next
		if i >= len(w.Sets) || w.halt || ctx.Err() != nil {
			w.mu.Unlock()
			return
		}
		w.next++
		w.mu.Unlock()
		row := w.one(ctx, i)
		w.mu.Lock()
		w.res.Runs[i] = row
		if !row.Status.OK() {
			w.res.Failures++
			w.halt = w.halt || w.StopOnFailure
		}
		if w.Progress != nil {
			w.Progress(row)
		}
		w.mu.Unlock()
	}
}

// one does one run.
func (w *sweeping) one(ctx context.Context, i int) SweepRun {
	req := w.Base
	req.Parameters = w.res.Runs[i].Parameters
	row := w.res.Runs[i]
	if w.Prepare != nil {
		if err := w.Prepare(i, &req); err != nil {
			row.Status, row.Reason, row.Err = Failed, err.Error(), err
			return row
		}
	}
	res, err := Run(ctx, req)
	row.Status, row.Reason, row.Error, row.Output = res.Status, res.Reason, res.Error, res.Output
	row.Seconds, row.Records, row.Usage, row.Err = res.Seconds, res.Records, res.Usage, err
	return row
}

// ParseGrid reads a grid of parameters in YAML or JSON: a mapping of names to
// lists is their product, the last name changing fastest (a single value counts
// as a list of one); a list of mappings is taken as it is. name is for messages.
func ParseGrid(name string, data []byte) ([]parameter.Set, error) {
	grid, err := parameter.FromFile(name, data)
	if err == nil {
		return product(name, grid)
	}
	list, lerr := listGrid(name, data)
	if lerr != nil {
		if isList(data) {
			return nil, lerr
		}
		return nil, err
	}
	return list, nil
}

func isList(data []byte) bool {
	text := strings.TrimSpace(string(data))
	return strings.HasPrefix(text, "-") || strings.HasPrefix(text, "[")
}

// listGrid reads a list of mappings: as the value of a mapping, which is what
// package parameter reads.
func listGrid(name string, data []byte) ([]parameter.Set, error) {
	var b strings.Builder
	b.WriteString("sweep:\n")
	for line := range strings.Lines(string(data)) {
		if strings.TrimSpace(line) == "---" {
			continue
		}
		b.WriteString("  ")
		b.WriteString(line)
	}
	doc, err := parameter.FromYAML(name, []byte(b.String()))
	if err != nil {
		return nil, err
	}
	v, _ := doc.Get("sweep")
	if v.Kind() != parameter.KindList {
		return nil, problem.New(problem.Invalid, "%s: want a mapping of names to lists, or a list of mappings", name)
	}
	sets := make([]parameter.Set, 0, v.Len())
	for i, item := range v.Items() {
		if item.Kind() != parameter.KindDict {
			return nil, problem.New(problem.Invalid, "%s: item %d is a %s: want a mapping of parameter names to values", name, i+1, item.Kind())
		}
		var set parameter.Set
		for _, f := range item.Fields() {
			key, ok := f.Key.AsString()
			if !ok {
				return nil, problem.New(problem.Invalid, "%s: item %d: the name %s is not a string", name, i+1, f.Key)
			}
			set.Put(key, f.Value)
		}
		sets = append(sets, set)
	}
	if len(sets) == 0 || len(sets) > MaxSweepRuns {
		return nil, problem.New(problem.Invalid, "%s: %d sets of parameters: want 1 to %d", name, len(sets), MaxSweepRuns)
	}
	return sets, nil
}

// product is the cartesian product of lists.
func product(name string, grid parameter.Set) ([]parameter.Set, error) {
	if grid.Len() == 0 {
		return nil, problem.New(problem.Invalid, "%s: an empty grid: want names with lists of values", name)
	}
	sets := []parameter.Set{{}}
	for key, v := range grid.All() {
		values := v.Items()
		if v.Kind() != parameter.KindList {
			values = []parameter.Value{v}
		}
		if len(values) == 0 {
			return nil, problem.New(problem.Invalid, "%s: %s has no values", name, key)
		}
		if len(sets)*len(values) > MaxSweepRuns {
			return nil, problem.New(problem.TooLarge, "%s: the grid has over %d combinations", name, MaxSweepRuns)
		}
		grown := make([]parameter.Set, 0, len(sets)*len(values))
		for _, set := range sets {
			for _, value := range values {
				with := set.Clone()
				with.Put(key, value)
				grown = append(grown, with)
			}
		}
		sets = grown
	}
	return sets, nil
}

// WriteJSON writes the table as one JSON object.
func (res *SweepResult) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return problem.Wrap(enc.Encode(res), "writing the results of the sweep")
}

// WriteCSV writes the table with a column for each parameter and each recorded
// name, in the order in which they first come.
func (res *SweepResult) WriteCSV(w io.Writer) error {
	names, records := res.columns()
	out := csv.NewWriter(w)
	head := []string{"run", "status", "seconds", "output"}
	for _, n := range names {
		head = append(head, "param."+n)
	}
	for _, n := range records {
		head = append(head, "record."+n)
	}
	rows := [][]string{append(head, "error")}
	for _, run := range res.Runs {
		row := []string{fmt.Sprint(run.Index + 1), string(run.Status), fmt.Sprintf("%.3f", run.Seconds), run.Output}
		for _, n := range names {
			v, ok := run.Parameters.Get(n)
			row = append(row, cellText(v, ok))
		}
		last := map[string]string{}
		for _, rec := range run.Records {
			last[rec.Name] = plainJSON(rec.Value)
		}
		for _, n := range records {
			row = append(row, last[n])
		}
		reason := run.Reason
		if run.Status.OK() {
			reason = ""
		} else if run.Error != nil {
			reason = run.Error.Error()
		}
		rows = append(rows, append(row, reason))
	}
	for _, row := range rows {
		for i := range row {
			row[i] = inertCell(row[i])
		}
	}
	return problem.Wrap(out.WriteAll(rows), "writing the results of the sweep")
}

// inertCell keeps a spreadsheet from taking a foreign text for a formula.
func inertCell(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return s
	}
	if strings.Trim(s, "+-0123456789.eE") == "" {
		return s // a number
	}
	return "'" + s
}

func (res *SweepResult) columns() (names, records []string) {
	seen := map[string]bool{}
	for _, run := range res.Runs {
		for n := range run.Parameters.All() {
			if !seen["p"+n] {
				seen["p"+n] = true
				names = append(names, n)
			}
		}
		for _, rec := range run.Records {
			if !seen["r"+rec.Name] {
				seen["r"+rec.Name] = true
				records = append(records, rec.Name)
			}
		}
	}
	return names, records
}

func cellText(v parameter.Value, ok bool) string {
	if !ok {
		return ""
	}
	if s, isText := v.AsString(); isText {
		return s
	}
	return v.String()
}

func plainJSON(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}
