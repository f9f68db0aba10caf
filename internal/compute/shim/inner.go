//go:build unix

package shim

import (
	"encoding/binary"
	"io"

	"quire/internal/compute"
	"quire/internal/problem"
)

// InnerCommand is the first argument of a quire process that is the first
// process of a container which somebody else isolates (Docker): it executes
// what the container is for, reaps, and reports on its own standard error,
// which nothing else in the container has, how that began and ended. An exit
// status alone cannot tell "killed" from "exit 137".
const InnerCommand = "container-inner"

// The second argument: what to do.
const (
	InnerRun  = "run"  // then the working directory and the command
	InnerExec = "exec" // one more command; frames on standard input say which
)

// Report is one line of what an inner process reports. The first says that the
// command was executed, or why not; the last how it ended.
type Report struct {
	Started bool           `json:"started,omitempty"`
	Exit    *compute.Exit  `json:"exit,omitempty"`
	Usage   *compute.Stats `json:"usage,omitempty"`
	Kind    problem.Kind   `json:"kind,omitempty"`
	Error   string         `json:"error,omitempty"`
}

// Err returns why the command was not executed, or nil.
func (r Report) Err() error {
	if r.Error == "" {
		return nil
	}
	return problem.New(r.Kind, "%s", r.Error)
}

// ExecOrder is the first frame of InnerExec's standard input. What comes after
// it is the command's own standard input, up to an empty frame. When the input
// ends the command is killed: whoever asked for it is gone.
type ExecOrder struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env,omitempty"` // besides the container's own, which they replace
	Dir  string   `json:"dir"`
	// Mark is what nobody inside can know: on standard error a zero byte, Mark
	// and a Report follow what the command wrote there.
	Mark string `json:"mark"`
}

// maxFrame bounds one frame.
const maxFrame = maxMessage

// WriteFrame writes one frame: its length and it.
func WriteFrame(w io.Writer, data []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}
