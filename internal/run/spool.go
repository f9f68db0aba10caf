package run

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"quire/internal/fault"
	"quire/internal/problem"
)

// The files of an attempt's spool.
const (
	specFile   = "spec.json"    // what to do; written by the server before the attempt starts
	sourceFile = "source.ipynb" // the notebook as it was when the run was asked for
	outputFile = "output.ipynb" // what the engine writes, with its journal beside it
	eventsFile = "events.jsonl" // what happened, a JSON object a line
	logFile    = "platform.log" // what the attempt itself has to say
	resultFile = "result.json"  // how it ended; whole or not there
	lockFile   = "lock"         // held by the attempt as long as it lives
	cancelFile = "cancel"       // written by the server to ask it to stop
	stateFile  = "state.json"   // process id, for signals only
)

// A Spec tells an attempt what to do.
type Spec struct {
	Run        string          `json:"run"`
	Attempt    int             `json:"attempt"`
	Fence      string          `json:"fence"`
	Notebook   string          `json:"notebook"` // path of the source on the volume, as it is recorded
	Parameters json.RawMessage `json:"parameters"`
	// Secrets are the parameters that are given secrets: their values are asked for
	// when the attempt starts, and are in no file here.
	Secrets []string      `json:"secrets,omitempty"`
	Kernel  string        `json:"kernel,omitempty"`
	Dir     string        `json:"dir"` // the kernel's working directory
	Env     []string      `json:"env,omitempty"`
	Timeout time.Duration `json:"timeout"` // nanoseconds; 0 is without end
	Version string        `json:"version"` // of Quire
	// Keep says what becomes of the kernel of an attempt that fails; nil ends it.
	Keep *KeepSpec `json:"keep,omitempty"`
}

// A KeepSpec is how a failed attempt is kept, for its owner to go on in it.
type KeepSpec struct {
	For       time.Duration `json:"for"`       // since it was last used, nanoseconds
	Owner     string        `json:"owner"`     // who works in it
	Workspace string        `json:"workspace"` // folder that is served
	Base      string        `json:"base"`      // path that everything is served under
}

// A Result is what an attempt writes at its end.
type Result struct {
	Fence  string          `json:"fence"`
	State  State           `json:"state"`
	Reason string          `json:"reason"`
	At     time.Time       `json:"at"`
	Start  time.Time       `json:"start"`
	Engine json.RawMessage `json:"engine,omitempty"` // engine.Result
	// Kept says that the attempt's process and its kernel go on for a while.
	Kept bool `json:"kept,omitempty"`
	// Final says that to try again is of no use: what is missing does not come by itself.
	Final bool `json:"final,omitempty"`
}

// A spool is the directory of an attempt.
type spool string

func spoolOf(root, id string, attempt int) spool {
	return spool(filepath.Join(root, id, strconv.Itoa(attempt)))
}

func (s spool) path(name string) string { return filepath.Join(string(s), name) }

// prepare makes the spool of an attempt. Doing it again is no error.
func (s spool) prepare(spec Spec, source io.Reader) error {
	if err := os.MkdirAll(string(s), 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making the spool of run %s", spec.Run)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if err := writeWhole(s.path(sourceFile), source); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "taking the source of run %s", spec.Run)
	}
	return problem.WrapAs(problem.Unavailable, writeBytes(s.path(specFile), data), "writing what run %s is to do", spec.Run)
}

func readJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// result returns how the attempt ended; ok is false while it has not.
func (s spool) result() (res Result, ok bool, err error) {
	err = readPlain(s.path(resultFile), &res)
	if errors.Is(err, fs.ErrNotExist) {
		return res, false, nil
	}
	return res, err == nil, problem.WrapAs(problem.Internal, err, "reading the result of %s", s)
}

// alive reports whether the attempt's process lives: whether somebody holds the
// lock for itself. Those who look share it.
func (s spool) alive() bool {
	file, err := os.OpenFile(s.path(lockFile), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	return errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// holdTries is how often hold asks for a lock that another one has, once a
// millisecond: alive has it, too, for the moment in which it looks.
const holdTries = 500

// hold takes the lock for as long as the file stays open. It fails when another
// attempt's process has it.
func (s spool) hold() (*os.File, error) {
	file, err := os.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for range holdTries {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || fault.On(fault.LaunchTwice) {
			return file, nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil, errors.Join(problem.New(problem.Conflict, "the attempt in %s runs already", s), file.Close())
}

// askToStop tells the attempt to stop, by the file it watches and a signal.
// The signal goes only to a process of this machine that is known to be one.
func (s spool) askToStop(signal bool) error {
	err := writeBytes(s.path(cancelFile), []byte("1"))
	var state struct{ PID int }
	if signal && readJSON(s.path(stateFile), &state) == nil && state.PID > 1 && s.alive() {
		// The lock is held, so the process that wrote its id lives; should it end
		// this instant, its id is not given to another so soon.
		_ = syscall.Kill(state.PID, syscall.SIGTERM)
	}
	return err
}

// writeWhole writes a file so that it is there with all its bytes or not at all.
func writeWhole(name string, r io.Reader) error {
	temp := name + "." + rand.Text()[:8] + ".tmp"
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, r)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		_ = os.Remove(temp)
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func writeBytes(name string, data []byte) error { return writeWhole(name, bytes.NewReader(data)) }

// spoolDir is the directory of all attempts of a run.
func spoolDir(root, id string) string { return filepath.Join(root, id) }
