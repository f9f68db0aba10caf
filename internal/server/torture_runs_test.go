package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"quire/internal/engine"
	"quire/internal/notebook"
)

// This part of the harness judges runs. Their kernels note in a file, the
// witness, when each cell begins and ends: that is what happened, whatever the
// server says.

// cellsOf is how many cells each notebook of the harness has.
const cellsOf = 3

// runNotebook is a notebook whose cells take so long each; one of kind "bad"
// fails in its second cell.
func (v *victim) runNotebook(kind string, each time.Duration) []byte {
	cells := make([]map[string]any, cellsOf)
	for i := range cells {
		lines := []string{
			fmt.Sprintf("note %s $QUIRE_RUN $PID $NOW b %d\n", v.witness, i),
			fmt.Sprintf("write cell %d of \n", i), "env QUIRE_RUN\n", "sleep " + each.String() + "\n",
		}
		if kind == "bad" && i == 1 {
			lines = append(lines, "error ValueError planned\n")
		}
		lines = append(lines, fmt.Sprintf("note %s $QUIRE_RUN $PID $NOW e %d", v.witness, i))
		cells[i] = map[string]any{
			"cell_type": "code", "id": fmt.Sprintf("c%d", i), "metadata": map[string]any{}, "execution_count": nil,
			"outputs": []any{}, "source": lines,
		}
	}
	data, err := json.Marshal(map[string]any{
		"cells": cells, "nbformat": 4, "nbformat_minor": 5,
		"metadata": map[string]any{"kernelspec": map[string]any{"name": "fake", "display_name": "Fake", "language": "fake"}},
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return data
}

// runKinds are the notebooks of the harness and how long each cell sleeps.
var runKinds = map[string]time.Duration{"good": 10 * time.Millisecond, "slow": 200 * time.Millisecond, "bad": 0}

// addRunNotebooks saves them; the server must be up.
func (v *victim) addRunNotebooks() {
	v.t.Helper()
	for kind, each := range runKinds {
		status, _, text := v.ask(v.t.Context(), "PUT", "/user/ann/api/contents/"+kind+".ipynb", nil, map[string]any{
			"type": "notebook", "format": "json", "content": json.RawMessage(v.runNotebook(kind, each)),
		}, nil)
		if status > 201 {
			v.t.Fatalf("saving %s.ipynb: %d %s", kind, status, text)
		}
	}
}

// runRecord is what the server says of a run.
type runRecord struct {
	ID          string    `json:"id"`
	State       string    `json:"state"`
	Reason      string    `json:"reason"`
	Attempt     int       `json:"attempt"`
	Lost        int       `json:"lost"`
	CancelledBy string    `json:"cancelledBy"`
	Finished    time.Time `json:"finished"`
	Published   bool      `json:"published"`
	Source      string    `json:"source"`
}

func (r runRecord) ended() bool {
	return r.State != "queued" && r.State != "starting" && r.State != "running"
}

// A submission is a run that a client asked for, and what it was told.
type submission struct {
	key, kind string
	id        string    // "" while nobody acknowledged it
	cancelled time.Time // when the cancelling was acknowledged; zero when not
	terminal  runRecord // as it was first seen ended; no ID before
}

// A runBook is all submissions of a history.
type runBook struct {
	mu    sync.Mutex
	all   []*submission
	files map[string]string // published output -> its hash when first seen
}

// runner submits runs, follows them and cancels some, until ctx ends.
func (v *victim) runner(ctx context.Context, client int, book *runBook) {
	rng := rand.New(rand.NewPCG(uint64(client), 11))
	for n := 0; ctx.Err() == nil; n++ {
		s := &submission{key: fmt.Sprintf("r%d-%d", client, n), kind: [...]string{"good", "good", "slow", "bad"}[rng.IntN(4)]}
		book.mu.Lock()
		book.all = append(book.all, s)
		book.mu.Unlock()
		for s.id == "" && ctx.Err() == nil {
			v.submit(ctx, s)
		}
		if s.id == "" {
			return
		}
		if rng.IntN(3) == 0 {
			v.submit(ctx, s) // the same key once more
		}
		cancelAt := -1
		if rng.IntN(3) == 0 {
			cancelAt = rng.IntN(1 + int(runKinds[s.kind]/(10*time.Millisecond)))
		}
		v.followRun(ctx, s, cancelAt)
	}
}

// submit asks for the run of s; the same key must always give the same run.
func (v *victim) submit(ctx context.Context, s *submission) {
	var r runRecord
	status, ambiguous, text := v.ask(ctx, "POST", "/api/runs", http.Header{"Idempotency-Key": {s.key}}, map[string]any{
		"notebook": "users/ann/" + s.kind + ".ipynb", "tags": []string{s.key},
	}, &r)
	switch {
	case ambiguous:
	case status != http.StatusCreated:
		v.t.Errorf("a run was answered with %d %s", status, text)
	case s.id != "" && s.id != r.ID:
		v.t.Errorf("key %s is run %s and run %s", s.key, s.id, r.ID)
	default:
		s.id = r.ID
	}
}

// followRun looks at a run again and again until it has ended, for two seconds.
func (v *victim) followRun(ctx context.Context, s *submission, cancelAt int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for look := range 100 {
		if look == cancelAt {
			var r runRecord
			status, ambiguous := v.call(ctx, "POST", "/api/runs/"+s.id+"/cancel", nil, &r)
			if !ambiguous && status == http.StatusOK {
				s.cancelled = time.Now()
			}
		}
		if v.see(ctx, s) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// see looks at a run once, and holds it against what was seen before.
func (v *victim) see(ctx context.Context, s *submission) (ended bool) {
	var r runRecord
	status, ambiguous := v.call(ctx, "GET", "/api/runs/"+s.id, nil, &r)
	switch {
	case ambiguous:
		return false
	case status != http.StatusOK:
		v.t.Errorf("run %s was acknowledged and is answered with %d", s.id, status)
		return true
	}
	if first := s.terminal; first.ID != "" {
		if r.State != first.State || r.Reason != first.Reason || !r.Finished.Equal(first.Finished) || r.Attempt != first.Attempt {
			v.t.Errorf("run %s ended as %s (%s), and later it is %s (%s)", s.id, first.State, first.Reason, r.State, r.Reason)
		}
		return true
	}
	if r.ended() {
		s.terminal = r
	}
	return r.ended()
}

// settle waits until every acknowledged run has ended and its output is kept.
func (v *victim) settle(book *runBook, limit time.Duration) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, s := range book.all {
		for s.id != "" {
			var r runRecord
			if v.see(ctx, s) {
				if _, ambiguous := v.call(ctx, "GET", "/api/runs/"+s.id, nil, &r); !ambiguous && r.Published {
					break
				}
			}
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
			}
			_, _ = v.call(v.t.Context(), "GET", "/api/runs/"+s.id, nil, &r)
			v.t.Errorf("after %v run %s is still %s (%s), published: %v", limit, s.id, r.State, r.Reason, r.Published)
			return
		}
	}
}

// watchOutputs notes the outputs in the object store: an output never changes.
func (v *victim) watchOutputs(book *runBook) {
	names, _ := filepath.Glob(filepath.Join(v.data, "objects", "runs", "*", "output.ipynb"))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		hash := fmt.Sprintf("%x", sha256.Sum256(data))
		if book.files == nil {
			book.files = map[string]string{}
		}
		if before, ok := book.files[name]; ok && before != hash {
			v.t.Errorf("the output %s was published twice, with other bytes", name)
		}
		book.files[name] = hash
	}
}

// A noted line is one of the witness.
type noted struct {
	run, pid string
	at       int64
	end      bool
	cell     int
}

func (v *victim) readWitness() []noted {
	v.t.Helper()
	text, err := os.ReadFile(v.witness)
	if err != nil {
		return nil
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // the last line may just be written
	var all []noted
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 5 {
			v.t.Fatalf("the witness says %q", line)
		}
		at, err1 := strconv.ParseInt(f[2], 10, 64)
		cell, err2 := strconv.Atoi(f[4])
		if err1 != nil || err2 != nil {
			v.t.Fatalf("the witness says %q", line)
		}
		all = append(all, noted{run: f[0], pid: f[1], at: at, end: f[3] == "e", cell: cell})
	}
	return all
}

// judgeRuns holds what the server says at the end against what happened, and
// returns how many runs ended in which state.
func (v *victim) judgeRuns(book *runBook) map[string]int {
	v.t.Helper()
	seen := map[string][]noted{}
	for _, n := range v.readWitness() {
		seen[n.run] = append(seen[n.run], n)
	}
	states := map[string]int{}
	for _, s := range book.all {
		v.judgeKey(s)
		if s.id != "" && s.terminal.ID != "" {
			states[s.terminal.State]++
			v.judgeRun(s, seen[s.id])
		}
	}
	return states
}

// judgeKey asks how many runs a key made.
func (v *victim) judgeKey(s *submission) {
	v.t.Helper()
	var page struct{ Runs []runRecord }
	status, _ := v.call(v.t.Context(), "GET", "/api/runs?tag="+s.key, nil, &page)
	if status != http.StatusOK || len(page.Runs) > 1 || s.id != "" && (len(page.Runs) == 0 || page.Runs[0].ID != s.id) {
		v.t.Errorf("key %s, acknowledged as %q: %d, %d runs", s.key, s.id, status, len(page.Runs))
	}
}

func (v *victim) judgeRun(s *submission, seen []noted) {
	v.t.Helper()
	r := s.terminal
	pids := v.judgeAttempts(s, seen)
	if r.State == "succeeded" && !s.cancelled.IsZero() && r.Finished.After(s.cancelled) {
		v.t.Errorf("run %s: its cancelling was acknowledged at %v, and it succeeded at %v", s.id, s.cancelled, r.Finished)
	}
	lost := strings.Contains(r.Reason, "were lost")
	switch {
	case r.State == "cancelled" && r.CancelledBy != "":
	case r.State == "succeeded" && s.kind != "bad", r.State == "failed" && (s.kind == "bad" || lost):
	default:
		v.t.Errorf("run %s of kind %s is %s: %s", s.id, s.kind, r.State, r.Reason)
	}
	var data []byte
	if status, _, text := v.ask(v.t.Context(), "GET", "/api/runs/"+s.id+"/output", nil, nil, &data); status != http.StatusOK {
		v.t.Errorf("the output of run %s: %d %s", s.id, status, text)
		return
	}
	nb, err := notebook.Parse(data)
	if err == nil {
		err = nb.Validate()
	}
	if err != nil {
		v.t.Errorf("the output of run %s is no notebook: %v", s.id, err)
		return
	}
	cells := ownCells(nb)
	if len(cells) != cellsOf {
		v.t.Errorf("the output of run %s has %d of %d cells", s.id, len(cells), cellsOf)
		return
	}
	v.judgeCells(s, cells, pids[v.outputOf(s)], seen)
}

// ownCells are the cells that the source had: a failed run's output has a cell
// in front that says so.
func ownCells(nb *notebook.Notebook) []*notebook.Cell {
	var cells []*notebook.Cell
	for _, c := range nb.Cells {
		if len(c.ID) == 2 && c.ID[0] == 'c' {
			cells = append(cells, c)
		}
	}
	return cells
}

// outputOf is the number of the attempt that a run's output comes from.
func (v *victim) outputOf(s *submission) int {
	for n := s.terminal.Attempt; n > 0; n-- {
		if _, err := os.Stat(filepath.Join(v.data, "spool", s.id, strconv.Itoa(n), "output.ipynb")); err == nil {
			return n
		}
	}
	return 0
}

// judgeAttempts asks whether the attempts were one after another, each with
// one end, and returns the kernel's process of each.
func (v *victim) judgeAttempts(s *submission, seen []noted) map[int]string {
	v.t.Helper()
	var list struct {
		Attempts []struct {
			Number   int
			State    string
			Finished time.Time
		}
	}
	if status, _ := v.call(v.t.Context(), "GET", "/api/runs/"+s.id+"/attempts", nil, &list); status != http.StatusOK {
		v.t.Errorf("the attempts of run %s: %d", s.id, status)
	}
	pids := map[int]string{}
	for i, a := range list.Attempts {
		last := i == len(list.Attempts)-1
		if a.Number != i+1 || a.Finished.IsZero() || a.State == "running" || a.State == "starting" || !last && a.State != "lost" {
			v.t.Errorf("run %s is %s; its attempt %d of %d is %s, finished %v", s.id, s.terminal.State, a.Number, len(list.Attempts), a.State, a.Finished)
		}
		pids[a.Number] = v.kernelOf(s.id, a.Number)
	}
	// Whoever noted something must have stopped before the next one began.
	var order []string
	for _, n := range seen {
		if len(order) > 0 && order[len(order)-1] == n.pid {
			continue
		}
		for _, before := range order {
			if before == n.pid {
				v.t.Errorf("run %s: two kernels executed it at the same time", s.id)
			}
		}
		order = append(order, n.pid)
	}
	return pids
}

// kernelOf reads the process of an attempt's kernel from its events.
func (v *victim) kernelOf(id string, attempt int) string {
	file, err := os.Open(filepath.Join(v.data, "spool", id, strconv.Itoa(attempt), "events.jsonl"))
	if err != nil {
		return ""
	}
	defer file.Close()
	for dec := json.NewDecoder(file); ; {
		var e struct {
			Type string
			PID  int
		}
		if err := dec.Decode(&e); err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				v.t.Errorf("the events of run %s: %v", id, err)
			}
			return ""
		}
		if e.Type == "kernel_ready" {
			return strconv.Itoa(e.PID)
		}
	}
}

