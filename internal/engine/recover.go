package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// A Recovery says what was found in the journal of a notebook.
type Recovery struct {
	Journal  string // path of the journal
	Live     bool   // an engine is writing this notebook now
	Torn     bool   // the last entry was cut short, and left out
	Finished int    // cells that the journal holds
	Running  int    // index of the cell that was running, -1 when none was
	Number   int    // of that cell, as in notebook.Numbers
}

// ReadFile reads a notebook from a local file, with what a journal beside it
// adds: the state of a run that still goes on, or that was killed. It changes
// nothing on the disk. The Recovery is nil when there is no journal that belongs
// to the notebook.
func ReadFile(path string) (*notebook.Notebook, *Recovery, error) {
	nb, rec, f, err := readWithJournal(path, shareLock)
	if f != nil {
		_ = f.Close()
	}
	return nb, rec, err
}

// Recover puts the journal that a killed engine left behind into its notebook,
// marks the cell that was running as failed, and removes the journal. The
// Recovery is nil when there was nothing to do. A notebook that an engine is
// writing now is a Conflict.
func Recover(path string) (*Recovery, error) {
	nb, rec, f, err := readWithJournal(path, lockSoon)
	if f != nil {
		defer func() { _ = f.Close() }()
	}
	if err != nil || rec == nil {
		if err == nil && f != nil {
			_ = os.Remove(f.Name()) // of a run that had stored its notebook
		}
		return nil, err
	}
	if rec.Live {
		return rec, problem.New(problem.Conflict, "%s is being written by a run now", path)
	}
	t := &fileTarget{path: path}
	if _, err := t.put(context.Background(), nb); err != nil {
		return rec, err
	}
	return rec, os.Remove(rec.Journal)
}

// readWithJournal reads both. The journal's file is open, and locked with lock unless
// Live; it is given back also when it is left over (rec is nil then).
func readWithJournal(path string, lock func(*os.File) bool) (*notebook.Notebook, *Recovery, *os.File, error) {
	real := path
	if p, err := filepath.EvalSymlinks(path); err == nil {
		real = p
	}
	journal := journalName(real)
	f, live, err := openJournal(journal, lock)
	if err != nil {
		return nil, nil, nil, problem.WrapAs(fileKind(err), err, "reading the journal of %s", path)
	}
	rec := &Recovery{Journal: journal, Running: -1, Live: live}
	// The notebook is read after the lock is known: an engine that ended in
	// between has stored it.
	nb, nerr := readNotebook(path)
	if nerr != nil || f == nil {
		return nb, nil, f, nerr
	}
	content, err := readJournal(f)
	if err != nil {
		return nb, nil, f, problem.Wrap(err, "journal %s", journal)
	}
	if content.run == "" || content.run != runID(nb) || len(nb.Cells) != content.cells ||
		lookup(nb.Metadata, "quire")["status"] != cellRunning {
		if rec.Live {
			return nb, rec, f, nil
		}
		return nb, nil, f, nil
	}
	merge(nb, content, rec)
	if !rec.Live {
		markKilled(nb, content, rec)
	}
	return nb, rec, f, nil
}

// openJournal opens a journal to read it, nil when there is none, and takes its lock;
// live says that a run has that.
func openJournal(journal string, lock func(*os.File) bool) (f *os.File, live bool, err error) {
	for range 3 {
		f, err = os.OpenFile(journal, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrPermission) {
			f, err = os.Open(journal)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		if live = !lock(f); live || names(journal, f) {
			return f, live, nil
		}
		_ = f.Close() // it was taken away meanwhile
	}
	return nil, false, nil
}

func readNotebook(path string) (*notebook.Notebook, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, problem.WrapAs(fileKind(err), err, "reading notebook %s", path)
	}
	nb, err := notebook.Read(bytes.NewReader(data))
	return nb, problem.Wrap(err, "reading notebook %s", path)
}

// merge puts the entries of a journal into the notebook.
func merge(nb *notebook.Notebook, content *journalContent, rec *Recovery) {
	rec.Torn, rec.Finished, rec.Running = content.torn, len(content.finished), content.running
	if i := rec.Running; i >= 0 && i < len(nb.Cells) {
		rec.Number = nb.Numbers()[i]
	}
	if content.metadata != nil {
		nb.Metadata = content.metadata
	}
	for i, c := range content.finished {
		if i >= 0 && i < len(nb.Cells) {
			nb.Cells[i] = c
		}
	}
	if i := content.running; i >= 0 && i < len(nb.Cells) && cellStatus(nb.Cells[i]) != cellRunning {
		startCell(nb.Cells[i], content.started[i])
	}
}

// markKilled says in the notebook that its engine was killed.
func markKilled(nb *notebook.Notebook, content *journalContent, rec *Recovery) {
	reason := "the engine was killed"
	pm := object(nb.Metadata, "papermill")
	pm["exception"] = true
	own := object(nb.Metadata, "quire")
	own["status"] = string(Interrupted)
	if i := rec.Running; i >= 0 && i < len(nb.Cells) {
		c := nb.Cells[i]
		reason = fmt.Sprintf("the engine was killed while %s ran", notebook.CellName(nb.Numbers()[i]))
		start, _ := lookup(c.Metadata, "papermill")["start_time"].(string)
		at := content.started[i]
		if t, err := time.Parse(time.RFC3339, start); err == nil {
			at = t
		}
		finishCell(c, at, at, true)
		state := object(c.Metadata, "papermill")
		state["end_time"], state["duration"] = nil, nil
		setOwn(c, "reason", reason)
		c.Outputs = append(c.Outputs, &notebook.Output{
			Type: notebook.ErrorOutput, Ename: "EngineKilled", Evalue: reason, Traceback: []string{"EngineKilled: " + reason},
		})
		addMarkers(nb, i)
		initMetadata(nb, "")
	}
	own["reason"] = reason
}
