package pages

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"quire/internal/engine"
	"quire/internal/job"
	"quire/internal/notebook"
	"quire/internal/notify"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/viewer"
)

// A runHead is what stands over every part of a run's page.
type runHead struct {
	Run      run.Run
	Tab      string // notebook, timeline, log, attempts
	Duration time.Duration
	ErrorURL string // of the cell that failed; "" when none did
	ErrorAt  string // its name, as "cell 5"
	Records  []named
	Warnings []string
	Kept     *run.Kept       // the container that it failed in, for its owner to go on in; nil is none
	Used     run.Lineage     // what it wrote and read
	Told     []notify.Notice // who was told, or is to be
	Mine     bool            // may be cancelled by who looks
	Start    []job.Phase     // of its container, until that runs
	Now      time.Time       // when the state was read
	Body     any
}

// Live reports whether the run goes on.
func (h runHead) Live() bool { return !h.Run.State.Ended() }

func (s *site) headOf(r *http.Request, tab string) (runHead, *notebook.Notebook, error) {
	now := s.cfg.Now()
	id := r.PathValue("id")
	found, err := s.cfg.Runs.Get(r.Context(), user(r), id)
	if err != nil {
		return runHead{}, nil, err
	}
	nb, err := s.cfg.Runs.Output(r.Context(), user(r), id)
	if err != nil {
		return runHead{}, nil, err
	}
	u := user(r)
	h := runHead{Run: found, Tab: tab, Duration: found.Duration(now), Now: now, Mine: u.Admin || u.Name == found.Owner}
	if h.Used, err = s.cfg.Runs.Lineage(r.Context(), u, id); err != nil {
		return runHead{}, nil, err
	}
	if h.Told, err = s.cfg.Runs.Told(r.Context(), u, id); err != nil {
		return runHead{}, nil, err
	}
	if res := resultOf(found); res != nil {
		if e := res.Error; e != nil && e.Index >= 0 && e.Index < len(nb.Cells) && nb.Numbers()[e.Index] == e.Cell {
			h.ErrorURL, h.ErrorAt = s.to("/runs/")+id+"#"+viewer.Anchors(nb)[e.Index], notebook.CellName(e.Cell)
		}
		for _, rec := range res.Records[:min(len(res.Records), 100)] {
			value := string(rec.Value)
			if v, err := parameter.ParseJSON(rec.Value); err == nil {
				value = display(v)
			}
			h.Records = append(h.Records, named{rec.Name, short(value)})
		}
		h.Warnings = res.Warnings[:min(len(res.Warnings), 20)]
	}
	if found.State == run.Failed && found.Container != nil && found.Owner == u.Name {
		if kept, err := s.cfg.Runs.Kept(r.Context(), u, id); err == nil {
			h.Kept = &kept
		}
	}
	if h.Live() && found.Container != nil {
		start, err := s.cfg.Runs.ContainerStart(r.Context(), u, id)
		if err != nil {
			return runHead{}, nil, err
		}
		h.Start = underWay(start)
	}
	return h, nb, nil
}

// run shows a run: what it is, how it stands, and its notebook as far as it has
// come. While it goes on, a script puts in the cells that have finished.
func (s *site) run(w http.ResponseWriter, r *http.Request) error {
	h, nb, err := s.headOf(r, "notebook")
	if err != nil {
		return err
	}
	if as := r.URL.Query().Get("as"); as != "" {
		return export(w, nb, h.Run.Name(), as)
	}
	opts := s.runOptions(h.Run)
	opts.HideCode = r.URL.Query().Get("code") == "0"
	opts.Lead = func(w io.Writer) error { return s.look()["run"].ExecuteTemplate(w, "head", h) }
	v := view{Title: h.Run.Name() + ": " + word(h.Run.State), Section: "runs", Class: "s-run-page", Crumbs: s.runCrumbs(h.Run)}
	return s.stream(w, r, v, nb, opts)
}