// judgeKilled asks whether what a killed attempt leaves holds every cell that
// was finished: the next one had begun.
func (v *victim) judgeKilled(spool string) {
	v.t.Helper()
	id := filepath.Base(filepath.Dir(spool))
	attempt, err := strconv.Atoi(filepath.Base(spool))
	if err != nil {
		v.t.Fatal(err)
	}
	pid, begun := v.kernelOf(id, attempt), -1
	for _, n := range v.readWitness() {
		if n.run == id && n.pid == pid {
			begun = max(begun, n.cell)
		}
	}
	if begun < 1 {
		return
	}
	nb, _, err := engine.ReadFile(filepath.Join(spool, "output.ipynb"))
	if err != nil {
		v.t.Errorf("what attempt %d of run %s left when it was killed: %v", attempt, id, err)
		return
	}
	cells := ownCells(nb)
	for i := range begun {
		want := fmt.Sprintf("cell %d of %s", i, id)
		if i >= len(cells) || strings.Count(outputText(cells[i]), want) != 1 {
			v.t.Errorf("attempt %d of run %s was killed after cell %d had finished, and what it left does not hold it", attempt, id, i)
		}
	}
}

// judgeCells asks whether the output holds every finished cell: one is finished
// for certain when the next one has begun, or the run succeeded.
func (v *victim) judgeCells(s *submission, cells []*notebook.Cell, pid string, seen []noted) {
	v.t.Helper()
	begun, ended := -1, -1
	for _, n := range seen {
		if n.pid == pid && pid != "" {
			begun, ended = max(begun, n.cell), max(ended, ternary(n.end, n.cell, -1))
		}
	}
	finished := begun - 1
	if s.terminal.State == "succeeded" {
		if ended != cellsOf-1 {
			v.t.Errorf("run %s succeeded, and its last attempt ended %d of %d cells", s.id, ended+1, cellsOf)
		}
		finished = cellsOf - 1
	}
	for i := range finished + 1 {
		want := fmt.Sprintf("cell %d of %s", i, s.id)
		if text := outputText(cells[i]); strings.Count(text, want) != 1 {
			v.t.Errorf("run %s (%s): the output's cell %d holds %q, want %q once", s.id, s.terminal.State, i, text, want)
		}
	}
}

func ternary(cond bool, a, b int) int {
	if cond {
		return a
	}
	return b
}

// outputText is all that a cell printed.
func outputText(c *notebook.Cell) string {
	var text strings.Builder
	for _, o := range c.Outputs {
		data, err := json.Marshal(o)
		if err != nil {
			continue
		}
		text.Write(data)
	}
	return text.String()
}
