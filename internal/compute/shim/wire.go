//go:build unix

package shim

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/problem"
)

// Command is the first argument of a quire process that is a shim.
const Command = "container-init"

// Home is the home folder inside a container.
const Home = "/home/quire"

// maxMessage is how long one message may be: arguments and environment are
// bounded well below it.
const maxMessage = 1 << 20

// Config is what a shim is told when it starts.
type Config struct {
	Argv    []string      `json:"argv"`
	Env     []string      `json:"env"` // NAME=value, all of it
	Dir     string        `json:"dir"`
	Grace   time.Duration `json:"grace"`
	LogMax  int64         `json:"logMax"`
	Limits  Limits        `json:"limits"`
	Figures []FileOf      `json:"figures,omitempty"` // files of the control group to read at the end
	Join    []int         `json:"join,omitempty"`    // cgroup.procs files to write processes to
	Confine *Confine      `json:"confine,omitempty"` // nil isolates nothing
}

// Limits are what the shim itself sets on every process that it starts.
type Limits struct {
	MemoryBytes int64 `json:"memoryBytes,omitempty"` // shown in reasons
	DataBytes   int64 `json:"dataBytes,omitempty"`   // RLIMIT_DATA of each process; 0 leaves it
	Processes   int64 `json:"processes,omitempty"`   // RLIMIT_NPROC; 0 leaves it
	CPUs        []int `json:"cpus,omitempty"`        // the processors to be pinned to; none leaves it
}

// FileOf is an open file of a control group and what it holds.
type FileOf struct {
	Name string `json:"name"` // its name: "memory.peak"
	FD   int    `json:"fd"`
}

// request is what a connection to a shim asks for.
type request struct {
	Op    string        `json:"op"` // wait, stop, exec, stats
	Grace time.Duration `json:"grace,omitempty"`
	Argv  []string      `json:"argv,omitempty"`
	Env   []string      `json:"env,omitempty"`
	Dir   string        `json:"dir,omitempty"`
}

// reply is one answer of a shim.
type reply struct {
	Started bool           `json:"started,omitempty"`
	Exit    *compute.Exit  `json:"exit,omitempty"`
	Usage   *compute.Stats `json:"usage,omitempty"`
	Kind    problem.Kind   `json:"kind,omitempty"`
	Error   string         `json:"error,omitempty"`
}

func (r reply) err() error {
	if r.Error == "" {
		return nil
	}
	return problem.New(r.Kind, "%s", r.Error)
}

func failure(err error) reply {
	return reply{Kind: problem.KindOf(err), Error: err.Error()}
}

// send writes one message: JSON on one line, with open files.
func send(conn *net.UnixConn, message any, files ...*os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(append(data, '\n'), rights, nil)
	if err == nil && n <= len(data) {
		_, err = conn.Write(append(data, '\n')[n:])
	}
	return err
}

// receive reads one message and the files that came with it; the caller
// closes them, also after an error.
func receive(conn *net.UnixConn, message any) ([]*os.File, error) {
	const mostFiles = 8
	var data []byte
	var files []*os.File
	buffer, rights := make([]byte, 16<<10), make([]byte, unix.CmsgSpace(4*mostFiles))
	for {
		n, got, _, _, err := conn.ReadMsgUnix(buffer, rights)
		if got > 0 {
			files = append(files, filesOf(rights[:got])...)
		}
		if err != nil {
			return files, err
		}
		if n == 0 {
			return files, net.ErrClosed
		}
		data = append(data, buffer[:n]...)
		if bytes.HasSuffix(data, []byte{'\n'}) {
			return files, json.Unmarshal(data, message)
		}
		if len(data) > maxMessage {
			return files, problem.New(problem.TooLarge, "a message is over %d bytes", maxMessage)
		}
	}
}

func filesOf(rights []byte) []*os.File {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files
}