func (s *site) runCrumbs(found run.Run) []crumb {
	if found.Template != "" {
		return []crumb{{"Templates", s.to("/templates")}, {found.Template, s.to("/templates/") + found.Template}, {found.ID, s.to("/runs/") + found.ID}}
	}
	return []crumb{
		{"Runs", s.to("/runs")}, {found.Name(), s.to("/runs?notebook=") + url.QueryEscape(found.Notebook)}, {found.ID, s.to("/runs/") + found.ID},
	}
}

func (s *site) runOptions(found run.Run) viewer.Options {
	opts := s.options(found.Notebook, 0)
	at := s.to("/runs/") + found.ID
	part := func(cell, output int) string {
		return "?cell=" + strconv.Itoa(cell) + "&output=" + strconv.Itoa(output)
	}
	opts.FrameURL = func(cell, output int) string { return at + "/frame" + part(cell, output) }
	opts.OutputURL = func(cell, output int, mime string) string {
		return at + "/output" + part(cell, output) + "&mime=" + url.QueryEscape(mime)
	}
	opts.TableURL = func(cell, output int) string { return at + "/output" + part(cell, output) + "&as=table" }
	opts.Byline = []string{"run by " + found.Owner}
	if found.Template != "" {
		opts.Byline = append(opts.Byline, "template "+found.Template+", version "+strconv.Itoa(found.TemplateVersion))
	}
	source := escapePath(found.Notebook)
	pinned := ""
	if v := sourceVersion(found); v > 0 {
		pinned = "?version=" + strconv.FormatInt(v, 10)
	}
	opts.Actions = []viewer.Action{
		{Label: "Run with other parameters", URL: s.to("/run/") + source + "?from=" + found.ID, Primary: true},
		{Label: "Schedule", URL: s.to("/schedule/") + source + "?from=" + found.ID},
		{Label: "Clone to my workspace", URL: at + "/clone", Post: true},
		{Label: "Compare", Menu: []viewer.Action{
			{Label: "With its source", URL: s.to("/diff?a=") + url.QueryEscape(sourceSide(found)) + "&b=run:" + found.ID},
			{Label: "With another run…", URL: s.to("/runs?notebook=") + url.QueryEscape(found.Notebook) + "&view=results"},
		}},
		{Label: "Source", URL: s.to("/view/") + source + pinned},
		downloads(at, ""),
	}
	return opts
}

// sourceVersion is the version that a run is of: of its notebook or template.
func sourceVersion(found run.Run) int64 {
	if found.Template != "" {
		return int64(found.TemplateVersion)
	}
	return found.Version
}

// sourceSide names the source of a run in a comparison.
func sourceSide(found run.Run) string {
	if v := sourceVersion(found); v > 0 {
		return found.Notebook + "@" + strconv.FormatInt(v, 10)
	}
	return found.Notebook
}

// runCell shows one cell of a run as it is now, for the live page.
func (s *site) runCell(w http.ResponseWriter, r *http.Request) error {
	found, err := s.cfg.Runs.Get(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	nb, err := s.cfg.Runs.Output(r.Context(), user(r), found.ID)
	if err != nil {
		return err
	}
	index, err := strconv.Atoi(r.PathValue("index"))
	if err != nil || index < 0 || index >= len(nb.Cells) {
		return problem.New(problem.NotFound, "no such cell")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", csp)
	w.Header().Set("Cache-Control", "no-store")
	return viewer.RenderCell(w, nb, index, s.runOptions(found))
}

func (s *site) runFrame(w http.ResponseWriter, r *http.Request) error {
	nb, err := s.cfg.Runs.Output(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.writeFrame(w, r, nb)
}

func (s *site) runOutput(w http.ResponseWriter, r *http.Request) error {
	nb, err := s.cfg.Runs.Output(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeOutput(w, r, nb)
}

// cloneRun copies the output notebook of a run to the workspace of who asks.
func (s *site) cloneRun(w http.ResponseWriter, r *http.Request) error {
	found, err := s.cfg.Runs.Get(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	nb, err := s.cfg.Runs.Output(r.Context(), user(r), found.ID)
	if err != nil {
		return err
	}
	data, err := nb.Bytes()
	if err != nil {
		return err
	}
	return s.keep(w, r, found.Name()+"-run.ipynb", bytes.NewReader(data))
}

// A bar is one phase or cell in the timeline. X and Width are of 1000.
type bar struct {
	Name, URL, What, Class string
	Start, Took            time.Duration
	X, Width               int
}

// timeline shows how long each cell took, after the waiting and the start.
func (s *site) timeline(w http.ResponseWriter, r *http.Request) error {
	h, nb, err := s.headOf(r, "timeline")
	if err != nil {
		return err
	}
	attempts, err := s.cfg.Runs.Attempts(r.Context(), user(r), h.Run.ID)
	if err != nil {
		return err
	}
	h.Body = s.bars(h, nb, attempts)
	return s.runPart(w, r, h)
}

func (s *site) runPart(w http.ResponseWriter, r *http.Request, h runHead) error {
	return s.show(w, r, http.StatusOK, "run", view{
		Title: h.Run.Name() + ": " + h.Tab, Section: "runs", Crumbs: s.runCrumbs(h.Run), Data: h,
	})
}

func (s *site) bars(h runHead, nb *notebook.Notebook, attempts []run.Attempt) []bar {
	var all []bar
	zero := h.Run.Created
	end := h.Now
	if h.Run.State.Ended() && !h.Run.Finished.IsZero() {
		end = h.Run.Finished
	}
	if len(attempts) > 0 {
		last := attempts[len(attempts)-1]
		all = append(all, bar{Name: "Queue", What: "waiting for its turn", Class: "s-wait", Took: last.Claimed.Sub(zero)})
		if !last.Started.IsZero() {
			all = append(all, bar{
				Name: "Start", What: "starting the attempt", Class: "s-wait", Start: last.Claimed.Sub(zero), Took: last.Started.Sub(last.Claimed),
			})
		}
	}
	anchors, numbers := viewer.Anchors(nb), nb.Numbers()
	for i, c := range nb.Cells {
		start, took, status, ok := cellTimes(c, h.Now)
		if !ok {
			continue
		}
		what, _, _ := strings.Cut(strings.TrimSpace(c.Source), "\n")
		b := bar{
			Name: viewer.CellName(numbers[i]), URL: s.to("/runs/") + h.Run.ID + "#" + anchors[i], What: short(what), Class: "s-did",
			Start: start.Sub(zero), Took: took,
		}
		switch status {
		case "failed":
			b.Class = "s-broke"
		case "running":
			b.Class = "s-does"
		}
		all = append(all, b)
	}
	whole := max(end.Sub(zero), time.Millisecond)
	for i := range all {
		all[i].Start = max(all[i].Start, 0)
		all[i].X = min(int(all[i].Start*1000/whole), 1000)
		all[i].Width = max(min(int(all[i].Took*1000/whole), 1000-all[i].X), 2)
	}
	return all
}

// cellTimes reads when a cell ran from what the engine noted in its metadata.
func cellTimes(c *notebook.Cell, now time.Time) (start time.Time, took time.Duration, status string, ok bool) {
	pm := c.Metadata.Object("papermill")
	if pm == nil || c.Type != notebook.Code {
		return start, 0, "", false
	}
	status = pm.String("status")
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999"} {
		t, err := time.Parse(form, pm.String("start_time"))
		if err != nil {
			continue
		}
		if n, isNumber := pm["duration"].(notebook.Number); isNumber {
			return t, time.Duration(n.Float64() * float64(time.Second)), status, true
		}
		return t, max(now.Sub(t), 0), status, status == "running"
	}
	return start, 0, status, false
}

// A logLine is one thing that happened in a run, in words.
type logLine struct {
	Time  time.Time
	Kind  string
	Text  string
	Class string
}

const (
	maxLogLines = 2000
	maxLogText  = 4000    // bytes of one event's text
	maxLogBytes = 1 << 20 // of what the process said itself
)

// log shows what happened in a run and what its process had to say.
func (s *site) log(w http.ResponseWriter, r *http.Request) error {
	h, _, err := s.headOf(r, "log")
	if err != nil {
		return err
	}
	var lines []logLine
	left := 0
	err = s.cfg.Runs.Events(r.Context(), user(r), h.Run.ID, func(raw []byte) error {
		var e engine.Event
		if json.Unmarshal(raw, &e) != nil {
			return nil //nolint:nilerr // a line of a newer version: left out
		}
		if line, ok := logLineOf(e); ok {
			lines = append(lines, line)
		}
		if len(lines) > 2*maxLogLines {
			left += len(lines) - maxLogLines
			lines = append([]logLine{}, lines[len(lines)-maxLogLines:]...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n := len(lines) - maxLogLines; n > 0 {
		left, lines = left+n, lines[n:]
	}
	own, err := s.cfg.Runs.Log(r.Context(), user(r), h.Run.ID)
	if err != nil {
		return err
	}
	defer own.Close()
	data, err := io.ReadAll(io.LimitReader(own, maxLogBytes))
	if err != nil {
		return err
	}
	h.Body = map[string]any{"Lines": lines, "Left": left, "Own": strings.ToValidUTF8(string(data), "\uFFFD")}
	return s.runPart(w, r, h)
}

func logLineOf(e engine.Event) (logLine, bool) {
	l := logLine{Time: e.Time, Kind: strings.ReplaceAll(string(e.Type), "_", " ")}
	cell := ""
	if e.Index != nil {
		cell = notebook.CellName(e.Cell)
	}
	took := duration(time.Duration(e.DurationMS * float64(time.Millisecond)))
	switch e.Type {
	case engine.EventRunStarted:
		l.Text = strconv.Itoa(e.Cells) + " cells"
	case engine.EventWarning:
		l.Text, l.Class = e.Message, "q-warn"
	case engine.EventKernelStarting:
		l.Text = e.Kernel
	case engine.EventKernelReady:
		l.Text = strings.TrimSpace(e.Implementation + " " + took)
	case engine.EventCellStarted:
		l.Text = cell
	case engine.EventOutput:
		l.Kind, l.Text = e.OutputType, e.Text
		if e.Stream != "" {
			l.Kind = e.Stream
		}
		if e.OutputType == "error" {
			l.Class = "q-bad"
		}
	case engine.EventRecord:
		if e.Record != nil {
			l.Text = e.Record.Name + " = " + string(e.Record.Value)
		}
	case engine.EventCellFinished:
		l.Text = strings.Join(strings.Fields(cell+" "+e.Status+" "+took+" "+e.Reason), " ")
		if e.Status == "failed" {
			l.Class = "q-bad"
		}
	case engine.EventRunFinished:
		l.Text = strings.Join(strings.Fields(e.Status+" "+took+" "+e.Reason), " ")
	case engine.EventCheckpoint:
		l.Text = strings.Join(e.Names, ", ")
	default: // saved, and what a newer version may say
		return l, false
	}
	if len(l.Text) > maxLogText {
		l.Text = strings.ToValidUTF8(l.Text[:maxLogText], "") + "…"
	}
	l.Text = strings.TrimRight(l.Text, "\n")
	return l, true
}

// attempts shows each try at a run.
func (s *site) attempts(w http.ResponseWriter, r *http.Request) error {
	h, _, err := s.headOf(r, "attempts")
	if err != nil {
		return err
	}
	if h.Body, err = s.cfg.Runs.Attempts(r.Context(), user(r), h.Run.ID); err != nil {
		return err
	}
	return s.runPart(w, r, h)
}
